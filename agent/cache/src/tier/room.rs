use std::io;

use super::effort::{Effort, Vain, worth_of_write};
use super::ledger::{Ledger, step};
use super::{Phase, State, Tier};
use crate::Reason;
use crate::policy::{Arena as _, Bid, Scope, Victim};
use crate::shared::lock;

/// Ticks for which the file system's word about its free space is believed.
const FREE_TICKS: u32 = 10;
/// Bytes reserved since, after which it is asked again: others write there too.
const FREE_BYTES: u64 = 64 << 20;

/// What the file system said about its free space, less what was reserved since.
pub(super) struct Free {
    bytes: u64,
    asked: Option<u32>,
    spent: u64,
    /// Granted since the start: what the disk has free and this together change by what others do, and by what is evicted.
    granted: u64,
    /// Evicting for writes, and to restore the reserve.
    vain: Vain,
    trim: Trim,
}

/// What was done to restore the reserve since it was last whole, or since that was last in vain.
struct Trim {
    effort: Effort,
    vain: Vain,
}

impl Default for Free {
    fn default() -> Self {
        let trim = Trim { effort: Effort::default(), vain: Vain::of_trim() };
        Self { bytes: 0, asked: None, spent: 0, granted: 0, vain: Vain::of_writes(), trim }
    }
}

/// Bytes of a tier's capacity taken for a write that is about to happen. Dropped, it gives them back.
pub(crate) struct Reservation<'a> {
    tier: &'a Tier,
    bytes: u64,
}

/// What came of asking for room.
pub(crate) enum Claim<'a> {
    /// Granted.
    Granted(Reservation<'a>),
    /// This block is to go first; then ask again.
    Evict { id: crate::ObjectId, block: u32, victim: Victim },
    /// No.
    Refused(Reason),
}

impl Reservation<'_> {
    /// Turns the reservation into what was really added to the account (by the caller, under the same lock).
    pub(crate) fn settle(mut self, state: &mut State) {
        state.account.in_flight -= self.bytes;
        self.bytes = 0;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.tier.state().account.in_flight -= self.bytes;
        }
    }
}

impl Tier {
    /// Asks for `charge` bytes. When the tier is full this names a victim, of any Dataset; where only the disk is, as long as `effort` is not
    /// in vain.
    pub(crate) fn claim(&self, charge: u64, bid: Bid, effort: &mut Effort) -> Claim<'_> {
        if self.is_paused() {
            return Claim::Refused(Reason::Faulted);
        }
        let now = self.shared.tick();
        let mut state = self.state();
        if state.phase == Phase::Shut {
            return Claim::Refused(Reason::Faulted);
        }
        let fits = state.total().saturating_add(charge) <= self.capacity;
        if fits {
            match self.spend(&state, charge, now) {
                Ok(()) => {
                    if let Err(e) = self.raise(&mut state, charge) {
                        drop(state);
                        self.fault("write", "ledger", &e);
                        return Claim::Refused(Reason::Faulted);
                    }
                    state.account.in_flight += charge;
                    return Claim::Granted(Reservation { tier: self, bytes: charge });
                }
                Err(free) if self.is_vain(effort, free, worth_of_write(charge, state.account.in_flight), now) => {
                    return Claim::Refused(Reason::Lagging);
                }
                Err(_) => {}
            }
        }
        match self.choose(&mut state, Scope::Any, charge, bid) {
            Some((id, block, victim)) => Claim::Evict { id, block, victim },
            None if matches!(bid, Bid::Used(_)) => Claim::Refused(Reason::Full),
            None if !fits && state.account.unknown > 0 => Claim::Refused(Reason::Recovering),
            None if !fits => Claim::Refused(Reason::Full),
            None => Claim::Refused(Reason::Reserve),
        }
    }

    /// Names a block of one Dataset to go, because that is at its quota. None while the disk fails: it would give nothing back.
    pub(crate) fn claim_from(&self, set: u16, charge: u64) -> Option<(crate::ObjectId, u32, Victim)> {
        if self.is_paused() {
            return None;
        }
        self.choose(&mut self.state(), Scope::Only(set), charge, Bid::Landed)
    }

    /// Names a block to go when the tier holds more than it may: its capacity was lowered, or others filled the file system, as long as that gives
    /// anything back. What was evicted for it is to be told by [`Tier::trimmed`].
    pub(crate) fn excess(&self) -> Option<(crate::ObjectId, u32, Victim)> {
        if self.is_paused() {
            return None;
        }
        let free = self.io.free().ok()?;
        let mut state = self.state();
        let over = state.total() - state.account.in_flight - state.account.unknown > self.capacity;
        if state.phase == Phase::Shut {
            return None;
        }
        if !over && !self.may_trim(free) {
            return None;
        }
        self.choose(&mut state, Scope::Any, 0, Bid::Landed)
    }

    /// Whether the reserve is broken, and evicting for it has not just been in vain.
    fn may_trim(&self, free: u64) -> bool {
        let Free { granted, trim, .. } = &mut *lock(&self.free);
        let (now, with_granted) = (self.shared.tick(), free.saturating_add(*granted));
        let broken = free < self.reserve && !trim.vain.holds(with_granted, now);
        if broken && !trim.effort.is_vain(with_granted, self.reserve - free) {
            return true;
        }
        if broken {
            trim.vain.note(with_granted, now);
        }
        trim.effort = Effort::default();
        false
    }

    /// So much was evicted of what [`Tier::excess`] named.
    pub(crate) fn trimmed(&self, bytes: u64) {
        lock(&self.free).trim.effort.add(bytes);
    }

    fn choose(&self, state: &mut State, scope: Scope, charge: u64, bid: Bid) -> Option<(crate::ObjectId, u32, Victim)> {
        let want = state.want(scope, charge, self.shared.tick());
        let sketch = self.shared.sketch();
        let State { policy, objects, .. } = &mut *state;
        let victim = policy.victim(objects, &sketch, want, bid)?;
        let (key, block) = objects.owner(victim.block);
        Some((*objects.id_of(key), block, victim))
    }

    /// Whether a block used `count` times that another tier evicts would be taken here.
    pub(crate) fn would_take(&self, charge: u64, count: u8) -> bool {
        if self.is_paused() {
            return false;
        }
        let state = self.state();
        let room = state.total().saturating_add(charge) <= self.capacity;
        let want = state.want(Scope::Any, charge, self.shared.tick());
        state.phase != Phase::Shut && (room || state.policy.would_take(&state.objects, &self.shared.sketch(), want, count))
    }

    /// How often a block was used lately.
    pub(crate) fn count_of(&self, state: &State, block: crate::policy::Ref) -> u8 {
        self.shared.sketch().count(state.objects.hash(block))
    }

    /// Whether it is no use to evict more for the disk's sake, or was none lately. `free`: of the disk, with all that was granted.
    fn is_vain(&self, effort: &mut Effort, free: u64, worth: u64, now: u32) -> bool {
        let mut known = lock(&self.free);
        if effort.is_vain(free, worth) {
            known.vain.note(free, now);
        }
        known.vain.holds(free, now)
    }

    /// Takes bytes from what the file system has free beyond the reserve; it is asked anew when the last answer is old or would not do. If
    /// that would not do either: what there is, with all that was granted.
    fn spend(&self, state: &State, charge: u64, now: u32) -> Result<(), u64> {
        let mut free = lock(&self.free);
        let mut on_disk = free.bytes;
        let believed = free.asked.is_some_and(|asked| now.saturating_sub(asked) < FREE_TICKS) && free.spent < FREE_BYTES;
        if !believed || free.bytes < self.reserve.saturating_add(charge) {
            let Ok(bytes) = self.io.free() else { return Err(free.bytes.saturating_add(free.granted)) };
            on_disk = bytes;
            // What is in flight may be on the disk already or not; not, to be safe.
            (free.bytes, free.asked, free.spent) = (bytes.saturating_sub(state.account.in_flight), Some(now), 0);
        }
        if free.bytes < self.reserve.saturating_add(charge) {
            return Err(on_disk.saturating_add(free.granted));
        }
        free.bytes -= charge;
        free.spent += charge;
        free.granted += charge;
        Ok(())
    }

    /// Raises the ledger's bound before it would be passed.
    fn raise(&self, state: &mut State, charge: u64) -> io::Result<()> {
        let total = state.total() + charge;
        if total > state.account.bound {
            let bound = (total + step(self.capacity)).min(self.capacity.max(total));
            Ledger { bound, token: 0 }.write(&*self.io)?;
            state.account.bound = bound;
        }
        Ok(())
    }

    /// Lowers the ledger's bound when it is far above; with a token when the cache is being closed.
    pub(crate) fn settle_ledger(&self, token: u64) -> io::Result<()> {
        let mut state = self.state();
        let total = state.total();
        if state.phase == Phase::Shut || (token == 0 && total + 3 * step(self.capacity) > state.account.bound) {
            return Ok(());
        }
        let bound = if token == 0 { total + step(self.capacity) } else { total };
        Ledger { bound, token }.write(&*self.io)?;
        state.account.bound = bound;
        Ok(())
    }
}
