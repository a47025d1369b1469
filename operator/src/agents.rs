//! The agents' control service: who they are, what is desired of them, what they report.
//!
//! - [`authority`]: the certificate authority, and the certificates it gives.
//! - [`who`]: from a pod's token to the agent that it is; a trait, with a twin for tests.
//! - [`registry`]: what the agents said last, and which of them still answer; [`standing`]: what is kept of it.
//! - [`desired`]: what is desired of each, and the words that bring an agent there: pure.
//! - [`news`]: what their words are news of, handed on at a bounded rate.
//! - [`enrol`], [`session`]: the two gRPC services; [`serve`] is their TLS listener.

pub mod authority;
pub(crate) mod desired;
mod enrol;
pub(crate) mod news;
pub(crate) mod publish;
pub(crate) mod registry;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod standing;
#[cfg(test)]
mod tests;
pub(crate) mod who;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// What the services need of a replica that leads.
#[derive(Clone)]
pub(crate) struct Leadership {
    pub(crate) registry: Arc<registry::Registry>,
    pub(crate) published: Arc<publish::Published>,
    pub(crate) news: Arc<news::News>,
    /// Cancelled when this replica stops leading: every session ends.
    pub(crate) token: CancellationToken,
}

/// The leadership that this replica has, if it has it. Asked when a session begins.
#[derive(Clone)]
pub(crate) struct Leads(watch::Receiver<Option<Leadership>>);

impl Leads {
    pub(crate) fn new(leads: watch::Receiver<Option<Leadership>>) -> Self {
        Self(leads)
    }

    pub(crate) fn get(&self) -> Result<Leadership, Status> {
        let leadership = self.0.borrow().clone();
        leadership.filter(|leadership| !leadership.token.is_cancelled()).ok_or_else(not_leading)
    }
}

fn not_leading() -> Status {
    Status::unavailable("this replica does not lead: try again, which may reach the other one")
}
