use forebay_crds::conditions::reason;

use super::super::fit::misfit;
use super::super::plan::Plan;
use super::*;

fn set(plan: &Plan) -> Value {
    serde_json::to_value(plan.daemon_set.as_ref().unwrap()).unwrap()
}

/// The whole object, field by field: whoever changes it sees here what agents are given.
#[test]
fn the_daemon_set_is_this() {
    let spec = json!({
        "replicas": 1,
        "nodeSelector": {"role": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "tiers": [
            {"name": "ram", "medium": "Memory", "capacity": "1Gi"},
            {"name": "ssd", "medium": "Disk", "path": "/mnt/ssd", "capacity": "10Gi"}
        ],
        "allowedHostPaths": ["/data"]
    });
    let labels = [("role".to_owned(), "gpu".to_owned())];
    let observed = observed(spec, vec![NodeFacts { labels: labels.into(), ..node("n1") }, node("n2")]);
    let mut settings = settings();
    settings.pull_secrets = vec!["pull".into()];
    settings.priority_class = Some("forebay".into());
    let plan = plan(&observed, &[], &settings);
    let made = set(&plan);
    let golden: Value = serde_json::from_str(include_str!("daemon_set.json")).unwrap();
    let text = serde_json::to_string_pretty(&made).unwrap();
    assert_eq!(made, golden, "the DaemonSet is now:\n{text}");
}

#[test]
fn the_choice_of_nodes_makes_no_pod_anew_but_what_it_runs_does() {
    let hash = |replicas, settings: &Settings| {
        let nodes = vec![node("n1"), node("n2")];
        let plan = plan(&observed(ram(replicas), nodes), &[], settings);
        set(&plan)["spec"]["template"]["metadata"]["annotations"]["forebay.io/made-from"].as_str().unwrap().to_owned()
    };
    let first = hash(Some(1), &settings());
    assert_eq!(first, hash(Some(2), &settings()));
    assert_eq!(first, hash(None, &settings()));
    assert_ne!(first, hash(Some(1), &Settings { image: "localhost/forebay-agent:2".into(), ..settings() }));
}

#[test]
fn agents_are_told_what_is_switched_off_and_are_made_anew_for_it() {
    let made = |passthrough, composed| {
        let settings = Settings { passthrough, composed, ..settings() };
        let template = set(&plan(&observed(ram(None), vec![node("n1")]), &[], &settings))["spec"]["template"].clone();
        let args = template["spec"]["containers"][0]["args"].as_array().unwrap().clone();
        let flags: Vec<String> =
            args.iter().filter_map(Value::as_str).filter(|arg| arg.starts_with("--no-")).map(str::to_owned).collect();
        (flags, template["metadata"]["annotations"]["forebay.io/made-from"].clone())
    };
    let mut hashes = Vec::new();
    for (passthrough, composed, expected) in [
        (true, true, vec![]),
        (false, true, vec!["--no-passthrough"]),
        (true, false, vec!["--no-composed"]),
        (false, false, vec!["--no-passthrough", "--no-composed"]),
    ] {
        let (flags, hash) = made(passthrough, composed);
        assert_eq!(flags, expected);
        assert!(!hashes.contains(&hash), "{flags:?}: pods stay as they are");
        hashes.push(hash);
    }
}

#[test]
fn agents_are_told_how_much_they_may_send_where_that_is_bounded() {
    let made = |peers: Option<Value>| {
        let mut spec = ram(None);
        if let Some(peers) = peers {
            spec["peers"] = peers;
        }
        let template = set(&planned(&observed(spec, vec![node("n1")])))["spec"]["template"].clone();
        let args = template["spec"]["containers"][0]["args"].as_array().unwrap().clone();
        let bound = args.iter().position(|arg| arg == "--peer-bandwidth").map(|flag| args[flag + 1].clone());
        (bound, template["metadata"]["annotations"]["forebay.io/made-from"].clone())
    };
    let (bound, unbounded) = made(None);
    assert_eq!(bound, None);
    assert_eq!(made(Some(json!({}))), (None, unbounded.clone()), "pods are made anew for nothing");
    let (bound, bounded) = made(Some(json!({"bandwidth": "2Gi"})));
    assert_eq!(bound, Some(json!("2147483648")));
    assert_ne!(bounded, unbounded);
    assert_eq!(made(Some(json!({"bandwidth": 2_147_483_648u64}))).1, bounded, "the same in other words");
    assert_ne!(made(Some(json!({"bandwidth": "1Gi"}))).1, bounded);
    let mut spec = ram(None);
    spec["peers"] = json!({"bandwidth": "1Mi"});
    let findings = validate(&observed(spec, vec![node("n1")]));
    assert_eq!(findings.iter().map(|finding| finding.reason).collect::<Vec<_>>(), [reason::INVALID]);
    assert!(findings[0].message.starts_with("peers.bandwidth: bandwidth is below 8Mi"), "{findings:?}");
}

#[test]
fn pods_of_an_older_make_are_made_anew_one_after_the_other() {
    let mut observed = observed(ram(None), vec![node("n1"), node("n2"), node("n3")]);
    let new = super::super::daemon_set::hash_of(planned(&observed).daemon_set.as_ref().unwrap()).unwrap().clone();
    let rolled = |pods: Vec<PodFacts>, observed: &mut Observed| {
        observed.pods = pods;
        planned(observed).outdated.into_iter().map(|pod| pod.node.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(rolled(vec![pod("n1", "old"), pod("n2", "old"), pod("n3", &new)], &mut observed), ["n1"]);
    let starting = PodFacts { ready: false, ..pod("n1", &new) };
    assert_eq!(rolled(vec![starting, pod("n2", "old"), pod("n3", &new)], &mut observed), [""; 0], "n1 first comes up");
    let going = PodFacts { terminating: true, ..pod("n1", "old") };
    assert_eq!(rolled(vec![going, pod("n2", "old"), pod("n3", &new)], &mut observed), [""; 0]);
    let broken = PodFacts { ready: false, ..pod("n2", "old") };
    assert_eq!(rolled(vec![pod("n1", "old"), broken, pod("n3", &new)], &mut observed), ["n2"], "what serves nobody goes first");
    assert_eq!(rolled(vec![pod("n1", &new), pod("n2", &new), pod("n3", &new)], &mut observed), [""; 0]);
    let many: Vec<PodFacts> = (0..30).map(|i| pod(&format!("m{i}"), "old")).collect();
    assert_eq!(rolled(many, &mut observed).len(), 3, "a tenth");
}

#[test]
fn a_pod_of_an_older_make_is_not_made_anew_where_none_would_come_in_its_place() {
    let table = [
        (node("n2"), vec!["n2"]),
        (NodeFacts { unschedulable: true, ..node("n2") }, vec!["n2"]),
        (tainted("n2", "ToBeDeletedByClusterAutoscaler"), vec![]),
        (tainted("n2", "karpenter.sh/disrupted"), vec![]),
    ];
    for (second, expected) in table {
        let mut observed = observed(ram(None), vec![node("n1"), second.clone()]);
        let new = super::super::daemon_set::hash_of(planned(&observed).daemon_set.as_ref().unwrap()).unwrap().clone();
        observed.pods = vec![pod("n1", &new), pod("n2", "old")];
        let outdated: Vec<String> = planned(&observed).outdated.into_iter().filter_map(|pod| pod.node).collect();
        assert_eq!(outdated, expected, "{second:?}");
    }
}

#[test]
fn without_a_bound_nodes_that_come_get_an_agent_by_themselves() {
    let mut spec = ram(None);
    spec["nodeSelector"] = json!({"role": "gpu"});
    let labels = [("role".to_owned(), "gpu".to_owned())];
    let observed = observed(spec, vec![NodeFacts { labels: labels.into(), ..node("n1") }]);
    let made = set(&planned(&observed));
    let pod = &made["spec"]["template"]["spec"];
    assert_eq!((&pod["nodeSelector"], &pod["affinity"]), (&json!({"role": "gpu"}), &Value::Null));
}

#[test]
fn a_tier_larger_than_a_node_is_refused_there_with_the_numbers() {
    let spec = json!({"tiers": [{"name": "ram", "medium": "Memory", "capacity": "64Gi"}]});
    let small = NodeFacts { memory: Some(16 << 30), ..node("small") };
    let large = NodeFacts { memory: Some(65 << 30), ..node("large") };
    let observed = observed(spec, vec![small.clone(), large]);
    let plan = planned(&observed);
    assert_eq!(names(&plan.chosen), ["large"]);
    let why = &plan.misfits[0];
    for word in ["node small", "16.0Gi", "64.5Gi", "lower the capacity of ram by 48.5Gi", "to 15.5Gi"] {
        assert!(why.contains(word), "{why:?} has no {word:?}");
    }
    // The pod asks for exactly what was weighed.
    let requested = set(&plan)["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"].clone();
    assert_eq!(requested, json!(((64u64 << 30) + (512 << 20)).to_string()));
    let exact = NodeFacts { memory: Some((64 << 30) + (512 << 20)), ..small.clone() };
    assert_eq!(misfit(&observed.runtime.spec.tiers, 512 << 20, &exact), None);
    let unknown = NodeFacts { memory: None, ..small };
    assert_eq!(misfit(&observed.runtime.spec.tiers, 512 << 20, &unknown), None, "the node does not say");
}

#[test]
fn a_directory_of_another_runtime_is_refused_to_the_younger() {
    let disk = |path: &str| json!({"tiers": [{"name": "ssd", "medium": "Disk", "path": path, "capacity": "1Gi"}]});
    let created = |runtime: CacheRuntime, second: i64| {
        let mut value = serde_json::to_value(runtime).unwrap();
        value["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:00:{second:02}Z"));
        serde_json::from_value::<CacheRuntime>(value).unwrap()
    };
    let mut other = created(runtime(disk("/mnt/ssd/cache")), 1);
    other.metadata.name = Some("other".into());
    let mut mine = observed(disk("/mnt/ssd"), vec![node("n1")]);
    mine.others = vec![Arc::new(other)];
    mine.runtime = Arc::new(created(runtime(disk("/mnt/ssd")), 2));
    let findings = validate(&mine);
    assert_eq!(findings[0].reason, reason::TIER_PATH_TAKEN);
    assert!(findings[0].message.contains("/mnt/ssd") && findings[0].message.contains("CacheRuntime other"), "{findings:?}");
    assert!(planned(&mine).daemon_set.is_none());
    mine.runtime = Arc::new(created(runtime(disk("/mnt/ssd")), 0));
    assert!(validate(&mine).is_empty(), "it was there first");
}

#[test]
fn a_wrong_edit_takes_no_cache_away() {
    let mut observed = observed(ram(None), vec![node("n1")]);
    observed.pods = vec![pod("n1", "x")];
    let findings = [super::super::validate::Finding { reason: reason::INVALID, message: "x".into() }];
    let plan = plan(&observed, &findings, &settings());
    assert!(plan.daemon_set.is_none() && plan.end.is_none() && plan.outdated.is_empty());
    assert_eq!(names(&plan.chosen), ["n1"]);
}
