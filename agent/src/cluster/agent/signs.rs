//! Signs of life: the operator takes an agent that says nothing for a while for gone, and others take over what it keeps. The one task that
//! changes what is served may let go of something large for minutes, and its agent serves on.

use std::sync::Arc;

use forebay_api::session::{AgentMessage, Health, SIGN_OF_LIFE, TierHealth};
use forebay_session::Event;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::REPORT;
use crate::cluster::age::Age;
use crate::cluster::node::Node;

/// Says in each session how the tiers do.
#[derive(Clone)]
pub(super) struct Signs {
    look: Arc<dyn Fn() -> Vec<TierHealth> + Send + Sync>,
    /// `None`: not known.
    age: Option<Age>,
}

impl Signs {
    pub(super) fn new(node: Arc<Node>, age: Option<Age>) -> Self {
        Self { look: Arc::new(move || node.tiers()), age }
    }

    /// With the session that begins, if one does, signs begin; they end with it.
    pub(super) fn hear(&self, event: &Event) {
        if let Event::Began(send) = event {
            tokio::spawn(self.clone().tell(send.clone()));
        }
    }

    /// Says how the tiers do when that has changed, and otherwise for a sign of life.
    async fn tell(self, send: mpsc::Sender<AgentMessage>) {
        let mut ticks = interval(REPORT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said: Option<(Vec<TierHealth>, _)> = None;
        loop {
            let now = tokio::select! {
                () = send.closed() => return,
                now = ticks.tick() => now,
            };
            let look = self.look.clone();
            let Ok(tiers) = spawn_blocking(move || look()).await else { continue };
            if said.as_ref().is_some_and(|(last, at)| *last == tiers && now.duration_since(*at) < SIGN_OF_LIFE) {
                continue;
            }
            // The age goes with each: who began to lead hears it with the first, and no state is kept of who was told.
            let health = Health { tiers: tiers.clone(), age: self.age.map(Age::now) };
            if send.send(AgentMessage::Health(health)).await.is_err() {
                return;
            }
            said = Some((tiers, now));
        }
    }
}

/// Passes on what happens on the stream. The signs of a session begin before it is passed on: it may have to wait for what is under way.
pub(super) async fn pass_on(mut events: mpsc::Receiver<Event>, to: mpsc::Sender<Event>, signs: Signs) {
    while let Some(event) = events.recv().await {
        signs.hear(&event);
        if to.send(event).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    fn signs(used: &Arc<AtomicU64>) -> Signs {
        let used = used.clone();
        let tier = move || TierHealth {
            name: "ssd".into(),
            capacity_bytes: 9,
            used_bytes: used.load(Ordering::Relaxed),
            pinned_bytes: 0,
            fault: None,
        };
        Signs { look: Arc::new(move || vec![tier()]), age: None }
    }

    /// The next bytes in use that are said, and after how many seconds.
    async fn next(said: &mut mpsc::Receiver<AgentMessage>, begun: Instant) -> (u64, u64) {
        let Some(AgentMessage::Health(Health { tiers, .. })) = said.recv().await else { panic!("no sign of life") };
        // A timer is late by a millisecond.
        (tiers[0].used_bytes, (begun.elapsed() + Duration::from_millis(100)).as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn signs_come_at_their_time_and_changes_at_once_while_nobody_takes_what_is_passed_on() {
        let used = Arc::new(AtomicU64::new(0));
        let (happens, events) = mpsc::channel(4);
        let (to, mut passed) = mpsc::channel(1);
        let passing = tokio::spawn(pass_on(events, to, signs(&used)));
        let begun = Instant::now();
        let (send, mut former) = mpsc::channel(64);
        happens.send(Event::Began(send)).await.unwrap();
        for second in [0, 8, 16, 24] {
            assert_eq!(next(&mut former, begun).await, (0, second));
        }
        used.store(5, Ordering::Relaxed);
        assert_eq!(next(&mut former, begun).await, (5, 25));
        assert_eq!(next(&mut former, begun).await, (5, 33), "the next one is due after the last that was said");
        assert!(matches!(passed.recv().await, Some(Event::Began(_))));
        drop(former);
        let (send, mut said) = mpsc::channel(64);
        happens.send(Event::Began(send)).await.unwrap();
        assert_eq!(next(&mut said, begun).await, (5, 33), "a new session is told anew");
        drop((happens, passed));
        passing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn they_end_with_the_session_and_never_pile_up() {
        let used = Arc::new(AtomicU64::new(0));
        let (send, mut said) = mpsc::channel(1);
        let telling = tokio::spawn(signs(&used).tell(send));
        for second in 1..60 {
            sleep(Duration::from_secs(1)).await;
            used.store(second, Ordering::Relaxed);
        }
        let begun = Instant::now();
        assert_eq!(next(&mut said, begun).await.0, 0, "the operator took nothing for a minute");
        assert!(next(&mut said, begun).await.0 <= 2, "and one was waiting for it");
        assert_eq!(next(&mut said, begun).await.0, 59);
        drop(said);
        telling.await.unwrap();
    }
}
