//! What to do about each reason of a condition that does not hold: pure.

use forebay_crds::conditions::reason;

pub(super) const WAIT_FOR_OPERATOR: &str =
    "wait some seconds; if it stays so, see the operator: `kubectl logs -A -l app.kubernetes.io/name=forebay-operator --prefix`";

/// What a remedy names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) namespace: &'a str,
    pub(super) dataset: &'a str,
    pub(super) runtime: &'a str,
    /// The Secrets that the mounts name.
    pub(super) secrets: &'a str,
}

/// Of a Dataset's condition.
pub(super) fn of_dataset(why: &str, names: Names<'_>) -> String {
    let Names { namespace, dataset, runtime, secrets } = names;
    let edit = format!("`kubectl edit dataset -n {namespace} {dataset}`");
    match why {
        reason::INVALID => format!("correct the spec as the message says: {edit}"),
        reason::RUNTIME_NOT_FOUND => {
            format!("create CacheRuntime {runtime}, or set spec.runtime to one that `kubectl get cacheruntimes` shows: {edit}")
        }
        reason::TIER_NOT_FOUND => format!("set spec.prefetch.tier to a tier of CacheRuntime {runtime}, or leave it out: {edit}"),
        reason::SECRET_NOT_FOUND => format!(
            "create the Secret: `kubectl create secret generic NAME -n {namespace} --from-literal=accessKeyId=... \
             --from-literal=secretAccessKey=...`; or correct secretRef: {edit}"
        ),
        reason::SECRET_NOT_READABLE => format!(
            "give the operator's ServiceAccount the verb get on Secrets in namespace {namespace}: the chart does that for the namespaces in \
             operator.secrets.namespaces"
        ),
        reason::SECRET_INCOMPLETE => format!("add what is missing to the Secret: `kubectl edit secret -n {namespace} {secrets}`"),
        reason::HOST_PATH_NOT_ALLOWED => {
            format!("add the directory to spec.allowedHostPaths: `kubectl edit cacheruntime {runtime}`; or mount another: {edit}")
        }
        reason::CLAIM_EXISTS => format!(
            "delete the foreign claim if nobody needs it: `kubectl delete pvc -n {namespace} {dataset}`; or make the Dataset under another name"
        ),
        reason::CLAIM_PENDING => {
            "wait some seconds, Kubernetes binds it; if it stays so, see `kubectl get events` of the claim's namespace".to_owned()
        }
        reason::IN_USE => {
            "delete the pods that the message names, or wait for their end: the Dataset goes when they do".to_owned()
        }
        reason::RELEASING => "wait: nodes give back what is cached, two minutes at most".to_owned(),
        reason::NO_NODES => format!("see `kubectl forebay nodes {runtime}`: the CacheRuntime finds no node"),
        reason::STARTING => format!("wait: agents take it up; if it stays so, see `kubectl forebay nodes {runtime}`"),
        reason::LISTING => format!("wait for the listing: `kubectl forebay status {dataset} -n {namespace} --watch`"),
        reason::PREFETCHING => {
            format!("wait, it can be read meanwhile: `kubectl forebay status {dataset} -n {namespace} --watch`")
        }
        reason::MOVING => format!(
            "wait, it can be read meanwhile: `kubectl forebay status {dataset} -n {namespace} --watch`; `kubectl forebay nodes {runtime}` names the \
             nodes that are missing"
        ),
        reason::LISTING_FAILED => {
            format!("correct what the message says, in the store or in the mount: {edit}; it is tried again by itself")
        }
        reason::FILES_FAILED => "correct what the messages say; they are tried again by themselves".to_owned(),
        reason::STORE_UNREACHABLE => format!(
            "see whether options.endpoint is right and can be reached from the nodes (NetworkPolicy, proxy, DNS): {edit}; it is tried again by itself"
        ),
        reason::ACCESS_DENIED => format!(
            "put keys that may list and read into Secret {secrets}: `kubectl edit secret -n {namespace} {secrets}`; agents take them up within \
             seconds"
        ),
        reason::NODES_MISSING => format!("see `kubectl forebay nodes {runtime}`, and the pods it shows"),
        reason::OUT_OF_SPACE => format!(
            "ask for less in spec.pin and spec.prefetch, raise spec.quota, or raise the tiers' capacity of CacheRuntime {runtime}"
        ),
        reason::UNREADABLE => "use one version of Forebay's programs and definitions: `helm upgrade`".to_owned(),
        _ => format!("see `kubectl describe dataset -n {namespace} {dataset}`"),
    }
}

/// Of a CacheRuntime's condition.
pub(super) fn of_runtime(why: &str, runtime: &str) -> String {
    let edit = format!("`kubectl edit cacheruntime {runtime}`");
    match why {
        reason::INVALID => format!("correct the spec as the message says: {edit}"),
        reason::NO_NODES => format!(
            "correct spec.nodeSelector, spec.tolerations or spec.replicas (that of the CacheRuntimeScale which status.scaledBy names, if there is one): {edit}"
        ),
        reason::TIER_DOES_NOT_FIT => format!("lower the tier's capacity as the message says: {edit}"),
        reason::TIER_FAULTY => {
            "repair the disk or directory that the message names; the tier is tried again by itself".to_owned()
        }
        reason::TIER_PATH_TAKEN => format!("choose another directory for the tier: {edit}"),
        reason::IN_USE => {
            "delete the pods that use volumes on the nodes that the message names, or wait for their end".to_owned()
        }
        reason::RELEASING => {
            "wait: nodes give back what is cached, within two minutes, or twelve where others take it over first".to_owned()
        }
        reason::STARTING => format!("wait: agents start; if it stays so, see `kubectl forebay nodes {runtime}`"),
        reason::NODES_MISSING => format!("see `kubectl forebay nodes {runtime}`, and the pods it shows"),
        reason::UNREADABLE => "use one version of Forebay's programs and definitions: `helm upgrade`".to_owned(),
        _ => format!("see `kubectl describe cacheruntime {runtime}`"),
    }
}
