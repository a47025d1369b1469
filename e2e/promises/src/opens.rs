use anyhow::{Context, Result};
use forebay_cluster::NAMESPACE;

use crate::Site;

/// Files of a Dataset that were opened through the agent of one node since that agent started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opens {
    /// Those that the kernel reads by itself.
    pub native: u64,
    /// Those that are read through the agent.
    pub served: u64,
}

impl Site {
    /// The name of the agent's pod on `node`.
    pub fn agent_on(&self, node: &str) -> Result<String> {
        self.agent_of("default", node)
    }

    fn agent_of(&self, runtime: &str, node: &str) -> Result<String> {
        let selector = format!("forebay.io/runtime={runtime}");
        let fields = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{\"\\n\"}{end}";
        let all = self.cluster.kubectl(&["get", "pods", "-n", NAMESPACE, "-l", &selector, "-o", fields])?;
        let found = all.lines().filter_map(|line| line.split_once(' ')).find(|(_, on)| *on == node);
        found.map(|(name, _)| name.to_owned()).with_context(|| format!("no agent of {runtime} on {node}"))
    }

    /// What a runtime's agent on `node` tells to Prometheus.
    fn metrics_of(&self, runtime: &str, node: &str) -> Result<String> {
        // Once more where it is not answered at once, for an agent that is busy; what it tells is of now.
        let ask = || {
            let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{}:9101/proxy/metrics", self.agent_of(runtime, node)?);
            self.cluster.kubectl(&["get", "--raw", &path])
        };
        ask().or_else(|_| ask())
    }

    /// Bytes of Dataset `default/NAME` that are pinned on `node`; none where no agent tells.
    pub fn pinned_on(&self, node: &str, name: &str) -> u64 {
        self.pinned_by("default", node, name)
    }

    /// The same for the agent of another CacheRuntime.
    pub fn pinned_by(&self, runtime: &str, node: &str, name: &str) -> u64 {
        let Ok(metrics) = self.metrics_of(runtime, node) else { return 0 };
        let value = metric_of(&metrics, "forebay_dataset_pinned_bytes", name, &[]);
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Bytes of Dataset `default/NAME` that are cached on `node`.
    pub fn cached_on(&self, node: &str, name: &str) -> Result<u64> {
        let metrics = self.metrics_of("default", node)?;
        let value = metric_of(&metrics, "forebay_dataset_cached_bytes", name, &[]);
        let value = value.with_context(|| format!("cached bytes of {name} are in no metric of {node}"))?;
        value.parse().with_context(|| format!("cached bytes of {name} on {node}: {value}"))
    }

    /// Bytes of all Datasets that the agent on `node` has received from other agents since it started.
    pub fn peer_bytes_on(&self, node: &str) -> Result<u64> {
        let metrics = self.metrics_of("default", node)?;
        let value = metrics.lines().find_map(|line| line.strip_prefix("forebay_peer_received_bytes_total "));
        let value = value.with_context(|| format!("bytes from other agents are in no metric of {node}"))?;
        value.parse().with_context(|| format!("bytes from other agents on {node}: {value}"))
    }

    /// How the files of Dataset `default/NAME` were opened on `node`.
    pub fn opens_on(&self, node: &str, name: &str) -> Result<Opens> {
        let metrics = self.metrics_of("default", node)?;
        let of = |way: &str| {
            let value = metric_of(&metrics, "forebay_dataset_opens_total", name, &[("way", way)]);
            let value = value.with_context(|| format!("{way} opens of {name} are in no metric"))?;
            value.parse().with_context(|| format!("{way} opens of {name}"))
        };
        Ok(Opens { native: of("native")?, served: of("served")? })
    }
}

/// The value of a metric of Dataset `default/DATASET` with these further labels.
fn metric_of<'a>(metrics: &'a str, metric: &str, dataset: &str, labels: &[(&str, &str)]) -> Option<&'a str> {
    let all = [("namespace", "default"), ("dataset", dataset)];
    let said: Vec<String> = all.iter().chain(labels).map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let mut lines = metrics.lines().filter(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with('{')));
    lines.find(|line| said.iter().all(|label| line.contains(label)))?.rsplit(' ').next()
}
