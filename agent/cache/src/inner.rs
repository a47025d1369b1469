use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::counters::count;
use crate::datasets::Dataset;
use crate::index::Index;
use crate::io::TierIo;
use crate::mover::Mover;
use crate::policy::{Bid, Cause, Victim};
use crate::shared::Shared;
use crate::tier::{Claim, Effort, Name, Reservation, Stripe, Tier};
use crate::{CacheConfig, ObjectId, Reason};

/// Blocks evicted for one write at most. A write that needs more room than so many give is refused.
const EVICTIONS_PER_WRITE: u32 = 4096;

/// The cache behind its handles: the tiers, and what goes on between them.
pub(crate) struct Inner {
    pub(crate) tiers: Vec<Tier>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) mover: Mover,
}

impl Inner {
    pub(crate) fn new(config: &CacheConfig, ios: Vec<Arc<dyn TierIo>>, index: Arc<dyn Index>) -> Self {
        let shared = Arc::new(Shared::new(config, index));
        let tiers = config.tiers.iter().zip(ios).enumerate();
        let tiers = tiers.map(|(number, (tier, io))| Tier::new(number, tier, io, shared.clone())).collect();
        Self { tiers, shared, mover: Mover::new() }
    }

    /// The fastest tier that holds a block.
    pub(crate) fn holder(&self, name: Name, block: u32, stripe: Option<&Stripe<'_>>) -> Option<&Tier> {
        self.tiers.iter().find(|tier| tier.has(name, block, stripe))
    }

    pub(crate) fn tier_named(&self, name: &str) -> Option<usize> {
        self.tiers.iter().position(|tier| &*tier.name == name)
    }

    /// Reserves room in a tier, evicting what the order of eviction gives.
    pub(crate) fn reserve(&self, tier: usize, charge: u64, bid: Bid) -> Result<Reservation<'_>, Reason> {
        let mut effort = Effort::default();
        for _ in 0..EVICTIONS_PER_WRITE {
            if self.shared.is_closed() {
                return Err(Reason::Closed);
            }
            match self.tiers[tier].claim(charge, bid, &mut effort) {
                Claim::Granted(reservation) => return Ok(reservation),
                Claim::Refused(reason) => return Err(reason),
                Claim::Evict { id, block, victim } => effort.add(self.evict(tier, id, block, victim, true)),
            }
        }
        Err(Reason::Full)
    }

    /// Takes bytes of a Dataset's quota, evicting from the Dataset itself when it is full, slowest tier first.
    pub(crate) fn take_quota(&self, set: u16, dataset: &Dataset, len: u64) -> Result<(), Reason> {
        for _ in 0..EVICTIONS_PER_WRITE {
            if dataset.reserve(len) {
                return Ok(());
            }
            if !self.evict_from(set, len) {
                return Err(Reason::Quota);
            }
        }
        Err(Reason::Quota)
    }

    /// Evicts what a Dataset has beyond its quota, unless it is pinned; the bytes evicted.
    pub(crate) fn enforce_quota(&self, set: u16) -> u64 {
        let dataset = self.shared.datasets.get(set);
        let before = dataset.bytes();
        while dataset.policy.quota.is_some_and(|quota| dataset.bytes() > quota) && self.evict_from(set, 0) {}
        before.saturating_sub(dataset.bytes())
    }

    /// [`Inner::enforce_quota`] for all Datasets.
    pub(crate) fn enforce_quotas(&self) -> u64 {
        let sets = self.shared.datasets.all().len();
        (0..=u16::MAX).take(sets).map(|set| self.enforce_quota(set)).sum()
    }

    /// Evicts one block of a Dataset; whether there was one.
    pub(crate) fn evict_from(&self, set: u16, incoming: u64) -> bool {
        for tier in self.tiers.iter().rev() {
            if let Some((id, block, victim)) = tier.claim_from(set, incoming) {
                // Below, it would count against the quota as here.
                self.evict(tier.number, id, block, victim, false);
                return true;
            }
        }
        false
    }

    /// Evicts a chosen block, and offers its bytes to the tier below; what was charged for it, about.
    pub(crate) fn evict(&self, tier: usize, id: ObjectId, block: u32, victim: Victim, demote: bool) -> u64 {
        let below = self
            .tiers
            .get(tier + 1)
            .filter(|_| demote && !matches!(victim.cause, Cause::Retired | Cause::Expired | Cause::Guest));
        let mut used = 0;
        let stripe = self.shared.stripe(&id);
        let evicted = self.tiers[tier].evict(id, block, &stripe, |size, block, count| {
            used = count;
            below.is_some_and(|below| self.mover.has_room() && below.would_take(Tier::charge_of(size, block), count))
        });
        drop(stripe);
        let Some(evicted) = evicted else { return 0 };
        count(&self.shared.counters.evictions, 1);
        if let (Some(below), Some(data)) = (below, evicted.data)
            && !self.mover.demote(below.number, evicted.name, evicted.set, block, used, data)
        {
            count(&self.shared.counters.moves_dropped, 1);
        }
        evicted.charge
    }

    /// Moves a block between tiers into a reservation: copies it, then drops the original. Whether it arrived.
    pub(crate) fn relocate(
        &self,
        from: usize,
        to: usize,
        name: Name,
        block: u32,
        reservation: Reservation<'_>,
        held: bool,
    ) -> bool {
        let stripe = self.shared.stripe(&name.id);
        let (from, to) = (&self.tiers[from], &self.tiers[to]);
        let Some((set, verified)) = from.movable(name, block, held, &stripe) else { return false };
        if to.has(name, block, Some(&stripe)) {
            if !from.vacate(name, &stripe) {
                return false;
            }
            from.remove(name, &[block], &stripe, |_, _, _| true);
            return true;
        }
        let Some(data) = from.take_data(name, block, verified) else { return false };
        let moved = crate::tier::Block { name, number: block, crc: crc32c::crc32c(&data), data: &data };
        if !from.vacate(name, &stripe) {
            return false;
        }
        let landed = to.landing(crate::policy::Place::Main);
        if to.store(moved, set, landed, reservation, &stripe).is_err() {
            return false;
        }
        // In the sum of its Dataset the block counts twice for this moment; the quota is not asked, for nothing is added.
        self.shared.datasets.get(set).add(data.len() as u64);
        from.remove(name, &[block], &stripe, |_, _, _| true);
        true
    }

    /// Waits until no write that began before the close is under way.
    pub(crate) fn drain(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.visit_stripes();
    }
}
