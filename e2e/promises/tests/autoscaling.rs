//! Nodes that come are warm before pods run there, pods go where their data is, and nothing of ours holds either up.

use anyhow::{Context, Result, ensure};
use forebay_e2e::wait_until;
use forebay_promises::{NAMESPACE, Reader, SOON, SUMS, Site, Store, has_condition, sums_of};
use serde_json::Value;

use crate::Promise;
use crate::source::{self, Source};

pub(crate) const PROMISES: &[Promise] = &[
    ("autoscaling::a_node_that_joins_is_warm_before_a_pod_runs_there_and_is_not_held_back_by_a_store_that_is_down", joins),
    ("autoscaling::a_new_pod_prefers_the_node_that_has_its_data_and_others_are_left_alone", prefers),
    ("autoscaling::a_pod_that_waits_for_a_node_has_its_dataset_fetched_ahead", first_use),
    ("autoscaling::pods_are_created_while_the_operator_is_away", operator_away),
    ("autoscaling::a_cacheruntime_is_scaled_by_kubectl_and_has_what_an_autoscaler_scales", scales),
];

const TAINT: &str = "forebay.io/warming";
/// The condition of a node that says whether it is warm.
const COMPLETE: &str = "forebay.io/WarmUpComplete";
/// The node that joins.
const JOINS: &str = "n3";
/// Of a Dataset that nodes are to have before pods run there.
const WARM: &str = "  prefetch: {policy: Eager}\n  warmBeforeScheduling: true\n";

fn dataset(site: &Site, store: &Store, name: &str, more: &str) -> Result<()> {
    let text = format!(
        "{}apiVersion: forebay.io/v1alpha1
kind: Dataset
metadata: {{name: {name}, namespace: default}}
spec:
  mounts: {}
{more}",
        store.secret(name),
        store.mount(name)
    );
    site.cluster.apply(&text).map(drop)
}

/// A store of this promise's own, which it can take down.
fn small_store(site: &Site, name: &str) -> Result<Store> {
    let store = Store::start(&site.cluster, &site.work(name)?)?;
    std::fs::create_dir_all(store.source.join("deep"))?;
    for i in 0..24u8 {
        std::fs::write(store.source.join(if i < 8 { format!("{i}") } else { format!("deep/{i}") }), vec![i; 512 << 10])?;
    }
    store.upload()?;
    Ok(store)
}

/// A StorageClass for a Dataset of `default`, and a claim of it there, both of this name.
pub(crate) fn class(name: &str, dataset: &str) -> String {
    format!(
        "apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{name: {name}}}
provisioner: csi.forebay.io
parameters: {{dataset: default/{dataset}}}
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}, namespace: default}}
spec: {{storageClassName: {name}, accessModes: [ReadOnlyMany], resources: {{requests: {{storage: 1Gi}}}}}}
---
"
    )
}

fn is_tainted(node: &Value) -> bool {
    node["spec"]["taints"].as_array().into_iter().flatten().any(|taint| taint["key"] == TAINT)
}

fn wait_event(site: &Site, object: &str, reason: &str, words: &str) -> Result<()> {
    wait_until(&format!("{object} to have an event {reason} with {words:?}"), SOON, || {
        let all = site.cluster.kubectl(&["describe", object])?;
        Ok(all.lines().any(|line| line.contains(reason) && line.contains(words)).then_some(()))
    })
    .with_context(|| site.cluster.kubectl(&["describe", object]).unwrap_or_default())
}

/// Waits until the node takes pods.
fn wait_untainted(site: &Site) -> Result<()> {
    let free = |node: &Value| node["metadata"].is_object() && !is_tainted(node);
    site.wait_for(&format!("{JOINS} to lose its taint"), &["node", JOINS], free).map(drop)
}

/// At the moment when the node's taint has gone: asked later, a node that was let go too early has brought in the rest.
fn has_all(site: &Site, source: &Source) -> Result<()> {
    let cached = site.cached_on(JOINS, source.name)?;
    ensure!(cached == source.bytes, "{JOINS} lost its taint with {cached} bytes of {}, of {}", source.name, source.bytes);
    Ok(())
}

fn joins(site: &Site) -> Result<()> {
    let tried = comes_warm(site).and_then(|_warm| waits_for_bytes(site).and_then(|()| is_not_held_back(site)));
    let cleared = || -> Result<()> {
        // Each is tried, whatever became of the one before.
        let patched = site.patch_runtime("merge", r#"{"spec":{"warmUp":null}}"#);
        let removed = site.remove_nodes(&[JOINS]);
        let gone = ["warm", "held", "cold"].map(|name| source::clear(site, name)).into_iter().collect::<Result<()>>();
        patched.and(removed).and(gone)?;
        site.wait_for("the nodes to have no condition of ours", &["nodes"], |nodes| !nodes.to_string().contains(COMPLETE))?;
        site.wait_for("two agents", &["cacheruntime", "default"], |runtime| runtime["status"]["summary"]["ready"] == "2/2")
            .map(drop)
    };
    tried.and(cleared())
}

/// The other nodes have all of it, and the one that comes has it from them before a pod runs there.
fn comes_warm(site: &Site) -> Result<Source> {
    let source = Source::of_small(site, "warm", WARM)?;
    site.patch_runtime("merge", r#"{"spec":{"warmUp":{"nodeCondition":true}}}"#)?;
    site.wait_phase("default", source.name, "Ready")?;
    let before = source.counting.bytes();
    site.cluster.add_tainted_node(JOINS, TAINT)?;
    let first_sight = site.wait_for("n3 to join", &["node", JOINS], |node| node["metadata"].is_object())?;
    ensure!(is_tainted(&first_sight), "it takes pods at once: {first_sight:#}");
    let script = format!("echo waiting; until [ -e /tmp/begin ]; do sleep 1; done; {SUMS}");
    let reader = Reader::of_claim("default", "first-job", source.name).on(JOINS).script(&script);
    reader.start(site)?;
    wait_untainted(site)?;
    has_all(site, &source)?;
    let warming = source.counting.bytes() - before;
    ensure!(warming * 4 < source.bytes, "{warming} bytes left the store to warm {JOINS}, and others had all {}", source.bytes);
    wait_event(site, "node/n3", "Warm", "what one Dataset wants here is here")?;

    // An agent counts what it has from others for all Datasets together: nothing else may be on its way while the pod reads.
    let nodes = source.nodes.len() + 1;
    site.wait_for("n3 to have what else it fetches ahead", &["dataset", "first"], |dataset| {
        dataset["status"]["phase"] == "Ready" && dataset["status"]["nodes"]["ready"] == nodes
    })?;
    reader.wait_printed(site, "waiting")?;
    let (store, peers) = (source.counting.bytes(), site.peer_bytes_on(JOINS)?);
    // The pod may end, and its container with it, before `touch` has.
    wait_until("the pod to begin", SOON, || {
        let begins = reader.exec(site, &["touch", "/tmp/begin"]).is_ok() || reader.phase(site)? != "Running";
        Ok(begins.then_some(()))
    })?;
    source.finish(site, &[reader])?;
    let (store, peers) = (source.counting.bytes() - store, site.peer_bytes_on(JOINS)? - peers);
    crate::say(&format!(
        "          {warming} bytes of {} left the store to warm a node; reading took {store} there, {peers} from others",
        source.bytes
    ));
    ensure!(store == 0 && peers == 0, "a pod on a warm node took {store} bytes from the store and {peers} from other nodes");
    let complete =
        |node: &Value| has_condition(node, |one| one["type"] == COMPLETE && one["status"] == "True" && one["reason"] == "Warm");
    site.wait_for("n3 to say that it is warm", &["node", JOINS], complete)?;
    Ok(source)
}

/// A Dataset that is listed and whose bytes do not come, on the node that is tainted anew: it takes no pods until they are there.
fn waits_for_bytes(site: &Site) -> Result<()> {
    let source = Source::of(site, "held", [3_000_000, 500_000])?;
    source.counting.hold();
    source.create(site, WARM)?;
    site.cluster.kubectl(&["taint", "node", JOINS, &format!("{TAINT}=held:NoSchedule")])?;
    let waits = |node: &Value| {
        let named = |said: &Value| said.as_str().is_some_and(|said| said.contains("default/held"));
        is_tainted(node)
            && has_condition(node, |one| one["type"] == COMPLETE && one["status"] == "False" && named(&one["message"]))
    };
    site.wait_for("n3 to wait for what is held back", &["node", JOINS], waits)?;
    let early = site.cached_on(JOINS, source.name)?;
    ensure!(early == 0, "{early} bytes came though the store was asked for none");
    source.counting.release();
    wait_untainted(site)?;
    has_all(site, &source)
}

/// A Dataset that no node can list, on the node that is tainted anew: it is not held back for longer than the timeout.
fn is_not_held_back(site: &Site) -> Result<()> {
    site.patch_runtime("merge", r#"{"spec":{"warmUp":{"timeout":"3s"}}}"#)?;
    let gone = "http://127.0.0.1:1";
    site.cluster.apply(&format!(
        "apiVersion: forebay.io/v1alpha1
kind: Dataset
metadata: {{name: cold, namespace: default}}
spec:
  mounts: [{{path: /, source: \"s3://{}\", options: {{endpoint: \"{gone}\", region: us-east-1}}, secretRef: {{name: warm}}}}]
{WARM}",
        Store::BUCKET
    ))?;
    site.cluster.kubectl(&["taint", "node", JOINS, &format!("{TAINT}=again:NoSchedule")])?;
    wait_untainted(site).context("in spite of the store")?;
    wait_event(site, "node/n3", "WarmUpTimedOut", "default/cold")?;
    wait_event(site, "cacheruntime/default", "WarmUpTimedOut", "node n3: not warm after 3s")
}

/// What the API server would make of a pod.
fn made(site: &Site, pod: &str) -> Result<Value> {
    let path = site.work("made")?.join("pod.yaml");
    std::fs::write(&path, pod)?;
    let path = path.to_str().context("a path that is text")?;
    let text = site.cluster.kubectl(&["create", "--dry-run=server", "-o", "json", "-f", path])?;
    Ok(serde_json::from_str(&text)?)
}

fn prefers(site: &Site) -> Result<()> {
    let store = small_store(site, "prefers")?;
    dataset(site, &store, "lone", "")?;
    site.wait_phase("default", "lone", "Ready")?;
    let by_claim = Reader::of_claim("default", "lone-reader", "lone");
    ensure!(by_claim.clone().on("n1").run(site)? == sums_of(&store.source)?);
    // n2 has what n1 asked it for: about half, and nearly all by a chance of 1 to 50,000.
    let led_to_n1 = |affinity: &Value| {
        let terms = affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"].as_array();
        let [first, others @ ..] = terms.map(Vec::as_slice).unwrap_or_default() else { return false };
        let named = serde_json::json!([{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]);
        let only_preferred = affinity.as_object().is_some_and(|kinds| kinds.len() == 1);
        only_preferred
            && affinity["nodeAffinity"].as_object().is_some_and(|kinds| kinds.len() == 1)
            && first["weight"] == 80
            && first["preference"]["matchExpressions"] == named
            && others.iter().all(|term| term["weight"].as_i64().is_some_and(|weight| weight < 80))
    };
    let affinity = |pod: &str| -> Result<Value> { Ok(made(site, pod)?["spec"]["affinity"].clone()) };
    wait_until("a pod to be told that its data is on n1", SOON, || {
        let affinity = affinity(&by_claim.yaml())?;
        Ok(led_to_n1(&affinity).then_some(()))
    })?;
    let inline = Reader::inline("default", "lone-reader", "lone").yaml();
    wait_until("whoever is asked to say so", SOON, || {
        // The API server asks either replica, and does without one that is slow.
        for _ in 0..6 {
            if !led_to_n1(&affinity(&by_claim.yaml())?) {
                return Ok(None);
            }
        }
        Ok(led_to_n1(&affinity(&inline)?).then_some(()))
    })?;
    let class = class("lone-class", "lone");
    site.cluster.apply(&class)?;
    let by_class = Reader::of_claim("default", "lone-reader", "lone-class").yaml();
    wait_until("a pod with a claim of a StorageClass to be told the same", SOON, || {
        let affinity = affinity(&by_class)?;
        Ok(led_to_n1(&affinity).then_some(()))
    })?;
    site.cluster.delete(&class)?;
    // Others are as they were written: of a Dataset that all nodes have, of no Dataset, of somebody who does not want it.
    let left_alone = [
        Reader::of_claim("default", "lone-reader", "first").yaml(),
        inline.replace("csi: {driver: csi.forebay.io, readOnly: true, volumeAttributes: {dataset: lone}}", "emptyDir: {}"),
        by_claim.yaml().replace("namespace: default}", "namespace: default, labels: {forebay.io/prefer-nodes: \"false\"}}"),
    ];
    for pod in left_alone {
        let made = made(site, &pod)?;
        ensure!(made["spec"]["affinity"].is_null(), "{made:#}");
    }
    site.cluster.kubectl(&["delete", "dataset", "lone", "--timeout=180s"])?;
    site.cluster.kubectl(&["delete", "secret", "lone"]).map(drop)
}

fn first_use(site: &Site) -> Result<()> {
    let store = small_store(site, "first-use")?;
    dataset(site, &store, "idle", "  prefetch: {policy: OnFirstUse}\n")?;
    let idle = site.wait_phase("default", "idle", "Ready")?;
    ensure!(idle["status"]["cache"]["bytes"] == 0 && idle["status"]["firstUsedAt"].is_null(), "nobody uses it: {idle:#}");
    // As it is with a node that an autoscaler has yet to make: the volume of the claim is not even provisioned.
    let class = class("idle-class", "idle");
    site.cluster.apply(&class)?;
    let waiting = Reader::of_claim("default", "waiting", "idle-class").on("a-node-to-come");
    waiting.start(site)?;
    site.wait_for("all of it to be cached", &["dataset", "idle"], |dataset| {
        let status = &dataset["status"];
        status["cache"]["bytes"] == 12 << 20 && status["phase"] == "Ready" && status["firstUsedAt"].is_string()
    })?;
    wait_event(site, "dataset/idle", "FirstUse", "pod default/waiting")?;
    ensure!(waiting.phase(site)? == "Pending", "the pod waits still");
    waiting.remove(site)?;
    site.cluster.delete(&class)?;
    site.cluster.kubectl(&["delete", "dataset", "idle", "--timeout=180s"])?;
    site.cluster.kubectl(&["delete", "secret", "idle"]).map(drop)
}

fn scales(site: &Site) -> Result<()> {
    // To as many as there are: nobody has to give back what is cached.
    site.patch_runtime("merge", r#"{"spec":{"replicas":1000}}"#)?;
    site.cluster.kubectl(&["scale", "cacheruntime", "default", "--replicas=2"])?;
    let scale = || -> Result<Value> {
        Ok(serde_json::from_str(&site.cluster.kubectl(&[
            "get",
            "--raw",
            "/apis/forebay.io/v1alpha1/cacheruntimes/default/scale",
        ])?)?)
    };
    let told = scale()?;
    ensure!(told["spec"]["replicas"] == 2 && told["status"]["replicas"] == 2, "{told:#}");
    let selector = told["status"]["selector"].as_str().context("no selector")?;
    let pods = site.cluster.kubectl(&["get", "pods", "-n", NAMESPACE, "-l", selector, "-o", "name"])?;
    ensure!(pods.lines().count() == 2, "{selector} selects {pods}");
    site.patch_runtime("json", r#"[{"op":"remove","path":"/spec/replicas"}]"#)?;
    scales_for_an_autoscaler(site)
}

/// An HPA asks for its target in its own namespace, where nothing is that belongs to the cluster. (`hpa::` has one that scales.)
fn scales_for_an_autoscaler(site: &Site) -> Result<()> {
    let scale = |name: &str, runtime: &str| {
        format!(
            "apiVersion: forebay.io/v1alpha1
kind: CacheRuntimeScale
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec: {{runtime: {runtime}, replicas: 1000}}
---
"
        )
    };
    let hpa = format!(
        "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: default, namespace: {NAMESPACE}}}
spec:
  scaleTargetRef: {{apiVersion: forebay.io/v1alpha1, kind: CacheRuntimeScale, name: default}}
  minReplicas: 1
  maxReplicas: 1000
  metrics: [{{type: Pods, pods: {{metric: {{name: forebay_pinned_share}}, target: {{type: AverageValue, averageValue: 500m}}}}}}]
---
"
    );
    let told = |name: &str, status: &str, reason: &str| {
        site.wait_for(&format!("{name} to be told {reason}"), &["cacheruntimescale", "-n", NAMESPACE, name], |object| {
            has_condition(object, |one| one["type"] == "InEffect" && one["status"] == status && one["reason"] == reason)
        })
    };
    site.cluster.apply(&scale("default", "default"))?;
    let first = told("default", "True", "AsDesired")?;
    ensure!(first["status"]["replicas"] == 2, "{first:#}");
    site.cluster.apply(&(hpa.clone() + &scale("second", "default") + &scale("nobodys", "missing")))?;
    told("second", "False", "ScaledByAnother")?;
    told("nobodys", "False", "RuntimeNotFound")?;
    site.cluster.kubectl(&["scale", "cacheruntimescale", "-n", NAMESPACE, "default", "--replicas=2"])?;
    site.wait_for("the runtime to go by it", &["cacheruntime", "default"], |runtime| {
        let status = &runtime["status"];
        status["scaledBy"] == format!("{NAMESPACE}/default") && status["summary"]["ready"] == "2/2"
    })?;
    // Nobody here tells it any metric.
    site.wait_for("the HPA to find its target", &["hpa", "-n", NAMESPACE, "default"], |hpa| {
        has_condition(hpa, |one| one["type"] == "AbleToScale" && one["reason"] == "SucceededGetScale")
            && has_condition(hpa, |one| one["type"] == "ScalingActive" && one["reason"] == "FailedGetPodsMetric")
    })?;
    site.cluster.delete(&(hpa + &scale("default", "default")))?;
    told("second", "True", "AsDesired")?;
    site.cluster.delete(&(scale("second", "default") + &scale("nobodys", "missing")))?;
    site.wait_for("the runtime to go by itself", &["cacheruntime", "default"], |runtime| {
        runtime["status"]["scaledBy"].is_null() && runtime["status"]["summary"]["ready"] == "2/2"
    })
    .map(drop)
}

fn operator_away(site: &Site) -> Result<()> {
    let scale = |replicas: u32| {
        site.cluster.kubectl(&["scale", "deployment", "forebay-operator", "-n", NAMESPACE, &format!("--replicas={replicas}")])
    };
    scale(0)?;
    site.wait_gone(&["pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=forebay-operator"])?;
    let reader = Reader::of_claim("default", "meanwhile", "first");
    let read = reader.run(site);
    scale(2)?;
    ensure!(read? == sums_of(&site.store.source)?, "a pod that came while there was no operator");
    site.cluster.kubectl(&["rollout", "status", "deployment/forebay-operator", "-n", NAMESPACE, "--timeout=180s"])?;
    site.wait_phase("default", "first", "Ready").map(drop)
}
