#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_api::DatasetName;
use forebay_api::node::{MountId, MountRequest};
use forebay_api::session::DatasetState;
use forebay_cache::{Medium, TierConfig};
use forebay_crds::dataset::{DatasetSpec, Mount};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use tokio::runtime::Handle;

use super::super::kept::Handled;
use super::super::node::Node;
use super::super::table::Table;
use super::Hosted;
use crate::state::StateDir;

/// Long enough for any machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// As csi mounts a Dataset.
fn mount(at: &Path) -> OwnedFd {
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", device.as_raw_fd());
    let data = std::ffi::CString::new(data).unwrap();
    rustix::mount::mount("forebay:ml/set", at, "fuse.forebay", MountFlags::RDONLY, Some(data.as_c_str())).unwrap();
    device
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
    let dir = tempfile::tempdir().unwrap();
    let (store, at) = (dir.path().join("store"), dir.path().join("at"));
    std::fs::create_dir_all(&store).unwrap();
    std::fs::create_dir_all(&at).unwrap();
    std::fs::write(store.join("file"), "bytes").unwrap();
    let tier =
        TierConfig { name: "ssd".into(), medium: Medium::Disk, dir: dir.path().join("tier"), capacity: 64 << 20, reserve: 0 };
    let state = StateDir::take(&dir.path().join("state")).unwrap();
    let table = Arc::new(Table::new("default".into(), Handle::current()));
    let net = crate::cluster::peers::net("default", "n1");
    let node = Node::open(vec![tier], &state, 64, table, net).unwrap();
    let source = format!("file://{}", store.display());
    let desired = DatasetState {
        dataset: DatasetName::new("ml", "set"),
        uid: "1".into(),
        generation: 1,
        spec: DatasetSpec::of(vec![Mount::of("/".parse().unwrap(), source.parse().unwrap())]),
        secrets: Vec::new(),
        refresh: None,
        evict: None,
    };
    let allowed = [store.to_str().unwrap().parse().unwrap()];
    let dataset = node.dataset(&desired, &allowed, state.dataset("ml", "set"), Vec::new()).unwrap();
    let hosted = Arc::new(Hosted::new(desired.clone(), Handled::default()));
    hosted.work(desired.clone(), Ok(dataset));

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
