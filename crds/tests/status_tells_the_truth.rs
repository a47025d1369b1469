//! A status has numbers as numbers, and says in words what they say.

use forebay_crds::dataset::{FailedFile, RejectedObject};
use forebay_crds::k8s::{Time, jiff::Timestamp};
use forebay_crds::runtime::TierStatus;
use forebay_crds::{CacheRuntimeStatus, DatasetStatus, Phase};
use serde_json::{Value, json};

#[test]
fn summaries_round_down() {
    let cached = |bytes: u64, total: u64| {
        let mut status = DatasetStatus::default();
        status.catalog.generation = 1;
        status.catalog.bytes = total;
        status.cache.bytes = bytes;
        status.summarize();
        status.cache.percent
    };
    let mut unlisted = DatasetStatus::default();
    unlisted.summarize();
    assert_eq!(unlisted.cache.percent, 0, "nothing is known before the first listing");
    assert_eq!(cached(999_999, 1_000_000), 99, "100% only when all is cached");
    assert_eq!(cached(1_000_000, 1_000_000), 100);
    assert_eq!(cached(2_000_000, 1_000_000), 100, "blocks are rounded up to whole megabytes");
    assert_eq!(cached(0, 1), 0);
    assert_eq!(cached(0, 0), 100, "an empty tree is cached");
    assert_eq!(cached(u64::MAX - 1, u64::MAX), 99);
}

#[test]
fn it_prints_the_words_of_the_design() {
    let mut status = DatasetStatus { phase: Phase::Prefetching, claim: Some("imagenet".into()), ..DatasetStatus::default() };
    status.observed_generation = Some(3);
    status.catalog.files = 20_000;
    status.catalog.bytes = 150 << 30;
    status.catalog.generation = 2;
    status.catalog.listed_at = Some(Time(Timestamp::from_second(0).unwrap()));
    status.catalog.rejected = 1;
    status.catalog.rejected_sample.push(RejectedObject {
        mount: "/".parse().unwrap(),
        key: "a//b".into(),
        reason: "empty segment".into(),
    });
    status.cache.bytes = 63 << 30;
    status.cache.hit_ratio = Some(0.9714);
    status.nodes.ready = 3;
    status.nodes.desired = 4;
    status.prefetch.failed_files = 1;
    status.prefetch.failed.push(FailedFile { path: "/x".into(), error: "403".into() });
    status.summarize();
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["summary"], json!({ "size": "150Gi", "cached": "42%", "nodes": "3/4", "hitRatio": "97.1%" }));
    assert_eq!(json["catalog"]["listedAt"], "1970-01-01T00:00:00Z");
    assert_eq!(json["catalog"]["rejectedSample"][0], json!({ "mount": "/", "key": "a//b", "reason": "empty segment" }));
    assert_eq!(json["prefetch"]["failed"][0], json!({ "path": "/x", "error": "403" }));
    for number in [
        "/observedGeneration",
        "/catalog/files",
        "/catalog/bytes",
        "/catalog/generation",
        "/catalog/rejected",
        "/cache/bytes",
        "/cache/percent",
        "/cache/pinnedBytes",
        "/cache/hitRatio",
        "/prefetch/doneBytes",
        "/prefetch/totalBytes",
        "/prefetch/doneFiles",
        "/prefetch/totalFiles",
        "/prefetch/bytesPerSecond",
        "/nodes/ready",
        "/nodes/desired",
    ] {
        assert!(json.pointer(number).is_some_and(Value::is_number), "{number}");
    }
    assert_eq!(serde_json::from_value::<DatasetStatus>(json).unwrap(), status);
}

/// An operator that was rolled back reads what a newer one wrote.
#[test]
fn newer_fields_do_not_stop_an_older_reader() {
    let object = json!({
        "apiVersion": "forebay.io/v1alpha1",
        "kind": "Dataset",
        "metadata": { "name": "d" },
        "spec": { "mounts": [{ "path": "/", "source": "/data", "compression": "zstd" }], "write": { "replicas": 3 } },
        "status": { "phase": "Ready", "writes": { "pending": 1 } },
    });
    let dataset: forebay_crds::Dataset = serde_json::from_value(object).unwrap();
    assert_eq!(dataset.status.unwrap().phase, Phase::Ready);
}

#[test]
fn runtimes_add_up() {
    let tier =
        |name: &str, bytes| TierStatus { name: name.into(), capacity_bytes: bytes, used_bytes: bytes / 2, pinned_bytes: 0 };
    let mut status = CacheRuntimeStatus { ready_replicas: 1, desired_replicas: 2, ..CacheRuntimeStatus::default() };
    status.tiers = vec![tier("ram", 1 << 30), tier("ssd", 3 << 30)];
    status.summarize();
    assert_eq!(serde_json::to_value(&status.summary).unwrap(), json!({ "ready": "1/2", "capacity": "4.00Gi", "used": "2.00Gi" }));
    status.tiers = vec![tier("a", u64::MAX), tier("b", u64::MAX)];
    status.summarize();
    assert_eq!(status.summary.capacity, "16.0Ei");
}
