//! Which block goes when one must go: pure, with time as an argument.
//!
//! Each landed block enters its Dataset's *window*, a FIFO. The oldest block of a window that is over its budget contests with the
//! oldest block of *main*, and the one used less often lately goes; a tie keeps the incumbent. So a scan over more than fits
//! cannot flush what is there, and a dataset read again and again keeps a constant part cached.
//!
//! *Guests* are blocks that other nodes keep. They contest with nobody: they have what is free, and a window's worth of what is not.

mod ages;
mod contest;
mod link;
mod natives;
mod sets;
mod sketch;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traces;

pub(crate) use contest::{Bid, Cause, Scope, Victim, Want};
pub(crate) use link::{Arena, EVICTING, FRESH, GUEST, Link, NONE, PRESENT, Place, QUEUED, Ref, VERIFIED};
pub(crate) use natives::Room;
pub(crate) use sets::{Policy, SetRules};
pub(crate) use sketch::{Sketch, mix};

use crate::BLOCK;

/// Ticks of the policy's clock per second.
pub(crate) const TICKS: u32 = 10;
/// Two accesses within so many ticks are one: a reader takes a block in several reads.
pub(crate) const VISIT: u32 = TICKS;
/// A Dataset of which nothing was read for so many ticks gives way without a contest.
pub(crate) const IDLE: u32 = 60 * TICKS;

/// Bytes of a tier's window: large enough to see second reads and to hold what is read ahead, small enough to leave the rest to main.
pub(crate) fn window_budget(capacity: u64) -> u64 {
    (capacity / 100).max(64 * BLOCK).min(capacity / 4)
}
