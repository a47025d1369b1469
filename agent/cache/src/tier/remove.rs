use std::io;

use super::objects::{Key, STALE};
use super::state::{Gone, extent};
use super::{LEASED, Name, PINNED, State, Stripe, Tier, metafile};
use crate::ObjectId;
use crate::counters::count;
use crate::policy::{Arena as _, EVICTING, VERIFIED};

/// A block taken out, with what its next place needs.
pub(crate) struct Evicted {
    pub(crate) name: Name,
    pub(crate) set: u16,
    /// What was charged for it, about.
    pub(crate) charge: u64,
    /// Its bytes, when they were asked for and right.
    pub(crate) data: Option<Vec<u8>>,
}

impl Tier {
    /// Evicts a chosen victim, unless it was pinned or removed since, or somebody reads it natively. `wanted` says, with the block's length and use count, whether
    /// its bytes are wanted elsewhere.
    pub(crate) fn evict(
        &self,
        id: ObjectId,
        block: u32,
        stripe: &Stripe<'_>,
        wanted: impl FnOnce(u64, u32, u8) -> bool,
    ) -> Option<Evicted> {
        self.refresh_in(id, stripe);
        let (name, set, verified, count) = {
            let state = self.state();
            let key = state.objects.find(&id)?;
            let at = state.objects.block(key, block)?;
            if !state.objects.link(at).is(EVICTING) || state.objects.is(key, PINNED) {
                return None;
            }
            let name = Name { id, size: state.objects.size_of(key) };
            (name, state.objects.set_of(key), state.objects.link(at).is(VERIFIED), self.count_of(&state, at))
        };
        if !self.vacate(name, stripe) {
            return None;
        }
        // Nobody has a published file open, but some may know it by its inode: a hole would be read as zeros.
        if name.size > crate::BLOCK && self.is_linked(&id) {
            let charge = self.forget_object(id, stripe);
            return Some(Evicted { name, set, charge, data: None });
        }
        let data = if wanted(name.size, block, count) { self.take_data(name, block, verified) } else { None };
        self.remove(name, &[block], stripe, |state, key, at| {
            state.objects.link(at).is(EVICTING) && !state.objects.is(key, PINNED | LEASED)
        })?;
        Some(Evicted { name, set, charge: Self::charge_of(name.size, block), data })
    }

    /// The bytes of a block that is here, known to be right.
    pub(crate) fn take_data(&self, name: Name, block: u32, verified: bool) -> Option<Vec<u8>> {
        let (birth, sidecar) = {
            let state = self.state();
            let key = state.objects.find(&name.id)?;
            let birth = match key {
                Key::Small(_) => None,
                Key::Large(at) => Some(state.objects.large(at).birth),
            };
            (birth, state.objects.is(key, super::objects::SIDECAR))
        };
        let path = metafile::path(&name.id);
        let file = self.file(&path, birth).ok()?;
        if !verified {
            return self.read_verified(name, block, &*file, sidecar, &path).ok();
        }
        let mut data = vec![0; crate::id::block_len(name.size, block) as usize];
        (file.read_at(extent(block).0, &mut data).ok()? == data.len()).then_some(data)
    }

    /// Removes blocks of an object for which `may` holds, here and on the disk; the bytes of the object that went. `None` when there were none.
    /// The caller holds the object's stripe.
    pub(crate) fn remove(
        &self,
        name: Name,
        blocks: &[u32],
        _stripe: &Stripe<'_>,
        mut may: impl FnMut(&State, Key, u32) -> bool,
    ) -> Option<u64> {
        let mut state = self.state();
        let key = state.objects.find(&name.id)?;
        let blocks: Vec<u32> = blocks
            .iter()
            .copied()
            .filter(|block| state.objects.block(key, *block).is_some_and(|at| may(&state, key, at)))
            .collect();
        if blocks.is_empty() && (state.objects.present(key) > 0 || state.objects.is(key, PINNED)) {
            return None;
        }
        let gone = state.take_out(key, &blocks);
        drop(state);
        Some(self.dispose(name.id, gone))
    }

    /// Gives the space of what was taken out back. The caller holds the object's stripe.
    pub(super) fn dispose(&self, id: ObjectId, gone: Gone) -> u64 {
        let path = metafile::path(&id);
        let given_back = match self.free_space(&id, &path, &gone) {
            Ok(freed) => freed,
            Err(e) => {
                // The bytes stay charged until a scan finds out what became of them.
                self.fault("free", &path, &e);
                let mut state = self.state();
                state.leases.forget_limbo(&id);
                // The file may still say that it has the blocks: it is asked before the object is used again.
                if let Some(key) = state.objects.find(&id) {
                    state.objects.flag(key, STALE, true);
                }
                false
            }
        };
        self.state().freed(&gone, given_back);
        if gone.native {
            // Whoever finds it no more looks for it here, and whoever remembers the file keeps its space from being free.
            count(&self.shared.counters.layers_changed, 1);
        }
        self.shared.datasets.get(gone.set).release(gone.bytes);
        gone.bytes
    }

    /// Whether the space is free then: not as long as somebody reads the file natively.
    fn free_space(&self, id: &ObjectId, path: &str, gone: &Gone) -> io::Result<bool> {
        if gone.whole {
            let result =
                self.io.unlink(path).and_then(|()| if gone.sidecar { self.io.unlink(&metafile::sidecar(path)) } else { Ok(()) });
            if let Some(birth) = gone.birth {
                self.shared.files.remove(self.number, birth);
            }
            return result.map(|()| !gone.leased);
        }
        let large = gone.birth.is_some();
        if !large {
            // Who finds the file there reads what is not to be read; the next one has its name only.
            self.io.conceal(path)?;
        }
        let file = match self.file(path, gone.birth) {
            // Somebody else removed it: nothing to free.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
            other => other?,
        };
        // Who reads the file natively would read zeros; a scan after that gives the space back. A file of one block is charged for whole as
        // long as it is there, and may be remembered from when it was published.
        let may_punch = large && !gone.leased && (!gone.lent || file.is_unshared()?) && !self.is_linked(id);
        for block in &gone.holes {
            // First the record: a crash between the two leaves space to reclaim, the other order would leave a record of zeros.
            match metafile::set_record(&*self.io, &*file, id, path, gone.sidecar, *block, None) {
                Err(e) if !matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound) => return Err(e),
                _ => {}
            }
            if may_punch {
                let (start, len) = extent(*block);
                file.punch(start, len)?;
            }
        }
        Ok(may_punch)
    }

    /// Drops a block that could not be read; whether it was there to be read. `epoch` is what the reader saw of a larger object:
    /// after a change there is nothing to heal.
    pub(super) fn heal(&self, name: Name, block: u32, error: &io::Error, epoch: Option<u64>) -> bool {
        let stripe = self.shared.stripe(&name.id);
        // A single-block object may have been evicted, and have landed anew, between the reader's look and its open.
        let anew = error.kind() == io::ErrorKind::NotFound
            && epoch.is_none()
            && self.io.stat(&metafile::path(&name.id)).is_ok_and(|stat| stat.is_some());
        let removed = self.remove(name, &[block], &stripe, |state, key, _| match key {
            Key::Small(_) => !anew,
            Key::Large(at) => Some(state.objects.large(at).epoch) == epoch,
        });
        removed.is_some_and(|bytes| bytes > 0)
    }

    /// Removes all of an object, pinned or not; the bytes of it that went.
    pub(crate) fn remove_object(&self, id: ObjectId, stripe: &Stripe<'_>) -> u64 {
        // What only the index knows of may be less or more than what there is to be freed.
        self.refresh_in(id, stripe);
        self.forget_object(id, stripe)
    }

    /// Lets go of an object for Datasets that are gone: their pins go, and the object too when one of them owns it and no declared one pins
    /// it; the bytes of it that went.
    pub(crate) fn let_go_of(&self, id: ObjectId, gone: impl Fn(u16) -> bool, stripe: &Stripe<'_>) -> u64 {
        self.refresh_in(id, stripe);
        let (owner, pinners) = {
            let state = self.state();
            let Some(key) = state.objects.find(&id) else { return 0 };
            (state.objects.set_of(key), state.pinners_of(key))
        };
        let keeps = |set: &u16| !gone(*set) && !self.shared.datasets.get(*set).retired;
        if gone(owner) && !pinners.iter().any(keeps) {
            return self.forget_object(id, stripe);
        }
        for set in pinners.into_iter().filter(|set| gone(*set)) {
            self.unpin_id(id, set, stripe);
        }
        0
    }

    /// As [`Tier::remove_object`], of what the table says.
    pub(super) fn forget_object(&self, id: ObjectId, _stripe: &Stripe<'_>) -> u64 {
        self.want_back(&id);
        let mut state = self.state();
        let Some(key) = state.objects.find(&id) else { return 0 };
        self.unpin_in(&mut state, key);
        let blocks: Vec<u32> = state.objects.blocks(key).into_iter().map(|(block, _)| block).collect();
        let gone = state.take_out(key, &blocks);
        drop(state);
        self.dispose(id, gone)
    }
}
