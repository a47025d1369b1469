use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Op;
use crate::StoreErrorKind;

/// What goes wrong with one call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The call fails at once.
    Error(StoreErrorKind),
    /// The call never answers.
    Hang,
    /// The call answers after this time.
    Latency(Duration),
    /// The call goes on only once the gate opens.
    Wait(Gate),
    /// The body ends with `Truncated` after that many bytes of the range.
    Truncate(u64),
    /// The body ends with that error after that many bytes of the range.
    Break(u64, StoreErrorKind),
    /// The body stops for ever after that many bytes of the range.
    Stall(u64),
    /// The body stops after that many bytes of the range until the gate opens.
    WaitBody(u64, Gate),
    /// The byte at that offset of the range is flipped; the length is right.
    WrongByte(u64),
}

/// Holds calls back until a test opens it; clones share one state.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
    /// Lets all who wait, and all who come, through.
    pub fn open(&self) {
        self.0.send_replace(true);
    }
    pub(super) async fn wait(&self) {
        // An error would mean that the sender is gone, and `self` holds it.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// When a fault acts: on which operation and key, and how many times.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Only this operation; `None` for any.
    pub op: Option<Op>,
    /// Only keys that start with this; empty for any.
    pub key_prefix: String,
    /// Calls to let pass before the rule acts.
    pub skip: u64,
    /// Calls to act on before the rule is used up; `None` for ever.
    pub times: Option<u64>,
    /// What happens.
    pub fault: Fault,
}

impl Rule {
    /// On every call.
    pub fn always(fault: Fault) -> Self {
        Self { op: None, key_prefix: String::new(), skip: 0, times: None, fault }
    }
    /// On the next call.
    pub fn once(fault: Fault) -> Self {
        Self { times: Some(1), ..Self::always(fault) }
    }
    /// On the next `times` calls.
    pub fn times(times: u64, fault: Fault) -> Self {
        Self { times: Some(times), ..Self::always(fault) }
    }
    /// Only on this operation.
    pub fn on(self, op: Op) -> Self {
        Self { op: Some(op), ..self }
    }
    /// Only on keys that start with this.
    pub fn under(self, key_prefix: &str) -> Self {
        Self { key_prefix: key_prefix.to_owned(), ..self }
    }
    /// Lets that many matching calls pass first.
    pub fn after(self, skip: u64) -> Self {
        Self { skip, ..self }
    }
}

/// Random faults that a seed decides: the same seed and the same order of calls give the same faults.
#[derive(Clone, Debug)]
pub struct Seeded {
    /// Start of the sequence.
    pub seed: u64,
    /// Calls of a thousand that fail.
    pub per_mille: u16,
    /// What may happen, each as likely as the other.
    pub faults: Vec<Fault>,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) rules: Vec<Rule>,
    pub(super) seeded: Option<Seeded>,
}

impl Plan {
    /// The fault of the next call, if any; uses rules up.
    pub(super) fn next(&mut self, op: Op, key: &str) -> Option<Fault> {
        for rule in &mut self.rules {
            if rule.op.is_some_and(|only| only != op) || !key.starts_with(&rule.key_prefix) || rule.times == Some(0) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if let Some(times) = &mut rule.times {
                *times -= 1;
            }
            return Some(rule.fault.clone());
        }
        let seeded = self.seeded.as_mut()?;
        let draw = split_mix(&mut seeded.seed);
        if draw % 1000 >= u64::from(seeded.per_mille) || seeded.faults.is_empty() {
            return None;
        }
        let index = split_mix(&mut seeded.seed) % seeded.faults.len() as u64;
        Some(seeded.faults[index as usize].clone())
    }
}

/// SplitMix64: small, fixed for ever, good enough to pick faults.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
