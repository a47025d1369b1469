use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use forebay_cluster::NAMESPACE;
use forebay_e2e::wait_until;
use serde_json::{Value, json};

use crate::setup::{PATIENCE, Replica, Setup, condition};

const RUNTIME: [&str; 2] = ["cacheruntime", "default"];
const DATASET: [&str; 4] = ["-n", "ml", "dataset", "imagenet"];

fn runtime(name: &str, replicas: u32, capacity: &str) -> String {
    json!({
        "apiVersion": "forebay.io/v1alpha1", "kind": "CacheRuntime", "metadata": {"name": name},
        "spec": {"replicas": replicas, "tiers": [{"name": "ram", "medium": "Memory", "capacity": capacity}]}
    })
    .to_string()
}

fn dataset(name: &str, runtime: &str, secret: &str) -> String {
    json!({
        "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset", "metadata": {"name": name, "namespace": "ml"},
        "spec": {
            "runtime": runtime, "mounts": [{"path": "/", "source": "s3://bucket", "secretRef": {"name": secret}}],
            "prefetch": {"policy": "Eager"}, "warmBeforeScheduling": true
        }
    })
    .to_string()
}

fn secret(key: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "obs", "namespace": "ml"},
        "stringData": {"accessKeyId": "user", "secretAccessKey": key}
    })
    .to_string()
}

/// A pod that has the claim's volume and never runs: there is no driver here to mount it.
fn user(claim: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user", "namespace": "ml"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": "localhost/busybox:1", "args": ["sleep 1000"]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
        }
    })
    .to_string()
}

fn ready(object: &Value) -> bool {
    object["status"]["phase"] == "Ready"
}

/// Which of the replicas leads; exactly one does.
fn leader(replicas: &[&Replica]) -> Result<usize> {
    wait_until("one replica to lead", PATIENCE, || {
        let leads: Vec<usize> = (0..replicas.len()).filter(|i| replicas[*i].leads().unwrap_or(false)).collect();
        ensure!(leads.len() < 2, "two lead");
        Ok(leads.first().copied())
    })
}

#[test]
fn on_a_real_api_server() -> Result<()> {
    let setup = Setup::start()?;
    let (a, b) = (setup.replica("a")?, setup.replica("b")?);
    let leading = leader(&[&a, &b])?;

    what_is_wrong_is_said(&setup)?;
    let pods = a_dataset_is_served(&setup, &[&a, &b])?;

    // The leader is killed, comes back, and is asked to end; the API server goes and comes back.
    let (first, second) = if leading == 0 { (a, b) } else { (b, a) };
    let agent = setup.agent("agent-1", &pods[0].0, &[&first, &second], 0)?;
    setup.wait_for(&DATASET, "to be Ready", ready)?;
    first.kill();
    let killed = Instant::now();
    while !second.leads().unwrap_or(false) {
        ensure!(killed.elapsed() < PATIENCE, "nobody follows a leader that was killed");
        ensure!(ready(&setup.cluster.get(&DATASET)?), "a leader's death is no news about a Dataset");
    }
    println!("a killed leader was followed after {:.1} s", killed.elapsed().as_secs_f64());
    let third = setup.replica("c")?;
    second.terminate()?;
    leader(&[&third])?;
    setup.cluster.stop_api_server()?;
    wait_until("a leader without its lease to stop", PATIENCE, || Ok((!third.leads()?).then_some(())))?;
    setup.cluster.start_api_server()?;
    leader(&[&third])?;
    drop(agent);
    setup.wait_for_reason(&DATASET, "Ready", "NodesMissing")?;
    ensure!(!ready(&setup.cluster.get(&DATASET)?), "nobody serves it");

    let _agent = setup.agent("agent-2", &pods[0].0, &[&third], 0)?;
    setup.wait_for(&DATASET, "to be Ready again", ready)?;
    scaling_restarts_nobody(&setup, &pods[0].0)?;
    deletion_waits_for_pods_and_ends(&setup)?;
    third.terminate()?;
    setup.cluster.stop()
}

fn what_is_wrong_is_said(setup: &Setup) -> Result<()> {
    let Setup { cluster, .. } = setup;
    cluster.apply(&dataset("lost", "nowhere", "none"))?;
    let lost = ["-n", "ml", "dataset", "lost"];
    let message = setup.wait_for_reason(&lost, "Accepted", "RuntimeNotFound")?;
    ensure!(message.contains("no CacheRuntime nowhere"), "{message}");
    wait_until("the missing Secret to be told", PATIENCE, || {
        let said = cluster.kubectl(&["describe", "-n", "ml", "dataset", "lost"])?;
        Ok((said.contains("no Secret none in namespace ml") && said.contains("Warning  RuntimeNotFound")).then_some(()))
    })?;
    cluster.apply(&runtime("huge", 1, "1Pi"))?;
    let message = setup.wait_for_reason(&["cacheruntime", "huge"], "Ready", "TierDoesNotFit")?;
    ensure!(message.contains("node n1") && message.contains("lower the capacity of ram"), "{message}");
    ensure!(setup.pods("huge")?.is_empty());
    // In an odd order, and while the one names what the other is.
    cluster.apply(&dataset("huge", "huge", "none"))?;
    cluster.kubectl(&["delete", "cacheruntime", "huge", "--timeout=60s"])?;
    setup.wait_for_reason(&["-n", "ml", "dataset", "huge"], "Accepted", "RuntimeNotFound")?;
    cluster.kubectl(&["delete", "-n", "ml", "dataset", "lost", "huge", "--timeout=60s"])?;
    Ok(())
}

fn a_dataset_is_served(setup: &Setup, replicas: &[&Replica]) -> Result<Vec<(String, String)>> {
    let Setup { cluster, .. } = setup;
    cluster.apply(&secret("one"))?;
    cluster.apply(&runtime("default", 1, "64Mi"))?;
    cluster.apply(&dataset("imagenet", "default", "obs"))?;
    let pods = setup.wait_for_pods("default", 1)?;
    let node = ["node", pods[0].1.as_str()];
    cluster.kubectl(&["taint", "node", node[1], "forebay.io/warming=:NoSchedule", "example.com/other=:PreferNoSchedule"])?;
    setup.wait_for(&node, "to say what it waits for", |node| {
        let warm = condition(node, "forebay.io/WarmUpComplete");
        warm["status"] == "False" && warm["message"] == "no agent of CacheRuntime default answers from it"
    })?;
    let agent = setup.agent("agent", &pods[0].0, replicas, 0)?;
    let warm = setup.wait_for(&node, "to have one taint less", |node| {
        node["spec"]["taints"].as_array().is_some_and(|taints| taints.len() == 1)
    })?;
    ensure!(warm["spec"]["taints"][0]["key"] == "example.com/other", "{warm}");
    setup.wait_for(&node, "to have no condition that nobody asked for", |node| {
        condition(node, "forebay.io/WarmUpComplete").is_null()
    })?;
    wait_until("the event that says so", PATIENCE, || {
        Ok(cluster.kubectl(&["describe", "node", node[1]])?.contains("what one Dataset wants here is here").then_some(()))
    })?;
    cluster.kubectl(&["taint", "node", node[1], "example.com/other-"])?;
    let dataset =
        setup.wait_for(&DATASET, "to be Ready", |dataset| ready(dataset) && dataset["status"]["claim"] == "imagenet")?;
    ensure!(dataset["status"]["nodes"] == json!({"ready": 1, "desired": 1}), "{dataset}");
    ensure!(dataset["status"]["cache"]["percent"] == 100 && dataset["status"]["catalog"]["bytes"] == 100 << 20, "{dataset}");
    let claim = cluster.get(&["-n", "ml", "pvc", "imagenet"])?;
    ensure!(claim["status"]["phase"] == "Bound", "{claim}");
    let volume = format!("forebay-{}", dataset["metadata"]["uid"].as_str().unwrap_or_default());
    setup.wait_for(&["pv", &volume], "to have the tree's size", |volume| volume["spec"]["capacity"]["storage"] == "100Mi")?;
    let wide = cluster.kubectl(&["get", "-n", "ml", "dataset", "imagenet", "-o", "wide", "--no-headers"])?;
    let columns: Vec<&str> = wide.split_whitespace().collect();
    ensure!(columns[1..5] == ["100", "100Mi", "100%", "Ready"] && columns.contains(&"1/1"), "{wide}");

    let served = || Ok::<_, anyhow::Error>(setup.printed("agent")?.matches("serve ml/imagenet").count());
    let before = served()?;
    cluster.apply(&secret("two"))?;
    wait_until("a changed Secret to reach the agent", PATIENCE, || Ok((served()? > before).then_some(())))?;
    cluster.kubectl(&["annotate", "-n", "ml", "dataset", "imagenet", "forebay.io/refresh=again"])?;
    wait_until("the wish for a listing to reach the agent", PATIENCE, || {
        Ok(setup.printed("agent")?.contains(r#"refresh Some("again")"#).then_some(()))
    })?;

    // What somebody deletes by hand comes back.
    cluster.kubectl(&["delete", "-n", "ml", "pvc", "imagenet"])?;
    let uid = claim["metadata"]["uid"].clone();
    setup.wait_for(&["-n", "ml", "pvc", "imagenet"], "to be bound again", |claim| {
        claim["metadata"]["uid"] != uid && claim["status"]["phase"] == "Bound"
    })?;
    drop(agent);
    Ok(pods)
}

fn scaling_restarts_nobody(setup: &Setup, first: &str) -> Result<()> {
    let scale = |replicas: u32| setup.cluster.kubectl(&["scale", "cacheruntime", "default", &format!("--replicas={replicas}")]);
    scale(2)?;
    let pods = setup.wait_for_pods("default", 2)?;
    ensure!(pods.iter().any(|(pod, _)| pod == first), "{first} is not of {pods:?}");
    setup.wait_for(&RUNTIME, "to have two replicas", |runtime| runtime["status"]["replicas"] == 2)?;
    setup.wait_for(&DATASET, "to miss a node", |dataset| dataset["status"]["nodes"]["desired"] == 2 && !ready(dataset))?;
    scale(1)?;
    let pods = setup.wait_for_pods("default", 1)?;
    ensure!(pods[0].0 == first, "the agent that serves was taken: {pods:?}");
    an_autoscaler_scales(setup, first)?;
    setup.wait_for(&DATASET, "to be Ready again", ready).map(drop)
}

/// What an autoscaler writes counts in place of the runtime's own number, which is 1, for as long as its object is there.
fn an_autoscaler_scales(setup: &Setup, first: &str) -> Result<()> {
    let Setup { cluster, .. } = setup;
    let bound = ["-n", NAMESPACE, "cacheruntimescale", "bound"];
    cluster.apply(&format!(
        "apiVersion: forebay.io/v1alpha1\nkind: CacheRuntimeScale\nmetadata: {{name: bound, namespace: {NAMESPACE}}}\nspec: {{runtime: default}}\n"
    ))?;
    let counts = |agents: u32| {
        let what = format!("to be in effect and count {agents}");
        setup.wait_for(&bound, &what, |scale| {
            scale["status"]["replicas"] == agents && condition(scale, "InEffect")["status"] == "True"
        })
    };
    let scale = |replicas: u32| {
        cluster.kubectl(&["scale", "-n", NAMESPACE, "cacheruntimescale", "bound", &format!("--replicas={replicas}")])
    };
    ensure!(counts(1)?["spec"]["replicas"] == 1, "one, as nobody has said another number");
    scale(2)?;
    setup.wait_for_pods("default", 2)?;
    counts(2)?;
    let scaled = setup.wait_for(&RUNTIME, "to say what scales it", |runtime| runtime["status"]["scaledBy"].is_string())?;
    ensure!(scaled["status"]["scaledBy"] == format!("{NAMESPACE}/bound"), "{scaled:#}");
    cluster.kubectl(&["delete", "-n", NAMESPACE, "cacheruntimescale", "bound"])?;
    let pods = setup.wait_for_pods("default", 1)?;
    ensure!(pods[0].0 == first, "the agent that serves was taken: {pods:?}");
    setup.wait_for(&RUNTIME, "to go by itself", |runtime| runtime["status"]["scaledBy"].is_null()).map(drop)
}

fn deletion_waits_for_pods_and_ends(setup: &Setup) -> Result<()> {
    let Setup { cluster, .. } = setup;
    cluster.apply(&user("imagenet"))?;
    let on_a_node = |pod: &Value| pod["spec"]["nodeName"].is_string();
    setup.wait_for(&["-n", "ml", "pod", "user"], "to be on a node", on_a_node)?;
    cluster.kubectl(&["delete", "-n", "ml", "dataset", "imagenet", "--wait=false"])?;
    let message = setup.wait_for_reason(&DATASET, "Deleted", "InUse")?;
    ensure!(message.contains("ml/user"), "{message}");
    std::thread::sleep(Duration::from_secs(4));
    ensure!(ready(&cluster.get(&DATASET)?), "it stays served");
    cluster.kubectl(&["delete", "-n", "ml", "pod", "user", "--now"])?;
    setup.wait_until_gone(&DATASET)?;
    setup.wait_until_gone(&["pv"])?;
    setup.wait_until_gone(&["-n", "ml", "pvc"])?;
    ensure!(setup.printed("agent-2")?.contains("let go of ml/imagenet"));
    cluster.kubectl(&["delete", "cacheruntime", "default", "--wait=false"])?;
    setup.wait_until_gone(&RUNTIME)?;
    setup.wait_until_gone(&["-n", NAMESPACE, "daemonsets,pods"])
}
