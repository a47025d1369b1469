//! What the chart writes into the operator's Deployment.

use std::net::SocketAddr;

use clap::{ArgAction, Parser, ValueEnum};

/// The operator of Forebay: turns Datasets and CacheRuntimes into agents, volumes and claims, and the agents' reports into
/// status.
///
/// It reaches the API server by its pod's ServiceAccount, or by the file that KUBECONFIG names.
#[derive(Debug, Clone, Parser)]
#[command(name = "forebay-operator", version, about)]
pub struct Cli {
    /// Namespace in which operator and agents run.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    pub namespace: String,

    /// Name under which this replica holds the Lease: its pod's.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub identity: String,

    /// Name of the Lease by which the replicas agree who leads.
    #[arg(long, value_name = "NAME", default_value = "forebay-operator")]
    pub lease: String,

    /// Seconds after which the Lease of a leader that does not renew it is another's. A leader that cannot renew stops after
    /// two thirds of it.
    #[arg(long, value_name = "SECONDS", default_value_t = 12, value_parser = clap::value_parser!(u16).range(6..=600))]
    pub lease_duration: u16,

    /// Name of the Service through which agents reach the operator. The serving certificate is for it.
    #[arg(long, value_name = "NAME", default_value = "forebay-operator")]
    pub service: String,

    /// Port of that Service, for the address that agents are given.
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    pub service_port: u16,

    /// Name of the Secret with the certificate authority and of the ConfigMap with its certificate.
    #[arg(long, value_name = "NAME", default_value = "forebay-ca")]
    pub ca: String,

    /// Where agents are served: gRPC over TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    pub grpc_addr: SocketAddr,

    /// Name of the MutatingWebhookConfiguration by which new pods are told where their data is. Absent: they are not, and nothing
    /// is served for it.
    #[arg(long, value_name = "NAME")]
    pub webhook: Option<String>,

    /// Where that webhook is served: HTTPS. All replicas have the same port.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9443")]
    pub webhook_addr: SocketAddr,

    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub http_addr: SocketAddr,

    /// Image of the agents, such as registry.example/forebay-agent:0.1.0.
    #[arg(long, env = "FOREBAY_AGENT_IMAGE", value_name = "IMAGE")]
    pub agent_image: String,

    /// When the agents' image is pulled: Always, IfNotPresent or Never.
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    pub agent_image_pull_policy: String,

    /// Secret of this namespace with which the agents' image is pulled. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub agent_image_pull_secret: Vec<String>,

    /// ServiceAccount of the agents. It needs no right at all.
    #[arg(long, value_name = "NAME", default_value = "forebay-agent")]
    pub agent_service_account: String,

    /// PriorityClass of the agents. Absent: the cluster's default.
    #[arg(long, value_name = "NAME")]
    pub agent_priority_class: Option<String>,

    /// Processor time that each agent requests, such as 250m.
    #[arg(long, value_name = "QUANTITY", default_value = "250m")]
    pub agent_cpu: String,

    /// Memory of an agent beside its memory tiers, such as 512Mi.
    #[arg(long, value_name = "SIZE", default_value = "512Mi")]
    pub agent_memory: forebay_crds::values::ByteSize,

    /// Lines of the agents' logs, as for --log.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub agent_log: String,

    /// Whether agents let the kernel read complete files by itself, where it can.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pub agent_passthrough: bool,

    /// Whether agents let csi compose the trees of Datasets whose pods stay on a listing, where the node can.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pub agent_composed: bool,

    /// About how often a Secret that a Dataset names is read again, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub secret_refresh: u16,

    /// Lines of the log: a filter such as `info` or `forebay_operator=debug,warn`.
    #[arg(long, env = "FOREBAY_LOG", default_value = "info")]
    pub log: String,

    /// Form of the log's lines.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// Form of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use super::*;

    #[test]
    fn what_the_chart_says_of_agents_ways_to_read_is_what_agents_are_made_with() {
        let made = |flags: &str| {
            let line = format!("forebay-operator --namespace ns --identity id --agent-image image {flags}");
            let settings = crate::settings(&Cli::try_parse_from(line.split_whitespace()).unwrap());
            (settings.passthrough, settings.composed)
        };
        assert_eq!(made(""), (true, true));
        assert_eq!(made("--agent-passthrough=false --agent-composed=true"), (false, true));
        assert_eq!(made("--agent-passthrough=true --agent-composed=false"), (true, false));
    }
}
