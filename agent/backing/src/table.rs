//! Which inodes of a mount are open in which way: in memory that the mount's servers share, so that each knows what a former one did.
//!
//! While an inode is open, all its handles are of one kind: the kernel answers EIO to an open of the other kind, and to one with another
//! backing id. Nobody can ask the kernel which kind it is. So each open is counted here before it is answered, and each release once it
//! is heard. What a server had counted and not answered when it died the kernel sends again: by the journal of what was heard last it is
//! not counted twice. Where that cannot be told the count is too high rather than too low: that costs native reads of the inodes of
//! one slot, and perhaps an id that stays until the mount ends, but never an error.
//!
//! An inode has one slot, by its hash. A slot has room for one inode that has a backing id; of the others only the number of
//! handles is kept, all of which are served.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use memmap2::{MmapMut, MmapOptions, MmapRaw};

use crate::seats::Seat;

/// Slots of a table. Four times as many as ids that a server keeps for files that nobody has open.
const SLOTS: usize = 1 << 16;

/// Requests that the journal holds; many more than can be under way.
const HEARD: usize = 1 << 12;

const BYTES: usize = SLOTS * size_of::<Slot>() + HEARD * size_of::<AtomicU64>();

/// Length of the file behind a table. A new one is all zeros.
pub const TABLE_BYTES: u64 = BYTES as u64;

/// Counts stay there once they reach it: never too low.
const MOST: u32 = (1 << 24) - 1;

/// See the module. Every change is one compare-and-swap of `counts`; the rest is changed only by who made it `busy`.
#[derive(Debug)]
#[repr(C)]
struct Slot {
    counts: AtomicU64,
    ino: AtomicU64,
    /// 0: none.
    id: AtomicU64,
}

/// A slot's first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    /// Open handles of all inodes of the slot that are read through servers.
    served: u32,
    /// Open handles of `ino`, all native. While the slot is busy: the seat of the server that made it so, or 0.
    native: u32,
    /// Moves with each change of `ino` or `id`, so that what was read of them belongs to what is swapped.
    version: u16,
    /// Somebody is changing `ino` and `id`. Nothing is open natively meanwhile.
    busy: bool,
}

impl Counts {
    fn of(word: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "masked")]
        let bits = |from: u32, most: u32| (word >> from) as u32 & most;
        #[expect(clippy::cast_possible_truncation, reason = "masked")]
        let version = bits(48, 0x7fff) as u16;
        Self { served: bits(0, MOST), native: bits(24, MOST), version, busy: word >> 63 == 1 }
    }

    fn word(self) -> u64 {
        let Self { served, native, version, busy } = self;
        u64::from(served) | u64::from(native) << 24 | u64::from(version & 0x7fff) << 48 | u64::from(busy) << 63
    }

    fn busy(self, seat: u32) -> Self {
        Self { busy: true, native: seat, ..self }
    }

    fn settled(self) -> Self {
        Self { busy: false, native: 0, version: self.version.wrapping_add(1), ..self }
    }

    fn one_more_served(self) -> Self {
        Self { served: (self.served + 1).min(MOST), ..self }
    }

    fn one_more_native(self) -> Self {
        Self { native: (self.native + 1).min(MOST), ..self }
    }
}

fn one_less(count: u32) -> u32 {
    if count == MOST { MOST } else { count.saturating_sub(1) }
}

/// A slot at one moment.
#[derive(Debug, Clone, Copy)]
struct Seen {
    counts: Counts,
    ino: u64,
    id: u32,
}

impl Seen {
    fn is_native(&self, ino: u64) -> bool {
        !self.counts.busy && self.counts.native > 0 && self.ino == ino
    }

    /// Whether there is an id that nobody has an inode open by.
    fn is_idle(&self) -> bool {
        !self.counts.busy && self.counts.native == 0 && self.id != 0
    }

    /// Whether nothing is in the way of opening `ino` natively.
    fn is_free(&self, ino: u64) -> bool {
        let Counts { served, native, busy, .. } = self.counts;
        !busy && served == 0 && native == 0 && (self.id == 0 || self.ino == ino)
    }
}

/// How an open that could be native begins.
#[derive(Debug)]
pub enum Begun<'a> {
    /// It is counted, and answered by this id.
    Native(u32),
    /// It is counted, and served: another inode's handles, or its id, are in the way.
    Served {
        /// The inode whose id is in the way though nobody has it open: it should be closed.
        idle: Option<u64>,
        /// Another server is at it, or died at it: [`Table::tend`] finds out.
        busy: bool,
    },
    /// Nothing is counted yet: the inode needs an id.
    Free(Claim<'a>),
}

/// What the journal knows of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is new, and noted.
    New,
    /// It was noted before: for an open, whether it was counted as a native one, if that is known.
    Before(Option<bool>),
    /// It is too old for the journal.
    Unknown,
}

/// A slot that waits for an id. Dropped, it counts the open as served.
#[derive(Debug)]
pub struct Claim<'a> {
    slot: &'a Slot,
    ino: u64,
}

/// The table of one mount.
#[derive(Debug)]
pub struct Table {
    memory: MmapRaw,
    seat: Seat,
}

impl Table {
    /// One that nobody else sees.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn private() -> io::Result<Self> {
        Ok(Self { memory: MmapMut::map_anon(BYTES)?.into(), seat: Seat::only() })
    }

    /// One that all share who map the same file. It must not be made shorter as long as anybody does, and `file` must be an opening of
    /// its own.
    ///
    /// # Errors
    /// `InvalidData` for a file of another length than [`TABLE_BYTES`]; what the system says.
    pub fn shared(file: File) -> io::Result<Self> {
        if file.metadata()?.len() != TABLE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the table of open files is of another version"));
        }
        let table = Self { memory: MmapOptions::new().len(BYTES).map_raw(&file)?, seat: Seat::take(file)? };
        // Who had this seat before has died; what it was at must not be taken for this one's.
        for slot in table.slots() {
            let _ = slot.change(|seen| {
                let is_left = seen.counts.busy && seen.counts.native == table.seat.number;
                is_left.then(|| seen.counts.busy(0))
            });
        }
        Ok(table)
    }

    fn slots(&self) -> &[Slot] {
        // SAFETY: the mapping is longer than that, aligned to a page, lives as long as `self`, and is only ever used as these atomics, for which
        // any bytes are valid.
        unsafe { std::slice::from_raw_parts(self.memory.as_mut_ptr().cast::<Slot>(), SLOTS) }
    }

    /// The journal's place for a request: it and a newer one may want the same. The kernel counts requests by twos, so two bits are left
    /// for what became of it: 2 served, 3 native.
    fn heard(&self, unique: u64) -> &AtomicU64 {
        let at = (unique / 2 % HEARD as u64) as usize;
        // SAFETY: as for the slots, behind which there is room for the journal.
        unsafe { &*self.memory.as_mut_ptr().add(SLOTS * size_of::<Slot>()).cast::<AtomicU64>().add(at) }
    }

    /// Notes the request numbered `unique`, without the mark of one that is sent again.
    pub fn hear(&self, unique: u64) -> Heard {
        let place = self.heard(unique);
        let mut there = place.load(SeqCst);
        loop {
            let newest = there >> 2;
            if newest == unique / 2 {
                return Heard::Before((there & 2 != 0).then_some(there & 1 != 0));
            }
            if newest > unique / 2 {
                return Heard::Unknown;
            }
            match place.compare_exchange(there, (unique / 2) << 2, SeqCst, SeqCst) {
                Ok(_) => return Heard::New,
                Err(now) => there = now,
            }
        }
    }

    /// Notes that an open which was heard is counted.
    pub fn counted(&self, unique: u64, native: bool) {
        let heard = (unique / 2) << 2;
        let _ = self.heard(unique).compare_exchange(heard, heard | 2 | u64::from(native), SeqCst, SeqCst);
    }

    /// The id of an inode that is open natively.
    #[must_use]
    pub fn id(&self, ino: u64) -> Option<u32> {
        let seen = self.slot(ino).see();
        seen.is_native(ino).then_some(seen.id)
    }

    fn slot(&self, ino: u64) -> &Slot {
        // The upper bits of the product depend on all of the number's.
        let at = (ino.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize;
        &self.slots()[at]
    }

    /// Counts an open of an inode that is open natively; its id. `None`, and nothing counted, if it is not.
    #[must_use]
    pub fn join(&self, ino: u64) -> Option<u32> {
        let joined = self.slot(ino).change(|seen| seen.is_native(ino).then(|| seen.counts.one_more_native()));
        joined.ok().map(|seen| seen.id)
    }

    /// Counts an open that has no backing file. The id, if it must be native all the same.
    #[must_use]
    pub fn serve(&self, ino: u64) -> Option<u32> {
        let counted = self
            .slot(ino)
            .change(|seen| Some(if seen.is_native(ino) { seen.counts.one_more_native() } else { seen.counts.one_more_served() }));
        counted.ok().filter(|seen| seen.is_native(ino)).map(|seen| seen.id)
    }

    /// Begins an open that has a backing file.
    #[must_use]
    pub fn begin(&self, ino: u64) -> Begun<'_> {
        let slot = self.slot(ino);
        let known = |seen: &Seen| seen.is_native(ino) || (seen.is_free(ino) && seen.id != 0);
        let begun = slot.change(|seen| {
            Some(if known(seen) {
                seen.counts.one_more_native()
            } else if seen.is_free(ino) {
                seen.counts.busy(self.seat.number)
            } else {
                seen.counts.one_more_served()
            })
        });
        let (Ok(seen) | Err(seen)) = begun;
        if known(&seen) {
            Begun::Native(seen.id)
        } else if seen.is_free(ino) {
            Begun::Free(Claim { slot, ino })
        } else {
            let idle = (seen.is_idle() && seen.ino != ino).then_some(seen.ino);
            Begun::Served { idle, busy: seen.counts.busy }
        }
    }

    /// Counts a release; whether it was the last of an inode that was open natively.
    pub fn release(&self, ino: u64) -> bool {
        let released = self.slot(ino).change(|seen| {
            let native = Counts { native: one_less(seen.counts.native), ..seen.counts };
            let served = Counts { served: one_less(seen.counts.served), ..seen.counts };
            Some(if seen.is_native(ino) { native } else { served })
        });
        released.is_ok_and(|seen| seen.is_native(ino) && seen.counts.native == 1)
    }

    /// Has the id of an inode closed that nobody has open. Whether nothing is left to be done: `false` asks for another attempt.
    pub fn close(&self, ino: u64, close: impl FnOnce(u32) -> bool) -> bool {
        let slot = self.slot(ino);
        let wanted = |seen: &Seen| (seen.is_idle() && seen.ino == ino).then(|| seen.counts.busy(self.seat.number));
        match slot.change(wanted) {
            Ok(seen) => slot.give_up(seen.id, close),
            Err(seen) => !seen.counts.busy,
        }
    }

    /// Has all ids closed that nobody has an inode open by, but those of inodes that are `kept`, and ends what servers were at that have
    /// died. Stops at the first that could not be closed; whether there was none.
    pub fn tend(&self, kept: impl Fn(u64) -> bool, close: impl Fn(u32) -> bool) -> bool {
        self.slots().iter().all(|slot| {
            let claimed = slot.change(|seen| {
                let died = seen.counts.busy && !self.seat.is_taken(seen.counts.native);
                (died || (seen.is_idle() && !kept(seen.ino))).then(|| seen.counts.busy(self.seat.number))
            });
            claimed.map_or(true, |seen| slot.give_up(seen.id, &close))
        })
    }
}

impl Slot {
    fn see(&self) -> Seen {
        let counts = Counts::of(self.counts.load(SeqCst));
        #[expect(clippy::cast_possible_truncation, reason = "the kernel's ids have 31 bits")]
        let id = self.id.load(SeqCst) as u32;
        Seen { counts, ino: self.ino.load(SeqCst), id }
    }

    /// Ends what made it busy, without an id if that could be closed.
    fn give_up(&self, id: u32, close: impl FnOnce(u32) -> bool) -> bool {
        let closed = id == 0 || close(id);
        if closed {
            self.id.store(0, SeqCst);
        }
        let _ = self.change(|seen| Some(seen.counts.settled()));
        closed
    }

    /// Changes the counts to what `next` makes of them; what they were before. `Err` if it makes nothing of them.
    fn change(&self, next: impl Fn(&Seen) -> Option<Counts>) -> Result<Seen, Seen> {
        loop {
            let seen = self.see();
            let Some(next) = next(&seen) else { return Err(seen) };
            if self.counts.compare_exchange(seen.counts.word(), next.word(), SeqCst, SeqCst).is_ok() {
                return Ok(seen);
            }
        }
    }
}

impl Claim<'_> {
    /// Counts the open as native by `id`. `false` when somebody was served meanwhile: then it is counted as served, and `id` is to be
    /// closed.
    #[must_use]
    pub fn native(self, id: u32) -> bool {
        self.slot.ino.store(self.ino, SeqCst);
        self.slot.id.store(id.into(), SeqCst);
        let native = self.slot.change(|seen| (seen.counts.served == 0).then(|| seen.counts.settled().one_more_native())).is_ok();
        if native {
            std::mem::forget(self);
        }
        native
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.slot.id.store(0, SeqCst);
        let _ = self.slot.change(|seen| Some(seen.counts.one_more_served().settled()));
    }
}

#[cfg(test)]
mod tests;
