use std::io;
use std::sync::Arc;

use super::objects::{Key, SIDECAR};
use super::{LEASED, Name, PINNED, Tier, metafile};
use crate::counters::count;
use crate::id::{block_count, block_len};
use crate::io::{FileIo, Mode};
use crate::policy::{Arena as _, QUEUED, VERIFIED};

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) bytes: usize,
    /// Used often enough to be worth a faster tier; the block is marked as queued.
    pub(crate) promote: bool,
}

/// When a block is compared with its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// When this process neither wrote it nor compared it before.
    Verified,
    /// Always.
    Never,
}

/// Uses lately from which a block is offered to the tier above.
const PROMOTE_AT: u8 = 2;

/// What a reader knows of a block before it reads.
struct Seen {
    verified: bool,
    sidecar: bool,
    /// Birth and epoch of a larger object's file. A single-block object needs none: its file is never changed, only replaced
    /// by one with the same bytes, or unlinked.
    incarnation: Option<(u64, u64)>,
    promote: bool,
}

impl Tier {
    /// Reads from offset `within` of a block; `buf` lies within the block. `None` when it is not here, or could not be read, in which
    /// case it is not here any more.
    pub(crate) fn read(&self, name: Name, set: u16, block: u32, within: u64, buf: &mut [u8], trust: Trust) -> Option<Hit> {
        let mut seen = self.with(name, None, |state, key| self.look(state, key, set, block)).flatten()?;
        seen.verified &= trust == Trust::Verified;
        let path = metafile::path(&name.id);
        match self.fetch(name, block, within, buf, &seen, &path) {
            Ok(true) => Some(Hit { bytes: buf.len(), promote: seen.promote }),
            Ok(false) => None,
            Err(e) => {
                // Too many open files or no memory is not the block's fault.
                let own = matches!(e.raw_os_error(), Some(12 | 23 | 24));
                if !own && self.heal(name, block, &e, seen.incarnation.map(|(_, epoch)| epoch)) {
                    self.trouble("read", &path, &e);
                }
                None
            }
        }
    }

    fn look(&self, state: &mut super::State, key: Key, set: u16, block: u32) -> Option<Seen> {
        self.inherit(state, key, set);
        let at = state.objects.block(key, block)?;
        let counted = {
            let mut sketch = self.shared.sketch();
            let super::State { policy, objects, .. } = &mut *state;
            policy.touched(objects, &mut sketch, at, self.shared.tick())
        };
        state.objects.flag(key, super::objects::READ, true);
        let link = state.objects.link(at);
        let verified = link.is(VERIFIED);
        // A larger object that is complete is read natively and gains nothing above, where it would be complete no more.
        let movable = self.number > 0
            && counted
            && !link.is(QUEUED)
            && !state.objects.is(key, PINNED | LEASED)
            && (matches!(key, Key::Small(_)) || !state.is_complete(key));
        let promote = movable && self.count_of(state, at) >= PROMOTE_AT;
        if promote {
            state.objects.link_mut(at).set_flag(QUEUED, true);
        }
        let incarnation = match key {
            Key::Small(_) => None,
            Key::Large(at) => {
                let large = state.objects.large(at);
                Some((large.birth, large.epoch))
            }
        };
        Some(Seen { verified, sidecar: state.objects.is(key, SIDECAR), incarnation, promote })
    }

    /// Makes a reader's Dataset the owner of an object whose own was removed, or is unknown. Pins stay with who made them.
    pub(super) fn inherit(&self, state: &mut super::State, key: Key, set: u16) {
        let old = state.objects.set_of(key);
        if old != set && state.policy.retired(old) && !state.policy.retired(set) {
            if state.objects.is(key, PINNED) {
                let id = *state.objects.id_of(key);
                let pinners = state.pinners.take(&id, old);
                state.pinners.put(id, set, pinners);
            }
            let bytes = state.reassign(key, set);
            let (old, new) = (self.shared.datasets.get(old), self.shared.datasets.get(set));
            old.release(bytes);
            new.add(bytes);
        }
    }

    /// Reads, and makes sure that what was read is the block. `Ok(false)` when it went away meanwhile.
    fn fetch(&self, name: Name, block: u32, within: u64, buf: &mut [u8], seen: &Seen, path: &str) -> io::Result<bool> {
        let file = self.file(path, seen.incarnation.map(|(birth, _)| birth))?;
        if seen.verified {
            let start = u64::from(block) * crate::BLOCK + within;
            if file.read_at(start, buf)? < buf.len() {
                return if self.is_current(name, seen) { Err(damaged("ends early")) } else { Ok(false) };
            }
            return Ok(self.is_current(name, seen));
        }
        let whole = self.read_verified(name, block, &*file, seen.sidecar, path);
        if !self.is_current(name, seen) {
            return Ok(false);
        }
        let whole = whole?;
        buf.copy_from_slice(&whole[within as usize..within as usize + buf.len()]);
        let mut state = self.state();
        if let Some(key) = state.objects.find(&name.id)
            && let Some(at) = state.objects.block(key, block)
        {
            state.objects.link_mut(at).set_flag(VERIFIED, true);
            self.offer_native(&mut state, key);
        }
        Ok(true)
    }

    /// The whole block, compared with its checksum.
    pub(super) fn read_verified(
        &self,
        name: Name,
        block: u32,
        file: &dyn FileIo,
        sidecar: bool,
        path: &str,
    ) -> io::Result<Vec<u8>> {
        let mut whole = vec![0; block_len(name.size, block) as usize];
        let read = file.read_at(u64::from(block) * crate::BLOCK, &mut whole)?;
        let crc = metafile::crc(&*self.io, file, &name.id, path, sidecar, block)?;
        if read < whole.len() || crc != Some(crc32c::crc32c(&whole)) {
            count(&self.shared.counters.verify_failures, 1);
            return Err(damaged("does not match its checksum"));
        }
        count(&self.shared.counters.verified, 1);
        Ok(whole)
    }

    /// The open file of an object. Those of single-block objects are not kept open: a million of them are read once each.
    pub(super) fn file(&self, path: &str, birth: Option<u64>) -> io::Result<Arc<dyn FileIo>> {
        match birth {
            None => self.io.open(path, Mode::Existing),
            Some(birth) => self.shared.files.get(self.number, birth, || self.io.open(path, Mode::Existing)),
        }
    }

    /// Whether nothing was taken out of a larger object's file since `seen`. If something was, what was read may be a hole.
    fn is_current(&self, name: Name, seen: &Seen) -> bool {
        let Some((birth, epoch)) = seen.incarnation else { return true };
        let state = self.state();
        let current = state.objects.find(&name.id).is_some_and(|key| match key {
            Key::Small(_) => false,
            Key::Large(at) => {
                let large = state.objects.large(at);
                (large.birth, large.epoch) == (birth, epoch)
            }
        });
        let gone = !current && state.objects.find(&name.id).is_none_or(|key| Self::birth(&state, key) != Some(birth));
        drop(state);
        if gone {
            // This reader may have opened the file, or its successor, after its descriptor was given up.
            self.shared.files.remove(self.number, birth);
        }
        current
    }

    /// Checks every block that this process did not write or read before, so that the file can be handed out; what is damaged is
    /// dropped. Whether all that was asked for is right; at most `limit` blocks are read.
    pub(super) fn verify(&self, name: Name, set: u16, limit: u32) -> bool {
        let mut left = limit;
        for block in 0..block_count(name.size) {
            let seen = self
                .with(name, None, |state, key| {
                    let at = state.objects.block(key, block)?;
                    let epoch = match key {
                        Key::Small(_) => None,
                        Key::Large(at) => Some(state.objects.large(at).epoch),
                    };
                    Some((state.objects.link(at).is(VERIFIED), epoch))
                })
                .flatten();
            match seen {
                None => return false,
                Some((true, _)) => {}
                Some((false, _)) if left == 0 => return false,
                Some((false, _)) => {
                    left -= 1;
                    let mut first = [0; 1];
                    if self.read(name, set, block, 0, &mut first, Trust::Verified).is_none() {
                        return false;
                    }
                }
            }
        }
        true
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
