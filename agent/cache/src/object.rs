use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::counters::count;
use crate::id::{BLOCK, block_count, block_len};
use crate::inner::Inner;
use crate::io::FileIo;
use crate::tier::{Name, Stripe, Tier, Trust};
use crate::{Inserted, Landing, ObjectId, PinError, PublishError, Read};

/// A handle to one version of one object, cached or not. Cheap to make and to clone; safe to use from many threads.
#[derive(Clone)]
pub struct Object {
    inner: Arc<Inner>,
    set: u16,
    name: Name,
}

impl Object {
    pub(crate) fn new(inner: Arc<Inner>, set: u16, name: Name) -> Self {
        Self { inner, set, name }
    }

    /// Its id.
    pub fn id(&self) -> ObjectId {
        self.name.id
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.name.size
    }

    /// Its number of blocks; none when it is empty.
    pub fn blocks(&self) -> u32 {
        block_count(self.name.size)
    }

    /// Reads from `offset` into `buf` what is cached there. Never fails: what cannot be read is not cached.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Read {
        self.read(offset, buf, Trust::Verified)
    }

    /// The same, of bytes that are compared anew with the checksums of their blocks: for others, who cannot do that. Reads each block whole.
    pub fn read_checked_at(&self, offset: u64, buf: &mut [u8]) -> Read {
        self.read(offset, buf, Trust::Never)
    }

    fn read(&self, offset: u64, buf: &mut [u8], trust: Trust) -> Read {
        let wanted = self.name.size.saturating_sub(offset).min(buf.len() as u64) as usize;
        let counters = &self.inner.shared.counters;
        let mut done = 0;
        while done < wanted {
            let at = offset + done as u64;
            let block = (at / BLOCK) as u32;
            let within = at % BLOCK;
            let part = ((block_len(self.name.size, block) - within) as usize).min(wanted - done);
            let Some(tier) = self.read_block(block, within, &mut buf[done..done + part], trust) else {
                if done == 0 {
                    count(&counters.misses, 1);
                    return Read::Miss { block };
                }
                break;
            };
            if done == 0 {
                count(&counters.hits[tier], 1);
            }
            done += part;
        }
        count(&counters.hit_bytes, done as u64);
        Read::Hit(done)
    }

    fn read_block(&self, block: u32, within: u64, buf: &mut [u8], trust: Trust) -> Option<usize> {
        if self.inner.shared.is_closed() {
            return None;
        }
        for tier in &self.inner.tiers {
            let Some(hit) = tier.read(self.name, self.set, block, within, buf, trust) else { continue };
            if hit.promote && !self.inner.mover.promote(tier.number, self.name, block) {
                tier.unqueue(self.name, block);
            }
            return Some(tier.number);
        }
        None
    }

    /// Whether a block is cached. It may be gone, or be found damaged, by the time it is read.
    pub fn has(&self, block: u32) -> bool {
        !self.inner.shared.is_closed() && self.inner.holder(self.name, block, None).is_some()
    }

    /// The runs of blocks within `blocks` that are not cached, in order.
    pub fn missing(&self, blocks: Range<u32>) -> Vec<Range<u32>> {
        let end = blocks.end.min(self.blocks());
        let present = self.present(blocks.start..end);
        let mut runs: Vec<Range<u32>> = Vec::new();
        for block in (blocks.start..end).filter(|block| !present[(*block - blocks.start) as usize]) {
            match runs.last_mut() {
                Some(run) if run.end == block => run.end += 1,
                _ => runs.push(block..block + 1),
            }
        }
        runs
    }

    /// Whether all of these bytes are cached.
    pub fn holds(&self, bytes: &Range<u64>) -> bool {
        let block = |offset: u64| u32::try_from(offset).unwrap_or(u32::MAX);
        self.missing(block(bytes.start / BLOCK)..block(bytes.end.div_ceil(BLOCK))).is_empty()
    }

    fn present(&self, blocks: Range<u32>) -> Vec<bool> {
        let mut present = vec![false; blocks.len()];
        if self.inner.shared.is_closed() {
            return present;
        }
        for tier in &self.inner.tiers {
            tier.with(self.name, None, |state, key| {
                for (block, _) in state.objects.blocks(key) {
                    if blocks.contains(&block) {
                        present[(block - blocks.start) as usize] = true;
                    }
                }
            });
        }
        present
    }

    /// Bytes of it that are cached, each once.
    pub fn present_bytes(&self) -> u64 {
        let present = self.present(0..self.blocks());
        (0..self.blocks()).zip(present).filter(|(_, present)| *present).map(|(block, _)| block_len(self.name.size, block)).sum()
    }

    /// Whether every block is cached; an empty object always is.
    pub fn is_complete(&self) -> bool {
        if self.name.size == 0 {
            return true;
        }
        if self.inner.shared.is_closed() {
            return false;
        }
        // A read asks this: counts first, for the walk over all blocks is only needed where tiers share them.
        let held = |tier: &Tier| tier.with(self.name, None, |state, key| state.objects.present(key)).unwrap_or(0);
        let mut sum = 0u64;
        for held in self.inner.tiers.iter().map(held) {
            if held == self.blocks() {
                return true;
            }
            sum += u64::from(held);
        }
        sum >= u64::from(self.blocks()) && self.present_bytes() == self.name.size
    }

    /// Offers a block to the cache: exactly the bytes of block `block`. Whatever comes of it, the caller goes on with the bytes it has.
    pub fn insert(&self, block: u32, data: &[u8], landing: Landing) -> Inserted {
        self.inner.insert(self.set, self.name, block, data, &landing)
    }

    /// Promises that nothing of it is evicted, now or when it lands; the promise outlives a restart. It is made to the handle's Dataset:
    /// others may pin the same object, and it is pinned as long as one does. After a restart the object's owner is taken for who pinned
    /// it, so that every Dataset should pin anew then.
    ///
    /// # Errors
    /// When the space of the whole object cannot be promised; the error says what to do.
    pub fn pin(&self) -> Result<(), PinError> {
        self.inner.pin(self.set, self.name, None)
    }

    /// Takes the promise back that was made to the handle's Dataset; those to others hold.
    pub fn unpin(&self) {
        self.inner.unpin(self.set, self.name);
    }

    /// Whether it is pinned, by any Dataset.
    pub fn is_pinned(&self) -> bool {
        self.inner.tiers.iter().any(|tier| tier.is_pinned(self.name, None))
    }

    /// Whether the handle's Dataset pins it.
    pub fn is_pinned_by_dataset(&self) -> bool {
        self.inner.tiers.iter().any(|tier| tier.is_pinned_by(self.name, self.set))
    }

    /// Makes its file one of those in [`crate::Cache::published`], when it is pinned and complete: readable with no process of ours
    /// alive. Blocks, for the time that verifying takes of what this process did not write. Repeating it costs a look.
    ///
    /// # Errors
    /// [`PublishError`]; the object is as it was.
    pub fn publish(&self) -> Result<(), PublishError> {
        if self.name.size == 0 {
            return Ok(());
        }
        let home = self.inner.tiers.iter().find(|tier| tier.is_pinned(self.name, None));
        home.ok_or(PublishError::NotReady)?.publish(self.name, self.set)
    }

    /// Drops what is cached of it, and its pins, whoever made them; the bytes freed.
    pub fn evict(&self) -> u64 {
        self.evict_in(&self.inner.shared.stripe(&self.name.id))
    }

    /// Drops what is cached of it unless it is pinned, by any Dataset; the bytes freed.
    pub fn evict_unpinned(&self) -> u64 {
        let stripe = self.inner.shared.stripe(&self.name.id);
        let pinned = self.inner.tiers.iter().any(|tier| tier.is_pinned(self.name, Some(&stripe)));
        if pinned { 0 } else { self.evict_in(&stripe) }
    }

    fn evict_in(&self, stripe: &Stripe<'_>) -> u64 {
        self.inner
            .tiers
            .iter()
            .map(|tier| match tier.with(self.name, Some(stripe), |_, _| ()) {
                Some(()) => tier.remove_object(self.name.id, stripe),
                None => 0,
            })
            .sum()
    }

    /// The cached file itself, for reading without this process (FUSE passthrough): when one tier has all of it and every block
    /// was verified. While the [`Native`] lives nothing of it is evicted, and its bytes do not change. Up to 16 blocks are verified by
    /// this call; an object with more unverified ones gets there as its blocks are read.
    pub fn native(&self) -> Option<Native> {
        if self.name.size == 0 || self.inner.shared.is_closed() {
            return None;
        }
        self.inner.tiers.iter().find_map(|tier| {
            let birth = tier.lease(self.name, self.set)?;
            Some(Native { inner: self.inner.clone(), tier: tier.number, name: self.name, birth, held: true })
        })
    }
}

/// A complete cached file, held.
pub struct Native {
    inner: Arc<Inner>,
    tier: usize,
    name: Name,
    birth: Option<u64>,
    held: bool,
}

/// A cached file that is kept ready for native readers: the cache may take it back, after asking.
pub struct Kept {
    inner: Arc<Inner>,
    tier: usize,
    id: ObjectId,
    number: u64,
}

impl Native {
    /// Opens the file, for reading only; exactly the object's bytes. It may stay open longer than this lives, and may be mapped: what others
    /// have open is never changed, and its space stays in use.
    ///
    /// # Errors
    /// Not found when the object was dropped meanwhile; else the disk's.
    pub fn open(&self) -> io::Result<Arc<dyn FileIo>> {
        self.inner.tiers[self.tier].open_lent(self.name, self.birth)
    }

    /// Name of the tier that it lies in.
    pub fn tier(&self) -> &str {
        &self.inner.tiers[self.tier].name
    }

    /// Lets the cache have the file back when it wants to, which it says by calling `wanted`. Who keeps the file open should close it
    /// then, and drop the [`Kept`]; as long as it is open it is not evicted.
    ///
    /// `wanted` runs on a thread that waits for it, under a lock of the object: it must not use the cache but for that drop.
    #[must_use]
    pub fn keep_ready(mut self, wanted: impl Fn() + Send + Sync + 'static) -> Kept {
        self.held = false;
        let number = self.inner.tiers[self.tier].keep_ready(&self.name.id, Arc::new(wanted));
        Kept { inner: self.inner.clone(), tier: self.tier, id: self.name.id, number }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        if self.held {
            self.inner.tiers[self.tier].give_back(&self.name.id);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.inner.tiers[self.tier].give_up(&self.id, self.number);
    }
}
