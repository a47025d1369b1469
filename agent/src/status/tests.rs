//! Golden texts of statuses.
#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use std::time::Duration;

use forebay_crds::dataset::{FailedFile, MountStatus, RejectedObject, TierUsage};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};
use forebay_crds::{DatasetStatus, Phase};

use super::{json, text};
use crate::view::DatasetView;
use crate::view::twin::{dataset, start};

/// So many seconds after [`start`].
fn at(seconds: u64) -> Timestamp {
    Timestamp::try_from(start() + Duration::from_secs(seconds)).unwrap()
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        last_transition_time: Time(at(0)),
        message: message.into(),
        observed_generation: None,
        reason: reason.into(),
        status: status.into(),
        type_: type_.into(),
    }
}

fn mount(path: &str, files: u64, bytes: u64, error: Option<&str>) -> MountStatus {
    MountStatus { path: path.parse().unwrap(), files, bytes, error: error.map(Into::into) }
}

fn listing() -> DatasetView {
    let mut status = DatasetStatus { phase: Phase::Listing, ..DatasetStatus::default() };
    status.conditions.push(condition("Ready", "False", "Listing", "the stores are being listed"));
    status.summarize();
    let mut view = dataset("ml", "new", status);
    view.mounted = false;
    view.listing = Some(1234);
    view
}

fn prefetching() -> DatasetView {
    let mut status = DatasetStatus { phase: Phase::Prefetching, ..DatasetStatus::default() };
    status.conditions.push(condition("Ready", "True", "AsDesired", "not to be shown"));
    status.conditions.push(condition("Prefetched", "False", "Prefetching", ""));
    let catalog = &mut status.catalog;
    (catalog.files, catalog.bytes, catalog.generation) = (4000, 14 << 30, 3);
    catalog.listed_at = Some(Time(at(10)));
    catalog.mounts = vec![mount("/", 3900, 13 << 30, None), mount("/labels", 100, 1 << 30, None)];
    let prefetch = &mut status.prefetch;
    (prefetch.done_bytes, prefetch.total_bytes) = (3 << 30, 14 << 30);
    (prefetch.done_files, prefetch.total_files) = (120, 4000);
    prefetch.bytes_per_second = 300 << 20;
    prefetch.estimated_completion = Some(Time(at(300 + 38)));
    status.cache.bytes = 3 << 30;
    status.cache.tiers = vec![
        TierUsage { name: "ram".into(), bytes: 1 << 30, pinned_bytes: 512 << 20 },
        TierUsage { name: "ssd".into(), bytes: 2 << 30, pinned_bytes: 0 },
    ];
    status.cache.hit_ratio = Some(0.971);
    status.summarize();
    dataset("ml", "imagenet", status)
}

fn degraded() -> DatasetView {
    let mut view = prefetching();
    view.name = "broken".into();
    let status = &mut view.status;
    status.phase = Phase::Degraded;
    status.conditions = vec![condition("StoresReachable", "Unknown", "AccessDenied", "mount /labels: 403\nrenew the key")];
    status.catalog.mounts[1].error = Some("403 \u{1b}[31mForbidden".into());
    status.catalog.rejected = 23;
    status.catalog.rejected_sample =
        vec![RejectedObject { mount: "/".parse().unwrap(), key: "a//b\u{202e}txt".into(), reason: "empty segment".into() }];
    let prefetch = &mut status.prefetch;
    (prefetch.bytes_per_second, prefetch.estimated_completion, prefetch.failed_files) = (0, None, 3);
    prefetch.failed = vec![
        FailedFile { path: "/labels/a".into(), error: "access denied".into() },
        FailedFile { path: "/labels/b".into(), error: "access denied".into() },
    ];
    status.cache.tiers.clear();
    status.cache.hit_ratio = None;
    status.summarize();
    view
}

#[test]
fn one_dataset_being_fetched() {
    let expected = "\
NAME       FILES   SIZE     CACHED   PHASE         AGE
imagenet   4000    14.0Gi   21%      Prefetching   5m

ml/imagenet: mounted at /mnt/imagenet, listing 3 made 4m50s ago
  Prefetched is False (Prefetching)
  prefetch   21%: 3.00Gi of 14.0Gi, 120 of 4000 files, 300Mi/s, 38s left
  tier       ram: 1.00Gi, 512Mi pinned
  tier       ssd: 2.00Gi
  hit ratio  97.1%
  mount      /: 3900 files, 13.0Gi
  mount      /labels: 100 files, 1.00Gi
";
    assert_eq!(text(&[prefetching()], at(300)), expected);
}

#[test]
fn nothing_is_claimed_of_a_tree_that_is_not_listed() {
    let expected = "\
NAME   FILES   SIZE   CACHED   PHASE     AGE
new    -       -      -        Listing   7s

ml/new: not mounted yet (will be at /mnt/new), not listed yet
  Ready is False (Listing): the stores are being listed
  listing    1234 objects seen
";
    assert_eq!(text(&[listing()], at(7)), expected);
}

#[test]
fn what_is_amiss_is_told_and_cannot_steer_the_terminal() {
    let expected = r#"ml/broken: mounted at /mnt/imagenet, listing 3 made 4m50s ago
  StoresReachable is Unknown (AccessDenied): mount /labels: 403\nrenew the key
  prefetch   21%: 3.00Gi of 14.0Gi, 120 of 4000 files, 0B/s
  not fetched: 3 files
    /labels/a: access denied
    /labels/b: access denied
    and 1 more
  mount      /: 3900 files, 13.0Gi
  mount      /labels: 100 files, 1.00Gi; failed: 403 \u{1b}[31mForbidden
  not shown: 23 objects that cannot be files
    mount /: "a//b\u{202e}txt": empty segment
    and 22 more
"#;
    let shown = text(&[degraded()], at(300));
    assert_eq!(shown.split_once("\n\n").unwrap().1, expected);
}

#[test]
fn several_namespaces_have_a_column() {
    let mut other = listing();
    other.namespace = "analytics".into();
    let shown = text(&[other, prefetching()], at(300));
    let head: Vec<_> = shown.lines().take(3).collect();
    assert_eq!(
        head,
        [
            "NAMESPACE   NAME       FILES   SIZE     CACHED   PHASE         AGE",
            "analytics   new        -       -        -        Listing       5m",
            "ml          imagenet   4000    14.0Gi   21%      Prefetching   5m",
        ]
    );
    assert_eq!(text(&[], at(0)), "No Datasets are served.\n");
}

#[test]
fn json_is_what_kubectl_would_print() {
    let text = json::json(&[prefetching(), listing()], true).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["apiVersion"], &value["kind"]), (&"v1".into(), &"List".into()));
    let item = &value["items"][0];
    assert_eq!((&item["apiVersion"], &item["kind"]), (&"forebay.io/v1alpha1".into(), &"Dataset".into()));
    let metadata = serde_json::json!({
        "namespace": "ml",
        "name": "imagenet",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "annotations": {"forebay.io/mounted-at": "/mnt/imagenet"},
    });
    assert_eq!(item["metadata"], metadata);
    let status: DatasetStatus = serde_json::from_value(item["status"].clone()).unwrap();
    assert_eq!(status, prefetching().status, "nothing of the status is lost");
    assert!(value["items"][1]["metadata"].get("annotations").is_none(), "it is not mounted");
    assert_eq!(json::json(&[prefetching()], false).unwrap().lines().count(), 1);
}
