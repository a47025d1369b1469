//! A Dataset: what its conditions say, and what they cannot say while nobody writes them. Pure.

use forebay_crds::conditions::{dataset as kind, reason};
use forebay_crds::k8s::Condition;
use forebay_crds::names::{self, Eviction};
use forebay_crds::words::count;
use forebay_crds::{Dataset, DatasetStatus, Phase};
use kube::ResourceExt as _;

use super::observed::{Key, Observed, key};
use super::remedy::{self, Names};
use super::{Diagnosis, Finding};

/// Files that a finding names.
const NAMED: usize = 3;

pub(super) fn look(observed: &Observed, dataset: &Dataset, diagnosis: &mut Diagnosis) {
    let at @ (namespace, name) = &key(dataset);
    let about = format!("Dataset {namespace}/{name}");
    let mut find = |what: &str, why: String, remedy: String| {
        diagnosis.findings.push(Finding { about: about.clone(), what: what.to_owned(), why, remedy });
    };
    let status = dataset.status.clone().unwrap_or_default();
    let current = dataset.status.is_some() && status.observed_generation >= dataset.metadata.generation;
    if !current {
        let why = "the operator has not written its status since the spec was changed".to_owned();
        find("its newest spec is not taken up yet", why, remedy::WAIT_FOR_OPERATOR.to_owned());
    }
    let secrets = secrets(dataset).join(" ");
    let names = Names { namespace, dataset: name, runtime: &dataset.spec.runtime, secrets: &secrets };
    let said = |why: &str| status.conditions.iter().any(|condition| condition.status != "True" && condition.reason == why);
    // What the operator would say, where it does not.
    if observed.runtimes.is_some() && observed.runtime(&dataset.spec.runtime).is_none() && !said(reason::RUNTIME_NOT_FOUND) {
        let why = format!("there is no CacheRuntime {}", dataset.spec.runtime.as_str());
        find("nothing can serve it", why, remedy::of_dataset(reason::RUNTIME_NOT_FOUND, names));
    }
    let missing = self::secrets(dataset)
        .into_iter()
        .filter(|secret| observed.secrets.get(&(namespace.clone(), (*secret).to_owned())) == Some(&false));
    for secret in missing.filter(|_| !said(reason::SECRET_NOT_FOUND)) {
        let why = format!("there is no Secret {secret} in namespace {namespace}");
        find("a mount's credentials are missing", why, remedy::of_dataset(reason::SECRET_NOT_FOUND, names));
    }
    if let Some(Err(error)) = dataset.annotations().get(names::EVICT).map(|wish| wish.parse::<Eviction>()) {
        let remedy = format!("ask by `kubectl forebay evict {name} -n {namespace}`, which writes it");
        find(
            "a wish to evict is not understood, and nothing is dropped",
            format!("annotation {}: {error}", names::EVICT),
            remedy,
        );
    }
    let ending = dataset.metadata.deletion_timestamp.is_some() && status.conditions.iter().any(|c| c.type_ == kind::DELETED);
    for condition in status.conditions.iter().filter(|condition| condition.status != "True") {
        // The others fall one by one while it goes, and that is no fault.
        if ending && condition.type_ != kind::DELETED {
            continue;
        }
        match standing(condition, &status) {
            Standing::Fault => {
                let what = format!("{} is {} ({})", condition.type_, condition.status, condition.reason);
                find(&what, why(condition, &status), remedy::of_dataset(&condition.reason, names));
            }
            Standing::Progress => {}
        }
    }
    diagnosis.notes.extend(notes(at, &status));
}

/// What a condition that does not hold means for who asks.
enum Standing {
    Fault,
    /// It can be read, and goes on by itself.
    Progress,
}

fn standing(condition: &Condition, status: &DatasetStatus) -> Standing {
    let readable = matches!(status.phase, Phase::Prefetching | Phase::Ready | Phase::Degraded);
    let on_its_way = condition.type_ == kind::PREFETCHED && [reason::PREFETCHING, reason::MOVING].contains(&&*condition.reason);
    if readable && on_its_way { Standing::Progress } else { Standing::Fault }
}

fn why(condition: &Condition, status: &DatasetStatus) -> String {
    let mut why = condition.message.clone();
    if condition.reason == reason::FILES_FAILED {
        for file in status.prefetch.failed.iter().take(NAMED) {
            why.push_str(&format!("; {}: {}", file.path, file.error));
        }
    }
    why
}

fn notes((namespace, name): &Key, status: &DatasetStatus) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(condition) = status
        .conditions
        .iter()
        .find(|condition| condition.status != "True" && matches!(standing(condition, status), Standing::Progress))
    {
        notes.push(format!("Dataset {namespace}/{name} can be read, and is being fetched ahead: {}", condition.message));
    }
    if status.catalog.rejected > 0 {
        let sample = status.catalog.rejected_sample.first();
        let sample = sample.map(|object| format!(", such as {:?} ({})", object.key, object.reason)).unwrap_or_default();
        notes.push(format!(
            "Dataset {namespace}/{name} does not show {} that cannot be files{sample}",
            count(status.catalog.rejected, "object")
        ));
    }
    notes
}

/// The Secrets that the mounts name, each once.
pub(super) fn secrets(dataset: &Dataset) -> Vec<&str> {
    let mut names: Vec<&str> =
        dataset.spec.mounts.iter().filter_map(|mount| mount.secret_ref.as_ref()).map(|secret| &*secret.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}
