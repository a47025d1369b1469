use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use forebay_api::DatasetName;
use forebay_api::session::AUDIENCE;
use forebay_cluster::NAMESPACE;
use forebay_crds::{CacheRuntime, Dataset};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod as PodObject, PodTemplateSpec, Secret, ServiceAccount};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::fleet::Pod;
use crate::lab::Lab;
use crate::words::Known;

/// Requests at a time.
const AT_ONCE: usize = 32;
const RUNTIME: &str = "default";
/// Datasets are spread over so many namespaces, each with one Secret.
const NAMESPACES: usize = 10;
/// Images that a node of some age names in its status.
const IMAGES: usize = 40;
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the runtime, and nodes with a pod of its agents each, as DaemonSet controller and kubelet would.
pub(crate) async fn nodes(lab: &Lab, count: usize) -> Result<Vec<Pod>> {
    let runtimes: Api<CacheRuntime> = Api::all(lab.client.clone());
    let runtime = json!({
        "apiVersion": "forebay.io/v1alpha1", "kind": "CacheRuntime", "metadata": {"name": RUNTIME},
        "spec": {"tiers": [{"name": "ram", "medium": "Memory", "capacity": "16Gi"},
            {"name": "ssd", "medium": "Disk", "path": "/var/lib/forebay", "capacity": "1Ti"}]}
    });
    runtimes.create(&PostParams::default(), &serde_json::from_value(runtime)?).await.context("make the CacheRuntime")?;
    let template = template(&lab.client).await?;
    let nodes: Api<Node> = Api::all(lab.client.clone());
    let made = (0..count).map(|index| {
        let (nodes, lab, template) = (nodes.clone(), &lab, &template);
        async move {
            let node = serde_json::from_value(node(index))?;
            nodes.create(&PostParams::default(), &node).await.context("make a node")?;
            pod(lab, &node.name_any(), address(index), template.clone()).await
        }
    });
    futures::stream::iter(made).buffered(AT_ONCE).try_collect().await
}

async fn template(client: &Client) -> Result<PodTemplateSpec> {
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), NAMESPACE);
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(spec) = sets.get_opt(&format!("forebay-agent-{RUNTIME}")).await?.and_then(|set| set.spec) {
            return Ok(spec.template);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the operator made no DaemonSet in {PATIENCE:?}")
}

fn node(index: usize) -> serde_json::Value {
    let name = format!("node-{index:04}");
    let image = |image: usize| {
        let digest = format!("registry.example/team/image-{image}@sha256:{image:064x}");
        json!({"names": [digest, format!("registry.example/team/image-{image}:1.{image}.0")], "sizeBytes": 100_000_000 + image})
    };
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("zone-{}", index % 3)}},
        "status": {
            "allocatable": {"cpu": "64", "memory": "512Gi", "pods": "110"}, "capacity": {"cpu": "64", "memory": "512Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}],
            "images": (0..IMAGES).map(image).collect::<Vec<_>>()
        }
    })
}

/// The address of a node's pod: agents whose pods have none are not told of. Nobody connects to it.
fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + index as u32)
}

/// A pod of the template on a node, ready, and its token.
async fn pod(lab: &Lab, node: &str, ip: Ipv4Addr, template: PodTemplateSpec) -> Result<Pod> {
    let pods: Api<PodObject> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let name = format!("forebay-agent-{RUNTIME}-{node}");
    let PodTemplateSpec { metadata, spec } = template;
    let spec = spec.map(|mut spec| {
        spec.node_name = Some(node.to_owned());
        spec
    });
    let metadata = ObjectMeta { name: Some(name.clone()), ..metadata.unwrap_or_default() };
    pods.create(&PostParams::default(), &PodObject { metadata, spec, status: None }).await.context("make a pod")?;
    let ready = json!({"status": {
        "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "podIP": ip, "podIPs": [{"ip": ip}]
    }});
    pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(ready)).await.context("make a pod ready")?;
    let accounts: Api<ServiceAccount> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let request: TokenRequest = serde_json::from_value(json!({
        "spec": {"audiences": [AUDIENCE], "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name}, "expirationSeconds": 28_800}
    }))?;
    let answer =
        accounts.create_token_request("forebay-agent", &PostParams::default(), &request).await.context("ask for a token")?;
    let token = lab.dir.path().join(format!("{node}.token"));
    fs::write(&token, answer.status.context("the token did not come")?.token)?;
    Ok(Pod { name, token })
}

/// The authority's certificate, as agents mount it.
pub(crate) async fn authority(lab: &Lab) -> Result<PathBuf> {
    let maps: Api<ConfigMap> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let map = maps.get("forebay-ca").await.context("read the authority's certificate")?;
    let file = lab.dir.path().join("ca.crt");
    fs::write(&file, map.data.unwrap_or_default().get("ca.crt").context("the ConfigMap has no ca.crt")?)?;
    Ok(file)
}

/// Makes Datasets, each of one bucket whose key is in a Secret.
pub(crate) async fn datasets(client: &Client, count: usize) -> Result<Vec<Known>> {
    for index in 0..NAMESPACES.min(count) {
        let namespace = namespace(index);
        let metadata = ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() };
        let object = Namespace { metadata, ..Namespace::default() };
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.context("make a namespace")?;
        let entries = ["accessKeyId", "secretAccessKey"].map(|key| (key.to_owned(), "x".to_owned()));
        let metadata = ObjectMeta { name: Some("obs".into()), ..ObjectMeta::default() };
        let secret = Secret { metadata, string_data: Some(BTreeMap::from(entries)), ..Secret::default() };
        Api::<Secret>::namespaced(client.clone(), &namespace)
            .create(&PostParams::default(), &secret)
            .await
            .context("make a Secret")?;
    }
    let made = (0..count).map(|index| async move {
        let (namespace, name) = (namespace(index), format!("dataset-{index:04}"));
        let dataset = json!({
            "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset", "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "runtime": RUNTIME, "pin": {"paths": ["/train"]}, "prefetch": {"policy": "Eager", "paths": ["/"], "tier": "ssd"},
                "mounts": [{"path": "/", "source": format!("s3://bucket/{name}"), "secretRef": {"name": "obs"},
                    "options": {"endpoint": "https://obs.example", "region": "eu-de"}}]
            }
        });
        let api: Api<Dataset> = Api::namespaced(client.clone(), &namespace);
        let made = api.create(&PostParams::default(), &serde_json::from_value(dataset)?).await.context("make a Dataset")?;
        Ok(Known { name: DatasetName::new(namespace, name), uid: made.uid().context("the API server gives uids")? })
    });
    futures::stream::iter(made).buffered(AT_ONCE).try_collect().await
}

fn namespace(index: usize) -> String {
    format!("team-{}", index % NAMESPACES)
}

/// Changes what a Dataset pins, in a way that no change before did.
pub(crate) async fn change(client: &Client, known: &Known, mark: u32) -> Result<()> {
    let api: Api<Dataset> = Api::namespaced(client.clone(), &known.name.namespace);
    let spec = json!({"spec": {"pin": {"paths": [format!("/train/{mark}")]}}});
    api.patch(&known.name.name, &PatchParams::default(), &Patch::Merge(spec)).await.context("change a Dataset").map(drop)
}

/// How many Datasets say that they are served on `nodes` nodes at their newest spec.
pub(crate) async fn told(client: &Client, nodes: usize) -> Result<usize> {
    let all = Api::<Dataset>::all(client.clone()).list(&Default::default()).await.context("list Datasets")?;
    let served = |dataset: &&Dataset| {
        let status = dataset.status.as_ref();
        status.is_some_and(|status| {
            status.observed_generation == dataset.metadata.generation && status.nodes.ready as usize == nodes
        })
    };
    Ok(all.items.iter().filter(served).count())
}
