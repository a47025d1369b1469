#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

use std::sync::Arc;

use forebay_crds::DatasetStatus;
use forebay_crds::k8s::jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use super::*;
use crate::dataset::tests::{bucket, observed, with_status};
use crate::names;
use crate::verdict::conditions;

fn users(count: usize) -> Vec<User> {
    (0..count).map(|i| User { namespace: "ml".into(), name: format!("pod-{i}") }).collect()
}

/// A Dataset that is being deleted; nodes were told to let go, or not.
fn ending(told: bool) -> Observed {
    let mut observed = observed(bucket());
    let dataset = Arc::make_mut(&mut observed.dataset);
    dataset.metadata.deletion_timestamp = Some(forebay_crds::k8s::Time(Timestamp::UNIX_EPOCH));
    if told {
        let stage = Stage::Releasing { nodes: BTreeSet::new(), claim: false, volume: false };
        let said = conditions(&[], vec![verdict(&stage).unwrap()], None, Timestamp::UNIX_EPOCH);
        with_status(&mut observed, DatasetStatus { conditions: said, ..DatasetStatus::default() });
    }
    observed
}

fn staged(observed: &Observed, users: Vec<User>, holding: &[&str], asked: u64) -> Stage {
    let holding = holding.iter().map(|node| (*node).to_owned()).collect();
    stage(&Ending { users, holding, asked: Duration::from_secs(asked) }, observed)
}

#[test]
fn it_waits_for_pods_then_nodes_then_claim_and_volume_and_always_ends() {
    assert_eq!(staged(&ending(false), users(2), &["n1"], 0), Stage::InUse(users(2)));
    let releasing = |stage| matches!(stage, Stage::Releasing { .. });
    assert!(releasing(staged(&ending(false), vec![], &[], 0)), "what nodes are to know is written first");
    assert!(releasing(staged(&ending(true), vec![], &["n1"], 59)));
    assert_eq!(staged(&ending(true), vec![], &[], 0), Stage::Over { unanswered: BTreeSet::new() });
    assert_eq!(staged(&ending(true), vec![], &["n1"], 60), Stage::Over { unanswered: ["n1".to_owned()].into() });
    assert!(releasing(staged(&ending(true), users(1), &["n1"], 0)), "there is no way back");
    let mut claim = PersistentVolumeClaim::default();
    claim.metadata.labels = Some(names::dataset_labels("uid-d"));
    let left = Observed { claim: Some(Arc::new(claim)), ..ending(true) };
    assert!(releasing(staged(&left, vec![], &[], 0)));
    assert_eq!(staged(&left, vec![], &[], 60), Stage::Over { unanswered: BTreeSet::new() }, "a claim may hang for ever");
    let left = Observed { volume: Some(Arc::new(PersistentVolume::default())), ..ending(true) };
    assert!(releasing(staged(&left, vec![], &[], 0)));
    let foreign = Observed { claim: Some(Arc::default()), ..ending(true) };
    assert_eq!(staged(&foreign, vec![], &[], 0), Stage::Over { unanswered: BTreeSet::new() }, "somebody else's claim stays");
}

#[test]
fn the_condition_names_whom_it_waits_for() {
    let verdict = verdict(&Stage::InUse(users(7))).unwrap();
    assert_eq!((verdict.holds, verdict.reason.as_str()), (Some(false), reason::IN_USE));
    assert!(verdict.message.contains("ml/pod-0") && verdict.message.contains("ml/pod-4 and 2 more"), "{verdict:?}");
    let stage = Stage::Releasing { nodes: ["n1".to_owned()].into(), claim: true, volume: false };
    let message = super::verdict(&stage).unwrap().message;
    assert!(message.contains("node n1, its claim,"), "{message}");
}
