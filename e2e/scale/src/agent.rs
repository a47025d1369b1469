use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forebay_api::session::{AgentMessage, Hello, OperatorMessage, Released, SIGN_OF_LIFE};
use forebay_session::{Event, Operator};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tokio_util::sync::CancellationToken;

use crate::fleet::Shared;
use crate::words;

/// Events that may wait, as in the real agent.
const EVENTS: usize = 64;
/// How often it is looked whether there is something to report, as in the real agent.
const REPORT: Duration = Duration::from_secs(1);

/// An agent that holds no data: it notes what is desired and says that it has it.
pub(crate) struct Agent {
    number: usize,
    shared: Arc<Shared>,
    /// Generation of each Dataset that is desired; 0: it is not.
    desired: Vec<i64>,
    /// Generation of which this session has said something.
    said: Vec<i64>,
    session: Option<mpsc::Sender<AgentMessage>>,
    /// This session's signs of life, which end with the agent.
    signs: JoinSet<()>,
    /// The operator's process by which it was last told everything.
    synced_by: usize,
    second: u64,
    begun: Instant,
}

impl Agent {
    pub(crate) fn new(number: usize, shared: Arc<Shared>) -> Self {
        let datasets = shared.datasets.len();
        let none = || vec![0; datasets];
        let begun = Instant::now();
        let signs = JoinSet::new();
        Self { number, shared, desired: none(), said: none(), session: None, signs, synced_by: 0, second: 0, begun }
    }

    /// Talks to the operator until `stop`.
    pub(crate) async fn run(mut self, operator: Operator, pod_name: String, stop: CancellationToken) {
        let (send, mut events) = mpsc::channel(EVENTS);
        let hello = Hello { version: env!("CARGO_PKG_VERSION").into(), pod_name };
        let session = tokio::spawn(forebay_session::run(operator, hello, |_| (), send, stop.clone()));
        // Agents tick when they were started, not all at once.
        let mut ticks = interval_at(Instant::now() + REPORT.mul_f64(fastrand::f64()), REPORT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = events.recv() => match event {
                    Some(event) => self.take(event).await,
                    None => break,
                },
                _ = ticks.tick() => self.report().await,
            }
        }
        // It holds nothing that it could not be without.
        session.abort();
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Began(send) => {
                self.signs.abort_all();
                self.signs.spawn(live(send.clone(), self.begun, self.shared.clone()));
                self.session = Some(send);
                self.said.fill(0);
                self.shared.sessions.fetch_add(1, Ordering::Relaxed);
            }
            Event::Said(OperatorMessage::Dataset(state)) => {
                let Some(&index) = self.shared.by_uid.get(&state.uid) else { return };
                let before = std::mem::replace(&mut self.desired[index], state.generation);
                self.shared.got(index, before, state.generation);
            }
            Event::Said(OperatorMessage::Removed(removed)) => {
                if let Some(&index) = self.shared.by_uid.get(&removed.uid) {
                    self.desired[index] = 0;
                }
                self.tell(AgentMessage::Released(Released { uid: removed.uid, dataset: removed.dataset })).await;
            }
            Event::Said(OperatorMessage::Synced) => {
                let now = self.shared.operator.load(Ordering::Acquire);
                if std::mem::replace(&mut self.synced_by, now) != now {
                    self.shared.synced.fetch_add(1, Ordering::AcqRel);
                }
            }
            // It has no data that it could give to others or need of them.
            Event::Said(OperatorMessage::Runtime(_) | OperatorMessage::Peers(_)) => {}
        }
    }

    async fn report(&mut self) {
        for index in 0..self.desired.len() {
            let fetching = self.shared.fetches(self.number, index);
            if self.desired[index] == 0 || (self.said[index] == self.desired[index] && !fetching) {
                continue;
            }
            let second = fetching.then_some(self.second);
            let progress = words::progress(&self.shared.datasets[index], self.desired[index], self.number, second);
            self.said[index] = self.desired[index];
            self.tell(AgentMessage::Dataset(progress)).await;
        }
        self.second += 1;
    }

    async fn tell(&mut self, message: AgentMessage) {
        if let Some(session) = &self.session {
            match session.send(message).await {
                Ok(()) => drop(self.shared.reports.fetch_add(1, Ordering::Relaxed)),
                Err(_) => self.session = None,
            }
        }
    }
}

/// Says how the tiers do for as long as the session lasts, whatever else is said, as the real agent does.
async fn live(session: mpsc::Sender<AgentMessage>, begun: Instant, shared: Arc<Shared>) {
    let mut ticks = interval(SIGN_OF_LIFE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = session.closed() => return,
            _ = ticks.tick() => {}
        }
        if session.send(AgentMessage::Health(words::health(begun.elapsed()))).await.is_err() {
            return;
        }
        shared.reports.fetch_add(1, Ordering::Relaxed);
    }
}
