/// Refers to a block in an [`Arena`]; [`NONE`] refers to nothing.
pub(crate) type Ref = u32;

/// No block.
pub(crate) const NONE: Ref = u32::MAX;

/// Where a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In no list: pinned, leased, being evicted, or absent.
    Out,
    /// In its Dataset's window.
    Window,
    /// In its Dataset's main list.
    Main,
    /// In its Dataset's list of guests, which go before all that others need.
    Guest,
}

/// What the policy keeps per block: 16 bytes, because there are a million of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) prev: Ref,
    pub(crate) next: Ref,
    /// Last access, in the cache's ticks.
    pub(crate) stamp: u32,
    /// Dataset, as the registry numbers it.
    pub(crate) set: u16,
    /// [`Place`] in the lowest two bits, the flags above.
    pub(crate) bits: u8,
    /// Flags of the object, where object and block are one; the policy leaves them alone.
    pub(crate) object: u8,
}

/// The first read after the landing is still to come: it is the access that the landing was counted for.
pub(crate) const FRESH: u8 = 1 << 2;
/// The bytes were checked against the checksum by this process.
pub(crate) const VERIFIED: u8 = 1 << 3;
/// Chosen as a victim and not gone yet.
pub(crate) const EVICTING: u8 = 1 << 4;
/// The block is on the disk.
pub(crate) const PRESENT: u8 = 1 << 5;
/// Waits to be moved to a faster tier.
pub(crate) const QUEUED: u8 = 1 << 6;
/// Kept only as long as nothing else needs the room, whatever list it is in now.
pub(crate) const GUEST: u8 = 1 << 7;

impl Link {
    pub(crate) fn new(set: u16, stamp: u32, flags: u8) -> Self {
        Self { prev: NONE, next: NONE, stamp, set, bits: flags & !3, object: 0 }
    }

    pub(crate) fn place(&self) -> Place {
        match self.bits & 3 {
            0 => Place::Out,
            1 => Place::Window,
            2 => Place::Main,
            _ => Place::Guest,
        }
    }

    /// Where it belongs once it has been through the window.
    pub(crate) fn home(&self) -> Place {
        if self.is(GUEST) { Place::Guest } else { Place::Main }
    }

    pub(crate) fn put(&mut self, place: Place) {
        self.bits = self.bits & !3 | place as u8;
    }

    pub(crate) fn is(&self, flag: u8) -> bool {
        self.bits & flag != 0
    }

    pub(crate) fn set_flag(&mut self, flag: u8, on: bool) {
        if on {
            self.bits |= flag;
        } else {
            self.bits &= !flag;
        }
    }
}

/// The blocks that the policy decides on, wherever they are kept.
pub(crate) trait Arena {
    fn link(&self, block: Ref) -> &Link;
    fn link_mut(&mut self, block: Ref) -> &mut Link;
    /// Hash of the block's name, the same in every tier and process.
    fn hash(&self, block: Ref) -> u64;
    /// Bytes that evicting it gives back.
    fn charge(&self, block: Ref) -> u64;
}

/// A doubly linked list through the arena's links; the head is the youngest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    pub(crate) head: Ref,
    pub(crate) tail: Ref,
    pub(crate) bytes: u64,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, bytes: 0 }
    }
}

impl List {
    pub(crate) fn push(&mut self, arena: &mut impl Arena, block: Ref, place: Place) {
        let old = self.head;
        let link = arena.link_mut(block);
        link.prev = NONE;
        link.next = old;
        link.put(place);
        if old == NONE {
            self.tail = block;
        } else {
            arena.link_mut(old).prev = block;
        }
        self.head = block;
        self.bytes += arena.charge(block);
    }

    pub(crate) fn remove(&mut self, arena: &mut impl Arena, block: Ref) {
        let Link { prev, next, .. } = *arena.link(block);
        if prev == NONE {
            self.head = next;
        } else {
            arena.link_mut(prev).next = next;
        }
        if next == NONE {
            self.tail = prev;
        } else {
            arena.link_mut(next).prev = prev;
        }
        let link = arena.link_mut(block);
        link.prev = NONE;
        link.next = NONE;
        link.put(Place::Out);
        self.bytes -= arena.charge(block);
    }

    /// Moves a block of this list to its head.
    pub(crate) fn rejuvenate(&mut self, arena: &mut impl Arena, block: Ref) {
        if self.head != block {
            let place = arena.link(block).place();
            self.remove(arena, block);
            self.push(arena, block, place);
        }
    }
}
