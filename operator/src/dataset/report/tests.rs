#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

use std::sync::Arc;

use forebay_crds::dataset::NodesStatus;
use forebay_crds::{CatalogStatus, Phase};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimStatus};

use super::*;
use crate::dataset::tests::{bucket, observed, reports, with_status};
use crate::demand::FirstUse;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn bound() -> Applied {
    let status = PersistentVolumeClaimStatus { phase: Some("Bound".into()), ..PersistentVolumeClaimStatus::default() };
    Applied { claim: Some(PersistentVolumeClaim { status: Some(status), ..Default::default() }), ..Applied::default() }
}

/// What an agent says that serves the newest spec.
fn serving() -> DatasetStatus {
    let catalog = CatalogStatus { files: 3, bytes: 2048, generation: 1, ..CatalogStatus::default() };
    DatasetStatus { observed_generation: Some(2), phase: Phase::Ready, catalog, ..DatasetStatus::default() }
}

fn made(observed: &Observed, applied: &Applied, now: i64) -> DatasetStatus {
    report(observed, &findings(observed), applied, at(now))
}

fn condition<'a>(status: &'a DatasetStatus, kind: &str) -> (&'a str, &'a str) {
    let condition = find(&status.conditions, kind).expect(kind);
    (&condition.status, &condition.reason)
}

#[test]
fn a_status_is_stable_so_that_it_is_written_once() {
    let mut observed = observed(bucket());
    observed.reports = reports(serving());
    let first = made(&observed, &bound(), 1);
    assert_eq!((first.phase, first.claim.as_deref(), first.observed_generation), (Phase::Ready, Some("imagenet"), Some(2)));
    assert_eq!((first.summary.nodes.as_str(), first.summary.size.as_str()), ("1/1", "2.00Ki"));
    // As the API server gives it back.
    let read: DatasetStatus = serde_json::from_value(serde_json::to_value(&first).unwrap()).unwrap();
    with_status(&mut observed, read);
    assert_eq!(made(&observed, &bound(), 99), first);
}

#[test]
fn what_has_turned_is_written_before_mere_numbers() {
    let mut observed = observed(bucket());
    observed.reports = reports(serving());
    let before = made(&observed, &bound(), 1);
    let mut more = serving();
    (more.cache.bytes, more.prefetch.done_bytes) = (1024, 1024);
    with_status(&mut observed, before.clone());
    observed.reports = reports(more);
    let after = made(&observed, &bound(), 2);
    assert_ne!(after, before);
    assert_eq!(news(&before, &after), News::Numbers);
    observed.reports.clear();
    assert_eq!(news(&before, &made(&observed, &bound(), 3)), News::Turn);
}

#[test]
fn when_the_agents_are_gone_the_status_falls_back_and_the_listing_stays() {
    let mut observed = observed(bucket());
    observed.reports = reports(serving());
    let before = made(&observed, &bound(), 1);
    with_status(&mut observed, before);
    observed.reports.clear();
    let after = made(&observed, &bound(), 2);
    assert_eq!((after.phase, after.nodes.ready, after.catalog.files), (Phase::Pending, 0, 3));
    assert_eq!(condition(&after, kind::READY), ("False", reason::NODES_MISSING));
    assert_eq!(after.cache.bytes, 0, "nobody says that anything is cached");
}

#[test]
fn a_new_leader_keeps_what_was_written_till_agents_have_come_over() {
    let mut observed = observed(bucket());
    observed.reports = reports(serving());
    let before = made(&observed, &bound(), 1);
    with_status(&mut observed, before.clone());
    observed.reports.clear();
    observed.settling = true;
    assert_eq!(made(&observed, &bound(), 2), before);
    let mut never = self::observed(bucket());
    never.settling = true;
    let status = made(&never, &bound(), 2);
    assert_eq!((status.phase, status.nodes.clone()), (Phase::Pending, NodesStatus { ready: 0, desired: 1 }));
}

#[test]
fn which_way_files_are_read_stays_said_when_nobody_mounts_it_and_is_no_news_then() {
    let mut observed = observed(bucket());
    let mut mounted = serving();
    mounted.conditions.push(forebay_crds::k8s::Condition {
        type_: kind::NATIVE_READS.into(),
        status: "False".into(),
        reason: reason::SERVED_BY_FUSE.into(),
        message: "it is switched off".into(),
        last_transition_time: forebay_crds::k8s::Time(forebay_crds::k8s::jiff::Timestamp::UNIX_EPOCH),
        observed_generation: None,
    });
    observed.reports = reports(mounted);
    let before = made(&observed, &bound(), 1);
    assert_eq!(condition(&before, kind::NATIVE_READS), ("False", reason::SERVED_BY_FUSE));
    with_status(&mut observed, before.clone());
    observed.reports = reports(serving());
    let after = made(&observed, &bound(), 2);
    assert_eq!(after.conditions, before.conditions, "in the same order, too");
}

#[test]
fn what_is_wrong_with_the_spec_decides_the_phase() {
    let mut observed = observed(bucket());
    observed.secrets.insert("obs".into(), crate::secrets::SecretState::Missing);
    assert_eq!(made(&observed, &bound(), 1).phase, Phase::Pending);
    observed.reports = reports(DatasetStatus { phase: Phase::Failed, ..serving() });
    assert_eq!(made(&observed, &bound(), 1).phase, Phase::Pending, "it comes to be with the Secret");
    observed.reports = reports(serving());
    let status = made(&observed, &bound(), 1);
    assert_eq!(status.phase, Phase::Degraded, "it is served from the cache");
    assert_eq!(condition(&status, kind::ACCEPTED), ("False", reason::SECRET_NOT_FOUND));
    let forbidden = self::observed(serde_json::json!({"mounts": [{"path": "/", "source": "/etc"}]}));
    assert_eq!(made(&forbidden, &bound(), 1).phase, Phase::Failed);
}

#[test]
fn the_claim_is_named_when_pods_can_mount_it() {
    let observed = observed(bucket());
    let unbound = Applied { claim: Some(PersistentVolumeClaim::default()), ..Applied::default() };
    let status = made(&observed, &unbound, 1);
    assert_eq!((status.claim.clone(), condition(&status, kind::CLAIM_BOUND)), (None, ("False", reason::CLAIM_PENDING)));
    let foreign = Applied { foreign_claim: true, ..Applied::default() };
    let status = made(&observed, &foreign, 1);
    assert_eq!(condition(&status, kind::CLAIM_BOUND), ("False", reason::CLAIM_EXISTS));
}

#[test]
fn what_a_new_leader_has_not_read_yet_is_no_news() {
    let mut observed = observed(bucket());
    let before = made(&observed, &bound(), 1);
    observed.secrets.insert("obs".into(), crate::secrets::SecretState::Unknown);
    assert_eq!(condition(&made(&observed, &bound(), 2), kind::ACCEPTED), ("Unknown", reason::STARTING));
    with_status(&mut observed, before);
    assert_eq!(condition(&made(&observed, &bound(), 2), kind::ACCEPTED), ("True", reason::AS_DESIRED));
}

#[test]
fn a_wish_is_handled_when_the_agents_of_all_nodes_say_so() {
    let mut observed = observed(bucket());
    Arc::make_mut(&mut observed.nodes).insert("n2".into());
    let annotations = [("forebay.io/refresh", "r2"), ("forebay.io/evict", "e2\n/a")];
    let annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Arc::make_mut(&mut observed.dataset).metadata.annotations = Some(annotations.into());
    let said = |refreshed: &str, evicted: &str| {
        let mut standing = reports(serving()).remove("n1").unwrap();
        let words = Arc::make_mut(&mut standing.words);
        (words.refreshed, words.evicted) = (Some(refreshed.into()), Some(evicted.into()));
        standing
    };
    let handled = |observed: &Observed| {
        let status = made(observed, &bound(), 1);
        (status.handled.refresh, status.handled.evict)
    };
    observed.reports = [("n1".into(), said("r2", "e2"))].into();
    assert_eq!(handled(&observed), (None, None), "n2 does not say");
    observed.reports.insert("n2".into(), said("r2", "e1"));
    assert_eq!(handled(&observed), (Some("r2".into()), None), "n2 has not evicted yet");
    observed.reports.insert("n2".into(), said("r1", "e2"));
    let before = made(&observed, &bound(), 1);
    assert_eq!((before.handled.refresh.clone(), before.handled.evict.clone()), (None, Some("e2".into())));
    with_status(&mut observed, before);
    observed.reports.clear();
    assert_eq!(handled(&observed), (None, Some("e2".into())), "what was done stays done, whoever is away");
    Arc::make_mut(&mut observed.nodes).clear();
    assert_eq!(handled(&observed).0, None, "no node has done it");
}

#[test]
fn the_first_use_is_said_once_and_only_where_it_matters() {
    let first = |second| Some(FirstUse { pod: "ml/p".into(), at: at(second) });
    let mut observed = observed(bucket());
    observed.first_use = first(7);
    assert_eq!(made(&observed, &bound(), 9).first_used_at, None, "nothing is fetched for its sake");
    Arc::make_mut(&mut observed.dataset).spec.prefetch.policy = PrefetchPolicy::OnFirstUse;
    let said = made(&observed, &bound(), 9);
    assert_eq!(said.first_used_at, Some(Time(at(7))));
    assert_eq!(news(&DatasetStatus { first_used_at: None, ..said.clone() }, &said), News::Turn, "agents wait for it");
    with_status(&mut observed, said.clone());
    observed.first_use = first(8);
    assert_eq!(made(&observed, &bound(), 9).first_used_at, said.first_used_at, "once is for good");
    observed.first_use = None;
    assert_eq!(made(&observed, &bound(), 9).first_used_at, said.first_used_at, "whoever leads");
    Arc::make_mut(&mut observed.dataset).spec.prefetch.policy = PrefetchPolicy::Eager;
    assert_eq!(made(&observed, &bound(), 9).first_used_at, None);
}
