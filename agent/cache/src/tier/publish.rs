use std::path::PathBuf;

use super::objects::LENT;
use super::{Name, PINNED, Stripe, Tier, metafile};
use crate::{ObjectId, PublishError};

impl Tier {
    /// The directory of published files; made by this call. `None` where there can be none.
    pub(crate) fn published(&self) -> Option<PathBuf> {
        self.io.published().unwrap_or_else(|e| {
            self.trouble("make the directory for native reading in", &self.name, &e);
            None
        })
    }

    /// Publishes the file of a pinned object that is wholly here, verifying what this process did not write.
    pub(crate) fn publish(&self, name: Name, set: u16) -> Result<(), PublishError> {
        let path = metafile::path(&name.id);
        let ready = |tier: &Self, stripe| {
            tier.with(name, stripe, |state, key| state.objects.is(key, PINNED) && state.is_complete(key)).unwrap_or(false)
        };
        if !ready(self, None) {
            return Err(PublishError::NotReady);
        }
        let failed = |e| {
            self.trouble("publish", &path, &e);
            PublishError::Failed { tier: self.name.to_string(), source: e }
        };
        {
            // Published in this boot it was verified in this boot, and nobody wrote to it since.
            let stripe = self.shared.stripe(&name.id);
            if self.io.is_published(&path).map_err(failed)? {
                self.note_published(name, &stripe);
                return Ok(());
            }
        }
        if !self.verify(name, set, u32::MAX) {
            return Err(PublishError::NotReady);
        }
        // Under the stripe nothing of it comes or goes.
        let stripe = self.shared.stripe(&name.id);
        if !ready(self, Some(&stripe)) {
            return Err(PublishError::NotReady);
        }
        let mut state = self.state();
        if let Some(key) = state.objects.find(&name.id) {
            state.objects.flag(key, LENT, true);
        }
        drop(state);
        self.io.publish(&path).map_err(failed)?;
        self.note_published(name, &stripe);
        Ok(())
    }

    fn note_published(&self, name: Name, _stripe: &Stripe<'_>) {
        let mut state = self.state();
        if let Some(key) = state.objects.find(&name.id) {
            state.mark_native(key, true);
        }
    }

    /// Whether readers that nobody can name may have the file, or its disk would not punch it: it is never changed, only removed whole. A
    /// disk that does not say is taken for a yes.
    pub(super) fn is_linked(&self, id: &ObjectId) -> bool {
        self.io.is_linked(&metafile::path(id)).unwrap_or(true)
    }
}
