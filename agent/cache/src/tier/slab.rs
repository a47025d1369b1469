use crate::policy::NONE;

const CHUNK: usize = 4096;

/// Items at stable numbers, in chunks: growing to a million copies nothing and wastes no doubled space.
pub(crate) struct Slab<T> {
    chunks: Vec<Box<[T]>>,
    /// Numbers given back.
    free: Vec<u32>,
    /// Numbers given out so far, those given back included.
    next: u32,
}

impl<T: Default> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), next: 0 }
    }

    /// Stores an item; `None` when there are 2^31 already.
    pub(crate) fn insert(&mut self, item: T) -> Option<u32> {
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                if self.next >= NONE >> 1 {
                    return None;
                }
                if self.next as usize == self.chunks.len() * CHUNK {
                    self.chunks.push(std::iter::repeat_with(T::default).take(CHUNK).collect());
                }
                self.next += 1;
                self.next - 1
            }
        };
        *self.get_mut(at) = item;
        Some(at)
    }

    /// Takes an item out; its number may be given out again.
    pub(crate) fn remove(&mut self, at: u32) -> T {
        self.free.push(at);
        std::mem::take(self.get_mut(at))
    }

    pub(crate) fn get(&self, at: u32) -> &T {
        &self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> &mut T {
        &mut self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }

    /// Numbers ever given out: `0..bound` holds all items, and defaults where one was taken.
    pub(crate) fn bound(&self) -> u32 {
        self.next
    }

    /// Items in it.
    pub(crate) fn len(&self) -> usize {
        self.next as usize - self.free.len()
    }
}
