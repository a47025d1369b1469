use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Batch, Index, IndexError};
use crate::ObjectId;

/// An index that lives as long as its clones do.
#[derive(Clone, Default)]
pub struct MemoryIndex(Arc<Mutex<HashMap<String, Tier>>>);

#[derive(Clone, Default)]
struct Tier {
    entries: HashMap<ObjectId, Vec<u8>>,
    token: Option<u64>,
}

impl MemoryIndex {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Tier>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of its present state, on its own from now on.
    pub fn snapshot(&self) -> Self {
        Self(Arc::new(Mutex::new(self.lock().clone())))
    }

    /// Damages what `damage` wants damaged: each entry's value in turn, `None` to lose it.
    pub fn damage(&self, mut damage: impl FnMut(&mut Option<Vec<u8>>)) {
        for tier in self.lock().values_mut() {
            for (id, value) in std::mem::take(&mut tier.entries) {
                let mut value = Some(value);
                damage(&mut value);
                if let Some(value) = value {
                    tier.entries.insert(id, value);
                }
            }
        }
    }
}

impl Index for MemoryIndex {
    fn load(&self, tier: &str, each: &mut dyn FnMut(ObjectId, &[u8]) -> bool) -> Result<(), IndexError> {
        let entries = self.lock().get(tier).map(|tier| tier.entries.clone()).unwrap_or_default();
        for (id, value) in &entries {
            if !each(*id, value) {
                break;
            }
        }
        Ok(())
    }
    fn apply(&self, tier: &str, batch: Batch) -> Result<(), IndexError> {
        let mut tiers = self.lock();
        let entries = &mut tiers.entry(tier.to_owned()).or_default().entries;
        for (id, value) in batch {
            match value {
                Some(value) => entries.insert(id, value),
                None => entries.remove(&id),
            };
        }
        Ok(())
    }
    fn flush(&self) -> Result<(), IndexError> {
        Ok(())
    }
    fn close(&self) {}
    fn token(&self, tier: &str) -> Result<Option<u64>, IndexError> {
        Ok(self.lock().get(tier).and_then(|tier| tier.token))
    }
    fn set_token(&self, tier: &str, token: Option<u64>) -> Result<(), IndexError> {
        self.lock().entry(tier.to_owned()).or_default().token = token;
        Ok(())
    }
}

/// An index that fails while it is told to.
#[derive(Clone, Default)]
pub struct FailingIndex {
    inner: MemoryIndex,
    failing: Arc<AtomicBool>,
}

impl FailingIndex {
    /// Wraps an index that works.
    pub fn new(inner: MemoryIndex) -> Self {
        Self { inner, failing: Arc::default() }
    }

    /// Makes all calls fail, or work again.
    pub fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    fn check(&self) -> Result<&MemoryIndex, IndexError> {
        if self.failing.load(Ordering::SeqCst) { Err(IndexError("made to fail".into())) } else { Ok(&self.inner) }
    }
}

impl Index for FailingIndex {
    fn load(&self, tier: &str, each: &mut dyn FnMut(ObjectId, &[u8]) -> bool) -> Result<(), IndexError> {
        self.check()?.load(tier, each)
    }
    fn apply(&self, tier: &str, batch: Batch) -> Result<(), IndexError> {
        self.check()?.apply(tier, batch)
    }
    fn flush(&self) -> Result<(), IndexError> {
        self.check()?.flush()
    }
    fn close(&self) {}
    fn token(&self, tier: &str) -> Result<Option<u64>, IndexError> {
        self.check()?.token(tier)
    }
    fn set_token(&self, tier: &str, token: Option<u64>) -> Result<(), IndexError> {
        self.check()?.set_token(tier, token)
    }
}
