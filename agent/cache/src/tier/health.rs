use std::io;
use std::time::Duration;

use super::{Phase, Tier};
use crate::shared::lock;
use crate::{TierHealth, TierState};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a tier's disk did.
#[derive(Default)]
pub(super) struct Health {
    errors: u64,
    last: Option<String>,
    /// Time since the epoch until which nothing is written.
    until: Option<Duration>,
    pause: Duration,
}

impl Tier {
    /// Notes that the disk could not change something: nothing more is written for a while, longer each time.
    pub(crate) fn fault(&self, what: &str, object: &str, error: &io::Error) {
        let now = self.shared.clock.now();
        let mut health = lock(&self.health);
        health.note(&self.name, what, object, error);
        health.pause = (health.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        health.until = Some(now + health.pause);
    }

    /// Notes that the disk could not read something.
    pub(crate) fn trouble(&self, what: &str, object: &str, error: &io::Error) {
        lock(&self.health).note(&self.name, what, object, error);
    }

    /// Notes that the disk took something.
    pub(crate) fn well(&self) {
        let mut health = lock(&self.health);
        if health.until.is_some() {
            health.until = None;
            health.pause = Duration::ZERO;
            tracing::info!(tier = %self.name, "the cache's disk works again");
        }
    }

    /// Whether the pause after a fault is not over.
    pub(crate) fn is_paused(&self) -> bool {
        let until = lock(&self.health).until;
        until.is_some_and(|until| self.shared.clock.now() < until)
    }

    /// A cause in words, for errors.
    pub(crate) fn last_error(&self) -> String {
        lock(&self.health).last.clone().unwrap_or_else(|| "its directory is being examined".to_owned())
    }

    pub(crate) fn report(&self) -> TierHealth {
        let now = self.shared.clock.now();
        let free = self.io.free().unwrap_or(0);
        let phase = self.state().phase;
        let health = lock(&self.health);
        let retry_in = health.until.map(|until| until.saturating_sub(now));
        TierHealth {
            name: self.name.to_string(),
            medium: self.medium,
            state: match (retry_in, phase) {
                (Some(retry_in), _) => TierState::Faulted { retry_in },
                (None, Phase::Shut) => TierState::Faulted { retry_in: Duration::ZERO },
                (None, Phase::Whole) => TierState::Ready,
                (None, _) => TierState::Recovering,
            },
            errors: health.errors,
            last_error: health.last.clone(),
            free,
            reserve: self.reserve,
        }
    }
}

impl Health {
    fn note(&mut self, tier: &str, what: &str, object: &str, error: &io::Error) {
        self.errors += 1;
        // One line per outage, not per block: the counter tells the rest.
        if self.until.is_none() {
            tracing::warn!(%tier, what, object, %error, "the cache's disk failed");
        }
        self.last = Some(format!("cannot {what} {object}: {error}"));
    }
}
