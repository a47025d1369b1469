//! What operator and agents say to each other over `forebay.operator.v1`, as exact types.
//!
//! - [`AgentMessage`]: an agent's reports; [`OperatorMessage`]: what is desired of it.
//! - [`AgentIdentity`]: who an agent is, as its certificate says.
//!
//! A message is parsed where it is received; what does not make sense is refused by its field. Each type turns into its
//! message by `From` and comes out of it by `TryFrom`. Credentials are in types that print nothing.

mod desired;
mod identity;
mod peers;
mod report;
mod secret;
#[cfg(test)]
mod tests;

pub use desired::{DatasetState, OperatorMessage, Removed, RuntimeState};
pub use identity::{AgentIdentity, NotAnAgent};
pub use peers::{PeerState, PeersChange};
pub use report::{AgentMessage, DatasetProgress, Health, Hello, Released, TierHealth};

use std::time::Duration;

use crate::{DatasetName, InvalidMessage, v1};

/// Audience of the token that an agent shows to be enrolled.
pub const AUDIENCE: &str = "forebay-operator";

/// Port at which agents serve each other.
pub const PEER_PORT: u16 = 9102;

/// An agent that serves says how it does at least so often, whatever else it is busy with: one that is silent is taken for gone.
pub const SIGN_OF_LIFE: Duration = Duration::from_secs(8);

/// Most bytes of one message, either way. A Secret has at most 1 MiB and a Dataset 64 mounts, but all of a Dataset's Secrets
/// together stay far below this in anything that etcd holds.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

fn uid(field: &'static str, uid: String) -> Result<String, InvalidMessage> {
    if uid.is_empty() { Err(InvalidMessage::missing(field)) } else { Ok(uid) }
}

fn name(dataset: Option<v1::DatasetName>) -> Result<DatasetName, InvalidMessage> {
    dataset.ok_or(InvalidMessage::missing("dataset"))?.try_into()
}

/// An empty text says that there is none.
fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
