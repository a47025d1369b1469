use std::collections::BTreeMap;

use hashbrown::HashTable;

use super::charge;
use super::slab::Slab;
use crate::ObjectId;
use crate::id::{block_count, block_len};
use crate::policy::{Arena, Link, PRESENT, Ref, mix};

/// Flags of an object. Pinned by some Dataset, which [`super::pinners::Pinners`] knows.
pub(crate) const PINNED: u8 = 1;
/// Read natively now, as far as is known; nothing of it is evicted meanwhile.
pub(crate) const LEASED: u8 = 1 << 1;
/// Its file was lent to native readers, or may have been by a former process. Who may still have it open or mapped is not known here:
/// before a hole is punched, the kernel is asked.
pub(crate) const LENT: u8 = 1 << 7;
/// Known from the index only: the file has not been asked yet.
pub(crate) const STALE: u8 = 1 << 2;
/// Claimed by an index that cannot be trusted: what it occupies, if it exists, is counted as unknown until its file was asked.
pub(crate) const CLAIMED: u8 = 1 << 6;
/// Its meta data is in a sidecar.
pub(crate) const SIDECAR: u8 = 1 << 3;
/// Seen by the scan that is running, or made since it began.
pub(crate) const SEEN: u8 = 1 << 4;
/// Read since its entry of the index was written.
pub(crate) const READ: u8 = 1 << 5;

/// The bit that tells blocks of larger objects from single-block objects in a [`Ref`], and larger objects from
/// single-block ones in a [`Key`].
const LARGE: u32 = 1 << 31;

/// The bit of [`Small::bits`] that says that the file is published; a size is far below it.
const NATIVE: u32 = 1 << 31;

/// An object of one block: object and block in 52 bytes, because of these there are a million.
#[derive(Clone, Copy)]
pub(crate) struct Small {
    pub(crate) id: ObjectId,
    /// Its size, and [`NATIVE`].
    bits: u32,
    pub(crate) link: Link,
}

/// A block of a larger object.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) large: u32,
    pub(crate) block: u32,
    pub(crate) link: Link,
}

/// A larger object.
pub(crate) struct Large {
    pub(crate) id: ObjectId,
    pub(crate) size: u64,
    /// Number of this incarnation of its file; never used again in this process.
    pub(crate) birth: u64,
    /// Changes whenever a block is taken out: what was read under another epoch may be a hole.
    pub(crate) epoch: u64,
    pub(crate) set: u16,
    pub(crate) flags: u8,
    /// Its file is published.
    native: bool,
    /// Blocks present, by number.
    pub(crate) blocks: BTreeMap<u32, u32>,
}

impl Default for Small {
    fn default() -> Self {
        Self { id: ObjectId([0; 32]), bits: 0, link: Link::new(0, 0, 0) }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self { large: 0, block: 0, link: Link::new(0, 0, 0) }
    }
}

impl Default for Large {
    fn default() -> Self {
        Self { id: ObjectId([0; 32]), size: 0, birth: 0, epoch: 0, set: 0, flags: 0, native: false, blocks: BTreeMap::new() }
    }
}

/// An object in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Small(u32),
    Large(u32),
}

impl Key {
    fn pack(self) -> u32 {
        match self {
            Key::Small(at) => at,
            Key::Large(at) => at | LARGE,
        }
    }

    fn unpack(raw: u32) -> Self {
        if raw & LARGE == 0 { Key::Small(raw) } else { Key::Large(raw & !LARGE) }
    }
}

/// All objects of a tier, by id and by number.
pub(crate) struct Objects {
    smalls: Slab<Small>,
    nodes: Slab<Node>,
    larges: Slab<Large>,
    table: HashTable<u32>,
    births: u64,
}

impl Objects {
    pub(crate) fn new() -> Self {
        Self { smalls: Slab::new(), nodes: Slab::new(), larges: Slab::new(), table: HashTable::new(), births: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn find(&self, id: &ObjectId) -> Option<Key> {
        self.table.find(id.short(), |raw| self.id_of(Key::unpack(*raw)) == id).map(|raw| Key::unpack(*raw))
    }

    pub(crate) fn id_of(&self, key: Key) -> &ObjectId {
        match key {
            Key::Small(at) => &self.smalls.get(at).id,
            Key::Large(at) => &self.larges.get(at).id,
        }
    }

    pub(crate) fn size_of(&self, key: Key) -> u64 {
        match key {
            Key::Small(at) => u64::from(self.smalls.get(at).bits & !NATIVE),
            Key::Large(at) => self.larges.get(at).size,
        }
    }

    pub(crate) fn set_of(&self, key: Key) -> u16 {
        match key {
            Key::Small(at) => self.smalls.get(at).link.set,
            Key::Large(at) => self.larges.get(at).set,
        }
    }

    pub(crate) fn large(&self, at: u32) -> &Large {
        self.larges.get(at)
    }

    pub(crate) fn large_mut(&mut self, at: u32) -> &mut Large {
        self.larges.get_mut(at)
    }

    pub(crate) fn is(&self, key: Key, flag: u8) -> bool {
        let flags = match key {
            Key::Small(at) => self.smalls.get(at).link.object,
            Key::Large(at) => self.larges.get(at).flags,
        };
        flags & flag != 0
    }

    pub(crate) fn flag(&mut self, key: Key, flag: u8, on: bool) {
        let flags = match key {
            Key::Small(at) => &mut self.smalls.get_mut(at).link.object,
            Key::Large(at) => &mut self.larges.get_mut(at).flags,
        };
        if on {
            *flags |= flag;
        } else {
            *flags &= !flag;
        }
    }

    /// Whether its file is published, as far as is known.
    pub(crate) fn is_native(&self, key: Key) -> bool {
        match key {
            Key::Small(at) => self.smalls.get(at).bits & NATIVE != 0,
            Key::Large(at) => self.larges.get(at).native,
        }
    }

    /// [`super::State::mark_native`] counts.
    pub(super) fn set_native(&mut self, key: Key, on: bool) {
        match key {
            Key::Small(at) => {
                let bits = &mut self.smalls.get_mut(at).bits;
                *bits = if on { *bits | NATIVE } else { *bits & !NATIVE };
            }
            Key::Large(at) => self.larges.get_mut(at).native = on,
        }
    }

    /// Adds an object without blocks. `None` when there are 2^31 of its kind.
    pub(crate) fn add(&mut self, id: ObjectId, size: u64, set: u16, flags: u8, stamp: u32) -> Option<Key> {
        let key = if block_count(size) <= 1 {
            let mut link = Link::new(set, stamp, 0);
            link.object = flags;
            Key::Small(self.smalls.insert(Small { id, bits: u32::try_from(size).ok()?, link })?)
        } else {
            self.births += 1;
            let (birth, epoch) = (self.births, self.births);
            let large = Large { id, size, birth, epoch, set, flags, native: false, blocks: BTreeMap::new() };
            Key::Large(self.larges.insert(large)?)
        };
        let Self { table, smalls, larges, .. } = self;
        table.insert_unique(id.short(), key.pack(), |raw| match Key::unpack(*raw) {
            Key::Small(at) => smalls.get(at).id.short(),
            Key::Large(at) => larges.get(at).id.short(),
        });
        Some(key)
    }

    /// Takes out an object that has no blocks left.
    pub(crate) fn remove(&mut self, key: Key) {
        let hash = self.id_of(key).short();
        if let Ok(entry) = self.table.find_entry(hash, |raw| *raw == key.pack()) {
            entry.remove();
        }
        match key {
            Key::Small(at) => drop(self.smalls.remove(at)),
            Key::Large(at) => drop(self.larges.remove(at)),
        }
    }

    /// The present block `block` of an object.
    pub(crate) fn block(&self, key: Key, block: u32) -> Option<Ref> {
        match key {
            Key::Small(at) => (block == 0 && self.smalls.get(at).link.is(PRESENT)).then_some(at),
            Key::Large(at) => self.larges.get(at).blocks.get(&block).map(|node| node | LARGE),
        }
    }

    /// All present blocks of an object.
    pub(crate) fn blocks(&self, key: Key) -> Vec<(u32, Ref)> {
        match key {
            Key::Small(_) => self.block(key, 0).map(|r| (0, r)).into_iter().collect(),
            Key::Large(at) => self.larges.get(at).blocks.iter().map(|(block, node)| (*block, node | LARGE)).collect(),
        }
    }

    /// Number of present blocks of an object.
    pub(crate) fn present(&self, key: Key) -> u32 {
        match key {
            Key::Small(_) => u32::from(self.block(key, 0).is_some()),
            Key::Large(at) => self.larges.get(at).blocks.len() as u32,
        }
    }

    /// Bytes present of an object.
    pub(crate) fn present_bytes(&self, key: Key) -> u64 {
        match key {
            Key::Small(at) => {
                if self.block(key, 0).is_some() {
                    u64::from(self.smalls.get(at).bits & !NATIVE)
                } else {
                    0
                }
            }
            Key::Large(at) => {
                let large = self.larges.get(at);
                let last = block_count(large.size) - 1;
                let short = if large.blocks.contains_key(&last) { crate::BLOCK - block_len(large.size, last) } else { 0 };
                large.blocks.len() as u64 * crate::BLOCK - short
            }
        }
    }

    /// Marks a block present; it stands in no list yet. `None` as [`Objects::add`].
    pub(crate) fn add_block(&mut self, key: Key, block: u32, stamp: u32, flags: u8) -> Option<Ref> {
        match key {
            Key::Small(at) => {
                let small = self.smalls.get_mut(at);
                let object = small.link.object;
                small.link = Link::new(small.link.set, stamp, flags | PRESENT);
                small.link.object = object;
                Some(at)
            }
            Key::Large(at) => {
                let set = self.larges.get(at).set;
                let node = self.nodes.insert(Node { large: at, block, link: Link::new(set, stamp, flags | PRESENT) })?;
                self.larges.get_mut(at).blocks.insert(block, node);
                Some(node | LARGE)
            }
        }
    }

    /// Marks a block absent; it must be in no list.
    pub(crate) fn remove_block(&mut self, key: Key, block: u32) {
        match key {
            Key::Small(at) => self.smalls.get_mut(at).link.bits = 0,
            Key::Large(at) => {
                self.births += 1;
                let epoch = self.births;
                let large = self.larges.get_mut(at);
                large.epoch = epoch;
                if let Some(node) = large.blocks.remove(&block) {
                    self.nodes.remove(node);
                }
            }
        }
    }

    /// Object and number of a block.
    pub(crate) fn owner(&self, block: Ref) -> (Key, u32) {
        if block & LARGE == 0 {
            (Key::Small(block), 0)
        } else {
            let node = self.nodes.get(block & !LARGE);
            (Key::Large(node.large), node.block)
        }
    }

    /// One more than the largest number of a small and of a large object: walks go through these.
    pub(crate) fn bounds(&self) -> (u32, u32) {
        (self.smalls.bound(), self.larges.bound())
    }

    /// The object at a number, when there is one.
    pub(crate) fn at(&self, key: Key) -> Option<Key> {
        let id = self.id_of(key);
        self.table.find(id.short(), |raw| *raw == key.pack()).map(|_| key)
    }

    /// Cached blocks and pins, about: what the sketch is sized for.
    pub(crate) fn blocks_total(&self) -> u64 {
        (self.smalls.len() + self.nodes.len()) as u64
    }
}

/// Hash of a block's name.
pub(crate) fn block_hash(id: &ObjectId, block: u32) -> u64 {
    mix(id.short() ^ u64::from(block).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

impl Arena for Objects {
    fn link(&self, block: Ref) -> &Link {
        if block & LARGE == 0 { &self.smalls.get(block).link } else { &self.nodes.get(block & !LARGE).link }
    }

    fn link_mut(&mut self, block: Ref) -> &mut Link {
        if block & LARGE == 0 { &mut self.smalls.get_mut(block).link } else { &mut self.nodes.get_mut(block & !LARGE).link }
    }

    fn hash(&self, block: Ref) -> u64 {
        let (key, number) = self.owner(block);
        block_hash(self.id_of(key), number)
    }

    fn charge(&self, block: Ref) -> u64 {
        let (key, number) = self.owner(block);
        match key {
            Key::Small(_) => charge::small(self.size_of(key)),
            Key::Large(_) => charge::block(block_len(self.size_of(key), number)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use crate::BLOCK;

    fn id(n: u8) -> ObjectId {
        ObjectId::derive("s", "k", &[n], 0)
    }

    #[test]
    fn sizes_that_a_million_files_need() {
        assert_eq!((size_of::<Small>(), size_of::<Node>()), (52, 24));
    }

    #[test]
    fn small_and_large_objects_are_found_and_forgotten() {
        let mut objects = Objects::new();
        let small = objects.add(id(1), 100, 3, PINNED, 7).unwrap();
        let large = objects.add(id(2), 2 * BLOCK + 5, 4, 0, 7).unwrap();
        assert_eq!((objects.find(&id(1)), objects.find(&id(2)), objects.find(&id(3))), (Some(small), Some(large), None));
        assert!(objects.is(small, PINNED) && !objects.is(large, PINNED));
        for key in [small, large] {
            assert_eq!((objects.present(key), objects.present_bytes(key), objects.block(key, 0)), (0, 0, None));
        }
        let one = objects.add_block(small, 0, 9, 0).unwrap();
        let last = objects.add_block(large, 2, 9, 0).unwrap();
        assert!(objects.is(small, PINNED), "landing keeps the object's flags");
        assert_eq!((objects.owner(one), objects.owner(last)), ((small, 0), (large, 2)));
        assert_eq!((objects.present_bytes(small), objects.present_bytes(large)), (100, 5));
        assert_eq!((objects.charge(one), objects.charge(last)), (charge::small(100), charge::block(5)));
        assert_ne!(objects.hash(one), objects.hash(last));
        let Key::Large(at) = large else { panic!("two blocks are large") };
        for key in [small, large] {
            objects.set_native(key, true);
            assert!(objects.is_native(key));
        }
        assert_eq!((objects.size_of(small), objects.present_bytes(small)), (100, 100));
        objects.set_native(small, false);
        assert!(!objects.is_native(small) && objects.size_of(small) == 100);
        let epoch = objects.large(at).epoch;
        objects.remove_block(large, 2);
        assert_ne!(objects.large(at).epoch, epoch);
        objects.remove_block(small, 0);
        objects.remove(large);
        objects.remove(small);
        assert_eq!((objects.len(), objects.find(&id(1)), objects.at(large)), (0, None, None));
    }

    #[test]
    fn a_new_incarnation_has_a_new_birth() {
        let mut objects = Objects::new();
        let mut births = std::collections::HashSet::new();
        for _ in 0..3 {
            let key = objects.add(id(1), 2 * BLOCK, 0, 0, 0).unwrap();
            let Key::Large(at) = key else { panic!("two blocks are large") };
            assert!(births.insert(objects.large(at).birth));
            objects.remove(key);
        }
    }
}
