use crate::counters::count;
use crate::datasets::Dataset;
use crate::id::block_len;
use crate::inner::Inner;
use crate::policy::{Bid, Place};
use crate::tier::{Block, Name, Tier};
use crate::{Inserted, Landing, Reason};

/// Bytes taken of a quota, given back unless they are kept.
struct Taken<'a> {
    dataset: &'a Dataset,
    len: u64,
}

impl Taken<'_> {
    fn keep(mut self) {
        self.len = 0;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.len > 0 {
            self.dataset.release(self.len);
        }
    }
}

impl Inner {
    /// Offers a block to the cache.
    pub(crate) fn insert(&self, set: u16, name: Name, block: u32, data: &[u8], landing: &Landing) -> Inserted {
        match self.try_insert(set, name, block, data, landing) {
            Ok(tier) => Inserted::Stored { tier: self.tiers[tier].name.clone() },
            Err(reason) => {
                self.shared.counters.refuse(reason);
                Inserted::Refused(reason)
            }
        }
    }

    fn try_insert(&self, set: u16, name: Name, block: u32, data: &[u8], landing: &Landing) -> Result<usize, Reason> {
        let len = block_len(name.size, block);
        if len == 0 || data.len() as u64 != len {
            return Err(Reason::WrongLength);
        }
        if self.shared.is_closed() {
            return Err(Reason::Closed);
        }
        let dataset = self.shared.datasets.get(set);
        if dataset.retired {
            return Err(Reason::Retired);
        }
        if landing.pin {
            self.pin(set, name, landing.tier.as_deref()).map_err(|_| Reason::Pin)?;
        }
        if let Some(tier) = self.holder(name, block, None) {
            return Ok(tier.number);
        }
        let block = Block { name, number: block, data, crc: crc32c::crc32c(data) };
        self.take_quota(set, &dataset, len)?;
        let taken = Taken { dataset: &dataset, len };
        let mut refused = None;
        for tier in self.landing_order(name, block.number, &dataset, landing) {
            match self.insert_into(tier, set, block, landing.guest) {
                Ok(true) => {
                    taken.keep();
                    count(&self.shared.counters.inserted, 1);
                    count(&self.shared.counters.inserted_bytes, len);
                    return Ok(tier);
                }
                Ok(false) => return Ok(tier),
                Err(reason @ (Reason::Retired | Reason::Closed)) => return Err(reason),
                Err(reason) => {
                    refused.get_or_insert(reason);
                }
            }
        }
        Err(refused.unwrap_or(Reason::Full))
    }

    /// Whether the block was stored; it may be cached already.
    fn insert_into(&self, tier: usize, set: u16, block: Block<'_>, guest: bool) -> Result<bool, Reason> {
        let place = &self.tiers[tier];
        place.expect(set);
        let (place_in_order, bid) = if guest { (Place::Guest, Bid::Guest) } else { (Place::Window, Bid::Landed) };
        let reservation = self.reserve(tier, Tier::charge_of(block.name.size, block.number), bid)?;
        let stripe = self.shared.stripe(&block.name.id);
        if self.shared.is_closed() {
            return Err(Reason::Closed);
        }
        if self.holder(block.name, block.number, Some(&stripe)).is_some() {
            return Ok(false);
        }
        // Pinned since, in another tier: a pinned object has all its blocks in one.
        if self.tiers.iter().any(|other| other.number != tier && other.is_pinned(block.name, Some(&stripe))) {
            return Err(Reason::Pin);
        }
        if !place.agrees(block.name) {
            return Err(Reason::WrongLength);
        }
        place.store(block, set, place.landing(place_in_order), reservation, &stripe)?;
        Ok(true)
    }

    /// Tiers to try, best first: where the object is pinned; else as the landing and then the Dataset wish; then the fastest that has
    /// free room, for a block that is not known to be used often must not push others out of a fast tier; then from the last up.
    fn landing_order(&self, name: Name, block: u32, dataset: &Dataset, landing: &Landing) -> Vec<usize> {
        if let Some(home) = self.tiers.iter().find(|tier| tier.is_pinned(name, None)) {
            return vec![home.number];
        }
        let charge = Tier::charge_of(name.size, block);
        let wishes = [landing.tier.as_deref(), dataset.policy.landing_tier.as_deref()];
        let wished = wishes.into_iter().flatten().filter_map(|tier| self.tier_named(tier));
        let roomy = self.tiers.iter().filter(|tier| tier.has_room(charge)).map(|tier| tier.number);
        let mut order = Vec::with_capacity(self.tiers.len());
        for tier in wished.chain(roomy).chain((0..self.tiers.len()).rev()) {
            if !order.contains(&tier) {
                order.push(tier);
            }
        }
        order
    }
}
