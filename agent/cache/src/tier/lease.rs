//! Lending a complete file to readers who need nobody in between, and getting it back.
//!
//! Nothing is ever taken out of a file under a reader. Those who hold it are known. Those who keep it ready are asked to give it up. All
//! others - a mapping that outlives its descriptor, a reader whom a former process let in - only the kernel knows, so it
//! is asked before the first hole. Whatever happens, a file that goes whole is only unlinked, and stays whole for who has it open.

use std::io;
use std::sync::Arc;

use super::objects::LENT;
use super::{Key, LEASED, Name, State, Stripe, Tier, Wanted, metafile};
use crate::ObjectId;
use crate::io::{FileIo, Mode};
use crate::policy::VISIT;

/// Blocks that are verified while an open waits; an object with more unverified ones is read through us until they were read.
const VERIFY_AT_OPEN: u32 = 16;

/// Files that somebody unknown has open, looked at again in one round.
const LOOKS: usize = 1024;

impl Tier {
    /// Lends an object that is wholly here and verified, and counts that as a use of all of it. Nothing of it is evicted until
    /// [`Tier::give_back`]. The birth of its file.
    pub(crate) fn lease(&self, name: Name, set: u16) -> Option<Option<u64>> {
        if let Some(birth) = self.lease_again(name) {
            return Some(birth);
        }
        let complete = self.with(name, None, |state, key| state.is_complete(key)).unwrap_or(false);
        if !complete || !self.io.knows_sharers() || !self.verify(name, set, VERIFY_AT_OPEN) {
            return None;
        }
        // Under the stripe nothing of it comes or goes.
        let stripe = self.shared.stripe(&name.id);
        self.with(name, Some(&stripe), |state, key| {
            let whole = state.is_complete(key) && state.is_verified(key);
            whole.then(|| {
                state.objects.flag(key, LENT, true);
                state.hold(name.id);
                self.used(state, key);
                Self::birth(state, key)
            })
        })?
    }

    /// [`Tier::lease`] of what is held or kept ready by somebody already.
    fn lease_again(&self, name: Name) -> Option<Option<u64>> {
        let mut state = self.state();
        let key = state.objects.find(&name.id).filter(|key| state.objects.size_of(*key) == name.size)?;
        if state.is_stale(key) || !state.hold_again(&name.id) {
            return None;
        }
        self.used(&mut state, key);
        Some(Self::birth(&state, key))
    }

    /// Opens the file that was lent, for reading. Not found when that was unlinked since.
    pub(crate) fn open_lent(&self, name: Name, birth: Option<u64>) -> io::Result<Arc<dyn FileIo>> {
        // Under the stripe the path cannot become that of another incarnation, which may have holes.
        let stripe = self.shared.stripe(&name.id);
        let same = |state: &mut State, key| state.is_complete(key) && Self::birth(state, key) == birth;
        if !self.with(name, Some(&stripe), same).unwrap_or(false) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.io.open(&metafile::path(&name.id), Mode::Read)
    }

    /// Ends a lease.
    pub(crate) fn give_back(&self, id: &ObjectId) {
        let mut state = self.state();
        self.used_until_now(&mut state, id);
        state.let_go(id);
    }

    /// Ends a lease, but whoever had it keeps the file ready for the next one: it may be evicted, after `wanted` was called. The number by which
    /// [`Tier::give_up`] ends that too.
    ///
    /// `wanted` is called with no lock but the object's stripe; it may give up, and may not ask for a lease.
    pub(crate) fn keep_ready(&self, id: &ObjectId, wanted: Wanted) -> u64 {
        let mut state = self.state();
        self.used_until_now(&mut state, id);
        state.keep_ready(id, wanted)
    }

    /// Ends what [`Tier::keep_ready`] began.
    pub(crate) fn give_up(&self, id: &ObjectId, number: u64) {
        self.state().give_up(id, number);
    }

    /// Counts a use of every block: the reads themselves are not seen.
    fn used(&self, state: &mut State, key: Key) {
        let now = self.shared.tick();
        if !state.leases.is_use(&{ *state.objects.id_of(key) }, now, VISIT) {
            return;
        }
        let blocks = state.objects.blocks(key);
        let mut sketch = self.shared.sketch();
        let State { policy, objects, .. } = state;
        for (_, at) in blocks {
            policy.touched(objects, &mut sketch, at, now);
        }
        state.objects.flag(key, super::objects::READ, true);
    }

    fn used_until_now(&self, state: &mut State, id: &ObjectId) {
        if let Some(key) = state.objects.find(id) {
            self.used(state, key);
        }
    }

    /// Asks those who keep an object ready to give it up. The caller holds its stripe.
    pub(super) fn want_back(&self, id: &ObjectId) {
        let keepers = self.state().leases.keepers(id);
        for wanted in keepers {
            wanted();
        }
    }

    /// Sees to it that nobody reads an object's file natively, so that something may be taken out of it; whether that is so. If not,
    /// the object is out of the order of eviction until it is. The caller holds its stripe: nobody begins meanwhile.
    pub(crate) fn vacate(&self, name: Name, _stripe: &Stripe<'_>) -> bool {
        let id = name.id;
        let birth = {
            let mut state = self.state();
            let Some(key) = state.objects.find(&id) else { return true };
            if state.objects.is(key, LEASED) {
                state.relist(key);
                return false;
            }
            if !state.objects.is(key, LENT) {
                return true;
            }
            Self::birth(&state, key)
        };
        self.want_back(&id);
        let path = metafile::path(&id);
        let unshared = match self.file(&path, birth).and_then(|file| file.is_unshared()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => true,
            Err(e) => {
                self.trouble("ask who reads", &path, &e);
                false
            }
            Ok(unshared) => unshared,
        };
        let mut state = self.state();
        let Some(key) = state.objects.find(&id) else { return true };
        if state.objects.is(key, LEASED) {
            // Held again since, by who kept it ready.
            state.relist(key);
            return false;
        }
        if !unshared || state.leases.holds(&id) {
            state.found_outside(&id);
            return false;
        }
        // A published file may be opened again by who knows it, before anything is taken out.
        if !state.objects.is_native(key) {
            state.objects.flag(key, LENT, false);
        }
        true
    }

    /// Looks again at files that somebody unknown had open.
    pub(crate) fn look_outside(&self) {
        let ids = self.state().leases.take_outside(LOOKS);
        for id in ids {
            let stripe = self.shared.stripe(&id);
            let birth = {
                let state = self.state();
                state.objects.find(&id).map(|key| Self::birth(&state, key))
            };
            let still = birth.is_some_and(|birth| {
                let file = self.file(&metafile::path(&id), birth);
                !file.and_then(|file| file.is_unshared()).is_ok_and(|unshared| unshared)
            });
            self.state().left_outside(&id, still);
            drop(stripe);
        }
    }

    /// Notes that the Datasets of what is read natively are in use: their reads are not seen.
    pub(crate) fn note_native_use(&self) {
        let now = self.shared.tick();
        let mut state = self.state();
        let sets: Vec<u16> = {
            let held = state.leases.in_use().filter_map(|id| state.objects.find(id));
            held.map(|key| state.objects.set_of(key)).collect()
        };
        for set in sets {
            state.policy.active(set, now);
        }
    }
}
