use std::collections::HashSet;

use super::charge;
use super::leases::Leases;
use super::natives::Natives;
use super::objects::{CLAIMED, Key, LEASED, LENT, Objects, PINNED, SIDECAR, STALE};
use super::pinners::Pinners;
use crate::id::{block_count, block_len};
use crate::policy::{Arena as _, EVICTING, GUEST, Place, Policy, Scope, Sketch, VERIFIED, Want, window_budget};
use crate::{BLOCK, ObjectId};

/// How much of what a tier holds is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The directory could not be used so far.
    Shut,
    /// The index is being read. What is not in memory may be on the disk.
    Loading,
    /// The index was read and cannot be trusted to be whole. What is not in memory may be on the disk.
    Partial,
    /// Memory knows all.
    Whole,
}

/// Changes of the index that wait at most; beyond, they are dropped, and the next start scans.
const DIRTY_MAX: usize = 1 << 16;

/// What a tier holds, and the account of it. All changes happen here, under one lock, and none does I/O.
pub(crate) struct State {
    pub(crate) capacity: u64,
    pub(crate) phase: Phase,
    pub(crate) objects: Objects,
    pub(crate) policy: Policy,
    pub(crate) account: Account,
    /// By number of Dataset.
    pub(crate) uses: Vec<SetUse>,
    /// Objects whose entry of the index is out of date.
    pub(crate) dirty: HashSet<ObjectId>,
    /// Some changes were dropped.
    pub(crate) index_behind: bool,
    /// Objects that are read natively, or kept ready for it.
    pub(crate) leases: Leases,
    /// Who pins what.
    pub(crate) pinners: Pinners,
    /// Published files, and those that are to be.
    pub(crate) natives: Natives,
}

/// Bytes charged, by what for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    /// Objects in the table, but for those that are only claimed.
    pub(crate) known: u64,
    /// Objects that an untrusted index claims. Not in the total: as far as they exist they are part of what is unknown.
    pub(crate) claimed: u64,
    /// Reserved by writers.
    pub(crate) in_flight: u64,
    /// May be on the disk and was not seen there yet (after a start).
    pub(crate) unknown: u64,
    /// Could not be freed because of the disk, or is unlinked and still read natively.
    pub(crate) leaked: u64,
    /// What the ledger on the disk says.
    pub(crate) bound: u64,
    /// Promised to pinned objects, wholly cached or not.
    pub(crate) pinned: u64,
    /// Bytes of objects.
    pub(crate) bytes: u64,
    /// Blocks.
    pub(crate) blocks: u64,
}

/// What one Dataset has in one tier.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SetUse {
    pub(crate) bytes: u64,
}

/// What was taken out of the table and is still on the disk.
#[derive(Debug)]
pub(crate) struct Gone {
    /// Charged for it; released when the disk has given it back.
    pub(crate) charge: u64,
    /// Bytes of the object.
    pub(crate) bytes: u64,
    pub(crate) set: u16,
    /// Nothing is left of the object: its file goes.
    pub(crate) whole: bool,
    pub(crate) sidecar: bool,
    /// It was only claimed: there is nothing in the account to be released.
    pub(crate) claimed: bool,
    /// Birth of a larger object's file.
    pub(crate) birth: Option<u64>,
    /// Blocks whose holes are to be punched when the file stays.
    pub(crate) holes: Vec<u32>,
    /// Still read natively, or kept ready for it: its space stays in use.
    pub(crate) leased: bool,
    /// Others may have its file open.
    pub(crate) lent: bool,
    /// Its file was published, and is not when this is done.
    pub(crate) native: bool,
}

impl State {
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            phase: Phase::Shut,
            objects: Objects::new(),
            policy: Policy::default(),
            account: Account::default(),
            uses: Vec::new(),
            dirty: HashSet::new(),
            index_behind: false,
            leases: Leases::default(),
            pinners: Pinners::default(),
            natives: Natives::default(),
        }
    }

    /// Bytes charged.
    pub(crate) fn total(&self) -> u64 {
        let a = &self.account;
        charge::BASE + a.known + a.in_flight + a.unknown + a.leaked
    }

    /// Bytes that may be promised to pins.
    pub(crate) fn pin_limit(&self) -> u64 {
        self.capacity.saturating_sub(charge::BASE + window_budget(self.capacity))
    }

    /// What the order of eviction must know to choose a victim for `incoming` bytes.
    pub(crate) fn want(&self, scope: Scope, incoming: u64, now: u32) -> Want {
        let a = &self.account;
        let fixed = (self.total() - a.in_flight).saturating_sub(self.policy.evictable().min(a.known + a.unknown.min(a.claimed)));
        let room = self.capacity.saturating_sub(fixed);
        let budget = window_budget(self.capacity).min(room / 4);
        Want { scope, incoming: self.account.in_flight + incoming, room, budget, now }
    }

    pub(crate) fn usage_of(&mut self, set: u16) -> &mut SetUse {
        let at = usize::from(set);
        if at >= self.uses.len() {
            self.uses.resize(at + 1, SetUse::default());
        }
        &mut self.uses[at]
    }

    /// Notes that an object's entry of the index is out of date.
    pub(crate) fn touch_index(&mut self, id: ObjectId) {
        if self.dirty.len() < DIRTY_MAX {
            self.dirty.insert(id);
        } else {
            self.index_behind = true;
        }
    }

    /// Charged for an object besides its blocks.
    fn base_charge(objects: &Objects, key: Key) -> u64 {
        match key {
            Key::Small(_) => charge::small(objects.size_of(key)),
            Key::Large(_) => charge::file(block_count(objects.size_of(key))),
        }
    }

    /// Adds an object without blocks and charges for its file.
    pub(crate) fn add_object(&mut self, id: ObjectId, size: u64, set: u16, flags: u8, stamp: u32) -> Option<Key> {
        let key = self.objects.add(id, size, set, flags & !PINNED, stamp)?;
        self.account.known += Self::base_charge(&self.objects, key);
        if flags & PINNED != 0 {
            self.set_pinned(key, true);
        }
        Some(key)
    }

    /// Adds a block that is on the disk: charges for it and puts it where it belongs.
    pub(crate) fn add_block(&mut self, sketch: &mut Sketch, key: Key, block: u32, landing: Landed) -> bool {
        let Some(at) = self.objects.add_block(key, block, landing.stamp, if landing.verified { VERIFIED } else { 0 }) else {
            return false;
        };
        let len = block_len(self.objects.size_of(key), block);
        self.objects.link_mut(at).set_flag(GUEST, landing.place == Place::Guest);
        if let Key::Large(_) = key {
            self.account.known += self.objects.charge(at);
        }
        self.account.bytes += len;
        self.account.blocks += 1;
        let set = self.objects.set_of(key);
        self.usage_of(set).bytes += len;
        if self.objects.is(key, PINNED | LEASED) {
            self.leases.unlisted(self.objects.id_of(key));
            return true;
        }
        sketch.ensure(self.objects.blocks_total());
        match landing.place {
            Place::Window => {
                let want = self.want(Scope::Any, 0, landing.stamp);
                self.policy.landed(&mut self.objects, sketch, at, landing.stamp, want.room, want.budget);
            }
            place => {
                self.policy.active(set, landing.stamp);
                self.policy.push(&mut self.objects, at, place);
            }
        }
        true
    }

    /// Takes out blocks of an object, and the object when nothing is left of it and no pin holds it. What was
    /// charged stays in the account until [`State::freed`].
    pub(crate) fn take_out(&mut self, key: Key, blocks: &[u32]) -> Gone {
        let id = *self.objects.id_of(key);
        let set = self.objects.set_of(key);
        let size = self.objects.size_of(key);
        let (birth, large) = match key {
            Key::Small(_) => (None, false),
            Key::Large(at) => (Some(self.objects.large(at).birth), true),
        };
        let mut gone = Gone {
            charge: 0,
            bytes: 0,
            set,
            whole: false,
            // Of an object that only the index knows it is not known whether it has one.
            sidecar: self.objects.is(key, SIDECAR | STALE),
            claimed: self.objects.is(key, CLAIMED),
            birth,
            holes: Vec::new(),
            leased: self.leases.holds(&id),
            lent: self.objects.is(key, LENT),
            native: false,
        };
        self.leases.broken(&id);
        for block in blocks {
            let Some(at) = self.objects.block(key, *block) else { continue };
            if large {
                gone.charge += self.objects.charge(at);
            }
            self.policy.take(&mut self.objects, at);
            self.objects.remove_block(key, *block);
            gone.bytes += block_len(size, *block);
            gone.holes.push(*block);
            self.account.blocks -= 1;
        }
        self.account.bytes -= gone.bytes;
        let used = self.usage_of(set);
        used.bytes = used.bytes.saturating_sub(gone.bytes);
        if self.objects.present(key) == 0 && !self.objects.is(key, PINNED) {
            gone.whole = true;
            gone.charge += Self::base_charge(&self.objects, key);
            gone.native = self.objects.is_native(key);
            self.mark_native(key, false);
            self.objects.remove(key);
            self.leases.unlinked(&id, gone.charge);
        } else if !large && !gone.holes.is_empty() {
            gone.native = self.objects.is_native(key);
            self.mark_native(key, false);
        }
        self.touch_index(id);
        gone
    }

    /// The disk has given back what was taken out (or, `false`, has not).
    pub(crate) fn freed(&mut self, gone: &Gone, given_back: bool) {
        let charge = gone.charge;
        if gone.claimed {
            self.account.claimed -= charge;
            return;
        }
        self.account.known -= charge;
        if !given_back {
            self.account.leaked += charge;
        }
    }

    /// Takes what was found on the disk out of what is unknown.
    pub(crate) fn found(&mut self, charge: u64) {
        self.account.unknown = self.account.unknown.saturating_sub(charge);
    }

    /// What the table has charged for an object.
    fn charged(&self, key: Key) -> u64 {
        let blocks = match key {
            Key::Small(_) => 0,
            Key::Large(_) => self.objects.blocks(key).into_iter().map(|(_, at)| self.objects.charge(at)).sum(),
        };
        Self::base_charge(&self.objects, key) + blocks
    }

    /// Marks an object that was just added as only claimed.
    pub(crate) fn claim(&mut self, key: Key) {
        let charged = self.charged(key);
        self.account.known -= charged;
        self.account.claimed += charged;
        self.objects.flag(key, CLAIMED, true);
    }

    /// The file of a claimed object exists: it is known from now on. Of what is unknown `blocks`, which the file has, are taken.
    pub(crate) fn confirm(&mut self, key: Key, blocks: &[u32]) {
        if !self.objects.is(key, CLAIMED) {
            return;
        }
        self.objects.flag(key, CLAIMED, false);
        let charged = self.charged(key);
        self.account.claimed -= charged;
        self.account.known += charged;
        let size = self.objects.size_of(key);
        let blocks = match key {
            Key::Small(_) => 0,
            Key::Large(_) => blocks.iter().map(|block| charge::block(block_len(size, *block))).sum(),
        };
        self.found(Self::base_charge(&self.objects, key) + blocks);
    }

    /// Pins or unpins an object that is in the table: its blocks leave or join the order of eviction.
    pub(crate) fn set_pinned(&mut self, key: Key, on: bool) {
        if self.objects.is(key, PINNED) == on {
            return;
        }
        let whole = charge::whole(self.objects.size_of(key));
        self.objects.flag(key, PINNED, on);
        if on {
            self.account.pinned += whole;
        } else {
            self.account.pinned -= whole;
        }
        self.relist(key);
        self.touch_index(*self.objects.id_of(key));
        if !on && self.objects.is_native(key) {
            self.natives.loosened();
        }
    }

    /// Notes that an object's file is published, or is not.
    pub(crate) fn mark_native(&mut self, key: Key, on: bool) {
        if self.objects.is_native(key) != on {
            self.objects.set_native(key, on);
            self.natives.changed(on, self.objects.is(key, PINNED));
        }
    }

    /// The Datasets that pin an object.
    pub(crate) fn pinners_of(&self, key: Key) -> Vec<u16> {
        if !self.objects.is(key, PINNED) {
            return Vec::new();
        }
        self.pinners.of(self.objects.id_of(key), self.objects.set_of(key))
    }

    /// Puts an object's blocks into or out of the order of eviction, as pins and leases want it.
    pub(crate) fn relist(&mut self, key: Key) {
        let held = self.objects.is(key, PINNED | LEASED);
        if self.objects.is(key, LEASED) {
            self.leases.unlisted(self.objects.id_of(key));
        }
        for (_, at) in self.objects.blocks(key) {
            if held {
                self.policy.take(&mut self.objects, at);
                // Whoever chose it as a victim finds it spared.
                self.objects.link_mut(at).set_flag(EVICTING, false);
            } else if self.objects.link(at).place() == Place::Out && !self.objects.link(at).is(EVICTING) {
                let home = self.objects.link(at).home();
                self.policy.push(&mut self.objects, at, home);
            }
        }
    }

    /// Gives an object to another Dataset; its bytes, for the quotas.
    pub(crate) fn reassign(&mut self, key: Key, set: u16) -> u64 {
        let old = self.objects.set_of(key);
        let bytes = self.objects.present_bytes(key);
        for (_, at) in self.objects.blocks(key) {
            self.policy.reassign(&mut self.objects, at, set);
        }
        match key {
            Key::Small(at) => self.objects.link_mut(at).set = set,
            Key::Large(at) => self.objects.large_mut(at).set = set,
        }
        let used = self.usage_of(old);
        used.bytes = used.bytes.saturating_sub(bytes);
        self.usage_of(set).bytes += bytes;
        if self.objects.is_native(key) && !self.objects.is(key, PINNED) {
            // The other Dataset may not publish it.
            self.natives.loosened();
        }
        self.touch_index(*self.objects.id_of(key));
        bytes
    }

    /// Whether every block of an object is present.
    pub(crate) fn is_complete(&self, key: Key) -> bool {
        self.objects.present(key) == block_count(self.objects.size_of(key))
    }

    /// Whether every present block was checked by this process.
    pub(crate) fn is_verified(&self, key: Key) -> bool {
        self.objects.blocks(key).iter().all(|(_, at)| self.objects.link(*at).is(VERIFIED))
    }

    /// Whether what is in memory has to be compared with the file before it is used.
    pub(crate) fn is_stale(&self, key: Key) -> bool {
        self.objects.is(key, STALE)
    }
}

/// How a block enters the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Landed {
    /// Last access.
    pub(crate) stamp: u32,
    /// Its bytes are known to be right.
    pub(crate) verified: bool,
    /// Which list takes it.
    pub(crate) place: Place,
}

/// Where a block lies in its file: its hole is whole pages, so that the file system frees all of it.
pub(crate) fn extent(block: u32) -> (u64, u64) {
    (u64::from(block) * BLOCK, BLOCK)
}
