//! This driver and an agent never end at the same time when they are told to: one of them has each mount's descriptor at any moment.

use std::sync::{MutexGuard, PoisonError};

use forebay_api::node::{Agent, LEAVES_WITHIN, Reason, Refusal};

use super::{AGAIN, Keeper};

/// Who is about to end. Under one lock, so that whoever is told first knows that the other one stays.
#[derive(Debug, Default)]
pub(super) struct Ends {
    driver: bool,
    agents: Vec<Agent>,
}

impl Keeper {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an agent end, if every descriptor that it has is here, and stays.
    pub(super) fn let_leave(&self, agent: &Agent) -> Result<(), Refusal> {
        let mut ends = self.ends();
        if ends.driver {
            return Err(Refusal::new(Reason::NotReady, "this csi is ending: the next one is to take the mounts back first"));
        }
        if !self.agents().iter().any(|other| other.is(agent)) {
            return Err(Refusal::new(Reason::NotReady, "this csi has not taken all of the agent's mounts back yet"));
        }
        ends.agents.push(agent.clone());
        Ok(())
    }

    pub(super) fn has_left(&self, agent: &Agent) {
        self.ends().agents.retain(|other| !other.is(agent));
    }

    /// Waits, but not for ever, until an agent that stays serves each mount. From now on none is let go.
    pub(crate) async fn end(&self) {
        self.ends().driver = true;
        let all_served = async {
            while self.with_nobody_else().is_some() {
                let _ = tokio::time::timeout(AGAIN, self.changed.notified()).await;
            }
        };
        if tokio::time::timeout(LEAVES_WITHIN, all_served).await.is_err()
            && let Some(dataset) = self.with_nobody_else()
        {
            tracing::warn!(%dataset, "ending while no agent serves this Dataset's mount: pods that have files of it open get errors");
        }
    }

    /// A Dataset whose mount only this driver has.
    fn with_nobody_else(&self) -> Option<forebay_api::DatasetName> {
        let ends = self.ends();
        let stays = |server: &Agent| !server.has_ended() && !ends.agents.iter().any(|leaving| leaving.is(server));
        let kept = self.kept();
        kept.iter().find(|(_, kept)| !kept.servers.iter().any(stays)).map(|(dataset, _)| dataset.clone())
    }
}
