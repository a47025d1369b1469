//! How csi and the agents of one node hand mounts to each other.
//!
//! csi mounts and keeps each mount's descriptor; an agent serves a duplicate of it. Whichever of the two ends, the other has what
//! it needs to begin again: csi hands the descriptor to the next agent, agents hand theirs back to the next csi.
//!
//! - csi: [`NodeListener`] accepts, [`Greeting::greet`] makes an [`Agent`] of a connection, by which agents are asked to serve.
//! - Agent: [`NodeClient::start`] connects again and again, and lets a [`Host`] answer. [`memory::MemoryHost`] is its twin.
//! - [`SOCKET`] lies in the run directory of both.

mod agent;
mod backing;
mod client;
mod error;
mod host;
mod listener;
pub mod memory;
mod peer;
mod socket;
mod types;
mod wire;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use agent::{Agent, Csi};
pub use backing::BackingClient;
pub use client::NodeClient;
pub use error::{CallError, GreetError, Reason, Refusal};
pub use host::Host;
pub use listener::{Greeting, NodeListener};
pub use types::{BackingRequest, Composed, Holding, Layers, MemoryRequest, MountId, MountRequest, Negotiated, is_label};

/// The socket's name in the run directory.
pub const SOCKET: &str = "csi.sock";

/// The version of the protocol that both must speak.
pub const PROTOCOL: u32 = 1;

/// How long one of the two that is told to end waits for the other: csi for the agent that follows one that ends, an agent for a
/// csi that is away.
pub const LEAVES_WITHIN: Duration = Duration::from_secs(40);

/// The grace period of the pods of both; what is left of it is for writing down what they know. For csi the chart says it.
pub const GRACE: Duration = Duration::from_secs(60);

const _: () = assert!(LEAVES_WITHIN.as_secs() < GRACE.as_secs(), "whoever waits is killed before it has waited");

/// The directory of a mount's tree that has every object by name. It is no UTF-8, so that no file of a Dataset has this name.
pub const OBJECTS: &[u8] = b"\xffobjects";

/// Where a `Memory` tier's tmpfs lies, below the run directory that csi and agents share.
#[must_use]
pub fn memory_dir(run: &Path, runtime: &str, tier: &str) -> PathBuf {
    run.join("memory").join(runtime).join(tier)
}

/// Where the tables of what is open lie, below the run directory.
#[must_use]
pub fn opens_dir(run: &Path) -> PathBuf {
    run.join("opens")
}

/// Where the table of what is open of a mount lies.
#[must_use]
pub fn opens_file(run: &Path, mount: MountId) -> PathBuf {
    opens_dir(run).join(mount.to_string())
}

#[cfg(test)]
mod tests;
