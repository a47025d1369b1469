//! The agents' DaemonSet: pure.

use std::collections::{BTreeMap, BTreeSet};

use forebay_api::node::GRACE;
use forebay_api::session::{AUDIENCE, PEER_PORT};
use forebay_crds::{CacheRuntime, CacheRuntimeSpec};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
    HostPathVolumeSource, LocalObjectReference, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    ObjectFieldSelector, PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource, ResourceRequirements, SeccompProfile,
    SecurityContext, ServiceAccountTokenProjection, Toleration, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource as _;

use super::fit::memory;
use crate::{hash, names};

/// Annotation of a pod: hash of what it was made from, without the nodes. The choice of nodes changes the DaemonSet's template
/// but no pod; Kubernetes' own rolling update would restart every agent each time that a runtime is scaled.
pub(super) const POD_HASH: &str = "forebay.io/made-from";

/// Where nodes keep the agents' sockets and memory tiers.
const RUN: &str = "/run/forebay";
const CA_DIR: &str = "/etc/forebay/ca";
const TOKEN_DIR: &str = "/var/run/secrets/forebay/token";
const METRICS_PORT: i32 = 9101;

/// What the chart says of agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) namespace: String,
    pub(crate) image: String,
    pub(crate) pull_policy: String,
    pub(crate) pull_secrets: Vec<String>,
    pub(crate) service_account: String,
    pub(crate) priority_class: Option<String>,
    pub(crate) cpu: String,
    /// Bytes beside the memory tiers.
    pub(crate) memory: u64,
    pub(crate) log: String,
    /// Whether the kernel may read complete files by itself.
    pub(crate) passthrough: bool,
    /// Whether mounts may be composed.
    pub(crate) composed: bool,
    /// URL of the operator.
    pub(crate) operator: String,
    /// ConfigMap with the authority's certificate.
    pub(crate) ca: String,
    /// Its uid. It goes with the release, and agents, who are nothing without an operator, with it.
    pub(crate) ca_uid: String,
}

/// On which nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nodes {
    /// On every node that the spec matches, also those that come.
    Matching,
    /// On these.
    Named(BTreeSet<String>),
}

/// The DaemonSet of a runtime.
pub(super) fn daemon_set(runtime: &CacheRuntime, name: &str, nodes: &Nodes, settings: &Settings) -> DaemonSet {
    let labels = names::agent_labels(name);
    let mut pod = pod(&runtime.spec, name, settings);
    let made_from = made_from(&pod);
    match nodes {
        Nodes::Matching if runtime.spec.node_selector.is_empty() => {}
        Nodes::Matching => pod.node_selector = Some(runtime.spec.node_selector.clone()),
        Nodes::Named(named) => pod.affinity = Some(only_on(named)),
    }
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels.clone()),
            annotations: Some(BTreeMap::from([(POD_HASH.to_owned(), made_from)])),
            ..ObjectMeta::default()
        }),
        spec: Some(pod),
    };
    DaemonSet {
        metadata: ObjectMeta {
            name: Some(names::daemon_set(name)),
            namespace: Some(settings.namespace.clone()),
            labels: Some(labels.clone()),
            owner_references: Some(vec![owner(settings)]),
            ..ObjectMeta::default()
        },
        spec: Some(DaemonSetSpec {
            selector: LabelSelector { match_labels: Some(labels), match_expressions: None },
            template,
            update_strategy: Some(DaemonSetUpdateStrategy { type_: Some("OnDelete".to_owned()), rolling_update: None }),
            ..DaemonSetSpec::default()
        }),
        status: None,
    }
}

/// The hash that pods of this DaemonSet's template carry.
pub(super) fn hash_of(set: &DaemonSet) -> Option<&String> {
    set.spec.as_ref()?.template.metadata.as_ref()?.annotations.as_ref()?.get(POD_HASH)
}

fn made_from(pod: &PodSpec) -> String {
    let json = serde_json::to_vec(pod).unwrap_or_default();
    format!("{:016x}", hash::stable(&[&json]))
}

fn pod(spec: &CacheRuntimeSpec, name: &str, settings: &Settings) -> PodSpec {
    let (volumes, mounts) = volumes(spec, name, settings);
    PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![container(spec, name, settings, mounts)],
        enable_service_links: Some(false),
        image_pull_secrets: (!settings.pull_secrets.is_empty())
            .then(|| settings.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect()),
        priority_class_name: settings.priority_class.clone(),
        service_account_name: Some(settings.service_account.clone()),
        termination_grace_period_seconds: i64::try_from(GRACE.as_secs()).ok(),
        tolerations: Some(tolerations(spec)),
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

/// The spec's, and one for nodes that wait for nothing but their agent.
fn tolerations(spec: &CacheRuntimeSpec) -> Vec<Toleration> {
    let warming =
        Toleration { key: Some(names::WARMING.to_owned()), operator: Some("Exists".to_owned()), ..Toleration::default() };
    spec.tolerations.iter().cloned().chain([warming]).collect()
}

fn container(spec: &CacheRuntimeSpec, name: &str, settings: &Settings, mounts: Vec<VolumeMount>) -> Container {
    let memory = Quantity(memory(&spec.tiers, settings.memory).to_string());
    let args = [
        "cluster",
        "--runtime",
        name,
        "--state",
        &state(name),
        "--run",
        RUN,
        "--operator",
        &settings.operator,
        "--ca",
        &format!("{CA_DIR}/ca.crt"),
        "--token",
        &format!("{TOKEN_DIR}/token"),
        "--metrics-addr",
        &format!("0.0.0.0:{METRICS_PORT}"),
        "--peer-addr",
        &format!("0.0.0.0:{PEER_PORT}"),
    ];
    // What is on needs no word.
    let switches = [(settings.passthrough, "--no-passthrough"), (settings.composed, "--no-composed")];
    let off = switches.into_iter().filter(|(on, _)| !on).map(|(_, flag)| flag);
    let bound = spec.peers.bandwidth.as_ref().map(|most| ["--peer-bandwidth".to_owned(), most.bytes().to_string()]);
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            // With the version that the API server would fill in, so that nothing seems to have changed.
            field_ref: Some(ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() }),
            ..EnvVarSource::default()
        }),
    };
    let env = vec![
        field("NODE_NAME", "spec.nodeName"),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        EnvVar { name: "FOREBAY_LOG".to_owned(), value: Some(settings.log.clone()), value_from: None },
    ];
    Container {
        name: "agent".to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: Some(settings.pull_policy.clone()),
        args: Some(args.into_iter().chain(off).map(str::to_owned).chain(bound.into_iter().flatten()).collect()),
        env: Some(env),
        ports: Some(vec![port("metrics", METRICS_PORT), port("peers", i32::from(PEER_PORT))]),
        readiness_probe: Some(Probe { period_seconds: Some(5), timeout_seconds: Some(5), ..probe("/readyz") }),
        // An agent that is restarted for being slow is slower still.
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            timeout_seconds: Some(10),
            failure_threshold: Some(6),
            initial_delay_seconds: Some(10),
            ..probe("/healthz")
        }),
        resources: Some(ResourceRequirements {
            requests: Some(BTreeMap::from([
                ("cpu".to_owned(), Quantity(settings.cpu.clone())),
                ("memory".to_owned(), memory.clone()),
            ])),
            limits: Some(BTreeMap::from([("memory".to_owned(), memory)])),
            claims: None,
        }),
        security_context: Some(security()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort { name: Some(name.to_owned()), container_port: number, ..ContainerPort::default() }
}

/// Root, since the files of a cache and of a node's directories belong to many, but of root's powers only those over files.
fn security() -> SecurityContext {
    let add = ["CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER"];
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            add: Some(add.iter().map(|capability| (*capability).to_owned()).collect()),
            drop: Some(vec!["ALL".to_owned()]),
        }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_user: Some(0),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("metrics".to_owned()),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

fn state(runtime: &str) -> String {
    format!("/var/lib/forebay/{runtime}")
}

fn volumes(spec: &CacheRuntimeSpec, name: &str, settings: &Settings) -> (Vec<Volume>, Vec<VolumeMount>) {
    let mut volumes = Vec::new();
    let mut mounts = Vec::new();
    let mut host = |volume: String, path: &str, kind: &str, mount: VolumeMount| {
        let source = HostPathVolumeSource { path: path.to_owned(), type_: Some(kind.to_owned()) };
        volumes.push(Volume { name: volume.clone(), host_path: Some(source), ..Volume::default() });
        mounts.push(VolumeMount { name: volume, mount_path: path.to_owned(), ..mount });
    };
    host("state".to_owned(), &state(name), "DirectoryOrCreate", VolumeMount::default());
    // csi mounts memory tiers there, before and after this pod began.
    let propagated = VolumeMount { mount_propagation: Some("HostToContainer".to_owned()), ..VolumeMount::default() };
    host("run".to_owned(), RUN, "DirectoryOrCreate", propagated.clone());
    for tier in &spec.tiers {
        if let Some(path) = tier.path.as_ref().filter(|path| path.as_str() != state(name)) {
            host(format!("tier-{}", short(&tier.name)), path.as_str(), "DirectoryOrCreate", VolumeMount::default());
        }
    }
    for (i, path) in spec.allowed_host_paths.iter().enumerate() {
        // File systems that are mounted below it later are seen too.
        let mount = VolumeMount { read_only: Some(true), ..propagated.clone() };
        host(format!("host-{i}"), path.as_str(), "", mount);
    }
    let token = ServiceAccountTokenProjection {
        audience: Some(AUDIENCE.to_owned()),
        expiration_seconds: Some(3600),
        path: "token".to_owned(),
    };
    let sources = vec![VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() }];
    volumes.push(Volume {
        name: "token".to_owned(),
        projected: Some(ProjectedVolumeSource { default_mode: Some(0o400), sources: Some(sources) }),
        ..Volume::default()
    });
    volumes.push(Volume {
        name: "ca".to_owned(),
        config_map: Some(ConfigMapVolumeSource { name: settings.ca.clone(), default_mode: Some(0o444), ..Default::default() }),
        ..Volume::default()
    });
    for (volume, path) in [("token", TOKEN_DIR), ("ca", CA_DIR)] {
        let (name, mount_path) = (volume.to_owned(), path.to_owned());
        mounts.push(VolumeMount { name, mount_path, read_only: Some(true), ..VolumeMount::default() });
    }
    (volumes, mounts)
}

/// A tier's name may have as many characters as a volume's, which has a prefix besides.
fn short(tier: &str) -> String {
    if tier.len() <= 58 { tier.to_owned() } else { format!("{:016x}", hash::stable(&[tier.as_bytes()])) }
}

/// One term a node: `matchFields` takes no list.
fn only_on(nodes: &BTreeSet<String>) -> Affinity {
    let term = |requirement, fields: bool| {
        let (match_fields, match_expressions) =
            if fields { (Some(vec![requirement]), None) } else { (None, Some(vec![requirement])) };
        NodeSelectorTerm { match_expressions, match_fields }
    };
    let mut terms: Vec<NodeSelectorTerm> = nodes
        .iter()
        .map(|node| {
            let (key, operator, values) = ("metadata.name".to_owned(), "In".to_owned(), Some(vec![node.clone()]));
            term(NodeSelectorRequirement { key, operator, values }, true)
        })
        .collect();
    if terms.is_empty() {
        // No term is no selector at all; this one no node matches.
        let (key, operator) = ("forebay.io/no-node".to_owned(), "Exists".to_owned());
        terms.push(term(NodeSelectorRequirement { key, operator, values: None }, false));
    }
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector { node_selector_terms: terms }),
            preferred_during_scheduling_ignored_during_execution: None,
        }),
        ..Affinity::default()
    }
}

/// Not the CacheRuntime: at its end the finalizer sees to it, and of two owners Kubernetes would wait for both.
fn owner(settings: &Settings) -> OwnerReference {
    OwnerReference {
        api_version: ConfigMap::api_version(&()).into_owned(),
        block_owner_deletion: None,
        controller: None,
        kind: ConfigMap::kind(&()).into_owned(),
        name: settings.ca.clone(),
        uid: settings.ca_uid.clone(),
    }
}
