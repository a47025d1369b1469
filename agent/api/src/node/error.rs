//! What can go wrong between csi and an agent.

use std::io;

use crate::InvalidMessage;

/// Why a request was refused, for the program that decides what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// This agent does not have the Dataset; another one may.
    UnknownDataset,
    /// Not now: it may succeed later without anybody's doing.
    NotReady,
    /// Pods of that namespace may not use the Dataset.
    NotGranted,
    /// The other program does not know the request: it is older.
    Unsupported,
    /// It failed for a reason that only the message tells.
    Failed,
}

/// A refusal, and the words in which `kubectl describe pod` will show it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For the program.
    pub reason: Reason,
    /// For a person: which object, what is missing, what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal for `reason`.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Why a call to the other side did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The other side refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connection ended, or there is none.
    #[error("the connection between csi and the agent has ended")]
    Gone,
    /// No answer came in time. Whether the request was carried out is not known.
    #[error("no answer within {0} s")]
    TimedOut(u64),
    /// The answer does not answer the question.
    #[error(transparent)]
    Invalid(#[from] InvalidMessage),
}

/// Why a connection did not become an agent's.
#[derive(Debug, thiserror::Error)]
pub enum GreetError {
    /// The socket failed.
    #[error("an agent's connection failed: {0}")]
    Socket(#[from] io::Error),
    /// It ended or was silent before it said all.
    #[error("a connection ended before it had said whose it is")]
    Silent,
    /// It speaks another version.
    #[error("agent {program} of runtime {runtime} speaks version {protocol} of the node protocol, this csi {own}: use programs of one version", own = super::PROTOCOL)]
    Protocol {
        /// Its runtime.
        runtime: String,
        /// The version of its program.
        program: String,
        /// Its protocol.
        protocol: u32,
    },
    /// It said something that makes no sense.
    #[error(transparent)]
    Invalid(#[from] InvalidMessage),
}
