//! A status that went through a message is the same status; a message that no status can be is refused by its field.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, UNIX_EPOCH};

use forebay_api::{DatasetName, DatasetReport, v1};
use forebay_crds::dataset::{
    CacheStatus, CatalogStatus, FailedFile, MountStatus, NodesStatus, PrefetchStatus, RejectedObject, TierUsage,
};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};
use forebay_crds::values::TreePath;
use forebay_crds::{DatasetStatus, Phase};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

fn time() -> impl Strategy<Value = Time> {
    // The years that people live in, and the ends of what can be said.
    let nanos = prop_oneof![
        8 => -62_135_596_800_000_000_000i128..253_402_207_200_000_000_000i128,
        1 => Just(Timestamp::MIN.as_nanosecond()),
        1 => Just(Timestamp::MAX.as_nanosecond()),
        1 => Just(-1),
    ];
    nanos.prop_map(|nanos| Time(Timestamp::from_nanosecond(nanos).unwrap()))
}

fn path() -> impl Strategy<Value = TreePath> {
    prop_oneof![Just("/"), Just("/labels"), Just("/deep/er/ü")].prop_map(|text| text.parse().unwrap())
}

fn condition() -> impl Strategy<Value = Condition> {
    (any::<String>(), any::<String>(), any::<String>(), any::<String>(), time(), any::<Option<i64>>()).prop_map(
        |(type_, status, reason, message, last_transition_time, observed_generation)| Condition {
            last_transition_time,
            message,
            observed_generation,
            reason,
            status,
            type_,
        },
    )
}

fn catalog() -> impl Strategy<Value = CatalogStatus> {
    let rejected =
        (path(), any::<String>(), any::<String>()).prop_map(|(mount, key, reason)| RejectedObject { mount, key, reason });
    let mount = (path(), any::<u64>(), any::<u64>(), any::<Option<String>>())
        .prop_map(|(path, files, bytes, error)| MountStatus { path, files, bytes, error });
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    (numbers, option::of(time()), vec(rejected, 0..3), vec(mount, 0..3)).prop_map(
        |((files, bytes, generation, rejected), listed_at, rejected_sample, mounts)| CatalogStatus {
            files,
            bytes,
            generation,
            listed_at,
            rejected,
            rejected_sample,
            mounts,
        },
    )
}

fn cache() -> impl Strategy<Value = CacheStatus> {
    let tier = (any::<String>(), any::<u64>(), any::<u64>()).prop_map(|(name, bytes, pinned_bytes)| TierUsage {
        name,
        bytes,
        pinned_bytes,
    });
    (any::<u64>(), any::<u64>(), option::of(0.0..=1.0f64), vec(tier, 0..3))
        .prop_map(|(bytes, pinned_bytes, hit_ratio, tiers)| CacheStatus { bytes, percent: 0, pinned_bytes, hit_ratio, tiers })
}

fn prefetch() -> impl Strategy<Value = PrefetchStatus> {
    let failed = (any::<String>(), any::<String>()).prop_map(|(path, error)| FailedFile { path, error });
    (any::<[u64; 6]>(), option::of(time()), vec(failed, 0..3)).prop_map(|(numbers, estimated_completion, failed)| {
        let [done_bytes, total_bytes, done_files, total_files, bytes_per_second, failed_files] = numbers;
        PrefetchStatus {
            done_bytes,
            total_bytes,
            done_files,
            total_files,
            bytes_per_second,
            estimated_completion,
            failed_files,
            failed,
        }
    })
}

fn phase() -> impl Strategy<Value = Phase> {
    proptest::sample::select(vec![
        Phase::Pending,
        Phase::Listing,
        Phase::Prefetching,
        Phase::Ready,
        Phase::Degraded,
        Phase::Failed,
    ])
}

fn status() -> impl Strategy<Value = DatasetStatus> {
    let rest = (any::<Option<i64>>(), any::<(u32, u32)>(), any::<Option<String>>());
    (rest, phase(), vec(condition(), 0..3), catalog(), cache(), prefetch()).prop_map(
        |((observed_generation, (ready, desired), claim), phase, conditions, catalog, cache, prefetch)| {
            let nodes = NodesStatus { ready, desired };
            let (first_used_at, handled, summary) = Default::default();
            let mut status = DatasetStatus {
                observed_generation,
                phase,
                conditions,
                catalog,
                cache,
                prefetch,
                nodes,
                first_used_at,
                claim,
                handled,
                summary,
            };
            status.summarize();
            status
        },
    )
}

fn report() -> impl Strategy<Value = DatasetReport> {
    let at = vec(1u8..=255, 1..20).prop_map(|bytes| OsString::from_vec(bytes).into());
    let since = (0u64..4_000_000_000, 0u32..1_000_000_000).prop_map(|(s, n)| UNIX_EPOCH + Duration::new(s, n));
    let why = any::<Option<String>>();
    ("[a-z]{1,9}", "[a-z]{1,9}", at, any::<bool>(), since, any::<Option<u64>>(), status(), why).prop_map(
        |(namespace, name, at, mounted, since, listing, status, not_native)| DatasetReport {
            namespace,
            name,
            at,
            mounted,
            since,
            listing,
            status,
            not_native,
        },
    )
}

proptest! {
    #[test]
    fn a_report_comes_out_as_it_went_in(report in report()) {
        let bytes = v1::DatasetReport::from(report.clone()).encode_to_vec();
        let message = v1::DatasetReport::decode(&*bytes).unwrap();
        prop_assert_eq!(DatasetReport::try_from(message).unwrap(), report);
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(message) = v1::DatasetReport::decode(&*bytes) {
            let _ = DatasetReport::try_from(message);
        }
    }
}

/// A message that is understood.
fn good() -> v1::DatasetReport {
    DatasetReport {
        namespace: "ml".into(),
        name: "imagenet".into(),
        at: "/mnt/imagenet".into(),
        mounted: true,
        since: UNIX_EPOCH,
        listing: None,
        status: DatasetStatus::default(),
        not_native: None,
    }
    .into()
}

#[test]
fn a_message_that_makes_no_sense_is_refused_by_field() {
    type Damage = fn(&mut v1::DatasetReport);
    let cases: [(&str, Damage); 10] = [
        ("dataset", |m| m.dataset = None),
        ("dataset.namespace", |m| m.dataset.as_mut().unwrap().namespace.clear()),
        ("dataset.name", |m| m.dataset.as_mut().unwrap().name.clear()),
        ("since", |m| m.since = None),
        ("status", |m| m.status = None),
        ("status.phase", |m| m.status.as_mut().unwrap().phase = 0),
        ("status.phase", |m| m.status.as_mut().unwrap().phase = 99),
        ("status.conditions.lastTransitionTime", |m| m.status.as_mut().unwrap().conditions.push(Default::default())),
        ("status.catalog.mounts.path", |m| {
            m.status.as_mut().unwrap().catalog.as_mut().unwrap().mounts.push(Default::default());
        }),
        ("status.catalog.listedAt", |m| {
            let stamp = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
            m.status.as_mut().unwrap().catalog.as_mut().unwrap().listed_at = Some(stamp);
        }),
    ];
    assert!(DatasetReport::try_from(good()).is_ok());
    for (field, damage) in cases {
        let mut message = good();
        damage(&mut message);
        let error = DatasetReport::try_from(message).expect_err(field);
        assert_eq!(error.field(), field);
        assert!(error.to_string().contains("use programs of one version"), "{error}");
    }
}

#[test]
fn names_are_ordered_by_namespace_and_printed_with_it() {
    assert_eq!(DatasetName::new("ml", "a").to_string(), "ml/a");
    assert!(DatasetName::new("a", "z") < DatasetName::new("b", "a"));
}
