//! A node: its directories, the real driver, and agents; taken down whatever happens.

use std::collections::HashMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forebay_csi::proto::csi::node_client::NodeClient;
use forebay_csi::proto::csi::volume_capability::access_mode::Mode;
use forebay_csi::proto::csi::volume_capability::{AccessMode, AccessType, MountVolume};
use forebay_csi::proto::csi::{
    NodePublishVolumeRequest, NodeStageVolumeRequest, NodeUnpublishVolumeRequest, NodeUnstageVolumeRequest, VolumeCapability,
};
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};

use crate::agent;

/// How long a condition may take to come true; nothing is measured by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Node {
    pub(crate) dir: tempfile::TempDir,
    csi: Option<Child>,
    agents: Vec<Child>,
}

impl Node {
    /// With the driver running, and no agent.
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests mount, which needs root");
        let all = std::env::temp_dir().join("forebay-csi-tests");
        std::fs::create_dir_all(&all).unwrap();
        let dir = tempfile::tempdir_in(all).unwrap();
        let mut node = Self { dir, csi: None, agents: Vec::new() };
        node.start_csi();
        node
    }

    pub(crate) fn with_agent() -> Self {
        let mut node = Self::new();
        node.start_agent("default");
        node
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(below)
    }

    pub(crate) fn start_csi(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay-csi"));
        command.arg("node").arg("--node-name").arg("n1").arg("--without-pod-info").arg("ml");
        for (flag, place) in
            [("--endpoint", "csi.sock"), ("--registration-dir", "registration"), ("--run", "run"), ("--kubelet-dir", "kubelet")]
        {
            command.arg(flag).arg(self.path(place));
        }
        self.csi = Some(spawn(command));
        wait_until("the driver listens", || std::os::unix::net::UnixStream::connect(self.path("csi.sock")).is_ok());
    }

    pub(crate) fn kill_csi(&mut self) {
        end(&mut self.csi.take().unwrap());
    }

    /// Ends the driver as kubelet does; answers whether it ended well.
    pub(crate) fn end_csi(&mut self) -> bool {
        self.tell_csi().wait().unwrap().success()
    }

    pub(crate) fn start_agent(&mut self, runtime: &str) {
        self.agents.push(agent::start(&self.path("run"), runtime, None));
    }

    /// Starts an agent that serves a mount for a while before it says so.
    pub(crate) fn start_slow_agent(&mut self, slow: Duration) {
        self.agents.push(agent::start_slow(&self.path("run"), "default", slow));
    }

    /// Starts an agent that has `big` at [`Node::cached`]; with `native_only` it answers no read.
    pub(crate) fn start_cached_agent(&mut self, native_only: bool) {
        self.agents.push(agent::start_cached(&self.path("run"), &self.cached(), native_only));
    }

    /// Starts an agent that gives generation `number` to be composed; see [`crate::composed`].
    pub(crate) fn start_composing_agent(&mut self, number: u64) {
        self.agents.push(agent::start_composing(&self.path("run"), number));
    }

    /// The file that agents have cached.
    pub(crate) fn cached(&self) -> PathBuf {
        self.path("cached")
    }

    /// Tells the agent that was started first to end, as kubelet does.
    pub(crate) fn tell_agent(&mut self) -> Child {
        let agent = self.agents.remove(0);
        tell(&agent);
        agent
    }

    /// Tells the driver to end, as kubelet does.
    pub(crate) fn tell_csi(&mut self) -> Child {
        let csi = self.csi.take().unwrap();
        tell(&csi);
        csi
    }

    /// Kills the agent that was started first.
    pub(crate) fn kill_agent(&mut self) {
        end(&mut self.agents.remove(0));
    }

    pub(crate) async fn client(&self) -> NodeClient<Channel> {
        NodeClient::new(channel(self.path("csi.sock")).await)
    }

    /// The mounts below this node's directories: where, and the number of each.
    pub(crate) fn mounts(&self) -> Vec<(PathBuf, String)> {
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let fields = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let all = fields.map(|fields| (PathBuf::from(fields[4]), fields[2].to_owned()));
        all.filter(|(at, _)| at.starts_with(self.path(""))).collect()
    }

    pub(crate) fn dataset(&self, name: &str) -> PathBuf {
        self.path("kubelet/plugins/csi.forebay.io/datasets").join(name)
    }

    pub(crate) fn target(&self, name: &str) -> PathBuf {
        self.path("kubelet/pods").join(name).join("mount")
    }

    pub(crate) async fn stage(&self, volume: &str) -> Result<(), tonic::Status> {
        let request = NodeStageVolumeRequest {
            volume_id: volume.into(),
            staging_target_path: self.staging(volume),
            volume_capability: Some(capability(&[])),
            ..Default::default()
        };
        self.client().await.node_stage_volume(request).await.map(drop)
    }

    pub(crate) async fn unstage(&self, volume: &str) -> Result<(), tonic::Status> {
        let request = NodeUnstageVolumeRequest { volume_id: volume.into(), staging_target_path: self.staging(volume) };
        self.client().await.node_unstage_volume(request).await.map(drop)
    }

    fn staging(&self, volume: &str) -> String {
        self.path("kubelet/staging").join(volume.replace('/', "_")).display().to_string()
    }

    /// Publishes for a pod of `namespace`, which sees the volume at [`Node::target`].
    pub(crate) async fn publish(&self, volume: &str, pod: &str, namespace: &str) -> Result<(), tonic::Status> {
        let request = self.publish_request(volume, pod, namespace);
        self.client().await.node_publish_volume(request).await.map(drop)
    }

    pub(crate) fn publish_request(&self, volume: &str, pod: &str, namespace: &str) -> NodePublishVolumeRequest {
        std::fs::create_dir_all(self.target(pod).parent().unwrap()).unwrap();
        NodePublishVolumeRequest {
            volume_id: volume.into(),
            staging_target_path: self.staging(volume),
            target_path: self.target(pod).display().to_string(),
            volume_capability: Some(capability(&[])),
            volume_context: context(&[("csi.storage.k8s.io/pod.namespace", namespace)]),
            ..Default::default()
        }
    }

    pub(crate) async fn unpublish(&self, volume: &str, pod: &str) -> Result<(), tonic::Status> {
        let request =
            NodeUnpublishVolumeRequest { volume_id: volume.into(), target_path: self.target(pod).display().to_string() };
        self.client().await.node_unpublish_volume(request).await.map(drop)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for child in self.csi.iter_mut().chain(&mut self.agents) {
            end(child);
        }
        for (at, _) in self.mounts().iter().rev() {
            let _ = rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

pub(crate) fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null());
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).map_err(Into::into)
        });
    }
    command.spawn().unwrap()
}

fn tell(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

pub(crate) fn end(child: &mut Child) {
    let _ = child.kill();
    child.wait().unwrap();
}

pub(crate) async fn channel(socket: PathBuf) -> Channel {
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://socket").connect_with_connector(connect).await.unwrap()
}

pub(crate) fn capability(flags: &[&str]) -> VolumeCapability {
    let mount_flags = flags.iter().map(|flag| (*flag).into()).collect();
    VolumeCapability {
        access_type: Some(AccessType::Mount(MountVolume { mount_flags, ..Default::default() })),
        access_mode: Some(AccessMode { mode: Mode::MultiNodeReaderOnly.into() }),
    }
}

pub(crate) fn context(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn is_gone(at: &Path) -> bool {
    std::fs::symlink_metadata(at).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
