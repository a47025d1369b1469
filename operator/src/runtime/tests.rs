#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

//! Node choice, fit, plan and report of a CacheRuntime.

mod choice;
mod ends;
mod objects;
mod peers;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_api::session::{Health, TierHealth};
use forebay_crds::CacheRuntime;
use k8s_openapi::api::core::v1::Taint;
use serde_json::{Value, json};

use super::daemon_set::Settings;
use super::observe::{NodeFacts, Observed, PodFacts};
use super::plan::{Plan, plan};
use super::validate::validate;
use crate::agents::registry::Live;

fn runtime(spec: Value) -> CacheRuntime {
    let runtime = json!({
        "apiVersion": "forebay.io/v1alpha1", "kind": "CacheRuntime",
        "metadata": {"name": "default", "uid": "uid-r", "generation": 3, "finalizers": ["forebay.io/cleanup"]},
        "spec": spec
    });
    serde_json::from_value(runtime).unwrap()
}

fn ram(replicas: Option<u32>) -> Value {
    let mut spec = json!({"tiers": [{"name": "ram", "medium": "Memory", "capacity": "1Gi"}]});
    if let Some(replicas) = replicas {
        spec["replicas"] = replicas.into();
    }
    spec
}

fn settings() -> Settings {
    Settings {
        namespace: "forebay-system".into(),
        image: "localhost/forebay-agent:1".into(),
        pull_policy: "IfNotPresent".into(),
        pull_secrets: vec![],
        service_account: "forebay-agent".into(),
        priority_class: None,
        cpu: "250m".into(),
        memory: 512 << 20,
        log: "info".into(),
        passthrough: true,
        composed: true,
        operator: "https://forebay-operator.forebay-system.svc:8443".into(),
        ca: "forebay-ca".into(),
        ca_uid: "uid-of-ca".into(),
    }
}

fn node(name: &str) -> NodeFacts {
    NodeFacts { name: name.into(), ready: true, memory: Some(8 << 30), ..NodeFacts::default() }
}

/// With a taint that lets no new pod come.
fn tainted(name: &str, key: &str) -> NodeFacts {
    let taint = Taint { key: key.into(), effect: "NoSchedule".into(), ..Taint::default() };
    NodeFacts { taints: vec![taint], ..node(name) }
}

fn pod(node: &str, made_from: &str) -> PodFacts {
    PodFacts {
        name: format!("forebay-agent-default-{node}"),
        uid: format!("uid-{node}"),
        node: Some(node.into()),
        ready: true,
        made_from: Some(made_from.into()),
        ..PodFacts::default()
    }
}

fn live(node: &str, mounts: u32, datasets: &[&str]) -> Live {
    let tier = TierHealth { name: "ram".into(), capacity_bytes: 1 << 30, used_bytes: 100, pinned_bytes: 10, fault: None };
    Live {
        node: node.into(),
        pod: format!("forebay-agent-default-{node}"),
        version: "0.1.0".into(),
        health: Some(Health { tiers: vec![tier], age: None }),
        mounts,
        datasets: datasets.len(),
        settled: true,
        late: false,
        born: None,
    }
}

fn observed(spec: Value, nodes: Vec<NodeFacts>) -> Observed {
    Observed {
        runtime: Arc::new(runtime(spec)),
        name: "default".into(),
        uid: "uid-r".into(),
        nodes,
        daemon_set: None,
        pods: vec![],
        live: vec![],
        chosen: None,
        going: BTreeMap::new(),
        asked: BTreeMap::new(),
        shared: false,
        complete: Default::default(),
        scale: None,
        others: vec![],
        datasets: vec![],
        ending: None,
        settling: false,
        deaf: false,
    }
}

fn planned(observed: &Observed) -> Plan {
    plan(observed, &validate(observed), &settings())
}

fn names(set: &std::collections::BTreeSet<String>) -> Vec<&str> {
    set.iter().map(String::as_str).collect()
}
