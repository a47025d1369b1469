//! The memory of blocks in flight. That of large blocks comes from the kernel and goes back to it, past the allocator: an allocator keeps
//! what was freed, for each thread apart, and at rest a node's memory would be what it once had in flight.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use forebay_cache::BLOCK;
use memmap2::MmapMut;

const WHOLE: usize = BLOCK as usize;
/// Blocks from this size on have memory from the kernel. Below, the allocator is cheaper.
const LARGE: usize = WHOLE / 4;
/// So many free buffers are kept however few are in use.
const SPARE: usize = 2;

/// Buffers of whole blocks. Of those that came back as many are kept as are in use: one that is kept spares the kernel from clearing its
/// pages anew, and all together are never more than were in use at one time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Buffers>>);

#[derive(Debug, Default)]
struct Buffers {
    free: Vec<MmapMut>,
    in_use: usize,
}

impl Pool {
    fn buffers(&self) -> MutexGuard<'_, Buffers> {
        // Each change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, len: usize) -> Option<Lent> {
        if len != WHOLE {
            // One that held a whole block has all of it resident, and a shorter block is charged for its own length only.
            return Some(Lent { map: MmapMut::map_anon(len).ok()?.into(), pool: None });
        }
        let mut buffers = self.buffers();
        let free = buffers.free.pop();
        buffers.in_use += 1;
        drop(buffers);
        let map = free.map_or_else(|| MmapMut::map_anon(WHOLE), Ok);
        // Counted back by its end also where there was no memory.
        let lent = Lent { map: map.ok(), pool: Some(self.clone()) };
        lent.map.is_some().then_some(lent)
    }

    fn give_back(&self, map: Option<MmapMut>) {
        let mut buffers = self.buffers();
        buffers.in_use -= 1;
        let keep = buffers.in_use.max(SPARE);
        buffers.free.extend(map);
        let surplus = buffers.free.len().saturating_sub(keep);
        // Unmapped without the lock.
        let unmapped: Vec<MmapMut> = buffers.free.drain(..surplus).collect();
        drop(buffers);
        drop(unmapped);
    }
}

/// Memory of one block, given back when dropped: to the pool, or where there is none to the kernel.
#[derive(Debug)]
struct Lent {
    map: Option<MmapMut>,
    pool: Option<Pool>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.give_back(self.map.take());
        }
    }
}

/// The bytes of one block as they come.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Memory,
    len: usize,
}

#[derive(Debug)]
enum Memory {
    Small(Vec<u8>),
    Large { lent: Lent, filled: usize },
}

impl Buffer {
    /// Room for `len` bytes, a block at most.
    pub(crate) fn new(pool: &Pool, len: usize) -> Self {
        let large = if (LARGE..=WHOLE).contains(&len) { pool.take(len) } else { None };
        let memory = match large {
            Some(lent) => Memory::Large { lent, filled: 0 },
            None => Memory::Small(Vec::with_capacity(len)),
        };
        Self { memory, len }
    }

    /// Adds as many of these bytes as there is room for; how many.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> usize {
        let take = bytes.len().min(self.len - self.filled());
        match &mut self.memory {
            Memory::Small(there) => there.extend_from_slice(&bytes[..take]),
            Memory::Large { lent, filled } => {
                let room = lent.map.as_deref_mut().unwrap_or_default();
                room[*filled..*filled + take].copy_from_slice(&bytes[..take]);
                *filled += take;
            }
        }
        take
    }

    pub(crate) fn filled(&self) -> usize {
        match &self.memory {
            Memory::Small(there) => there.len(),
            Memory::Large { filled, .. } => *filled,
        }
    }

    /// Forgets the bytes.
    pub(crate) fn clear(&mut self) {
        match &mut self.memory {
            Memory::Small(there) => there.clear(),
            Memory::Large { filled, .. } => *filled = 0,
        }
    }

    /// Its bytes, cheap to share; the memory goes back with the last of them.
    pub(crate) fn share(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        match &self.memory {
            Memory::Small(there) => there,
            Memory::Large { lent, filled } => lent.map.as_deref().and_then(|all| all.get(..*filled)).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pool: &Pool) -> (usize, usize) {
        let buffers = pool.buffers();
        (buffers.free.len(), buffers.in_use)
    }

    #[test]
    fn bytes_are_those_that_came_whatever_the_memory_held_before() {
        let pool = Pool::default();
        for len in [1, LARGE - 1, LARGE, LARGE + 1, WHOLE - 1, WHOLE] {
            for round in 0..3u8 {
                let mut buffer = Buffer::new(&pool, len);
                assert_eq!((buffer.filled(), buffer.as_ref().len()), (0, 0));
                let bytes: Vec<u8> = (0..len).map(|at| (at as u8).wrapping_mul(3).wrapping_add(round)).collect();
                let mut added = 0;
                for chunk in bytes.chunks(1000) {
                    added += buffer.add(chunk);
                }
                assert_eq!((added, buffer.filled()), (len, len));
                assert_eq!(buffer.as_ref(), bytes);
                assert_eq!(buffer.share(), bytes);
            }
        }
    }

    #[test]
    fn what_is_kept_is_never_more_than_was_in_use_and_goes_with_it() {
        let pool = Pool::default();
        let mut lent: Vec<Buffer> = (0..10).map(|_| Buffer::new(&pool, WHOLE)).collect();
        assert_eq!(kept(&pool), (0, 10));
        for left in (0..10).rev() {
            lent.pop();
            let (free, in_use) = kept(&pool);
            assert_eq!((free, in_use), ((10 - left).min(left.max(SPARE)), left));
            assert!(free + in_use <= 10);
        }
        drop(Buffer::new(&pool, WHOLE - 1));
        assert_eq!(kept(&pool), (SPARE, 0), "a shorter one is none of the pool's");
        let shared = Buffer::new(&pool, WHOLE).share();
        let slice = shared.slice(0..0);
        drop(shared);
        assert_eq!(kept(&pool).1, 0, "an empty piece keeps nothing");
        drop(slice);
        let mut buffer = Buffer::new(&pool, WHOLE);
        buffer.add(&[1, 2, 3]);
        let shared = buffer.share();
        let slice = shared.slice(1..2);
        drop(shared);
        assert_eq!(kept(&pool).1, 1, "as long as any of its bytes are read");
        assert_eq!(slice[..], [2]);
        drop(slice);
        assert_eq!(kept(&pool), (SPARE, 0));
    }
}
