use std::io;
use std::sync::Arc;

use super::objects::{Key, LENT, PINNED, SEEN, SIDECAR};
use super::state::extent;
use super::{Block, Landed, Reservation, Stripe, Tier, charge, metafile};
use crate::Reason;
use crate::id::block_count;
use crate::io::{FileIo, Mode};
use crate::meta::Header;
use crate::policy::Place;

/// What a file write made.
struct Written {
    sidecar: bool,
    /// A larger object's file, to be kept open.
    file: Option<Arc<dyn FileIo>>,
}

impl Tier {
    /// Bytes to reserve before a block of an object of `size` bytes is written: the file's own cost too, whether or not it exists.
    pub(crate) fn charge_of(size: u64, block: u32) -> u64 {
        let blocks = block_count(size);
        if blocks <= 1 { charge::small(size) } else { charge::file(blocks) + charge::block(crate::id::block_len(size, block)) }
    }

    /// Writes a block and makes it known. The caller holds the object's stripe and has found the block absent here.
    pub(crate) fn store(
        &self,
        block: Block<'_>,
        set: u16,
        landed: Landed,
        reservation: Reservation<'_>,
        stripe: &Stripe<'_>,
    ) -> Result<(), Reason> {
        let id = block.name.id;
        let path = metafile::path(&id);
        if self.is_unsure(&id) {
            return Err(Reason::Faulted);
        }
        let mut known = self.known(&id);
        let mut written = self.write(&path, block, set, known);
        if let (Some(_), Err(e)) = (known, &written)
            && matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
        {
            // Somebody removed or damaged the file: what the table says of it is void.
            self.remove_object(id, stripe);
            known = None;
            written = self.write(&path, block, set, known);
        }
        let written = written.map_err(|e| {
            self.fault("write", &path, &e);
            if known.is_none() {
                self.discard(&path, Some(true), Self::charge_of(block.name.size, block.number));
            }
            Reason::Faulted
        })?;
        self.well();
        let result = self.enter(block, set, landed, reservation, &written);
        if result.is_err() && known.is_none() {
            self.discard(&path, Some(written.sidecar), Self::charge_of(block.name.size, block.number));
        }
        result
    }

    /// Whether the table has an object whose file could not be asked: what is there may not be written over.
    pub(super) fn is_unsure(&self, id: &crate::ObjectId) -> bool {
        let state = self.state();
        state.objects.find(id).is_some_and(|key| state.is_stale(key))
    }

    fn known(&self, id: &crate::ObjectId) -> Option<Known> {
        let state = self.state();
        let key = state.objects.find(id)?;
        Some(Known {
            birth: Self::birth(&state, key),
            sidecar: state.objects.is(key, SIDECAR),
            pinned: state.objects.is(key, PINNED),
            lent: state.objects.is(key, LENT),
        })
    }

    fn write(&self, path: &str, block: Block<'_>, set: u16, known: Option<Known>) -> io::Result<Written> {
        let dataset = self.shared.datasets.get(set);
        let header = Header { size: block.name.size, dataset: dataset.tag, pinned: known.is_some_and(|known| known.pinned) };
        if block_count(block.name.size) <= 1 {
            self.write_small(path, block, header, known.is_some())
        } else {
            self.write_large(path, block, header, known)
        }
    }

    fn enter(
        &self,
        block: Block<'_>,
        set: u16,
        landed: Landed,
        reservation: Reservation<'_>,
        written: &Written,
    ) -> Result<(), Reason> {
        let mut state = self.state();
        // Under the same lock as the removal of a Dataset marks it: a block lands before and is removed, or not at all.
        if state.policy.retired(set) {
            return Err(Reason::Retired);
        }
        let key = match state.objects.find(&block.name.id) {
            Some(key) => {
                self.inherit(&mut state, key, set);
                key
            }
            None => state.add_object(block.name.id, block.name.size, set, SEEN, landed.stamp).ok_or(Reason::Full)?,
        };
        state.objects.flag(key, SIDECAR, written.sidecar);
        let mut sketch = self.shared.sketch();
        if !state.add_block(&mut sketch, key, block.number, landed) {
            return Err(Reason::Full);
        }
        drop(sketch);
        if let Key::Small(_) = key {
            // A file of its own, whatever was under its name before.
            state.mark_native(key, false);
            if landed.verified {
                self.offer_native(&mut state, key);
            }
        }
        reservation.settle(&mut state);
        state.touch_index(block.name.id);
        if let (Some(file), Key::Large(at)) = (&written.file, key) {
            let birth = state.objects.large(at).birth;
            drop(state);
            self.shared.files.put(self.number, birth, file.clone());
        }
        Ok(())
    }

    /// A single-block object appears under its name whole, with its meta data, or not at all.
    fn write_small(&self, path: &str, block: Block<'_>, header: Header, known: bool) -> io::Result<Written> {
        let temporary = self.shared.temporary();
        let from = temporary.path();
        let write = || {
            let file = self.io.open(&from, Mode::Replace)?;
            file.write_at(0, block.data)?;
            let sidecar = metafile::create(&*self.io, &*file, &block.name.id, path, header, 1, &[block.crc])?;
            // A second name would keep the former file.
            if known && self.is_linked(&block.name.id) {
                self.io.conceal(path)?;
            }
            self.io.rename(&from, path)?;
            Ok(Written { sidecar, file: None })
        };
        write().inspect_err(|_| self.discard(&from, None, charge::small(block.name.size)))
    }

    /// The data first, then the record that says that it is there.
    fn write_large(&self, path: &str, block: Block<'_>, header: Header, known: Option<Known>) -> io::Result<Written> {
        let id = &block.name.id;
        let (file, sidecar) = match known {
            Some(known) => (self.file(path, known.birth)?, known.sidecar),
            None => {
                // Whatever a former incarnation left is none of ours.
                let file = self.io.open(path, Mode::Replace)?;
                file.set_len(block.name.size)?;
                let sidecar = metafile::create(&*self.io, &*file, id, path, header, block_count(block.name.size), &[])?;
                (file, sidecar)
            }
        };
        let (start, len) = extent(block.number);
        file.write_at(start, block.data)
            .and_then(|()| metafile::set_record(&*self.io, &*file, id, path, sidecar, block.number, Some(block.crc)))
            .inspect_err(|_| {
                // Half a block takes space that nobody would account for.
                let _ = metafile::set_record(&*self.io, &*file, id, path, sidecar, block.number, None);
                let lent = known.is_some_and(|known| known.lent);
                let punched = (!lent || file.is_unshared().unwrap_or(false)) && file.punch(start, len).is_ok();
                if !punched && known.is_some() {
                    self.state().account.leaked += charge::block(len);
                }
            })?;
        Ok(Written { sidecar, file: known.is_none().then_some(file) })
    }

    /// Removes a file that is in no table, and its sidecar if it may have one. If that fails, `charge` stays taken until a scan.
    pub(super) fn discard(&self, path: &str, sidecar: Option<bool>, charge: u64) {
        let result = self.io.unlink(path).and_then(|()| match sidecar {
            Some(true) => self.io.unlink(&metafile::sidecar(path)),
            _ => Ok(()),
        });
        if let Err(e) = result {
            self.trouble("remove", path, &e);
            self.state().account.leaked += charge;
        }
    }

    /// How a new block stands.
    pub(crate) fn landing(&self, place: Place) -> Landed {
        Landed { stamp: self.shared.tick(), verified: true, place }
    }
}

/// An object that is in the table already.
#[derive(Clone, Copy)]
struct Known {
    birth: Option<u64>,
    sidecar: bool,
    pinned: bool,
    lent: bool,
}
