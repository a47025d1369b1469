//! A real autoscaler, Karpenter, adds nodes for pods with our volumes and takes them away again.
//!
//! Its nodes are pretended by kwok. So what it decides is real (which pods it makes nodes for, what it waits for, what it drains
//! and removes), and so are the scheduler, the DaemonSets, csi-provisioner and the operator; but nothing runs on such a node: no
//! agent warms it, and its startup taint goes when the time is over.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use forebay_e2e::wait_until;
use forebay_promises::{Autoscaler, NAMESPACE, SOON, Site, has_condition};
use serde_json::Value;

use crate::Promise;
use crate::autoscaling::class;

pub(crate) const PROMISES: &[Promise] =
    &[("karpenter::adds_nodes_for_pods_with_our_volumes_replaces_and_removes_them", karpenter)];

const POOL: &str = "apiVersion: karpenter.kwok.sh/v1alpha1
kind: KWOKNodeClass
metadata: {name: pretended}
---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: pretended}
spec:
  template:
    spec:
      nodeClassRef: {group: karpenter.kwok.sh, kind: KWOKNodeClass, name: pretended}
      startupTaints: [{key: forebay.io/warming, effect: NoSchedule}]
      requirements:
      - {key: kubernetes.io/arch, operator: In, values: [amd64]}
      - {key: kubernetes.io/os, operator: In, values: [linux]}
      - {key: karpenter.sh/capacity-type, operator: In, values: [on-demand]}
  limits: {cpu: 1000}
  disruption: {consolidationPolicy: WhenEmptyOrUnderutilized, consolidateAfter: 0s, budgets: [{nodes: 100%}]}
---
";

/// One for each way to a volume: the claim of a Dataset, a claim of a StorageClass, inline. Each pod wants a node for itself.
const VOLUMES: [(&str, &str); 3] = [
    ("by-claim", "persistentVolumeClaim: {claimName: first}"),
    ("by-class", "persistentVolumeClaim: {claimName: burst}"),
    ("inline", "csi: {driver: csi.forebay.io, readOnly: true, volumeAttributes: {dataset: first}}"),
];

fn deployment(name: &str, volume: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: burst-{name}, namespace: default, labels: {{app: burst}}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: burst, volume: {name}}}}}
  template:
    metadata: {{labels: {{app: burst, volume: {name}}}}}
    spec:
      nodeSelector: {{karpenter.sh/nodepool: pretended}}
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - {{topologyKey: kubernetes.io/hostname, labelSelector: {{matchLabels: {{app: burst}}}}}}
      containers:
      - name: main
        image: localhost/busybox:1
        args: [sleep 1000]
        resources: {{requests: {{cpu: 200m}}}}
        volumeMounts: [{{name: data, mountPath: /data}}]
      volumes: [{{name: data, {volume}}}]
---
"
    )
}

/// Names of the nodes that Karpenter made.
fn made(site: &Site) -> Result<BTreeSet<String>> {
    let all = site.cluster.kubectl(&["get", "nodes", "-l", "karpenter.sh/nodepool=pretended", "-o", "name"])?;
    Ok(all.lines().map(|line| line.trim_start_matches("node/").to_owned()).collect())
}

/// Waits until all three pods run, each on a node of Karpenter's of its own; the nodes.
fn all_run(site: &Site, scaler: &Autoscaler) -> Result<BTreeSet<String>> {
    let mut last = Value::Null;
    let nodes = wait_until("a pod of each kind to run on a node of its own", SOON, || {
        last = site.cluster.get(&["pods", "-n", "default", "-l", "app=burst"])?;
        let pods = last["items"].as_array().context("no list")?;
        let living = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let running = living.filter(|pod| pod["status"]["phase"] == "Running");
        let nodes: BTreeSet<String> = running.filter_map(|pod| Some(pod["spec"]["nodeName"].as_str()?.to_owned())).collect();
        let made = made(site)?;
        Ok((nodes.len() == VOLUMES.len() && nodes.is_subset(&made)).then_some(nodes))
    });
    nodes.with_context(|| format!("{}\n{}", told(site), scaler.tail()))
}

fn told(site: &Site) -> String {
    let get = |words: &[&str]| site.cluster.kubectl(words).unwrap_or_else(|error| error.to_string());
    get(&["get", "nodes,nodeclaims,pods,pvc", "-A", "-o", "wide"])
        + &get(&["describe", "pods", "-n", "default", "-l", "app=burst"])
        + &get(&["describe", "nodeclaims"])
}

/// What keeps every node as good as the next one.
fn nothing_is_bound_to_a_node(site: &Site) -> Result<()> {
    for volume in site.cluster.get(&["pv"])?["items"].as_array().context("no list")? {
        ensure!(volume["spec"]["nodeAffinity"].is_null(), "{volume:#}");
    }
    let capacities = site.cluster.get(&["csistoragecapacities", "-A"])?;
    ensure!(capacities["items"].as_array().is_some_and(Vec::is_empty), "{capacities:#}");
    for node in site.cluster.get(&["csinodes"])?["items"].as_array().context("no list")? {
        for driver in node["spec"]["drivers"].as_array().into_iter().flatten().filter(|driver| driver["name"] == "csi.forebay.io")
        {
            let (limit, keys) = (&driver["allocatable"]["count"], driver["topologyKeys"].as_array());
            ensure!(limit.is_null() && keys.is_none_or(Vec::is_empty), "{node:#}");
        }
    }
    Ok(())
}

fn karpenter(site: &Site) -> Result<()> {
    // No agent runs on a pretended node: the taint goes when the time is over.
    site.patch_runtime("merge", r#"{"spec":{"warmUp":{"timeout":"2s"}}}"#)?;
    let scaler = Autoscaler::start(site)?;
    let class = class("burst", "first");
    let deployments: String = VOLUMES.iter().map(|(name, volume)| deployment(name, volume)).collect();
    site.cluster.apply(&format!("{POOL}{class}{deployments}"))?;
    let first = all_run(site, &scaler)?;
    for node in &first {
        // Karpenter calls it initialized once its startup taints are gone.
        let there = format!("spec.nodeName={node}");
        let ours = ["get", "pods", "-n", NAMESPACE, "--field-selector", &there, "-o", "name"];
        let ours = site.cluster.kubectl(&ours)?;
        ensure!(ours.lines().count() == 2, "an agent and a node driver on {node}, and nothing else of ours: {ours}");
        let event = site.cluster.kubectl(&["describe", "node", node])?;
        ensure!(event.contains("WarmUpTimedOut"), "the operator took the taint off: {event}");
    }
    site.wait_for("Karpenter to see its nodes as done", &["nodeclaims"], |claims| {
        let claims = claims["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let done = |claim: &&Value| has_condition(claim, |one| one["type"] == "Initialized" && one["status"] == "True");
        claims.iter().filter(done).count() == VOLUMES.len()
    })
    .with_context(|| scaler.tail())?;
    nothing_is_bound_to_a_node(site)?;

    // Its nodes are taken from under the pods: Karpenter drains them, and makes others for the same volumes.
    site.cluster.kubectl(&["delete", "nodeclaims", "--all", "--timeout=240s"]).with_context(|| told(site) + &scaler.tail())?;
    let second = all_run(site, &scaler)?;
    ensure!(first.is_disjoint(&second), "{first:?} {second:?}");

    // Nobody needs them any more.
    site.cluster.kubectl(&["scale", "deployment", "-n", "default", "-l", "app=burst", "--replicas=0"])?;
    wait_until("all nodes of Karpenter's to be gone", SOON, || Ok(made(site)?.is_empty().then_some(())))
        .with_context(|| format!("{}\n{}", told(site), scaler.tail()))?;

    site.cluster.delete(&format!("{deployments}{class}{POOL}"))?;
    scaler.stop(site)?;
    site.patch_runtime("json", r#"[{"op":"remove","path":"/spec/warmUp"}]"#)?;
    site.wait_for("two agents", &["cacheruntime", "default"], |runtime| runtime["status"]["summary"]["ready"] == "2/2").map(drop)
}
