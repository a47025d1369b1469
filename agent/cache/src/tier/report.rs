use super::objects::Key;
use super::{LEASED, Name, PINNED, Phase, Stripe, Tier};
use crate::policy::{Arena as _, EVICTING, Place, QUEUED, VERIFIED};
use crate::{ObjectId, TierUsage};

impl Tier {
    /// What is used, in all and by number of Dataset.
    pub(crate) fn usage(&self) -> (TierUsage, Vec<(u16, u64)>) {
        let state = self.state();
        let usage = TierUsage {
            name: self.name.to_string(),
            medium: self.medium,
            capacity: self.capacity,
            charged: state.total(),
            bytes: state.account.bytes,
            pinned: state.account.pinned,
            objects: state.objects.len() as u64,
            blocks: state.account.blocks,
            native: state.natives.count(),
        };
        (usage, (0..=u16::MAX).zip(state.uses.iter().map(|used| used.bytes)).collect())
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.state().phase == Phase::Shut
    }

    pub(crate) fn is_loading(&self) -> bool {
        self.state().phase == Phase::Loading
    }

    /// Whether all that is on the disk is in the table: so that the next start may trust an index made from it.
    pub(crate) fn is_accounted(&self) -> bool {
        let state = self.state();
        state.phase == Phase::Whole && state.account.leaked == 0
    }

    /// Whether so many bytes would fit without evicting anything.
    pub(crate) fn has_room(&self, charge: u64) -> bool {
        let state = self.state();
        state.phase != Phase::Shut && state.total().saturating_add(charge) <= self.capacity
    }

    /// Notes that a Dataset is about to write: it is in use, and its own idle blocks are no reason to evict them first.
    pub(crate) fn expect(&self, set: u16) {
        self.state().policy.active(set, self.shared.tick());
    }

    /// Gives the directory up.
    pub(crate) fn release(&self) {
        self.io.release();
    }

    /// Whether no object of this id and another size is here: an id that was not derived from the size would mix two files.
    pub(crate) fn agrees(&self, name: Name) -> bool {
        let state = self.state();
        state.objects.find(&name.id).is_none_or(|key| state.objects.size_of(key) == name.size)
    }

    /// The Dataset that owns an object.
    pub(crate) fn owner(&self, id: &ObjectId) -> Option<u16> {
        let state = self.state();
        state.objects.find(id).map(|key| state.objects.set_of(key))
    }

    /// Takes a block's mark of a waiting move away; how often it was used, unless it is gone.
    pub(crate) fn unqueue(&self, name: Name, block: u32) -> Option<u8> {
        let mut state = self.state();
        let key = state.objects.find(&name.id)?;
        let at = state.objects.block(key, block)?;
        state.objects.link_mut(at).set_flag(QUEUED, false);
        Some(self.count_of(&state, at))
    }

    /// Dataset of a block that may be moved away, and whether it is verified. `held` moves pinned blocks too;
    /// nothing is taken out of a file that is read natively.
    pub(crate) fn movable(&self, name: Name, block: u32, held: bool, stripe: &Stripe<'_>) -> Option<(u16, bool)> {
        self.with(name, Some(stripe), |state, key| {
            let at = state.objects.block(key, block)?;
            if state.objects.is(key, LEASED) || (!held && state.objects.is(key, PINNED)) {
                return None;
            }
            Some((state.objects.set_of(key), state.objects.link(at).is(VERIFIED)))
        })
        .flatten()
    }

    /// All blocks that were not read within their Dataset's TTL, marked as victims.
    pub(crate) fn expired(&self) -> Vec<(ObjectId, u32)> {
        let now = self.shared.tick();
        let datasets = self.shared.datasets.all();
        let ttls: Vec<Option<u32>> = datasets.iter().map(|dataset| dataset.rules().ttl).collect();
        let mut expired = Vec::new();
        if ttls.iter().all(Option::is_none) {
            return expired;
        }
        let (smalls, larges) = self.state().objects.bounds();
        let mut keys = (0..smalls).map(Key::Small).chain((0..larges).map(Key::Large)).peekable();
        while keys.peek().is_some() {
            // Readers get the lock in between.
            let mut state = self.state();
            for key in keys.by_ref().take(4096) {
                let Some(key) = state.objects.at(key) else { continue };
                let Some(ttl) = ttls.get(usize::from(state.objects.set_of(key))).copied().flatten() else { continue };
                let id = *state.objects.id_of(key);
                for (block, at) in state.objects.blocks(key) {
                    let link = *state.objects.link(at);
                    if link.place() != Place::Out && now.saturating_sub(link.stamp) >= ttl {
                        let super::State { policy, objects, .. } = &mut *state;
                        policy.take(objects, at);
                        objects.link_mut(at).set_flag(EVICTING, true);
                        expired.push((id, block));
                    }
                }
            }
        }
        expired
    }
}
