//! The server and the client of the socket together.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forebay_api::{Client, ConnectError, ControlError, DatasetName, connect, socket as place};
use forebay_cache::{Medium, TierHealth, TierState};
use forebay_crds::{DatasetStatus, Phase};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::serve;
use crate::view::twin::{Twin, dataset};

/// Generous: only a hang takes so long.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(1);

struct Served {
    dir: tempfile::TempDir,
    twin: Arc<Twin>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    async fn start() -> Self {
        Self::with(Vec::new()).await
    }

    /// With tiers that do so.
    async fn with(health: Vec<TierHealth>) -> Self {
        let phase = |phase| DatasetStatus { phase, ..DatasetStatus::default() };
        let twin = Twin::of(vec![dataset("ml", "b", phase(Phase::Ready)), dataset("ml", "a", phase(Phase::Listing))]);
        let (dir, twin, stop) = (tempfile::tempdir().unwrap(), Arc::new(Twin { health, ..twin }), CancellationToken::new());
        let task = serve(place::path(dir.path()), twin.clone(), stop.clone()).await.unwrap();
        Self { dir, twin, stop, task }
    }

    async fn client(&self) -> Client {
        connect(self.dir.path()).await.unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(LONG, self.task).await.expect("ends").unwrap();
    }
}

#[tokio::test]
async fn status_is_told_of_all_and_of_one() {
    let served = Served::start().await;
    let mut client = served.client().await;
    let all = client.status(None).await.unwrap();
    let names: Vec<_> = all.iter().map(|d| (&*d.name, d.status.phase)).collect();
    assert_eq!(names, [("a", Phase::Listing), ("b", Phase::Ready)]);
    let one = client.status(Some(DatasetName::new("ml", "b"))).await.unwrap();
    assert_eq!(one, all[1..]);
    served.end().await;
}

#[tokio::test]
async fn a_tier_that_cannot_be_used_is_told_with_each_dataset_and_why() {
    let tier = |name: &str, state, last_error: Option<&str>| TierHealth {
        name: name.into(),
        medium: Medium::Disk,
        state,
        errors: 0,
        last_error: last_error.map(Into::into),
        free: 0,
        reserve: 0,
    };
    let fault = TierState::Faulted { retry_in: SHORT };
    let served = Served::with(vec![
        tier("ram", TierState::Ready, Some("cannot read objects/00/1: it was once")),
        tier("ssd", fault, Some("cannot write objects/00/1: Read-only file system")),
    ])
    .await;
    let mut client = served.client().await;
    let first = client.status(None).await.unwrap();
    for told in &first {
        let said: Vec<_> =
            told.status.conditions.iter().map(|said| (&*said.type_, &*said.status, &*said.reason, &*said.message)).collect();
        let message = "tier ssd is not used: cannot write objects/00/1: Read-only file system";
        assert_eq!(said, [("TiersUsable", "False", "TierFaulty", message)]);
    }
    assert_eq!(client.status(None).await.unwrap(), first, "since it was seen first, not since each look");
    served.end().await;
}

#[tokio::test]
async fn an_unknown_name_is_answered_with_the_known_ones() {
    let served = Served::start().await;
    let mut client = served.client().await;
    let unknown = || DatasetName::new("ml", "c");
    let errors = [
        client.status(Some(unknown())).await.unwrap_err(),
        client.watch(Some(unknown()), SHORT).await.unwrap().next().await.unwrap_err(),
        client.refresh(unknown()).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, ControlError::NotFound(_)), "{error:?}");
        assert!(error.to_string().contains("ml/c") && error.to_string().contains("ml/a, ml/b"), "{error}");
    }
    let nameless = client.status(Some(DatasetName::new("", "a"))).await.unwrap_err();
    assert!(nameless.to_string().contains("dataset.namespace"), "{nameless}");
    served.end().await;
}

#[tokio::test]
async fn refresh_reaches_the_dataset() {
    let served = Served::start().await;
    served.client().await.refresh(DatasetName::new("ml", "a")).await.unwrap();
    assert_eq!(*served.twin.refreshed.lock().unwrap(), ["ml/a"]);
    served.end().await;
}

#[tokio::test]
async fn a_watch_tells_changes_and_ends_with_the_agent() {
    let served = Served::start().await;
    let mut watch = served.client().await.watch(None, SHORT).await.unwrap();
    let first = timeout(LONG, watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first[0].status.phase, Phase::Listing);
    let quiet = timeout(Duration::from_millis(350), watch.next()).await;
    assert!(quiet.is_err(), "nothing changed, and yet: {quiet:?}");
    served.twin.change(|datasets| datasets[1].status.phase = Phase::Prefetching);
    let second = timeout(LONG, watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(second[0].status.phase, Phase::Prefetching);
    served.stop.cancel();
    assert!(timeout(LONG, watch.next()).await.unwrap().unwrap().is_none());
    served.end().await;
}

#[tokio::test]
async fn only_so_many_watch() {
    let served = Served::start().await;
    let mut watches = Vec::new();
    let error = loop {
        assert!(watches.len() < 48, "there is no bound");
        // A connection takes only so many requests.
        match served.client().await.watch(None, SHORT).await {
            Ok(watch) => watches.push(watch),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ControlError::Busy(_)), "{error:?}");
    // Room is made when one goes.
    watches.clear();
    let again = async {
        while served.client().await.watch(None, SHORT).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, again).await.expect("a watch that ended makes room");
    served.end().await;
}

#[tokio::test]
async fn the_socket_is_the_users_own_and_goes_with_the_agent() {
    let served = Served::start().await;
    let path = place::path(served.dir.path());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (stop, task, dir) = (served.stop, served.task, served.dir);
    stop.cancel();
    timeout(LONG, task).await.unwrap().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
    assert!(matches!(connect(dir.path()).await, Err(ConnectError::NoAgent(_))));
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_up_the_end() {
    let served = Served::start().await;
    let path = place::path(served.dir.path());
    let _idle = tokio::net::UnixStream::connect(&path).await.unwrap();
    let _watch = served.client().await.watch(None, SHORT).await.unwrap();
    served.end().await;
}

#[tokio::test]
async fn what_a_killed_agent_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = place::path(dir.path());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("agent.sock.new")).unwrap());
    let left = fs::metadata(&path).unwrap().ino();
    let stop = CancellationToken::new();
    let task = serve(path.clone(), Arc::new(Twin::default()), stop.clone()).await.unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), left);
    assert!(connect(dir.path()).await.unwrap().status(None).await.unwrap().is_empty());
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_running_agent_is_not_replaced() {
    let served = Served::start().await;
    let error = refused(&place::path(served.dir.path())).await;
    assert!(error.contains(&format!("process {}", std::process::id())) && error.contains("--state"), "{error}");
    assert_eq!(served.client().await.status(None).await.unwrap().len(), 2);
    served.end().await;
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = place::path(dir.path());
    fs::write(&path, "dear to somebody").unwrap();
    let error = refused(&path).await;
    assert!(error.contains("move it away"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "dear to somebody");
}

#[tokio::test]
async fn the_successors_socket_is_left_alone() {
    let served = Served::start().await;
    let path = place::path(served.dir.path());
    fs::remove_file(&path).unwrap();
    fs::write(&path, "the next one's").unwrap();
    served.stop.cancel();
    timeout(LONG, served.task).await.unwrap().unwrap();
    assert!(path.exists());
}

#[tokio::test]
async fn a_state_directory_may_have_a_long_path() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("x".repeat(150));
    fs::create_dir(&long).unwrap();
    let stop = CancellationToken::new();
    let task = serve(place::path(&long), Arc::new(Twin::default()), stop.clone()).await.unwrap();
    assert!(connect(&long).await.unwrap().status(None).await.unwrap().is_empty());
    stop.cancel();
    task.await.unwrap();
    assert!(!place::path(&long).exists());
}

async fn refused(path: &Path) -> String {
    let error = serve(path.into(), Arc::new(Twin::default()), CancellationToken::new()).await.unwrap_err();
    format!("{error:#}")
}
