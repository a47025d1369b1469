//! Nodes and runtimes that go.

use std::time::Duration;

use super::super::peers::peers;
use super::super::plan::End;
use super::*;

fn scaled_down(live: Vec<Live>) -> Observed {
    let mut observed = observed(ram(Some(1)), vec![node("n1"), node("n2")]);
    observed.pods = vec![pod("n1", "x"), pod("n2", "x")];
    observed.live = live;
    observed
}

fn terms(plan: &Plan) -> usize {
    let set = serde_json::to_value(plan.daemon_set.as_ref().unwrap()).unwrap();
    let affinity = &set["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    affinity["nodeSelectorTerms"].as_array().map_or(0, Vec::len)
}

#[test]
fn an_agent_gives_back_its_bytes_before_it_goes() {
    let mut observed = scaled_down(vec![live("n1", 0, &["u"]), live("n2", 0, &["u"])]);
    let plan = planned(&observed);
    assert_eq!((plan.chosen.len(), plan.leaving.len(), plan.held.len()), (1, 1, 0));
    assert_eq!(terms(&plan), 2, "its pod stays till it has");
    let leaving = plan.leaving.iter().next().unwrap().clone();
    observed.live.iter_mut().find(|live| live.node == leaving).unwrap().datasets = 0;
    let plan = planned(&observed);
    assert_eq!((plan.leaving.len(), terms(&plan)), (0, 1));
    assert_eq!(names(&plan.unwanted), [leaving.as_str()], "nothing is given to it while its pod ends");
}

/// One of two nodes that share data is to go: the one that goes, and the one that stays.
fn shared() -> (Observed, String, String) {
    let mut observed = scaled_down(vec![live("n1", 0, &["u"]), live("n2", 0, &["u"])]);
    observed.shared = true;
    let plan = planned(&observed);
    let (goes, stays) = (plan.going.first().unwrap().clone(), plan.chosen.first().unwrap().clone());
    (observed, goes, stays)
}

#[test]
fn an_agent_that_shares_data_with_others_stays_until_they_have_it() {
    let (mut observed, goes, stays) = shared();
    let mut at = |seconds: u64, complete: &[&String]| {
        observed.going = [(goes.clone(), Duration::from_secs(seconds))].into();
        observed.complete = complete.iter().map(|node| (*node).clone()).collect();
        let plan = planned(&observed);
        assert_eq!((plan.leaving.len(), terms(&plan), plan.going.contains(&goes)), (1, 2, true), "its pod stays");
        assert_ne!(plan.handing.is_empty(), plan.unwanted.is_empty(), "it lets go when it has handed over");
        plan.handing.contains(&goes)
    };
    assert!(at(0, &[&stays]) && at(29, &[&stays]), "the others may not have been told yet");
    assert!(!at(30, &[&stays]) && at(30, &[&goes]) && at(60, &[]), "who stays has to have it");
    assert!(at(599, &[]) && !at(600, &[]), "not for ever");
    let mut three = observed.clone();
    three.runtime = Arc::new(runtime(ram(Some(2))));
    three.nodes.push(node("n3"));
    three.pods.push(pod("n3", "x"));
    three.live.push(live("n3", 0, &["u"]));
    let chosen = planned(&three).chosen;
    let goes_of_three = planned(&three).going.first().unwrap().clone();
    three.going = [(goes_of_three, Duration::from_secs(60))].into();
    three.complete = chosen.iter().take(1).cloned().collect();
    assert_eq!((chosen.len(), planned(&three).handing.len()), (2, 1), "each of those who stay");
    three.complete = chosen;
    assert!(planned(&three).handing.is_empty());
    let late = |observed: &mut Observed| observed.going = [(goes.clone(), Duration::from_secs(60))].into();
    late(&mut observed);
    observed.complete = [stays].into();
    observed.settling = true;
    assert!(!planned(&observed).handing.is_empty(), "who stays may not have come over");
    observed.settling = false;
    observed.complete.clear();
    observed.asked = [(goes.clone(), Duration::ZERO)].into();
    assert!(planned(&observed).handing.is_empty(), "it has thrown something away already");
}

#[test]
fn an_agent_hands_over_nothing_where_nobody_shares_or_stays_or_it_has_nothing() {
    let (mut observed, ..) = shared();
    observed.live.iter_mut().for_each(|live| live.datasets = 0);
    assert!(planned(&observed).handing.is_empty());
    let mut all = scaled_down(vec![live("n1", 0, &["u"])]);
    assert!(planned(&all).handing.is_empty());
    (all.shared, all.runtime) = (true, Arc::new(runtime(ram(Some(0)))));
    assert!(planned(&all).handing.is_empty());
    let (mut drained, _, stays) = shared();
    drained.chosen = Some(Arc::new([stays.clone()].into()));
    drained.nodes.iter_mut().filter(|node| node.name == stays).for_each(|node| node.unschedulable = true);
    let plan = planned(&drained);
    assert_eq!((names(&plan.chosen), plan.handing.len()), (vec![stays.as_str()], 0), "who is drained takes nothing over");
}

#[test]
fn the_choice_stays_as_it_was() {
    let (mut observed, goes, stays) = shared();
    observed.live.iter_mut().filter(|live| live.node == goes).for_each(|live| live.mounts = 1);
    assert_eq!(names(&planned(&observed).chosen), [goes.as_str()], "where pods are");
    observed.chosen = Some(Arc::new([stays.clone()].into()));
    let plan = planned(&observed);
    assert_eq!((names(&plan.chosen), names(&plan.held)), (vec![stays.as_str()], vec![goes.as_str()]));
    assert!(plan.going.is_empty(), "its pods go first");
    observed.live.iter_mut().for_each(|live| live.mounts = 0);
    observed.chosen = None;
    observed.nodes.iter_mut().filter(|node| node.name == stays).for_each(|node| node.unschedulable = true);
    assert_eq!(names(&planned(&observed).chosen), [goes.as_str()], "rather the one that is not drained");
}

#[test]
fn a_node_that_is_about_to_go_keeps_its_agent_and_gets_no_new_one() {
    let table = [
        ("cordoned", NodeFacts { unschedulable: true, ..node("") }),
        ("ending", NodeFacts { ending: true, ..node("") }),
        ("the cluster autoscaler's", tainted("", "ToBeDeletedByClusterAutoscaler")),
        ("Karpenter's", tainted("", "karpenter.sh/disrupted")),
        ("Karpenter's of old", tainted("", "karpenter.sh/disruption")),
    ];
    for (way, facts) in table {
        // Whichever of the two names is the first in rank.
        for (goes, other) in [("n1", "n2"), ("n2", "n1")] {
            let mut observed = observed(ram(Some(1)), vec![NodeFacts { name: goes.into(), ..facts.clone() }, node(other)]);
            observed.shared = true;
            assert_eq!(names(&planned(&observed).chosen), [other], "{way}: a new agent goes elsewhere");
            observed.pods = vec![PodFacts { ip: Some("10.0.0.1".parse().unwrap()), ..pod(goes, "x") }];
            observed.live = vec![live(goes, 0, &["u"])];
            let plan = planned(&observed);
            assert_eq!(names(&plan.chosen), [goes], "{way}: the one that is there stays");
            assert!(plan.going.is_empty() && plan.leaving.is_empty() && plan.unwanted.is_empty(), "{way}: {plan:?}");
            assert!(peers(&observed, &plan.going)[goes].leaving, "{way}: and others take its part over");
            observed.pods.push(pod(other, "x"));
            observed.live.push(live(other, 0, &["u"]));
            assert_eq!(names(&planned(&observed).chosen), [other], "{way}: of two the other one stays");
        }
    }
}

/// Where the number is not bound. A node that is only cordoned gets its agent from the DaemonSet all the same.
#[test]
fn a_node_that_an_autoscaler_removes_counts_for_as_long_as_its_agent_is_there() {
    let ending = PodFacts { terminating: true, ..pod("n2", "x") };
    let marked = || tainted("n2", "karpenter.sh/disrupted");
    let cordoned = NodeFacts { unschedulable: true, ..node("n2") };
    let table = [
        ("with its agent", marked(), vec![pod("n1", "x"), pod("n2", "x")], vec!["n1", "n2"]),
        ("its agent ends", marked(), vec![pod("n1", "x"), ending], vec!["n1", "n2"]),
        ("its agent is gone", marked(), vec![pod("n1", "x")], vec!["n1"]),
        ("cordoned", cordoned, vec![pod("n1", "x")], vec!["n1", "n2"]),
    ];
    for (case, second, pods, expected) in table {
        let mut observed = observed(ram(None), vec![node("n1"), second]);
        observed.live = pods.iter().filter_map(|pod| Some(live(pod.node.as_deref()?, 0, &["u"]))).collect();
        observed.pods = pods;
        let plan = planned(&observed);
        assert_eq!(names(&plan.chosen), expected, "{case}");
        assert_eq!((plan.leaving.len(), terms(&plan)), (0, 0), "{case}: the DaemonSet is for all that match");
    }
}

#[test]
fn a_silent_agent_that_shares_data_is_not_told_to_let_go_at_its_first_word() {
    let (mut observed, goes, _) = shared();
    observed.live.retain(|live| live.node != goes);
    let plan = planned(&observed);
    assert_eq!((plan.handing.contains(&goes), plan.unwanted.len(), terms(&plan)), (true, 0, 2));
    // It may be that its pod is made anew meanwhile: not by us.
    observed.pods.iter_mut().for_each(|pod| pod.ready &= pod.node.as_ref() != Some(&goes));
    let plan = planned(&observed);
    assert_eq!((plan.handing.contains(&goes), plan.unwanted.len(), terms(&plan)), (true, 0, 2));
    assert!(plan.outdated.iter().all(|pod| pod.node.as_ref() != Some(&goes)) && !plan.outdated.is_empty());
    observed.going = [(goes, Duration::from_secs(600))].into();
    let plan = planned(&observed);
    assert_eq!((plan.handing.len(), plan.unwanted.len(), terms(&plan)), (0, 1, 1), "not for ever");
}

#[test]
fn an_agent_that_does_not_let_go_or_answer_goes_all_the_same() {
    let mut observed = scaled_down(vec![live("n1", 0, &["u"]), live("n2", 0, &["u"])]);
    let leaving = planned(&observed).leaving.iter().next().unwrap().clone();
    observed.asked.insert(leaving, Duration::from_secs(60));
    assert_eq!(terms(&planned(&observed)), 1);
    let mut silent = scaled_down(vec![]);
    let plan = planned(&silent);
    assert_eq!((terms(&plan), plan.unwanted.len()), (2, 1), "it may be about to come back");
    silent.asked.insert(plan.unwanted.iter().next().unwrap().clone(), Duration::from_secs(60));
    assert_eq!(terms(&planned(&silent)), 1);
    for pod in &mut silent.pods {
        pod.ready = false;
    }
    silent.asked.clear();
    assert_eq!(terms(&planned(&silent)), 1, "it never began");
}

#[test]
fn an_agent_that_has_just_come_has_not_said_yet_what_it_has() {
    let mut observed = scaled_down(vec![live("n1", 0, &[]), live("n2", 0, &[])]);
    assert_eq!(terms(&planned(&observed)), 1);
    for live in &mut observed.live {
        live.settled = false;
    }
    assert_eq!(terms(&planned(&observed)), 2);
}

#[test]
fn an_agent_stays_where_pods_use_its_volumes() {
    let mut observed = scaled_down(vec![live("n1", 1, &["u"]), live("n2", 1, &["u"])]);
    let plan = planned(&observed);
    let held = plan.held.iter().next().unwrap().clone();
    assert_eq!((plan.held.len(), plan.unwanted.len(), terms(&plan)), (1, 0, 2));
    observed.asked.insert(held, Duration::from_secs(6000));
    assert_eq!(planned(&observed).held.len(), 1, "however long it takes");
}

#[test]
fn a_new_leader_takes_nothing_away_before_agents_have_come_over() {
    let mut observed = scaled_down(vec![]);
    observed.settling = true;
    let plan = planned(&observed);
    assert_eq!((plan.held.len(), terms(&plan)), (1, 2));
}

#[test]
fn with_no_node_there_is_an_agent_nowhere() {
    let mut observed = scaled_down(vec![]);
    observed.runtime = Arc::new(runtime(ram(Some(0))));
    observed.pods.clear();
    let plan = planned(&observed);
    assert!(plan.chosen.is_empty());
    let set = serde_json::to_value(plan.daemon_set.unwrap()).unwrap();
    let affinity = &set["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    assert_eq!(affinity["nodeSelectorTerms"][0]["matchExpressions"][0]["operator"], "Exists");
}

#[test]
fn a_runtime_ends_step_by_step_and_always() {
    let minute = Duration::from_secs(60);
    let mut observed = scaled_down(vec![live("n1", 1, &["u"]), live("n2", 0, &[])]);
    observed.daemon_set = Some(Arc::default());
    let mut at = |asked, change: fn(&mut Observed)| {
        change(&mut observed);
        observed.ending = Some(asked);
        planned(&observed).end.unwrap()
    };
    assert_eq!(at(minute * 5, |_| ()), End::InUse(["n1".to_owned()].into()), "a pod reads there");
    assert_eq!(at(Duration::ZERO, |o| o.live[0].mounts = 0), End::Releasing(["n1".to_owned()].into()));
    assert_eq!(at(minute, |_| ()), End::Stopping(2), "n1 did not let go in time");
    let both: std::collections::BTreeSet<String> = ["n1".to_owned(), "n2".to_owned()].into();
    assert_eq!(at(Duration::ZERO, |o| o.live.clear()), End::Releasing(both), "they may come over yet");
    assert_eq!(at(Duration::ZERO, |o| o.pods.iter_mut().for_each(|pod| pod.ready = false)), End::Stopping(2));
    assert_eq!(at(Duration::ZERO, |o| o.daemon_set = None), End::Stopping(2), "pods are on their way out");
    assert_eq!(at(minute * 2, |_| ()), End::Over, "a pod of a node that is gone never ends");
    assert_eq!(at(Duration::ZERO, |o| o.pods.clear()), End::Over);
}
