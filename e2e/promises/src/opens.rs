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
        let fields = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{\"\\n\"}{end}";
        let all = self.cluster.kubectl(&["get", "pods", "-n", NAMESPACE, "-l", "forebay.io/runtime=default", "-o", fields])?;
        let found = all.lines().filter_map(|line| line.split_once(' ')).find(|(_, on)| *on == node);
        found.map(|(name, _)| name.to_owned()).with_context(|| format!("no agent on {node}"))
    }

    /// What the agent on `node` tells to Prometheus.
    pub fn metrics_on(&self, node: &str) -> Result<String> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{}:9101/proxy/metrics", self.agent_on(node)?);
        self.cluster.kubectl(&["get", "--raw", &path])
    }

    /// How the files of Dataset `default/NAME` were opened on `node`.
    pub fn opens_on(&self, node: &str, name: &str) -> Result<Opens> {
        let metrics = self.metrics_on(node)?;
        let of = |way: &str| {
            let said = [format!("dataset=\"{name}\""), "namespace=\"default\"".to_owned(), format!("way=\"{way}\"")];
            let mut lines = metrics.lines().filter(|line| line.starts_with("forebay_dataset_opens_total{"));
            let line = lines.find(|line| said.iter().all(|label| line.contains(label)));
            let value = line
                .and_then(|line| line.rsplit(' ').next())
                .with_context(|| format!("{way} opens of {name} are in no metric"))?;
            value.parse().with_context(|| format!("{way} opens of {name}"))
        };
        Ok(Opens { native: of("native")?, served: of("served")? })
    }
}
