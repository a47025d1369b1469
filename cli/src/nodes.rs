//! `nodes`: who lends space, whether the agents there serve, how full the tiers are.

use std::collections::BTreeMap;

use anyhow::anyhow;
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::values::human;
use forebay_crds::words::{align, clean, seconds_between, span};
use forebay_crds::{CacheRuntime, Dataset, names};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use crate::cli::Nodes;
use crate::cluster::{Cluster, is_denied, told};
use crate::{pods, print};

/// What is shown.
struct Seen {
    runtimes: Vec<CacheRuntime>,
    /// `None`: the user may not list them.
    agents: Option<Vec<Pod>>,
    drivers: Option<Vec<Pod>>,
    datasets: Option<Vec<Dataset>>,
}

pub(crate) async fn run(cluster: &Cluster, args: &Nodes) -> anyhow::Result<()> {
    let runtimes: Api<CacheRuntime> = Api::all(cluster.client.clone());
    let runtimes = match &args.runtime {
        Some(name) => {
            let found = runtimes.get_opt(name).await.map_err(told)?;
            vec![found.ok_or_else(|| anyhow!("there is no CacheRuntime {name}: see `kubectl get cacheruntimes`"))?]
        }
        None => runtimes.list(&ListParams::default()).await.map_err(told)?.items,
    };
    let seen = Seen {
        runtimes,
        agents: program(cluster, names::AGENT).await?,
        drivers: program(cluster, names::CSI).await?,
        datasets: permitted(Api::<Dataset>::all(cluster.client.clone()).list(&ListParams::default()).await)?,
    };
    print::text(&text(&seen, Timestamp::now()))
}

/// The pods of one of our programs; `None`: the user may not list them.
async fn program(cluster: &Cluster, app: &str) -> anyhow::Result<Option<Vec<Pod>>> {
    let pods: Api<Pod> = Api::all(cluster.client.clone());
    permitted(pods.list(&ListParams::default().labels(&format!("{}={app}", names::APP))).await)
}

fn permitted<K: Clone>(listed: kube::Result<kube::api::ObjectList<K>>) -> anyhow::Result<Option<Vec<K>>> {
    match listed {
        Ok(list) => Ok(Some(list.items)),
        Err(error) if is_denied(&error) => Ok(None),
        Err(error) => Err(told(error)),
    }
}

fn text(seen: &Seen, now: Timestamp) -> String {
    if seen.runtimes.is_empty() {
        return "No CacheRuntimes: no node lends space.\n".to_owned();
    }
    let sections: Vec<String> = seen.runtimes.iter().map(|runtime| section(seen, runtime, now)).collect();
    sections.join("\n")
}

fn section(seen: &Seen, runtime: &CacheRuntime, now: Timestamp) -> String {
    let (name, status) = (runtime.name_any(), runtime.status.clone().unwrap_or_default());
    let datasets = match &seen.datasets {
        None => format!("{} Datasets", status.datasets),
        Some(all) => {
            let served = all.iter().filter(|dataset| *dataset.spec.runtime == *name);
            let served: Vec<String> =
                served.map(|dataset| format!("{}/{}", dataset.namespace().unwrap_or_default(), dataset.name_any())).collect();
            if served.is_empty() { "no Datasets".to_owned() } else { format!("Datasets {}", served.join(", ")) }
        }
    };
    let mut text = format!(
        "CacheRuntime {}: {} of {} agents serve; {}\n",
        clean(&name),
        status.ready_replicas,
        status.desired_replicas,
        clean(&datasets)
    );
    for condition in status.conditions.iter().filter(|condition| condition.status != "True") {
        let [kind, is, why, words] =
            [&condition.type_, &condition.status, &condition.reason, &condition.message].map(|text| clean(text));
        text.push_str(&format!("  {kind} is {is} ({why}): {words}\n"));
    }
    let mut tiers = vec![["TIER, ALL NODES", "CAPACITY", "USED", "PINNED"].map(str::to_owned).to_vec()];
    tiers.extend(
        status
            .tiers
            .iter()
            .map(|tier| vec![clean(&tier.name), human(tier.capacity_bytes), human(tier.used_bytes), human(tier.pinned_bytes)]),
    );
    text.push_str(&align(&tiers));
    match &seen.agents {
        None => text.push_str("Its nodes are not shown: you may not list pods in all namespaces.\n"),
        Some(agents) => text.push_str(&nodes(agents, seen.drivers.as_deref(), &name, now)),
    }
    text
}

fn nodes(agents: &[Pod], drivers: Option<&[Pod]>, runtime: &str, now: Timestamp) -> String {
    let driver_on: BTreeMap<&str, &Pod> = drivers.into_iter().flatten().filter_map(|pod| Some((pods::node(pod)?, pod))).collect();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for pod in agents.iter().filter(|pod| pod.labels().get(names::RUNTIME).is_some_and(|of| of == runtime)) {
        let node = pods::node(pod).unwrap_or("-");
        let driver = match (drivers, driver_on.get(node)) {
            (None, _) => "-".to_owned(),
            (Some(_), None) => "missing".to_owned(),
            (Some(_), Some(driver)) => state(driver),
        };
        let age = pod.creation_timestamp().map_or("-".to_owned(), |time| span(seconds_between(time.0, now)));
        rows.push(vec![clean(node), state(pod), driver, pods::full_name(pod), pods::restarts(pod).to_string(), age]);
    }
    if rows.is_empty() {
        return "No agents.\n".to_owned();
    }
    rows.sort();
    rows.insert(0, ["NODE", "AGENT", "DRIVER", "AGENT'S POD", "RESTARTS", "AGE"].map(str::to_owned).to_vec());
    align(&rows)
}

/// A word: whether it serves, else Kubernetes' reason why not.
fn state(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "ending".to_owned();
    }
    if pods::is_ready(pod) {
        return "ready".to_owned();
    }
    let trouble = pods::trouble(pod);
    let word = trouble.as_deref().and_then(|trouble| trouble.split(':').next()).filter(|word| !word.contains(' '));
    clean(word.unwrap_or("not ready"))
}

#[cfg(test)]
mod tests;
