//! Which objects are read natively, by whom as far as is known, and which are kept ready for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::State;
use super::objects::LEASED;
use crate::ObjectId;

/// Runs when the cache wants a file back that somebody keeps ready for native readers.
pub(crate) type Wanted = Arc<dyn Fn() + Send + Sync>;

/// The table of leases of one tier.
#[derive(Default)]
pub(crate) struct Leases {
    all: HashMap<ObjectId, Lease>,
    numbers: u64,
    /// Objects that somebody unknown has open, for another look.
    outside: VecDeque<ObjectId>,
}

/// What is known of one object's native readers.
#[derive(Default)]
struct Lease {
    /// Of those who hold it now.
    holders: u32,
    /// Of those who keep it ready, by number: they are asked before anything of it is evicted.
    kept: Vec<(u64, Wanted)>,
    /// The kernel says that somebody else has it open or mapped.
    outside: bool,
    /// It was complete and verified, and nothing was taken out since.
    whole: bool,
    /// Its blocks are out of the order of eviction, because that met them while they were held.
    unlisted: bool,
    /// When its blocks were last counted as used.
    touched: u32,
    /// Charged for its file, which was unlinked meanwhile.
    limbo: u64,
}

impl Leases {
    /// Whether the space of an object stays in use when it is unlinked, until its lease ends.
    pub(super) fn holds(&self, id: &ObjectId) -> bool {
        self.all.get(id).is_some_and(|lease| lease.holders > 0 || !lease.kept.is_empty())
    }

    /// Something is about to be taken out of an object.
    pub(super) fn broken(&mut self, id: &ObjectId) {
        if let Some(lease) = self.all.get_mut(id) {
            lease.whole = false;
        }
    }

    /// An object's blocks are out of the order of eviction, and must come back when its lease ends.
    pub(super) fn unlisted(&mut self, id: &ObjectId) {
        if let Some(lease) = self.all.get_mut(id) {
            lease.unlisted = true;
        }
    }

    /// An object was unlinked, for whose file so much is charged.
    pub(super) fn unlinked(&mut self, id: &ObjectId, charge: u64) {
        if let Some(lease) = self.all.get_mut(id).filter(|lease| lease.holders > 0 || !lease.kept.is_empty()) {
            lease.limbo += charge;
        }
    }

    /// What is charged for an object's unlinked file is accounted for otherwise.
    pub(super) fn forget_limbo(&mut self, id: &ObjectId) {
        if let Some(lease) = self.all.get_mut(id) {
            lease.limbo = 0;
        }
    }

    /// Charged for files that were unlinked while they were out.
    pub(super) fn limbo(&self) -> u64 {
        self.all.values().map(|lease| lease.limbo).sum()
    }

    /// Whom to ask for an object.
    pub(super) fn keepers(&self, id: &ObjectId) -> Vec<Wanted> {
        self.all.get(id).map(|lease| lease.kept.iter().map(|(_, wanted)| wanted.clone()).collect()).unwrap_or_default()
    }

    /// Whether an object's blocks are to be counted as used now, `visit` ticks after the last time.
    pub(super) fn is_use(&mut self, id: &ObjectId, now: u32, visit: u32) -> bool {
        let Some(lease) = self.all.get_mut(id) else { return false };
        let due = lease.touched == 0 || now.saturating_sub(lease.touched) >= visit;
        if due {
            lease.touched = now;
        }
        due
    }

    /// Takes objects that somebody unknown has open, for another look; at most `most`.
    pub(super) fn take_outside(&mut self, most: usize) -> Vec<ObjectId> {
        let most = most.min(self.outside.len());
        self.outside.drain(..most).collect()
    }

    /// Objects that are read natively now.
    pub(super) fn in_use(&self) -> impl Iterator<Item = &ObjectId> {
        self.all.iter().filter(|(_, lease)| lease.holders > 0 || lease.outside).map(|(id, _)| id)
    }
}

impl State {
    /// Adds a holder of an object that is known to be whole; `false` when that is not known.
    pub(super) fn hold_again(&mut self, id: &ObjectId) -> bool {
        let Some(lease) = self.leases.all.get_mut(id).filter(|lease| lease.whole) else { return false };
        lease.holders += 1;
        self.mark_leased(id);
        true
    }

    /// Adds a holder of an object that was found to be whole.
    pub(super) fn hold(&mut self, id: ObjectId) {
        let lease = self.leases.all.entry(id).or_default();
        lease.holders += 1;
        lease.whole = true;
        self.mark_leased(&id);
    }

    fn mark_leased(&mut self, id: &ObjectId) {
        if let Some(key) = self.objects.find(id) {
            self.objects.flag(key, LEASED, true);
        }
    }

    /// One holder less.
    pub(super) fn let_go(&mut self, id: &ObjectId) {
        if let Some(lease) = self.leases.all.get_mut(id) {
            lease.holders = lease.holders.saturating_sub(1);
            self.settle(id);
        }
    }

    /// Turns a holder into one who keeps the object ready; its number.
    pub(super) fn keep_ready(&mut self, id: &ObjectId, wanted: Wanted) -> u64 {
        self.leases.numbers += 1;
        let number = self.leases.numbers;
        let lease = self.leases.all.entry(*id).or_default();
        lease.kept.push((number, wanted));
        self.let_go(id);
        number
    }

    /// One less of those who keep it ready.
    pub(super) fn give_up(&mut self, id: &ObjectId, number: u64) {
        if let Some(lease) = self.leases.all.get_mut(id) {
            lease.kept.retain(|(kept, _)| *kept != number);
            self.settle(id);
        }
    }

    /// Somebody unknown has the object open or mapped: it is left alone until that ends.
    pub(super) fn found_outside(&mut self, id: &ObjectId) {
        let Some(key) = self.objects.find(id) else { return };
        let lease = self.leases.all.entry(*id).or_default();
        if !std::mem::replace(&mut lease.outside, true) {
            self.leases.outside.push_back(*id);
        }
        self.objects.flag(key, LEASED, true);
        self.relist(key);
    }

    /// Another look is due, or nobody unknown has it open any more.
    pub(super) fn left_outside(&mut self, id: &ObjectId, still: bool) {
        let Some(lease) = self.leases.all.get_mut(id) else { return };
        if still {
            self.leases.outside.push_back(*id);
            return;
        }
        lease.outside = false;
        self.settle(id);
    }

    /// Gives back what an object's lease took, as far as it has ended.
    fn settle(&mut self, id: &ObjectId) {
        let Some(lease) = self.leases.all.get_mut(id) else { return };
        if lease.holders > 0 || lease.outside {
            return;
        }
        let unlisted = std::mem::take(&mut lease.unlisted);
        if lease.kept.is_empty() {
            // Unlinked while it was out: the space comes back now.
            self.account.leaked = self.account.leaked.saturating_sub(lease.limbo);
            self.leases.all.remove(id);
        }
        if let Some(key) = self.objects.find(id) {
            self.objects.flag(key, LEASED, false);
            if unlisted {
                self.relist(key);
            }
        }
    }
}
