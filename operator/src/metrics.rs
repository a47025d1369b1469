//! The operator's metrics. Names and labels stand here and nowhere else.

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciliation {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// What is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    leads: Gauge,
    agents: Gauge,
    reconciliations: Family<Reconciliation, Counter>,
    status_writes: Counter,
    events_left_out: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("forebay_operator");
        let build: Family<Build, Gauge> = Family::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "1; the label says which version of the operator runs", build);
        let leads = Gauge::default();
        registry.register("leads", "1 while this replica leads", leads.clone());
        let agents = Gauge::default();
        registry.register("connected_agents", "Agents with a session to this replica", agents.clone());
        let reconciliations: Family<Reconciliation, Counter> = Family::default();
        let help = "Reconciliations, by controller and by result: ok or failed";
        registry.register("reconciliations", help, reconciliations.clone());
        let status_writes = Counter::default();
        registry.register("status_writes", "Status written to the API server", status_writes.clone());
        let events_left_out = Counter::default();
        let help = "Events of conditions not published, since there were so many; the conditions say the same";
        registry.register("events_left_out", help, events_left_out.clone());
        Self { registry, leads, agents, reconciliations, status_writes, events_left_out }
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leads.set(leads.into());
    }

    pub(crate) fn agents(&self, connected: usize) {
        self.agents.set(i64::try_from(connected).unwrap_or(i64::MAX));
    }

    pub(crate) fn reconciled(&self, controller: &'static str, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        self.reconciliations.get_or_create(&Reconciliation { controller, result }).inc();
    }

    pub(crate) fn event_left_out(&self) {
        self.events_left_out.inc();
    }

    pub(crate) fn status_written(&self) {
        self.status_writes.inc();
    }

    /// All of it, as OpenMetrics text.
    pub(crate) fn encode(&self) -> String {
        let mut out = String::new();
        // Writing into a String does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_served_is_what_is_documented() {
        let metrics = Metrics::new();
        metrics.reconciled("dataset", true);
        let text = metrics.encode();
        let served: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_whitespace().next()).collect();
        let page = include_str!("../../docs/operations/operator.md");
        let documented: BTreeSet<&str> = page
            .split('`')
            .filter(|word| word.starts_with("forebay_operator_"))
            .map(|word| word.strip_suffix("_total").unwrap_or(word))
            .collect();
        assert_eq!(served, documented);
    }
}
