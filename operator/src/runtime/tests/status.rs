use forebay_crds::conditions::{reason, runtime as kind};
use forebay_crds::k8s::jiff::Timestamp;

use super::super::report::report;
use super::*;
use crate::verdict::find;

fn said(observed: &Observed, kind: &str) -> (String, String, String) {
    let findings = validate(observed);
    let status = report(observed, &findings, &plan(observed, &findings, &settings()), Timestamp::UNIX_EPOCH);
    let condition = find(&status.conditions, kind).unwrap();
    (condition.status.clone(), condition.reason.clone(), condition.message.clone())
}

#[test]
fn ready_says_what_is_in_the_way() {
    let mut observed = observed(ram(None), vec![node("n1"), node("n2")]);
    assert_eq!(said(&observed, kind::READY).1, reason::STARTING);
    observed.pods = vec![pod("n1", "x"), PodFacts { ready: false, trouble: Some("ErrImagePull: no".into()), ..pod("n2", "x") }];
    let (status, why, message) = said(&observed, kind::READY);
    assert_eq!((status.as_str(), why.as_str()), ("False", reason::NODES_MISSING));
    assert!(message.contains("1 of 2") && message.contains("n2") && message.contains("ErrImagePull"), "{message}");
    observed.pods[1].ready = true;
    assert_eq!(said(&observed, kind::READY).0, "True");
    let mut faulty = live("n2", 0, &[]);
    faulty.health.as_mut().unwrap().tiers[0].fault = Some("read-only file system".into());
    observed.live = vec![faulty];
    let (_, why, message) = said(&observed, kind::READY);
    assert_eq!(why, reason::TIER_FAULTY);
    assert!(message.contains("tier ram on node n2") && message.contains("read-only"), "{message}");
    observed.nodes.clear();
    assert_eq!(said(&observed, kind::READY).1, reason::NO_NODES);
    observed.runtime = Arc::new(runtime(ram(Some(0))));
    assert!(said(&observed, kind::READY).2.contains("spec.replicas is 0"));
}

/// For an autoscaler a CacheRuntimeScale counts, and not the runtime's own bound.
#[test]
fn a_scale_counts_in_place_of_the_runtimes_own_replicas() {
    let scale = |replicas: u32| {
        let made = json!({
            "apiVersion": "forebay.io/v1alpha1", "kind": "CacheRuntimeScale",
            "metadata": {"name": "s", "namespace": "forebay-system"}, "spec": {"runtime": "default", "replicas": replicas}
        });
        Some(Arc::new(serde_json::from_value(made).unwrap()))
    };
    let nodes = vec![node("n1"), node("n2"), node("n3")];
    for own in [None, Some(1), Some(0)] {
        let mut observed = observed(ram(own), nodes.clone());
        observed.scale = scale(2);
        let plan = planned(&observed);
        assert_eq!(plan.chosen.len(), 2, "{own:?}");
        let affinity = plan.daemon_set.unwrap().spec.unwrap().template.spec.unwrap().affinity;
        assert!(affinity.is_some(), "{own:?}: on these two and not on all that match");
        let status = report(&observed, &[], &planned(&observed), Timestamp::UNIX_EPOCH);
        assert_eq!((status.desired_replicas, status.scaled_by.as_deref()), (2, Some("forebay-system/s")), "{own:?}");
        observed.scale = scale(0);
        let (_, why, message) = said(&observed, kind::READY);
        assert_eq!(why, reason::NO_NODES);
        assert!(message.contains("CacheRuntimeScale forebay-system/s is 0"), "{message}");
    }
}

#[test]
fn a_tier_that_fits_nowhere_is_refused() {
    let spec = json!({"tiers": [{"name": "ram", "medium": "Memory", "capacity": "64Gi"}]});
    let observed = observed(spec, vec![node("n1")]);
    for kind in [kind::READY, kind::TIERS_FIT] {
        let (status, why, message) = said(&observed, kind);
        assert_eq!((status.as_str(), why.as_str()), ("False", reason::TIER_DOES_NOT_FIT));
        assert!(message.contains("node n1") && message.contains("lower the capacity of ram"), "{message}");
    }
}

#[test]
fn a_disk_that_is_too_small_is_told() {
    let spec = json!({"tiers": [{"name": "ssd", "medium": "Disk", "path": "/mnt/ssd", "capacity": "10Gi"}]});
    let mut observed = observed(spec, vec![node("n1")]);
    let mut agent = live("n1", 0, &[]);
    agent.health.as_mut().unwrap().tiers[0].name = "ssd".into();
    observed.live = vec![agent];
    let (status, _, message) = said(&observed, kind::TIERS_FIT);
    assert_eq!(status, "False");
    assert!(message.contains("1.00Gi on node n1") && message.contains("10.0Gi"), "{message}");
}

#[test]
fn numbers_are_summed_over_the_agents_that_answer() {
    let mut observed = observed(ram(None), vec![node("n1"), node("n2"), node("n3")]);
    observed.pods = vec![pod("n1", "x"), pod("n2", "x"), PodFacts { terminating: true, ..pod("n3", "x") }];
    observed.live = vec![live("n1", 0, &[]), live("n2", 0, &[])];
    observed.datasets = vec!["ml/a".into(), "ml/b".into()];
    let status = report(&observed, &[], &planned(&observed), Timestamp::UNIX_EPOCH);
    assert_eq!((status.replicas, status.ready_replicas, status.desired_replicas, status.datasets), (2, 2, 3, 2));
    assert_eq!(status.tiers[0].capacity_bytes, 2 << 30);
    assert_eq!((status.tiers[0].used_bytes, status.tiers[0].pinned_bytes), (200, 20));
    assert_eq!(status.selector.as_deref(), Some("app.kubernetes.io/name=forebay-agent,forebay.io/runtime=default"));
    assert_eq!((status.summary.ready.as_str(), status.observed_generation), ("2/3", Some(3)));
}

#[test]
fn the_end_of_a_runtime_names_the_datasets_that_still_want_it() {
    let mut observed = observed(ram(None), vec![node("n1")]);
    observed.datasets = vec!["ml/a".into()];
    observed.ending = Some(std::time::Duration::ZERO);
    observed.pods = vec![PodFacts { ready: false, ..pod("n1", "x") }];
    let (status, _, message) = said(&observed, kind::DELETED);
    assert_eq!(status, "False");
    assert!(message.contains("1 pods are left") && message.contains("ml/a"), "{message}");
}
