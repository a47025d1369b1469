//! The languages of the agent's local socket and of its stream with the operator: protobufs, the exact types that they are
//! parsed into once, and a client.
//!
//! - [`v1`]: the generated messages, client and server of `forebay.agent.v1`; [`operator`]: those of `forebay.operator.v1`.
//! - [`session`]: what operator and agents say to each other, as exact types.
//! - [`node`]: how csi and the agents of a node hand mounts to each other, both ends.
//! - [`DatasetReport`]: a Dataset as one agent serves it; its status is the Dataset resource's own type.
//! - [`Client`]: what programs on the same node use. [`connect`] says what to do when no agent answers.
//! - [`socket`]: where the socket lies.
//!
//! Server side, the agent implements [`v1::control_server::Control`].

mod client;
mod convert;
mod error;
pub mod node;
mod report;
pub mod session;
pub mod socket;
mod status;

/// The generated code of `proto/forebay`, nested as its packages are: messages of one name those of another by this path.
#[expect(missing_docs, reason = "generated; the proto files have the documentation")]
mod generated {
    pub(crate) mod agent {
        pub mod v1 {
            tonic::include_proto!("forebay.agent.v1");
        }
    }
    #[expect(unreachable_pub, reason = "generated; nobody outside needs these messages")]
    pub(crate) mod node {
        pub mod v1 {
            tonic::include_proto!("forebay.node.v1");
        }
    }
    pub(crate) mod operator {
        pub mod v1 {
            tonic::include_proto!("forebay.operator.v1");
        }
    }
}

pub use generated::agent::v1;
/// The stream between operator and agents, and how an agent comes by its certificate.
pub use generated::operator::v1 as operator;

pub use client::{Client, Watch, connect};
pub use error::{ConnectError, ControlError, InvalidMessage};
pub use report::{DatasetName, DatasetReport};
