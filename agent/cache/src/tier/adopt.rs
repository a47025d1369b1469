use std::io;
use std::sync::Arc;

use super::objects::{CLAIMED, Key, LENT, PINNED, SEEN, SIDECAR, STALE};
use super::state::extent;
use super::{Landed, Name, State, Stripe, Tier, charge, metafile};
use crate::ObjectId;
use crate::datasets::Dataset;
use crate::id::{block_count, block_len};
use crate::io::{FileStat, Mode};
use crate::meta;
use crate::policy::Place;

/// What a file turned out to be.
enum Found {
    /// There is none.
    Nothing,
    /// It cannot be used; bytes that it takes.
    Damaged(u64),
    Object(Box<Object>),
}

struct Object {
    header: meta::Header,
    sidecar: bool,
    present: Vec<u32>,
    stat: FileStat,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Adopted {
    /// It is in the table.
    Yes,
    /// There was none.
    Nothing,
    /// It was removed.
    Damaged,
    /// The disk did not say.
    Unknown,
}

impl Tier {
    /// Looks for an object's file and takes it into the table; whether it is in the table then.
    pub(super) fn adopt(&self, id: ObjectId, stripe: Option<&Stripe<'_>>) -> bool {
        if let Some(stripe) = stripe {
            return self.adopt_in(id, stripe) == Adopted::Yes;
        }
        let stripe = self.shared.stripe(&id);
        self.adopt_in(id, &stripe) == Adopted::Yes
    }

    /// Compares what the index said of an object with its file.
    pub(super) fn refresh(&self, id: ObjectId, stripe: Option<&Stripe<'_>>) {
        if let Some(stripe) = stripe {
            return self.refresh_in(id, stripe);
        }
        let stripe = self.shared.stripe(&id);
        self.refresh_in(id, &stripe);
    }

    pub(super) fn adopt_in(&self, id: ObjectId, _stripe: &Stripe<'_>) -> Adopted {
        if self.state().objects.find(&id).is_some() {
            return Adopted::Yes;
        }
        let path = metafile::path(&id);
        let object = match self.examine(&id, &path) {
            Ok(Found::Object(object)) => object,
            Ok(Found::Nothing) => return Adopted::Nothing,
            Ok(Found::Damaged(allocated)) => {
                self.discard(&path, Some(true), allocated + charge::UNIT);
                return Adopted::Damaged;
            }
            Err(e) => {
                self.trouble("examine", &path, &e);
                return Adopted::Unknown;
            }
        };
        let stamp = self.shared.tick_of(object.stat.modified);
        let set = self.shared.datasets.of_tag(object.header.dataset);
        let native = self.is_native(&object.stat, &path);
        let mut state = self.state();
        let dataset = self.rule(&mut state, set);
        let mut flags = SEEN | LENT;
        if object.sidecar {
            flags |= SIDECAR;
        }
        if object.header.pinned {
            flags |= PINNED;
            dataset.pin(object.header.size);
        }
        let before = state.account.known;
        let Some(key) = state.add_object(id, object.header.size, set, flags, stamp) else { return Adopted::Unknown };
        state.mark_native(key, native);
        let mut sketch = self.shared.sketch();
        for block in &object.present {
            state.add_block(&mut sketch, key, *block, Landed { stamp, verified: false, place: Place::Main });
        }
        drop(sketch);
        let charged = state.account.known - before;
        state.found(charged);
        state.touch_index(id);
        dataset.add(state.objects.present_bytes(key));
        Adopted::Yes
    }

    pub(super) fn refresh_in(&self, id: ObjectId, stripe: &Stripe<'_>) {
        let name = {
            let state = self.state();
            match state.objects.find(&id) {
                Some(key) if state.is_stale(key) => Name { id, size: state.objects.size_of(key) },
                _ => return,
            }
        };
        let path = metafile::path(&id);
        let object = match self.examine(&id, &path) {
            Ok(Found::Object(object)) if object.header.size == name.size => object,
            Ok(_) => {
                self.forget_object(id, stripe);
                return;
            }
            Err(e) => return self.trouble("examine", &path, &e),
        };
        let native = self.is_native(&object.stat, &path);
        let mut state = self.state();
        let Some(key) = state.objects.find(&id) else { return };
        state.mark_native(key, native);
        state.objects.flag(key, STALE, false);
        let claimed = state.objects.is(key, CLAIMED);
        state.confirm(key, &object.present);
        state.objects.flag(key, SIDECAR, object.sidecar);
        let dataset = self.shared.datasets.get(state.objects.set_of(key));
        if object.header.pinned != state.objects.is(key, PINNED) {
            if object.header.pinned {
                dataset.pin(name.size);
                state.set_pinned(key, true);
            } else {
                self.unpin_in(&mut state, key);
            }
        }
        let stamp = self.shared.tick_of(object.stat.modified);
        let known: Vec<u32> = state.objects.blocks(key).into_iter().map(|(block, _)| block).collect();
        let before = state.account.known;
        let mut sketch = self.shared.sketch();
        for block in object.present.iter().filter(|block| known.binary_search(block).is_err()) {
            state.add_block(&mut sketch, key, *block, Landed { stamp, verified: false, place: Place::Main });
            dataset.add(block_len(name.size, *block));
        }
        drop(sketch);
        let charged = state.account.known - before;
        if !claimed {
            state.found(charged);
        }
        if known != object.present {
            state.touch_index(id);
        }
        drop(state);
        let lost: Vec<u32> = known.into_iter().filter(|block| object.present.binary_search(block).is_err()).collect();
        if !lost.is_empty() {
            self.remove(name, &lost, stripe, |_, _, _| true);
        }
    }

    /// Whether an object's file is published. A disk that does not say is asked when it is to be published anew.
    fn is_native(&self, stat: &FileStat, path: &str) -> bool {
        stat.linked && self.io.is_published(path).unwrap_or(false)
    }

    /// Reads all that a file says about itself. An object of which it holds nothing, and that is not pinned, is of no use.
    fn examine(&self, id: &ObjectId, path: &str) -> io::Result<Found> {
        let Some(stat) = self.io.stat(path)? else { return Ok(Found::Nothing) };
        let blocks = block_count(stat.len);
        if blocks == 0 || blocks == u32::MAX {
            return Ok(Found::Damaged(stat.allocated));
        }
        let Some(loaded) = metafile::load(&*self.io, id, path, stat.len)? else { return Ok(Found::Damaged(stat.allocated)) };
        let present: Vec<u32> = (0..blocks).filter(|block| meta::record(id, &loaded.raw, *block).is_some()).collect();
        if present.is_empty() && !loaded.header.pinned {
            return Ok(Found::Damaged(stat.allocated));
        }
        Ok(Found::Object(Box::new(Object { header: loaded.header, sidecar: loaded.sidecar, present, stat })))
    }

    /// Punches what a write or an eviction that was cut short left in a larger object's file: space that no record accounts for.
    /// The caller holds the object's stripe.
    pub(super) fn reclaim(&self, id: &ObjectId, stripe: &Stripe<'_>) -> io::Result<()> {
        let (size, present) = {
            let state = self.state();
            match state.objects.find(id) {
                Some(key @ Key::Large(_)) => {
                    let present: Vec<u32> = state.objects.blocks(key).into_iter().map(|(block, _)| block).collect();
                    (state.objects.size_of(key), present)
                }
                _ => return Ok(()),
            }
        };
        let path = metafile::path(id);
        let expected: u64 = present.iter().map(|block| charge::block(block_len(size, *block))).sum();
        let allocated = self.io.stat(&path)?.map_or(0, |stat| stat.allocated);
        if allocated <= expected || !self.vacate(Name { id: *id, size }, stripe) || self.is_linked(id) {
            return Ok(());
        }
        let file = self.io.open(&path, Mode::Existing)?;
        for block in (0..block_count(size)).filter(|block| present.binary_search(block).is_err()) {
            let (start, len) = extent(block);
            file.punch(start, len)?;
        }
        Ok(())
    }

    /// Tells the order of eviction what holds for a Dataset, and returns it. With the state locked, so that what is said last is
    /// what is true.
    pub(crate) fn rule(&self, state: &mut State, set: u16) -> Arc<Dataset> {
        let dataset = self.shared.datasets.get(set);
        state.policy.rule(set, dataset.rules());
        dataset
    }
}
