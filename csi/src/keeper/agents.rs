//! Agents come and go; the mounts stay.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use forebay_api::DatasetName;
use forebay_api::node::{
    Agent, BackingRequest, CallError, Csi, Holding, MemoryRequest, MountId, NodeListener, Reason, Refusal, memory_dir,
};

use tokio::time::Instant;

use super::{AGAIN, KeepError, Keeper, Kept, PATIENCE, blocking};
use crate::mounter;
use crate::records::Kind;

/// Connections that may be saying who they are at once.
const GREETINGS: usize = 64;

impl Keeper {
    /// Accepts agents for ever. Cancellation-safe; their connections go on.
    pub(crate) async fn accept(self: Arc<Self>, listener: NodeListener) {
        let turns = Arc::new(tokio::sync::Semaphore::new(GREETINGS));
        loop {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
            let greeting = match listener.accept().await {
                Ok(greeting) => greeting,
                Err(error) => {
                    tracing::warn!(%error, "an agent cannot be accepted");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            let keeper = Arc::clone(&self);
            tokio::spawn(async move {
                let greeted = greeting.greet().await;
                drop(turn);
                match greeted {
                    Ok((agent, holdings)) => keeper.agent(agent, holdings).await,
                    Err(error) => tracing::warn!(%error, "a connection is not an agent's"),
                }
            });
        }
    }

    /// One agent, from its coming to its going.
    async fn agent(self: Arc<Self>, agent: Agent, holdings: Vec<Holding>) {
        let runtime = agent.runtime();
        tracing::info!(runtime, program = agent.program(), holdings = holdings.len(), "an agent has come");
        let (keeper, came) = (Arc::clone(&self), agent.clone());
        // Beside running the connection, without which no call is answered.
        tokio::spawn(async move { keeper.came(came, holdings).await });
        agent.run(Asked(Arc::clone(&self))).await;
        self.went(&agent);
    }

    async fn came(self: Arc<Self>, agent: Agent, holdings: Vec<Holding>) {
        for holding in holdings {
            self.take_back(&agent, holding).await;
        }
        self.agents().push(agent.clone());
        if agent.has_ended() {
            // It went before it stood in the list.
            return self.went(&agent);
        }
        let all: Vec<_> = self.kept().keys().cloned().collect();
        for dataset in all {
            let _lock = self.locks.lock(dataset.clone()).await;
            let Some(kept) = self.kept().get(&dataset).cloned() else { continue };
            let serves = kept.servers.iter().any(|server| server.is(&agent));
            if !serves && let Err(error) = self.offer(&dataset, &kept, &agent).await {
                tracing::debug!(%dataset, %error, "the agent does not take this mount over");
            }
        }
        self.changed.notify_waiters();
    }

    /// An agent still serves a mount whose descriptor this process, started anew, does not have.
    async fn take_back(&self, agent: &Agent, holding: Holding) {
        let Holding { mount, dataset, negotiated, device } = holding;
        let _lock = self.locks.lock(dataset.clone()).await;
        let at = self.at(&dataset);
        let known = match self.records.get(&at).map(|record| record.kind) {
            Some(Kind::Mount { id, number }) if id == mount.0 => Some(number),
            _ => None,
        };
        let mounted = self.number(&dataset, &at).ok().flatten();
        match known {
            Some(number) if mounted.as_ref() == Some(&number) => {
                tracing::info!(%dataset, %mount, runtime = agent.runtime(), "an agent handed a mount back");
                let kept = Kept { mount, device: Arc::new(device), negotiated, number, servers: Vec::new(), asked: None };
                self.kept().entry(dataset.clone()).or_insert(kept).servers.push(agent.clone());
                self.tell_composed(&dataset, Some(agent)).await;
            }
            _ => {
                tracing::info!(%dataset, %mount, "a mount that is not in use any more is released");
                let agent = agent.clone();
                tokio::spawn(async move { agent.release(mount).await });
            }
        }
    }

    fn went(&self, agent: &Agent) {
        tracing::info!(runtime = agent.runtime(), "an agent has gone");
        self.agents().retain(|other| !other.is(agent));
        self.has_left(agent);
        for (dataset, kept) in self.kept().iter_mut() {
            let before = kept.servers.len();
            kept.servers.retain(|other| !other.is(agent));
            if let (true, Some(next)) = (kept.servers.len() < before, kept.servers.last()) {
                // Its threads have ended: a process closes its connections after them.
                tokio::spawn(resend(next.clone(), dataset.clone(), kept.mount));
            }
        }
        self.changed.notify_waiters();
    }

    pub(super) fn newest_first(&self) -> Vec<Agent> {
        self.agents().iter().rev().cloned().collect()
    }

    /// The agents that have the Dataset, newest first: nothing is mounted that none of them would serve.
    pub(super) async fn who_have(&self, dataset: &DatasetName) -> Result<Vec<Agent>, KeepError> {
        let mut failed = KeepError::NoAgent { dataset: dataset.clone() };
        let mut those = Vec::new();
        for agent in self.newest_first() {
            match agent.allowed(dataset, &dataset.namespace).await.map_err(|error| KeepError::of_agent(dataset, error)) {
                Err(unknown @ KeepError::Unknown { .. }) => failed = unknown,
                // Whatever else is the matter, serving will tell.
                _ => those.push(agent),
            }
        }
        if those.is_empty() { Err(failed) } else { Ok(those) }
    }

    /// Finds another server for a mount that has none. The Dataset's lock must be held.
    pub(super) async fn find_server(&self, dataset: &DatasetName, kept: &Kept) -> Result<(), KeepError> {
        let mut failed = KeepError::NoAgent { dataset: dataset.clone() };
        for agent in self.newest_first() {
            match self.offer(dataset, kept, &agent).await {
                Ok(()) => return Ok(()),
                // One that has the Dataset says more than one that does not.
                Err(error) => match KeepError::of_agent(dataset, error) {
                    KeepError::Unknown { .. } if !matches!(failed, KeepError::NoAgent { .. }) => {}
                    other => failed = other,
                },
            }
        }
        Err(failed)
    }

    async fn offer(&self, dataset: &DatasetName, kept: &Kept, agent: &Agent) -> Result<(), CallError> {
        self.before_serving(agent, kept.mount);
        let ask = |whom| {
            if let Some(there) = self.kept().get_mut(dataset).filter(|there| there.mount == kept.mount) {
                there.asked = whom;
            }
        };
        ask(Some(agent.clone()));
        let served = agent.serve(kept.mount, dataset, kept.device.as_fd(), Some(kept.negotiated)).await;
        ask(None);
        served?;
        tracing::info!(%dataset, mount = %kept.mount, runtime = agent.runtime(), "an agent has taken the mount over");
        if let Some(there) = self.kept().get_mut(dataset).filter(|there| there.mount == kept.mount && !agent.has_ended()) {
            there.servers.push(agent.clone());
            // A server that went after this one had begun, and before it stood in the list, left requests to nobody.
            if kept.servers.iter().any(Agent::has_ended) {
                tokio::spawn(resend(agent.clone(), dataset.clone(), kept.mount));
            }
        }
        self.tell_composed(dataset, Some(agent)).await;
        Ok(())
    }

    /// Asks the agents whether pods of `namespace` may use the Dataset; waits, but not for ever, for one that knows.
    pub(crate) async fn allowed(&self, dataset: &DatasetName, namespace: &str) -> Result<(), KeepError> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.allowed_now(dataset, namespace).await {
                Err(error) if error.may_pass() && Instant::now() < until => {}
                other => return other,
            }
            let _ = tokio::time::timeout(AGAIN, self.changed.notified()).await;
        }
    }

    async fn allowed_now(&self, dataset: &DatasetName, namespace: &str) -> Result<(), KeepError> {
        let mut failed = KeepError::NoAgent { dataset: dataset.clone() };
        for agent in self.newest_first() {
            match agent.allowed(dataset, namespace).await {
                Ok(()) => return Ok(()),
                Err(error) => match KeepError::of_agent(dataset, error) {
                    granted @ KeepError::NotGranted { .. } => return Err(granted),
                    KeepError::Unknown { .. } if !matches!(failed, KeepError::NoAgent { .. }) => {}
                    other => failed = other,
                },
            }
        }
        Err(failed)
    }
}

/// What agents ask this driver.
#[derive(Clone)]
struct Asked(Arc<Keeper>);

impl Csi for Asked {
    async fn memory(self, agent: Agent, request: MemoryRequest) -> Result<(), Refusal> {
        let (run, runtime) = (self.0.places.run.clone(), agent.runtime().to_owned());
        let done = blocking(move || match request {
            MemoryRequest::Prepare { tier, bytes } => mounter::tmpfs(&memory_dir(&run, &runtime, &tier), bytes),
            MemoryRequest::Drop { tier } => mounter::drop_tmpfs(&memory_dir(&run, &runtime, &tier)),
        });
        done.await.map_err(|error| Refusal::new(Reason::Failed, error.to_string()))
    }

    async fn backing(self, agent: Agent, request: BackingRequest) -> Result<io::Result<u32>, Refusal> {
        self.0.backing(&agent, request).await
    }

    async fn forget(self, agent: Agent, mount: MountId) -> Result<(), Refusal> {
        self.0.forget(&agent, mount).await
    }

    async fn leave(self, agent: Agent) -> Result<(), Refusal> {
        self.0.let_leave(&agent)
    }
}

async fn resend(agent: Agent, dataset: DatasetName, mount: MountId) {
    if let Err(error) = agent.resend(mount).await {
        tracing::warn!(%dataset, %mount, %error, "what a former agent left unanswered could not be asked for again");
    }
}
