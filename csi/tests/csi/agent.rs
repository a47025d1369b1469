//! The stand-in agent, a process of its own so that it can be killed.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_api::DatasetName;
use forebay_api::node::{
    BackingClient, Composed, Holding, Host, Layers, MountId, MountRequest, Negotiated, NodeClient, Reason, Refusal, SOCKET,
    opens_file,
};
use forebay_fs::failing::{FailingTree, Fault, Operation};
use forebay_fs::memory::{Contents, MemoryTree};
use forebay_fs::{FsError, Tree as _};
use forebay_fuse::{MountOptions, Registrar, Served, Shared, serve_descriptor};
use rustix::thread::CapabilitySet;
use tokio::signal::unix::{SignalKind, signal};

use crate::composed;

const RUN: &str = "FOREBAY_TEST_AGENT_RUN";
const RUNTIME: &str = "FOREBAY_TEST_AGENT_RUNTIME";
const TIER: &str = "FOREBAY_TEST_AGENT_TIER";
const SLOW: &str = "FOREBAY_TEST_AGENT_SLOW";
const CACHED: &str = "FOREBAY_TEST_AGENT_CACHED";
const NATIVE_ONLY: &str = "FOREBAY_TEST_AGENT_NATIVE_ONLY";
const GENERATION: &str = "FOREBAY_TEST_AGENT_GENERATION";

/// Bytes of `big` in each Dataset.
pub(crate) const BIG: usize = (4 << 20) + 77;

/// Bytes that differ at every offset and between Datasets.
pub(crate) fn pattern(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// What an agent of `runtime` has: Dataset, the seed of its bytes, the namespaces that may use it besides its own.
fn datasets(runtime: &str) -> Vec<(DatasetName, u64, &'static [&'static str])> {
    match runtime {
        "default" => vec![(DatasetName::new("ml", "imagenet"), 1, &["research"]), (DatasetName::new("ml", "open"), 2, &["*"])],
        _ => vec![(DatasetName::new("ml", "second"), 3, &[])],
    }
}

/// What is served, by mount.
type Mounts = BTreeMap<MountId, (DatasetName, Arc<Served>)>;

#[derive(Clone)]
struct StandIn {
    runtime: String,
    /// From serving a mount to saying so.
    slow: Duration,
    run: PathBuf,
    /// The generation that it gives for composing; 0: none.
    generation: u64,
    csi: Arc<OnceLock<BackingClient>>,
    mounts: Arc<Mutex<Mounts>>,
}

impl StandIn {
    fn mounts(&self) -> std::sync::MutexGuard<'_, Mounts> {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, dataset: &DatasetName) -> Result<(u64, &'static [&'static str]), Refusal> {
        let found = datasets(&self.runtime).into_iter().find(|(name, ..)| name == dataset);
        let refusal = || Refusal::new(Reason::UnknownDataset, format!("there is no Dataset {dataset}"));
        found.map(|(_, seed, granted)| (seed, granted)).ok_or_else(refusal)
    }

    /// Under the lock from beginning to end, as the agent does it: csi may go in between, and its successor is told of all mounts.
    fn serve_blocking(&self, request: MountRequest, runtime: tokio::runtime::Handle) -> Result<Negotiated, Refusal> {
        let (seed, _) = self.find(&request.dataset)?;
        let mut mounts = self.mounts();
        if let Some((_, served)) = mounts.get(&request.mount) {
            return Ok(of(served));
        }
        let mut files = Contents::new().file("big", pattern(seed, BIG), 0).file("dir/small", format!("dataset {seed}"), 0);
        if self.generation > 0 {
            files = composed::objects(files);
        }
        let tree = FailingTree::new(Arc::new(MemoryTree::new(&files, Duration::ZERO)));
        let delay = Fault::Delay(Duration::from_millis(2));
        let refuse = || Fault::Error(FsError::Io { message: "not by this agent".into() });
        tree.inject(Operation::Read, None, if std::env::var(NATIVE_ONLY).is_ok() { refuse() } else { delay });
        if let Ok(cached) = std::env::var(CACHED) {
            // Not open by the agent itself: who has it open is asked of the kernel.
            let cached = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(cached).unwrap();
            tree.inner().complete(tree.lookup(1, b"big").unwrap().ino, cached);
        }
        let table = OpenOptions::new().read(true).write(true).open(opens_file(&self.run, request.mount)).unwrap();
        let csi = self.csi.get().unwrap().clone();
        let shared = Some(Shared { registrar: Box::new(ByCsi { csi, mount: request.mount }), table });
        let mut options = MountOptions::new(request.dataset.to_string(), "kept");
        options.beneath_overlay = self.generation > 0;
        let earlier = request.negotiated.map(|Negotiated { minor, flags, max_readahead }| forebay_fuse::Negotiated {
            minor,
            flags,
            max_readahead,
        });
        let served = serve_descriptor(Arc::new(tree), &options, runtime, request.device, earlier, shared);
        let served = Arc::new(served.map_err(|error| Refusal::new(Reason::Failed, error.to_string()))?);
        let agreed = of(&served);
        mounts.insert(request.mount, (request.dataset, served));
        Ok(agreed)
    }
}

#[async_trait]
impl Host for StandIn {
    async fn allowed(&self, dataset: &DatasetName, namespace: &str) -> Result<(), Refusal> {
        let (_, granted) = self.find(dataset)?;
        if namespace == dataset.namespace || granted.iter().any(|one| ["*", namespace].contains(one)) {
            return Ok(());
        }
        let message = format!("namespace {namespace} may not use Dataset {dataset}: add it to spec.allowedNamespaces");
        Err(Refusal::new(Reason::NotGranted, message))
    }

    async fn serve(&self, request: MountRequest) -> Result<Negotiated, Refusal> {
        let (host, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let agreed = tokio::task::spawn_blocking(move || host.serve_blocking(request, runtime)).await.unwrap()?;
        tokio::time::sleep(self.slow).await;
        Ok(agreed)
    }

    async fn resend(&self, mount: MountId) {
        let served = self.mounts().get(&mount).map(|(_, served)| Arc::clone(served));
        if let Some(served) = served {
            served.notifier().resend().unwrap();
        }
    }

    async fn release(&self, mount: MountId) {
        self.mounts().remove(&mount);
    }

    async fn compose(&self, mount: MountId) -> Result<Result<Layers, String>, Refusal> {
        if !self.mounts().contains_key(&mount) {
            return Err(Refusal::new(Reason::NotReady, "not served"));
        }
        if self.generation == 0 {
            return Ok(Err("this agent composes nothing".into()));
        }
        Ok(Ok(composed::layers(&self.run, self.generation)))
    }

    async fn composed(&self, _: MountId, composed: Composed) {
        if self.generation > 0 {
            composed::note(&self.run, &composed);
        }
    }

    fn holdings(&self) -> Vec<Holding> {
        let holding = |(mount, (dataset, served)): (&MountId, &(DatasetName, Arc<Served>))| Holding {
            mount: *mount,
            dataset: dataset.clone(),
            negotiated: of(served),
            device: served.device().unwrap(),
        };
        self.mounts().iter().map(holding).collect()
    }
}

#[derive(Debug)]
struct ByCsi {
    csi: BackingClient,
    mount: MountId,
}

impl Registrar for ByCsi {
    fn register(&self, file: BorrowedFd<'_>) -> io::Result<u32> {
        self.csi.register(self.mount, file)
    }

    fn close(&self, id: u32) -> io::Result<()> {
        self.csi.close(self.mount, id)
    }
}

fn of(served: &Served) -> Negotiated {
    let forebay_fuse::Negotiated { minor, flags, max_readahead } = served.negotiated();
    Negotiated { minor, flags, max_readahead }
}

/// What the agent's process does; by itself, as a test, nothing.
#[test]
fn process() {
    let (Ok(run), Ok(runtime)) = (std::env::var(RUN), std::env::var(RUNTIME)) else { return };
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    // As in a pod: an agent may register nothing itself. Before there are threads, for each has rights of its own.
    let mut rights = rustix::thread::capabilities(None).unwrap();
    rights.effective.remove(CapabilitySet::SYS_ADMIN);
    rights.permitted.remove(CapabilitySet::SYS_ADMIN);
    rustix::thread::set_capabilities(None, rights).unwrap();
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    threads.block_on(async {
        let slow = std::env::var(SLOW).map_or(Duration::ZERO, |millis| Duration::from_millis(millis.parse().unwrap()));
        let run = PathBuf::from(run);
        let csi = Arc::default();
        let generation = std::env::var(GENERATION).map_or(0, |number| number.parse().unwrap());
        let host =
            Arc::new(StandIn { runtime: runtime.clone(), slow, run: run.clone(), generation, csi, mounts: Arc::default() });
        // Before csi knows of it, and a test tells it to end.
        let mut told = signal(SignalKind::terminate()).unwrap();
        let client = NodeClient::start(run.join(SOCKET), runtime, "stand-in", Arc::clone(&host));
        host.csi.set(client.backings(tokio::runtime::Handle::current())).unwrap();
        if let Ok(bytes) = std::env::var(TIER) {
            client.connected().await;
            let size = bytes.parse().unwrap();
            if size == 0 { client.drop_memory("ram").await.unwrap() } else { client.prepare_memory("ram", size).await.unwrap() }
        }
        told.recv().await;
        client.leave().await;
        std::process::exit(0);
    });
}

/// Starts an agent that serves mounts at once and says so later.
pub(crate) fn start_slow(run: &std::path::Path, runtime: &str, slow: Duration) -> Child {
    let mut command = command(run, runtime);
    command.env(SLOW, slow.as_millis().to_string());
    command.spawn().unwrap()
}

/// Starts an agent that has all of `big` in `cached`; with `native_only` it answers no read at all.
pub(crate) fn start_cached(run: &std::path::Path, cached: &std::path::Path, native_only: bool) -> Child {
    let mut command = command(run, "default");
    command.env(CACHED, cached);
    if native_only {
        command.env(NATIVE_ONLY, "yes");
    }
    command.spawn().unwrap()
}

/// Starts an agent that gives a generation to be composed.
pub(crate) fn start_composing(run: &std::path::Path, generation: u64) -> Child {
    let mut command = command(run, "default");
    command.env(GENERATION, generation.to_string());
    command.spawn().unwrap()
}

/// Starts an agent; with `tier`, it asks for a `Memory` tier `ram` of that many bytes first, or has it dropped with 0.
pub(crate) fn start(run: &std::path::Path, runtime: &str, tier: Option<u64>) -> Child {
    let mut command = command(run, runtime);
    if let Some(bytes) = tier {
        command.env(TIER, bytes.to_string());
    }
    command.spawn().unwrap()
}

fn command(run: &std::path::Path, runtime: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "agent::process", "--nocapture"]).env(RUN, run).env(RUNTIME, runtime);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}
