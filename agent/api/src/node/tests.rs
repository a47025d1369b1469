#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs::File;
use std::future::Future;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::io::Errno;

use super::memory::{AGREED, MemoryHost};
use super::peer::Peer;
use super::socket::{LARGEST, Socket};
use super::wire::Body;
use super::*;
use crate::DatasetName;
use crate::generated::node::v1;

/// How long anything may take here before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes too long")
}

struct Node {
    dir: tempfile::TempDir,
    listener: NodeListener,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = NodeListener::bind(&dir.path().join(SOCKET)).unwrap();
        Self { dir, listener }
    }

    /// csi ends and is started anew.
    fn restart(self) -> Self {
        let Self { dir, listener } = self;
        drop(listener);
        let listener = NodeListener::bind(&dir.path().join(SOCKET)).unwrap();
        Self { dir, listener }
    }

    fn dial(&self, runtime: &str, host: &Arc<MemoryHost>) -> NodeClient {
        NodeClient::start(self.dir.path().join(SOCKET), runtime, "test", Arc::clone(host))
    }

    /// The next agent, its calls being answered by a task.
    async fn agent(&self) -> (Agent, Vec<Holding>, tokio::task::JoinHandle<()>, Arc<Mutex<Vec<MemoryRequest>>>) {
        let (agent, holdings) = in_time(async { self.listener.accept().await.unwrap().greet().await.unwrap() }).await;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (running, csi) = (agent.clone(), Noting(Arc::clone(&asked)));
        let task = tokio::spawn(async move { running.run(csi).await });
        (agent, holdings, task, asked)
    }
}

/// A csi that notes what is asked of it. It registers files as the number of the mount, and refuses mount 0 as the kernel would and mount
/// 404 as one that it does not know.
#[derive(Clone)]
struct Noting(Arc<Mutex<Vec<MemoryRequest>>>);

impl Csi for Noting {
    async fn memory(self, _: Agent, request: MemoryRequest) -> Result<(), Refusal> {
        let full = matches!(&request, MemoryRequest::Prepare { bytes, .. } if *bytes > 1 << 40);
        self.0.lock().unwrap().push(request);
        if full { Err(Refusal::new(Reason::Failed, "too large")) } else { Ok(()) }
    }

    async fn backing(self, agent: Agent, request: BackingRequest) -> Result<io::Result<u32>, Refusal> {
        assert!(agent.counts_opens());
        match request {
            BackingRequest::Register { mount: MountId(0), .. } => Ok(Err(Errno::LOOP.into())),
            BackingRequest::Register { mount: MountId(404), .. } => Err(Refusal::new(Reason::NotReady, "not known")),
            BackingRequest::Register { mount, file } => {
                File::from(file).write_all(b"registered").unwrap();
                Ok(Ok(mount.0 as u32))
            }
            BackingRequest::Close { mount, id } if mount.0 == u64::from(id) => Ok(Ok(id)),
            BackingRequest::Close { .. } => Ok(Err(Errno::NOENT.into())),
        }
    }

    async fn forget(self, _: Agent, mount: MountId) -> Result<(), Refusal> {
        if mount == MountId(404) { Err(Refusal::new(Reason::NotReady, "not known")) } else { Ok(()) }
    }

    /// Not the first time.
    async fn leave(self, _: Agent) -> Result<(), Refusal> {
        let mut asked = self.0.lock().unwrap();
        let first = asked.is_empty();
        asked.push(MemoryRequest::Drop { tier: "left".into() });
        if first { Err(Refusal::new(Reason::NotReady, "ending")) } else { Ok(()) }
    }
}

fn imagenet() -> DatasetName {
    DatasetName::new("ml", "imagenet")
}

fn host() -> Arc<MemoryHost> {
    let host = MemoryHost::new();
    host.set_dataset(imagenet(), &["research"], true);
    Arc::new(host)
}

/// A descriptor by which the other side can be heard: what is written to it there can be read here.
fn pipe() -> (File, OwnedFd) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (read.into(), write)
}

#[tokio::test]
async fn layers_come_with_their_descriptors_and_what_is_shown_goes_back() {
    let (node, host) = (Node::new(), host());
    let client = node.dial("default", &host);
    let (agent, _, _task, _) = node.agent().await;
    let refused = in_time(agent.compose(MountId(7))).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(Refusal { reason: Reason::NotReady, .. })), "{refused}");
    let (_read, write) = pipe();
    in_time(agent.serve(MountId(7), &imagenet(), write.as_fd(), None)).await.unwrap();
    let layers = in_time(agent.compose(MountId(7))).await.unwrap().unwrap();
    let same = |one: &OwnedFd, path: &str| {
        let (one, other) = (rustix::fs::fstat(one).unwrap(), rustix::fs::stat(path).unwrap());
        (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
    };
    assert!(layers.generation == 7 && layers.directories.len() == 2);
    assert!(same(&layers.namespace, "/proc/self/ns/mnt") && same(&layers.image, "/proc/self/exe"));
    assert!(same(&layers.directories[0], "/") && same(&layers.directories[1], "/proc"), "in their order");
    let shown = Composed { generations: vec![3, 7], why_not: Some("no EROFS".into()) };
    in_time(agent.composed(MountId(7), shown.clone())).await.unwrap();
    assert_eq!(host.shown(MountId(7)), Some(shown));
    let csi = client.backings(tokio::runtime::Handle::current());
    in_time(csi.forget(MountId(7))).await.unwrap();
    assert!(in_time(csi.forget(MountId(404))).await.is_err());
}

#[tokio::test]
async fn an_agent_leaves_when_it_may() {
    let (node, host) = (Node::new(), host());
    let client = node.dial("default", &host);
    let (_agent, _, task, asked) = node.agent().await;
    in_time(client.leave()).await;
    assert_eq!(asked.lock().unwrap().len(), 2, "refused once");
    // With nobody there it waits, and the next one is asked.
    task.abort();
    let leaves = tokio::spawn(async move { client.leave().await });
    let node = node.restart();
    let (_agent, _, _task, asked) = node.agent().await;
    in_time(leaves).await.unwrap();
    assert_eq!(asked.lock().unwrap().len(), 2, "refused once");
}

#[tokio::test]
async fn a_mount_goes_to_the_agent_and_comes_back_to_the_next_csi() {
    let (node, host) = (Node::new(), host());
    let client = node.dial("default", &host);
    let (agent, holdings, task, _) = node.agent().await;
    assert_eq!((agent.runtime(), agent.program(), holdings.len()), ("default", "test", 0));
    let (mut read, write) = pipe();
    let agreed = in_time(agent.serve(MountId(7), &imagenet(), write.as_fd(), None)).await.unwrap();
    assert_eq!(agreed, AGREED);
    let known = Negotiated { minor: 40, flags: u64::MAX, max_readahead: 1 };
    let (_other, second) = pipe();
    assert_eq!(in_time(agent.serve(MountId(8), &imagenet(), second.as_fd(), Some(known))).await.unwrap(), known);
    // Asked once more, the answer is the same.
    assert_eq!(in_time(agent.serve(MountId(7), &imagenet(), second.as_fd(), None)).await.unwrap(), AGREED);
    drop((write, second, agent));

    task.abort();
    let node = node.restart();
    let (agent, holdings, _task, _) = node.agent().await;
    let found: Vec<_> = holdings.iter().map(|held| (held.mount, held.dataset.clone(), held.negotiated)).collect();
    assert_eq!(found, [(MountId(7), imagenet(), AGREED), (MountId(8), imagenet(), known)]);
    in_time(agent.resend(MountId(8))).await.unwrap();
    in_time(agent.release(MountId(8))).await.unwrap();
    in_time(agent.release(MountId(8))).await.unwrap();
    assert_eq!((host.mounts(), host.resent()), (vec![MountId(7)], vec![MountId(8)]));
    // The descriptor that came back is the pipe's own.
    let mut back = File::from(holdings.into_iter().next().unwrap().device);
    back.write_all(b"heard").unwrap();
    let mut heard = [0; 5];
    read.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"heard");
    drop(client);
}

#[tokio::test]
async fn refusals_keep_their_reason_and_their_words() {
    let (node, host) = (Node::new(), host());
    host.set_dataset(DatasetName::new("ml", "new"), &[], false);
    let _client = node.dial("default", &host);
    let (agent, ..) = node.agent().await;
    in_time(agent.allowed(&imagenet(), "ml")).await.unwrap();
    in_time(agent.allowed(&imagenet(), "research")).await.unwrap();
    let (_read, write) = pipe();
    let serve = |name| agent.serve(MountId(1), name, write.as_fd(), None);
    let (new, none) = (DatasetName::new("ml", "new"), DatasetName::new("ml", "none"));
    for (refused, reason, word) in [
        (in_time(agent.allowed(&imagenet(), "other")).await.unwrap_err(), Reason::NotGranted, "allowedNamespaces"),
        (in_time(agent.allowed(&none, "ml")).await.unwrap_err(), Reason::UnknownDataset, "ml/none"),
        (in_time(serve(&new)).await.unwrap_err(), Reason::NotReady, "listed"),
        (in_time(serve(&none)).await.unwrap_err(), Reason::UnknownDataset, "ml/none"),
        (in_time(serve(&DatasetName::new("..", "none"))).await.unwrap_err(), Reason::Failed, "\"..\""),
    ] {
        let CallError::Refused(refusal) = refused else { panic!("{refused:?}") };
        assert_eq!(refusal.reason, reason);
        assert!(refusal.message.contains(word), "{refusal}");
    }
    assert_eq!(host.mounts(), []);
}

#[tokio::test]
async fn tiers_are_asked_for_over_the_same_connection() {
    let (node, host) = (Node::new(), host());
    let client = node.dial("default", &host);
    assert_eq!(client.prepare_memory("ram", 1).await, Err(CallError::Gone));
    let (_agent, _, task, asked) = node.agent().await;
    in_time(client.connected()).await;
    in_time(client.prepare_memory("ram", 1 << 30)).await.unwrap();
    in_time(client.drop_memory("ram")).await.unwrap();
    assert_eq!(in_time(client.prepare_memory("ram", 1 << 50)).await.unwrap_err().to_string(), "too large");
    assert!(matches!(in_time(client.prepare_memory("a/../b", 1)).await, Err(CallError::Refused(_))));
    let tier = || "ram".to_owned();
    let (first, second) = (MemoryRequest::Prepare { tier: tier(), bytes: 1 << 30 }, MemoryRequest::Drop { tier: tier() });
    assert_eq!(asked.lock().unwrap()[..2], [first, second]);
    assert_eq!(asked.lock().unwrap().len(), 3);
    task.abort();
    drop(client);
}

/// On a runtime's worker too, of which there is one here: whoever waits must not keep csi's answer from being read.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn files_are_registered_by_csi_and_its_errors_are_the_kernels() {
    let (node, host) = (Node::new(), host());
    let client = node.dial("default", &host);
    let backings = client.backings(tokio::runtime::Handle::current());
    let away = backings.close(MountId(7), 7).unwrap_err();
    assert_eq!(away.raw_os_error(), None, "{away}");
    let (_agent, ..) = node.agent().await;
    in_time(client.connected()).await;
    let (mut read, write) = pipe();
    let on_worker = tokio::spawn({
        let (backings, write) = (backings.clone(), write.try_clone().unwrap());
        async move { backings.register(MountId(7), write.as_fd()) }
    });
    assert_eq!(in_time(on_worker).await.unwrap().unwrap(), 7);
    let mut heard = [0; 10];
    read.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"registered");
    let elsewhere = std::thread::spawn(move || {
        let errno = |result: io::Result<u32>| Errno::from_io_error(&result.unwrap_err());
        assert_eq!(errno(backings.register(MountId(0), write.as_fd())), Some(Errno::LOOP));
        assert_eq!(errno(backings.register(MountId(404), write.as_fd())), None);
        backings.close(MountId(7), 7).unwrap();
        assert_eq!(errno(backings.close(MountId(7), 8).map(|()| 0)), Some(Errno::NOENT));
    });
    in_time(tokio::task::spawn_blocking(move || elsewhere.join().unwrap())).await.unwrap();
}

#[tokio::test]
async fn the_end_of_a_connection_ends_its_calls() {
    let (node, host) = (Node::new(), host());
    let client = node.dial("default", &host);
    let (agent, _, task, _) = node.agent().await;
    in_time(agent.allowed(&imagenet(), "ml")).await.unwrap();
    assert!(!agent.has_ended());
    drop(client);
    in_time(task).await.unwrap();
    assert!(agent.has_ended());
    assert_eq!(agent.allowed(&imagenet(), "ml").await, Err(CallError::Gone));
}

#[tokio::test]
async fn many_calls_at_once_each_get_their_own_answer() {
    let (node, host) = (Node::new(), host());
    let _client = node.dial("default", &host);
    let (agent, ..) = node.agent().await;
    let mut all = tokio::task::JoinSet::new();
    for at in 0..200u64 {
        let agent = agent.clone();
        all.spawn(async move {
            let (_read, write) = pipe();
            let negotiated = Negotiated { minor: 1, flags: at, max_readahead: 0 };
            let answer = agent.serve(MountId(at), &imagenet(), write.as_fd(), Some(negotiated)).await;
            assert_eq!(answer.unwrap().flags, at);
        });
    }
    in_time(all.join_all()).await;
    assert_eq!(host.mounts().len(), 200);
}

/// A connection that speaks for itself.
fn raw(node: &Node) -> Peer {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    rustix::net::connect(&fd, &SocketAddrUnix::new(node.listener.path()).unwrap()).unwrap();
    Peer::new(Socket::new(fd).unwrap())
}

#[tokio::test]
async fn another_version_is_told_so() {
    let node = Node::new();
    let peer = raw(&node);
    let hello = v1::Hello { protocol: PROTOCOL + 1, runtime: "default".into(), program: "9.0".into(), counts_opens: true };
    peer.tell(Body::Hello(hello), None).await.unwrap();
    let refused = in_time(async { node.listener.accept().await.unwrap().greet().await.unwrap_err() }).await;
    assert!(matches!(refused, GreetError::Protocol { .. }), "{refused}");
    let (packet, _) = in_time(peer.receive()).await.unwrap().unwrap();
    assert!(format!("{packet:?}").contains("programs of one version"), "{packet:?}");
    assert!(in_time(peer.receive()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_not_known_is_skipped_and_what_is_too_large_ends_the_connection() {
    let node = Node::new();
    let peer = Arc::new(raw(&node));
    peer.tell(
        Body::Hello(v1::Hello { protocol: PROTOCOL, runtime: "r".into(), program: String::new(), counts_opens: false }),
        None,
    )
    .await
    .unwrap();
    peer.tell(Body::Greeted(v1::Greeted {}), None).await.unwrap();
    let (agent, ..) = node.agent().await;
    assert!(!agent.counts_opens());
    assert!(matches!(in_time(peer.receive()).await.unwrap().unwrap().0.body, Some(Body::Greeted(_))));
    // A body of a later version, once without and once with a number.
    peer.send_raw(&[0xfa, 0x07, 0x00]).await;
    peer.send_raw(&[0x08, 0x05, 0xfa, 0x07, 0x00]).await;
    let (packet, _) = in_time(peer.receive()).await.unwrap().unwrap();
    assert!(packet.call == 5 && format!("{packet:?}").contains("Unsupported"), "{packet:?}");
    assert!(!agent.has_ended());
    assert!(peer.tell(Body::DropMemory(v1::DropMemory { tier: "x".repeat(LARGEST) }), None).await.is_err());
    peer.send_raw(&[0xff; 100]).await;
    assert!(in_time(peer.receive()).await.unwrap().is_none());
    assert!(agent.has_ended());
}

#[tokio::test]
async fn the_socket_is_its_owners_alone() {
    let node = Node::new();
    assert_eq!(std::fs::metadata(node.listener.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn names_that_may_stand_in_a_path() {
    for (name, may) in [
        ("default", true),
        ("a.b-c0", true),
        ("", false),
        (".", false),
        ("..", false),
        ("a/b", false),
        ("A", false),
        ("-a", false),
        ("a.", false),
        ("a\0", false),
    ] {
        assert_eq!(is_label(name), may, "{name:?}");
    }
    assert!(is_label(&"a".repeat(253)) && !is_label(&"a".repeat(254)));
}
