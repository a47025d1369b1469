use std::fmt;
use std::str::FromStr;

use forebay_crds::values::DnsName;
use sha2::{Digest as _, Sha256};

/// Who an agent is: of which CacheRuntime, on which node. As text it is the URI in the agent's certificate,
/// `spiffe://forebay.io/runtime/RUNTIME/node/NODE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentIdentity {
    /// Name of the CacheRuntime.
    pub runtime: DnsName,
    /// Name of the node.
    pub node: DnsName,
}

/// A URI that is not an agent's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not name an agent: spiffe://forebay.io/runtime/RUNTIME/node/NODE does")]
pub struct NotAnAgent(String);

const BEGIN: &str = "spiffe://forebay.io/runtime/";
const MIDDLE: &str = "/node/";

impl AgentIdentity {
    /// The DNS name in the agent's certificate, by which other agents know it: a hash of the URI below `agents.forebay.io`. Names of nodes
    /// and runtimes together may be longer than a DNS name.
    pub fn dns_name(&self) -> String {
        let hash = Sha256::digest(self.to_string());
        let hex: String = hash.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        format!("{hex}.agents.forebay.io")
    }
}

impl fmt::Display for AgentIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runtime, node } = self;
        write!(f, "{BEGIN}{}{MIDDLE}{}", runtime.as_str(), node.as_str())
    }
}

impl FromStr for AgentIdentity {
    type Err = NotAnAgent;

    fn from_str(uri: &str) -> Result<Self, NotAnAgent> {
        let parse = || {
            let (runtime, node) = uri.strip_prefix(BEGIN)?.split_once(MIDDLE)?;
            Some(Self { runtime: runtime.parse().ok()?, node: node.parse().ok()? })
        };
        parse().ok_or_else(|| NotAnAgent(uri.to_owned()))
    }
}
