use std::io;

use super::ledger::Ledger;
use super::objects::{Key, LENT, PINNED, READ, STALE};
use super::{Landed, Phase, State, Tier, charge};
use crate::ObjectId;
use crate::counters::count;
use crate::id::block_count;
use crate::index::{Batch, Entry, IndexError};
use crate::policy::{Arena as _, Place};
use crate::shared::Shared;

/// Entries written to the index between two looks at anything else.
const CHUNK: usize = 4096;

/// What a start found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The tier is empty; whatever the index says of it is void.
    Empty,
    /// The tier was closed, with this token: an index that has the same was closed with it and knows all.
    Sealed(u64),
    /// The tier was not closed: the index may know too little and too much.
    Unsealed,
}

impl Tier {
    /// Takes the directory into use, without looking into more of it than its ledger.
    pub(crate) fn activate(&self) -> io::Result<Start> {
        self.io.prepare()?;
        let ledger = Ledger::read(&*self.io)?;
        let empty = ledger.is_none() && self.io.list("objects")?.is_empty();
        // Without a ledger the tier may hold anything.
        let bound = if empty { charge::BASE } else { ledger.map_or(self.capacity, |ledger| ledger.bound.max(charge::BASE)) };
        // From here on no index is trusted any more, until the next close.
        Ledger { bound, token: 0 }.write(&*self.io)?;
        let mut state = self.state();
        state.account.bound = bound;
        state.account.unknown = bound - charge::BASE;
        state.phase = Phase::Loading;
        if empty {
            state.phase = Phase::Whole;
        }
        Ok(match ledger {
            _ if empty => Start::Empty,
            Some(Ledger { token, .. }) if token != 0 => Start::Sealed(token),
            _ => Start::Unsealed,
        })
    }

    /// Reads the tier's part of the index into memory.
    pub(crate) fn load(&self, start: Start) {
        let trusted = matches!(start, Start::Sealed(token) if self.shared.index.token(&self.name) == Ok(Some(token)));
        let mut foreign = 0u64;
        let mut void = Batch::new();
        let result = self.shared.index.load(&self.name, &mut |id, raw| {
            match Entry::decode(&id, raw) {
                _ if start == Start::Empty => void.push((id, None)),
                Some(entry) => self.enter_entry(id, &entry, trusted),
                None => foreign += 1,
            }
            !self.shared.is_closed()
        });
        if !void.is_empty() {
            let _ = self.shared.index.apply(&self.name, void).inspect_err(|e| self.index_failed(e));
        }
        if let Err(e) = &result {
            self.index_failed(e);
        }
        let whole = trusted && result.is_ok() && foreign == 0 && !self.shared.is_closed();
        let mut state = self.state();
        let State { policy, objects, .. } = &mut *state;
        policy.sort(objects);
        if state.phase == Phase::Loading {
            state.phase = if whole { Phase::Whole } else { Phase::Partial };
            if whole {
                state.account.unknown = 0;
            }
        }
    }

    /// Takes an entry's word for an object, until its file is asked.
    fn enter_entry(&self, id: ObjectId, entry: &Entry, trusted: bool) {
        let blocks = block_count(entry.size);
        if entry.size == 0 || blocks == u32::MAX {
            return;
        }
        let stamp = self.shared.tick_of(std::time::Duration::from_secs(u64::from(entry.accessed)));
        let set = self.shared.datasets.of_tag(entry.dataset);
        let _stripe = self.shared.stripe(&id);
        let mut state = self.state();
        if state.objects.find(&id).is_some() {
            return;
        }
        let dataset = self.rule(&mut state, set);
        let before = state.account.known;
        let flags = STALE | LENT | if entry.pinned { PINNED } else { 0 };
        let Some(key) = state.add_object(id, entry.size, set, flags, stamp) else { return };
        if entry.pinned {
            dataset.pin(entry.size);
        }
        let mut sketch = self.shared.sketch();
        for block in entry.blocks().take_while(|block| *block < blocks) {
            state.add_block(&mut sketch, key, block, Landed { stamp, verified: false, place: Place::Main });
        }
        drop(sketch);
        if trusted {
            let charged = state.account.known - before;
            state.found(charged);
        } else {
            state.claim(key);
        }
        dataset.add(state.objects.present_bytes(key));
    }

    /// Writes the entries that are out of date to the index. Whether the index knows all then.
    pub(crate) fn flush_index(&self) -> bool {
        loop {
            let batch: Batch = {
                let mut state = self.state();
                if state.dirty.is_empty() {
                    return !state.index_behind;
                }
                let ids: Vec<ObjectId> = state.dirty.iter().take(CHUNK).copied().collect();
                for id in &ids {
                    state.dirty.remove(id);
                }
                ids.into_iter().map(|id| (id, state.entry_of(&id, &self.shared))).collect()
            };
            if let Err(e) = self.shared.index.apply(&self.name, batch) {
                self.index_failed(&e);
                self.state().index_behind = true;
                return false;
            }
        }
    }

    /// Writes every object's entry, or only those read since they were written last.
    pub(crate) fn write_entries(&self, only_read: bool) -> Result<(), IndexError> {
        let (smalls, larges) = self.state().objects.bounds();
        let mut keys = (0..smalls).map(Key::Small).chain((0..larges).map(Key::Large)).peekable();
        while keys.peek().is_some() {
            let mut batch = Batch::new();
            {
                let mut state = self.state();
                for key in keys.by_ref().take(CHUNK) {
                    let Some(key) = state.objects.at(key) else { continue };
                    if !only_read || state.objects.is(key, READ) {
                        let id = *state.objects.id_of(key);
                        batch.push((id, state.entry_of(&id, &self.shared)));
                    }
                }
            }
            self.shared.index.apply(&self.name, batch)?;
        }
        Ok(())
    }

    /// Makes the index say what memory says, entry for entry, after a scan has made memory know all.
    pub(crate) fn rebuild_index(&self) -> Result<(), IndexError> {
        self.state().index_behind = false;
        let result = self.write_entries(false).and_then(|()| {
            let mut void = Batch::new();
            self.shared.index.load(&self.name, &mut |id, _| {
                if self.state().objects.find(&id).is_none() {
                    void.push((id, None));
                }
                void.len() < (1 << 20)
            })?;
            // An object that landed since is in the dirty set, and written again by the next flush.
            self.shared.index.apply(&self.name, void)?;
            self.shared.index.flush()
        });
        if result.is_err() {
            self.state().index_behind = true;
        }
        result
    }

    pub(crate) fn index_failed(&self, e: &IndexError) {
        if self.shared.counters.index_errors.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            tracing::warn!(tier = %self.name, error = %e, "the cache's index failed; the next start scans the tiers");
        }
        count(&self.shared.counters.index_errors, 1);
    }
}

impl State {
    /// What the index should say of an object; `None` when it is not here.
    fn entry_of(&mut self, id: &ObjectId, shared: &Shared) -> Option<Vec<u8>> {
        let key = self.objects.find(id)?;
        self.objects.flag(key, READ, false);
        let blocks = self.objects.blocks(key);
        let stamp = blocks.iter().map(|(_, at)| self.objects.link(*at).stamp).max().unwrap_or_else(|| shared.tick());
        let mut entry = Entry {
            size: self.objects.size_of(key),
            dataset: shared.datasets.get(self.objects.set_of(key)).tag,
            pinned: self.objects.is(key, PINNED),
            accessed: shared.seconds(stamp),
            present: Vec::new(),
        };
        for (block, _) in blocks {
            entry.set(block);
        }
        Some(entry.encode(id))
    }
}
