use std::sync::Arc;

use super::{LEASED, Name, State, Tier, metafile};
use crate::ObjectId;
use crate::io::FileIo;

/// Blocks that are verified while an open waits; an object with more unverified ones is read through us until they were read.
const VERIFY_AT_OPEN: u32 = 16;

impl Tier {
    /// Hands out the file of an object that is wholly here and verified. Nothing of it is evicted until [`Tier::give_back`].
    pub(crate) fn lease(&self, name: Name, set: u16) -> Option<Arc<dyn FileIo>> {
        let complete = self.with(name, None, |state, key| state.is_complete(key)).unwrap_or(false);
        if !complete || !self.verify(name, set, VERIFY_AT_OPEN) {
            return None;
        }
        // Under the stripe nothing of it comes or goes.
        let stripe = self.shared.stripe(&name.id);
        let whole = |state: &mut State, key| (state.is_complete(key) && state.is_verified(key)).then(|| Self::birth(state, key));
        let birth = self.with(name, Some(&stripe), whole)??;
        let path = metafile::path(&name.id);
        let file = self.file(&path, birth).ok()?;
        let mut state = self.state();
        let key = state.objects.find(&name.id)?;
        state.leases.entry(name.id).or_default().holders += 1;
        state.objects.flag(key, LEASED, true);
        state.relist(key);
        Some(file)
    }

    /// Ends a lease.
    pub(crate) fn give_back(&self, id: &ObjectId) {
        let mut state = self.state();
        let Some(lease) = state.leases.get_mut(id) else { return };
        lease.holders -= 1;
        if lease.holders > 0 {
            return;
        }
        let limbo = lease.limbo;
        state.leases.remove(id);
        // Unlinked while it was out: the space comes back now.
        state.account.leaked = state.account.leaked.saturating_sub(limbo);
        if let Some(key) = state.objects.find(id) {
            state.objects.flag(key, LEASED, false);
            state.relist(key);
        }
    }
}
