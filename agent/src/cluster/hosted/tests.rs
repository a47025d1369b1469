#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_api::DatasetName;
use forebay_api::node::{BackingClient, Composed, MountId, MountRequest, NodeClient, OBJECTS};
use forebay_api::session::DatasetState;
use forebay_cache::{Medium, TierConfig};
use forebay_crds::conditions::dataset::{COMPOSED, NATIVE_READS};
use forebay_crds::dataset::{DatasetSpec, Mount, Phase, RefreshPolicy};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use tokio::runtime::Handle;

use super::super::kept::Handled;
use super::super::node::Node;
use super::super::table::Table;
use super::Hosted;
use crate::state::StateDir;
use crate::way::Off;

/// Long enough for any machine.
const DEADLINE: Duration = Duration::from_secs(600);

/// As csi mounts a Dataset.
fn mount(at: &Path) -> OwnedFd {
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", device.as_raw_fd());
    let data = std::ffi::CString::new(data).unwrap();
    rustix::mount::mount("forebay:ml/set", at, "fuse.forebay", MountFlags::RDONLY, Some(data.as_c_str())).unwrap();
    device
}

/// What an agent of a test has on the disk.
struct Places {
    dir: tempfile::TempDir,
    store: PathBuf,
    at: PathBuf,
    tier: TierConfig,
    state: StateDir,
}

impl Places {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [store, at, tier, state] = ["store", "at", "tier", "state"].map(|name| dir.path().join(name));
        std::fs::create_dir_all(&store).unwrap();
        std::fs::create_dir_all(&at).unwrap();
        let tier = TierConfig { name: "ssd".into(), medium: Medium::Disk, dir: tier, capacity: 64 << 20, reserve: 0 };
        Self { state: StateDir::take(&state).unwrap(), dir, store, at, tier }
    }
}

/// Dataset `ml/set` of the directory `store`.
fn desired(store: &Path, choose: impl FnOnce(&mut DatasetSpec)) -> DatasetState {
    let source = format!("file://{}", store.display());
    let mut spec = DatasetSpec::of(vec![Mount::of("/".parse().unwrap(), source.parse().unwrap())]);
    choose(&mut spec);
    DatasetState {
        dataset: DatasetName::new("ml", "set"),
        uid: "1".into(),
        generation: 1,
        spec,
        secrets: Vec::new(),
        refresh: None,
        evict: None,
    }
}

/// Pods stay on a listing.
fn stays(spec: &mut DatasetSpec) {
    spec.consistency.refresh = RefreshPolicy::NewPods;
    spec.pin.paths = vec!["/pinned".parse().unwrap()];
}

/// An agent that serves the Dataset `ml/set`, and its way to csi, which nobody answers.
struct Bench {
    places: Places,
    node: Node,
    /// It serves for as long as it is there.
    client: NodeClient,
    csi: BackingClient,
    desired: DatasetState,
    hosted: Arc<Hosted>,
}

impl Bench {
    fn start(places: Places, off: Off, choose: impl FnOnce(&mut DatasetSpec)) -> Self {
        let Places { dir, store, tier, state, .. } = &places;
        let table = Arc::new(Table::new("default".into(), Handle::current()));
        let client = NodeClient::start(dir.path().join("csi.sock"), "default", "test", table.clone());
        let csi = client.backings(Handle::current());
        let net = crate::cluster::peers::net("default", "n1", None);
        let node = Node::open(vec![tier.clone()], state, 64, table, net).unwrap();
        let desired = desired(store, choose);
        let allowed = [store.to_str().unwrap().parse().unwrap()];
        let dataset = node.dataset(&desired, &allowed, state.dataset("ml", "set"), Vec::new()).unwrap();
        let hosted = Arc::new(Hosted::new(desired.clone(), Handled::default()).without(off));
        hosted.work(desired.clone(), Ok(dataset));
        Self { places, node, client, csi, desired, hosted }
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "{what} never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_went_without_a_word_holds_nothing_back() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let places = Places::new();
    std::fs::write(places.store.join("file"), "bytes").unwrap();
    let Bench { places: Places { at, dir: _dir, state: _state, .. }, node: _node, client: _client, desired, hosted, .. } =
        Bench::start(places, Off::default(), |_| {});

    let device = mount(&at);
    let (id, name) = (MountId(7), desired.dataset.clone());
    until("the listing", || hosted.view().status.catalog.generation > 0).await;
    let request = MountRequest { mount: id, dataset: name, device: device.try_clone().unwrap(), negotiated: None };
    hosted.serve(request, None, Handle::current()).await.unwrap();
    let path = at.join("file");
    let read = tokio::task::spawn_blocking(move || std::fs::read(path).unwrap()).await.unwrap();
    assert_eq!(read, b"bytes");
    hosted.remove();
    assert!(!hosted.may_go(), "a mount shows it");
    assert_eq!(hosted.holdings().len(), 1);

    // csi unmounts it and ends before it can say so.
    rustix::mount::unmount(&at, UnmountFlags::empty()).unwrap();
    drop(device);
    until("its end", || hosted.may_go()).await;
    assert!(hosted.holdings().is_empty(), "no csi is given a mount that is gone");
    hosted.rest().await;
}

/// Mounts what the agent gives, as csi does.
fn compose(layers: forebay_api::node::Layers, own: &Path) -> forebay_overlay::Composed {
    let mut data = forebay_overlay::borrow(layers.namespace.as_fd(), &layers.directories).unwrap();
    let root = rustix::fs::open(own, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    data.push(rustix::fs::openat(&root, OBJECTS, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap());
    let data = data.iter().map(forebay_overlay::path_of).collect();
    let source = "forebay:ml/set".into();
    forebay_overlay::mount(&forebay_overlay::Layers { image: forebay_overlay::path_of(&layers.image), data, source }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_csi_composes_stays_on_its_generation_and_is_told_of_in_the_status() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let places = Places::new();
    std::fs::create_dir_all(places.store.join("pinned")).unwrap();
    std::fs::write(places.store.join("pinned/file"), vec![1; 100_000]).unwrap();
    std::fs::write(places.store.join("other"), "before").unwrap();
    let Bench { places, node, client: _client, csi, desired, hosted } = Bench::start(places, Off::default(), stays);
    let (Places { dir: _dir, store, at, tier, state }, name) = (places, desired.dataset);
    until("what is pinned", || hosted.view().status.phase == Phase::Ready).await;
    // Not by a program: a child that is just being started has a copy of whatever is open in another test.
    // What is small and not pinned may be there too.
    let published = || has_file(&tier.dir.join("native"), Some(100_000));
    until("the published file", published).await;

    let (device, id) = (mount(&at), MountId(7));
    let request = MountRequest { mount: id, dataset: name, device: device.try_clone().unwrap(), negotiated: None };
    hosted.serve(request, None, Handle::current()).await.unwrap();
    let said = |kind: &str| hosted.view().status.conditions.into_iter().find(|condition| condition.type_ == kind);
    let condition = || said(COMPOSED);
    assert!(condition().is_none(), "nothing is known yet");
    assert_eq!(said(NATIVE_READS).unwrap().status, "False", "nobody may register files here");
    let layers = hosted.compose(node.cache.clone()).await.unwrap();
    assert_eq!((layers.generation, layers.directories.len()), (1, 1));
    let own = at.clone();
    let composed = tokio::task::spawn_blocking(move || compose(layers, &own)).await.unwrap();
    let read = |path: PathBuf| tokio::task::spawn_blocking(move || std::fs::read(path).unwrap());
    assert_eq!(read(composed.path().join("pinned/file")).await.unwrap(), vec![1; 100_000]);
    assert_eq!(read(composed.path().join("other")).await.unwrap(), b"before");
    hosted.composed(id, Composed { generations: vec![1], why_not: None }, csi.clone());
    assert_eq!(condition().unwrap().status, "True");

    std::fs::remove_file(store.join("pinned/file")).unwrap();
    std::fs::write(store.join("other"), "after").unwrap();
    hosted.refresh();
    until("the next listing", || hosted.view().status.catalog.generation == 2).await;
    until("the sight of it for who does not stay", || std::fs::read(at.join("other")).unwrap() == b"after").await;
    assert_eq!(read(composed.path().join("other")).await.unwrap(), b"before");
    assert_eq!(read(composed.path().join("pinned/file")).await.unwrap(), vec![1; 100_000]);
    let former = state.dataset("ml", "set").join("catalog-1.fbc");
    assert!(former.exists() && published(), "it is shown");
    hosted.composed(id, Composed { generations: Vec::new(), why_not: Some("no EROFS".into()) }, csi);
    let said = condition().unwrap();
    assert_eq!((said.status.as_str(), said.reason.as_str(), said.message.as_str()), ("False", "ServedByFuse", "no EROFS"));
    until("the former generation's end", || !former.exists() && !published()).await;

    drop(composed);
    rustix::mount::unmount(&at, UnmountFlags::DETACH).unwrap();
    drop(device);
    hosted.rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_is_not_done_and_the_status_says_how_to_have_it() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let places = Places::new();
    std::fs::create_dir_all(places.store.join("pinned")).unwrap();
    std::fs::write(places.store.join("pinned/file"), vec![1; 100_000]).unwrap();
    let off = Off { native: Some("native is off"), composed: Some("composed is off") };
    let Bench { places, node, client: _client, csi, desired, hosted } = Bench::start(places, off, stays);
    let (Places { dir: _dir, at, tier, state: _state, .. }, name) = (places, desired.dataset);
    let published = tier.dir.join("native");
    until("what is pinned", || hosted.view().status.phase == Phase::Ready).await;
    assert_eq!(hosted.compose(node.cache.clone()).await.err().as_deref(), Some("composed is off"));
    assert!(!has_file(&published, None), "nobody would find it");

    let (device, id) = (mount(&at), MountId(7));
    let request = MountRequest { mount: id, dataset: name, device: device.try_clone().unwrap(), negotiated: None };
    hosted.serve(request, None, Handle::current()).await.unwrap();
    let said = |kind: &str| {
        let found = hosted.view().status.conditions.into_iter().find(|condition| condition.type_ == kind).unwrap();
        (found.status, found.reason, found.message)
    };
    let told = |words: &str| ("False".to_owned(), "ServedByFuse".to_owned(), words.to_owned());
    assert_eq!((said(NATIVE_READS), said(COMPOSED)), (told("native is off"), told("composed is off")));
    let path = at.join("pinned/file");
    let read = tokio::task::spawn_blocking(move || std::fs::read(path).unwrap()).await.unwrap();
    assert_eq!(read, vec![1; 100_000]);
    hosted.composed(id, Composed { generations: vec![1], why_not: None }, csi);
    assert_eq!(said(COMPOSED), told("composed is off"), "also while pods see what was composed for them before");

    rustix::mount::unmount(&at, UnmountFlags::DETACH).unwrap();
    drop(device);
    hosted.rest().await;
}

/// Whether there is a file below `dir`, of that size where one is named.
fn has_file(dir: &Path, size: Option<u64>) -> bool {
    let mut entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let is_it = |found: std::fs::Metadata| found.is_file() && size.is_none_or(|size| found.len() == size);
    entries.any(|entry| {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir { has_file(&entry.path(), size) } else { entry.metadata().is_ok_and(is_it) }
    })
}
