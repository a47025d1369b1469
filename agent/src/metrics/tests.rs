#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use forebay_cache::{DatasetUsage, Medium, Reason, Stats, TierHealth, TierState, TierUsage, Usage};
use forebay_crds::dataset::{MountStatus, TierUsage as DatasetTier};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};
use forebay_crds::{DatasetStatus, Phase};
use forebay_fetch::StatsSnapshot;
use forebay_fuse::OpenCounts;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::MetricType;
use tokio_util::sync::CancellationToken;

use super::names::{ALL, Metric};
use super::ready::readiness;
use super::{registry, serve};
use crate::view::Opens;
use crate::view::twin::{Twin, dataset, start};

fn condition(type_: &str, status: &str, message: &str) -> Condition {
    Condition {
        last_transition_time: Time(Timestamp::try_from(start()).unwrap()),
        message: message.into(),
        observed_generation: None,
        reason: "Why".into(),
        status: status.into(),
        type_: type_.into(),
    }
}

/// A view in which everything has a number of its own.
fn full() -> Twin {
    let mut status = DatasetStatus { phase: Phase::Degraded, ..DatasetStatus::default() };
    status.conditions = vec![condition("Ready", "True", ""), condition("StoresReachable", "Unknown", "")];
    let catalog = &mut status.catalog;
    (catalog.files, catalog.bytes, catalog.generation, catalog.rejected) = (11, 12, 13, 14);
    catalog.listed_at = Some(Time(Timestamp::try_from(start()).unwrap()));
    let path = "/labels".parse().unwrap();
    catalog.mounts = vec![MountStatus { path, files: 15, bytes: 16, error: Some("403".into()) }];
    (status.cache.bytes, status.cache.pinned_bytes, status.cache.hit_ratio) = (17, 18, Some(0.5));
    status.cache.tiers = vec![DatasetTier { name: "ram".into(), bytes: 19, pinned_bytes: 0 }];
    let prefetch = &mut status.prefetch;
    (prefetch.done_files, prefetch.total_files, prefetch.failed_files) = (20, 21, 22);
    (prefetch.done_bytes, prefetch.total_bytes) = (23, u64::MAX);
    let mut one = dataset("ml", "imagenet", status);
    one.listing = Some(24);
    let quota = DatasetUsage { quota: Some(25), ..DatasetUsage::default() };
    let tier = TierUsage {
        name: "ram".into(),
        medium: Medium::Memory,
        capacity: 30,
        charged: 31,
        bytes: 32,
        pinned: 33,
        objects: 34,
        blocks: 35,
        native: 39,
    };
    let health = TierHealth {
        name: "ram".into(),
        medium: Medium::Memory,
        state: TierState::Faulted { retry_in: Duration::from_secs(1) },
        errors: 36,
        last_error: None,
        free: 37,
        reserve: 38,
    };
    let stats = Stats {
        hits: vec![40],
        misses: 41,
        hit_bytes: 42,
        inserted: 43,
        inserted_bytes: 44,
        evictions: 45,
        promotions: 46,
        demotions: 47,
        moves_dropped: 48,
        refused: BTreeMap::from([(Reason::Full, 49)]),
        verify_failures: 50,
        verified: 51,
        index_errors: 52,
    };
    let fetch = StatsSnapshot {
        reader_gets: 60,
        background_gets: 61,
        reader_bytes: 62,
        background_bytes: 63,
        peer_gets: 67,
        peer_bytes: 68,
        failed_gets: 64,
        joined: 65,
        refused: 66,
    };
    Twin {
        usage: Usage { tiers: vec![tier], datasets: BTreeMap::from([("ml/imagenet".into(), quota)]) },
        stats,
        health: vec![health],
        fetch,
        opens: vec![Opens {
            namespace: "ml".into(),
            name: "imagenet".into(),
            counts: OpenCounts { native: 70, served: 71, kept_ids: 72, why_not: Some("switched off".into()) },
        }],
        ..Twin::of(vec![one])
    }
}

fn scrape(twin: Twin) -> String {
    let mut page = String::new();
    encode(&mut page, &registry(Arc::new(twin))).unwrap();
    page
}

/// The name under which a metric's samples are exported.
fn exported(metric: &Metric) -> String {
    let unit = metric.unit.map(|unit| format!("_{}", prometheus_client::registry::Unit::from(unit).as_str()));
    let total = if matches!(metric.kind, MetricType::Counter) { "_total" } else { "" };
    format!("{}{}{total}", metric.name, unit.unwrap_or_default())
}

#[test]
fn every_number_is_exported_under_its_name() {
    let page = scrape(full());
    let d = r#"{namespace="ml",dataset="imagenet""#;
    let t = r#"{tier="ram",medium="memory""#;
    let expected = [
        format!(r#"forebay_build_info{{version="{}"}} 1"#, env!("CARGO_PKG_VERSION")),
        format!(r#"forebay_dataset_phase{d},phase="Degraded"}} 1"#),
        format!(r#"forebay_dataset_phase{d},phase="Ready"}} 0"#),
        format!(r#"forebay_dataset_condition{d},condition="Ready"}} 1.0"#),
        format!(r#"forebay_dataset_condition{d},condition="StoresReachable"}} -1.0"#),
        format!("forebay_dataset_mounted{d}}} 1"),
        format!("forebay_dataset_files{d}}} 11"),
        format!("forebay_dataset_size_bytes{d}}} 12"),
        format!("forebay_dataset_generation{d}}} 13"),
        format!("forebay_dataset_rejected_objects{d}}} 14"),
        format!("forebay_dataset_listed_timestamp_seconds{d}}} 1767225600.0"),
        format!(r#"forebay_dataset_mount_ok{d},mount="/labels"}} 0"#),
        format!(r#"forebay_dataset_mount_files{d},mount="/labels"}} 15"#),
        format!(r#"forebay_dataset_mount_size_bytes{d},mount="/labels"}} 16"#),
        format!("forebay_dataset_cached_bytes{d}}} 17"),
        format!("forebay_dataset_pinned_bytes{d}}} 18"),
        format!("forebay_dataset_hit_ratio{d}}} 0.5"),
        format!(r#"forebay_dataset_tier_cached_bytes{d},tier="ram"}} 19"#),
        format!("forebay_prefetch_done_files{d}}} 20"),
        format!("forebay_prefetch_planned_files{d}}} 21"),
        format!("forebay_prefetch_failed_files{d}}} 22"),
        format!("forebay_prefetch_done_bytes{d}}} 23"),
        format!("forebay_prefetch_planned_bytes{d}}} {}", u64::MAX),
        format!("forebay_dataset_listing_objects{d}}} 24"),
        format!("forebay_dataset_quota_bytes{d}}} 25"),
        format!(r#"forebay_dataset_opens_total{d},way="native"}} 70"#),
        format!(r#"forebay_dataset_opens_total{d},way="served"}} 71"#),
        format!("forebay_dataset_kept_files{d}}} 72"),
        format!("forebay_dataset_native{d}}} 0"),
        format!("forebay_tier_capacity_bytes{t}}} 30"),
        format!("forebay_tier_charged_bytes{t}}} 31"),
        format!("forebay_tier_cached_bytes{t}}} 32"),
        format!("forebay_tier_pinned_bytes{t}}} 33"),
        format!("forebay_tier_objects{t}}} 34"),
        format!("forebay_tier_blocks{t}}} 35"),
        format!("forebay_tier_errors_total{t}}} 36"),
        format!("forebay_tier_filesystem_free_bytes{t}}} 37"),
        format!("forebay_tier_filesystem_reserve_bytes{t}}} 38"),
        format!(r#"forebay_tier_state{t},state="faulted"}} 1"#),
        format!(r#"forebay_tier_state{t},state="ready"}} 0"#),
        r#"forebay_cache_native_files{tier="ram"} 39"#.into(),
        r#"forebay_cache_hits_total{tier="ram"} 40"#.into(),
        "forebay_cache_misses_total 41".into(),
        "forebay_cache_hit_bytes_total 42".into(),
        "forebay_cache_inserted_blocks_total 43".into(),
        "forebay_cache_inserted_bytes_total 44".into(),
        "forebay_cache_evicted_blocks_total 45".into(),
        "forebay_cache_promoted_blocks_total 46".into(),
        "forebay_cache_demoted_blocks_total 47".into(),
        "forebay_cache_dropped_moves_total 48".into(),
        r#"forebay_cache_refused_blocks_total{reason="full"} 49"#.into(),
        r#"forebay_cache_refused_blocks_total{reason="quota"} 0"#.into(),
        "forebay_cache_damaged_blocks_total 50".into(),
        "forebay_cache_verified_blocks_total 51".into(),
        "forebay_cache_index_errors_total 52".into(),
        r#"forebay_store_gets_total{class="reader"} 60"#.into(),
        r#"forebay_store_gets_total{class="background"} 61"#.into(),
        r#"forebay_store_received_bytes_total{class="reader"} 62"#.into(),
        r#"forebay_store_received_bytes_total{class="background"} 63"#.into(),
        "forebay_peer_gets_total 67".into(),
        "forebay_peer_received_bytes_total 68".into(),
        "forebay_store_failed_gets_total 64".into(),
        "forebay_fetch_joined_reads_total 65".into(),
        "forebay_fetch_uncached_blocks_total 66".into(),
    ];
    let lines: BTreeSet<&str> = page.lines().collect();
    for line in &expected {
        assert!(lines.contains(line.as_str()), "{line} is not in\n{page}");
    }
}

#[test]
fn every_metric_is_written_and_none_twice() {
    let page = scrape(full());
    let types: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let expected: Vec<_> = ALL.iter().map(|metric| exported(metric).trim_end_matches("_total").to_owned()).collect();
    let (mut found, mut wanted) = (types.clone(), expected.clone());
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    assert!(page.ends_with("# EOF\n"));
}

#[test]
fn the_document_says_the_same() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<_> = ALL.iter().map(row).collect();
    assert_eq!(rows, expected, "docs/metrics.md: these rows belong there:\n{}", expected.join("\n"));
}

fn row(metric: &Metric) -> String {
    let kind = if matches!(metric.kind, MetricType::Counter) { "counter" } else { "gauge" };
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {kind} | {} | {} |", exported(metric), labels.join(", "), metric.help)
}

#[test]
fn an_agent_without_datasets_has_a_page_too() {
    let page = scrape(Twin::default());
    assert!(page.contains("forebay_cache_misses_total 0"), "{page}");
    assert!(page.contains("\nprocess_resident_memory_bytes "), "{page}");
}

#[test]
fn labels_cannot_break_the_page() {
    let status = DatasetStatus::default();
    let page = scrape(Twin::of(vec![dataset("ml", "a\"} 1\n# EOF\\", status)]));
    assert!(page.contains(r#"dataset="a\"} 1\n# EOF\\""#), "{page}");
    assert_eq!(page.matches("\n# EOF\n").count(), 1);
}

#[test]
fn ready_means_listed_and_mounted() {
    let listed = |mounted, generation| {
        let mut view = dataset("ml", "a", DatasetStatus::default());
        (view.mounted, view.status.catalog.generation) = (mounted, generation);
        view
    };
    let because = |message: &str| {
        let mut view = listed(false, 0);
        view.status.conditions = vec![condition("Ready", "False", "listing"), condition("StoresReachable", "False", message)];
        view
    };
    let mut seen = listed(false, 0);
    seen.listing = Some(5);
    let cases = [
        (listed(true, 1), true, "[+] ml/a: mounted at /mnt/a\nready\n"),
        (listed(true, 0), false, "[-] ml/a: not listed yet\nnot ready\n"),
        (listed(false, 1), false, "[-] ml/a: not mounted\nnot ready\n"),
        (seen, false, "[-] ml/a: not listed yet: 5 objects seen so far\nnot ready\n"),
        (because("no\nroute"), false, "[-] ml/a: not listed yet: no\\nroute\nnot ready\n"),
    ];
    for (view, ready, text) in cases {
        assert_eq!(readiness(&[view]), (ready, text.to_owned()));
    }
    assert!(!readiness(&[listed(true, 1), listed(false, 1)]).0, "all must be");
    assert!(readiness(&[]).0);
}

/// One request by hand: the status line and the rest.
fn http(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (status, rest) = text.split_once("\r\n").unwrap();
    (status.to_owned(), rest.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_are_served_until_the_stop() {
    let twin = Arc::new(full());
    let stop = CancellationToken::new();
    let (address, task) = serve("127.0.0.1:0".parse().unwrap(), twin.clone(), stop.clone()).await.unwrap();
    let ask = |path: &'static str| tokio::task::spawn_blocking(move || http(address, path));

    let (status, page) = ask("/metrics").await.unwrap();
    assert!(status.contains("200"), "{status}");
    assert!(page.contains("application/openmetrics-text") && page.contains("forebay_cache_misses_total 41"), "{page}");
    assert!(ask("/healthz").await.unwrap().0.contains("200"));
    assert!(ask("/readyz").await.unwrap().0.contains("200"));
    twin.change(|datasets| datasets[0].mounted = false);
    let (status, body) = ask("/readyz").await.unwrap();
    assert!(status.contains("503") && body.contains("[-] ml/imagenet: not mounted"), "{status} {body}");
    assert!(ask("/").await.unwrap().1.contains("/metrics"));

    // Neither a silent client nor one that never finishes its request holds up the end.
    let _silent = TcpStream::connect(address).unwrap();
    let mut slow = TcpStream::connect(address).unwrap();
    write!(slow, "GET /metrics HTTP/1.1\r\nHost: ").unwrap();
    assert!(ask("/healthz").await.unwrap().0.contains("200"), "the slow one was accepted before");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), task).await.expect("ends").unwrap();
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn a_taken_address_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = serve(address, Arc::new(Twin::default()), CancellationToken::new()).await.unwrap_err();
    assert!(format!("{error:#}").contains("--metrics-addr"), "{error:#}");
}
