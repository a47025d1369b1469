use std::collections::BTreeMap;

use forebay_crds::{CacheRuntime, Dataset, names};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;

/// A namespace and a name.
pub(super) type Key = (String, String);

/// What was seen of the cluster. `None` stands for what the user may not see.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// What is asked about.
    pub(super) question: Question,
    /// Whether the API server knows our kinds.
    pub(super) installed: bool,
    /// The Datasets that are judged.
    pub(super) datasets: Vec<Dataset>,
    /// All Datasets that the user may see.
    pub(super) known: Vec<Dataset>,
    pub(super) runtimes: Option<Vec<CacheRuntime>>,
    pub(super) nodes: Option<Vec<Node>>,
    /// Whether there is a CSIDriver object for our driver.
    pub(super) driver: Option<bool>,
    /// Pods of our programs, by the label `app.kubernetes.io/name`.
    pub(super) programs: BTreeMap<&'static str, Option<Vec<Pod>>>,
    /// DaemonSets of agents and drivers.
    pub(super) sets: Option<Vec<DaemonSet>>,
    /// Whether the Secrets that the judged Datasets name exist; one that is absent here could not be looked at.
    pub(super) secrets: BTreeMap<Key, bool>,
    /// The claims that matter; `None`: there is none of that name.
    pub(super) claims: BTreeMap<Key, Option<PersistentVolumeClaim>>,
    /// The volumes of these claims, by name.
    pub(super) volumes: BTreeMap<String, PersistentVolume>,
    pub(super) pod: Option<PodSeen>,
    /// What could not be looked at, and why.
    pub(super) unseen: Vec<String>,
}

/// What is asked about.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Question {
    #[default]
    Everything,
    Namespace(String),
    Dataset(Key),
    Pod(Key),
}

/// The pod that is asked about.
#[derive(Debug)]
pub(super) struct PodSeen {
    pub(super) pod: Pod,
    /// Messages of its Warning events, newest first, with their reasons.
    pub(super) warnings: Vec<(String, String)>,
}

impl Observed {
    /// What is asked about, for people.
    pub(super) fn subject(&self) -> String {
        match &self.question {
            Question::Everything => "all namespaces".to_owned(),
            Question::Namespace(namespace) => format!("namespace {namespace}"),
            Question::Dataset((namespace, name)) => format!("Dataset {namespace}/{name}"),
            Question::Pod((namespace, name)) => format!("pod {namespace}/{name}"),
        }
    }

    pub(super) fn runtime(&self, name: &str) -> Option<&CacheRuntime> {
        self.runtimes.iter().flatten().find(|runtime| runtime.name_any() == name)
    }

    /// The CacheRuntimes that are judged: those of the judged Datasets, or all where everything is asked about.
    pub(super) fn concerned(&self) -> impl Iterator<Item = &CacheRuntime> {
        let all = self.question == Question::Everything;
        let concerned = move |runtime: &&CacheRuntime| {
            let name = runtime.name_any();
            all || self.datasets.iter().any(|dataset| *dataset.spec.runtime == *name)
        };
        self.runtimes.iter().flatten().filter(concerned)
    }

    /// The pods of one of our programs; `None`: the user may not see them.
    pub(super) fn program(&self, app: &str) -> Option<&[Pod]> {
        self.programs.get(app)?.as_deref()
    }

    /// The agents of a CacheRuntime.
    pub(super) fn agents(&self, runtime: &str) -> Option<Vec<&Pod>> {
        let of = |pod: &&Pod| pod.labels().get(names::RUNTIME).is_some_and(|of| of == runtime);
        Some(self.program(names::AGENT)?.iter().filter(of).collect())
    }

    /// A Dataset that the user may see.
    pub(super) fn known(&self, (namespace, name): &Key) -> Option<&Dataset> {
        self.known.iter().find(|dataset| key(*dataset) == (namespace.clone(), name.clone()))
    }
}

/// Namespace and name of an object.
pub(super) fn key(object: &impl kube::ResourceExt) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}
