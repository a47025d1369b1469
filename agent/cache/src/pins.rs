use crate::PinError;
use crate::inner::Inner;
use crate::policy::Bid;
use crate::tier::{Name, Tier};

impl Inner {
    /// Pins an object in one tier, its home: `wish`, else the Dataset's landing tier, else where most of it is, else the largest.
    /// What other tiers have of it is moved there. What another Dataset has pinned has its home.
    pub(crate) fn pin(&self, set: u16, name: Name, wish: Option<&str>) -> Result<(), PinError> {
        if name.size == 0 {
            return Ok(());
        }
        if let Some(home) = self.tiers.iter().find(|tier| tier.is_pinned_by(name, set)) {
            return if self.gather(home.number, name) { Ok(()) } else { Err(home.unavailable()) };
        }
        let dataset = self.shared.datasets.get(set);
        dataset.may_pin(name.size)?;
        let mut first = None;
        for home in self.homes(name, [wish, dataset.policy.landing_tier.as_deref()]) {
            match self.pin_in(home, set, name) {
                Ok(()) => return Ok(()),
                Err(e) => {
                    first.get_or_insert(e);
                }
            }
        }
        Err(first.unwrap_or(PinError::Retired))
    }

    fn homes(&self, name: Name, wishes: [Option<&str>; 2]) -> Vec<usize> {
        let mut rest: Vec<usize> = (0..self.tiers.len()).collect();
        rest.sort_by_key(|tier| {
            let tier = &self.tiers[*tier];
            let present = tier.with(name, None, |state, key| state.objects.present_bytes(key)).unwrap_or(0);
            std::cmp::Reverse((present, tier.capacity))
        });
        let mut order: Vec<usize> = wishes.into_iter().flatten().filter_map(|wish| self.tier_named(wish)).collect();
        for tier in rest {
            if !order.contains(&tier) {
                order.push(tier);
            }
        }
        order.dedup();
        order
    }

    fn pin_in(&self, home: usize, set: u16, name: Name) -> Result<(), PinError> {
        let tier = &self.tiers[home];
        let mut reservation = None;
        let home = loop {
            let stripe = self.shared.stripe(&name.id);
            if let Some(home) = self.tiers.iter().find(|tier| tier.is_pinned(name, Some(&stripe))) {
                if !home.join(name, set, &stripe)? {
                    return Ok(());
                }
                break home;
            }
            tier.pin_room(name)?;
            // Room is made without the stripe; until it is back the object may have come or gone.
            if reservation.is_some() || tier.with(name, Some(&stripe), |_, _| ()).is_some() {
                tier.pin(name, set, reservation, &stripe)?;
                break tier;
            }
            drop(stripe);
            reservation = Some(self.reserve(home, Tier::placeholder_charge(name), Bid::Landed).map_err(|_| tier.unavailable())?);
        };
        if !self.gather(home.number, name) {
            self.unpin(set, name);
            return Err(home.unavailable());
        }
        Ok(())
    }

    /// Moves what other tiers have of a pinned object to its home. Whether nothing is left in them.
    fn gather(&self, home: usize, name: Name) -> bool {
        for other in self.tiers.iter().filter(|other| other.number != home) {
            let blocks: Vec<u32> = other
                .with(name, None, |state, key| state.objects.blocks(key).into_iter().map(|(block, _)| block).collect())
                .unwrap_or_default();
            for block in blocks {
                let room = self.reserve(home, Tier::charge_of(name.size, block), Bid::Landed);
                let moved = room.is_ok_and(|room| self.relocate(other.number, home, name, block, room, true));
                // A block that was evicted meanwhile is merely absent; one that stays behind could be evicted later.
                if !moved && other.has(name, block, None) {
                    return false;
                }
            }
        }
        true
    }

    /// Takes a Dataset's pin off. With the last one goes what was held by it beyond the quota of the object's owner.
    pub(crate) fn unpin(&self, set: u16, name: Name) {
        for tier in &self.tiers {
            let stripe = self.shared.stripe(&name.id);
            if tier.is_pinned(name, Some(&stripe)) && tier.unpin(name, set, &stripe) {
                let owner = tier.owner(&name.id);
                drop(stripe);
                owner.map(|owner| self.enforce_quota(owner));
            }
        }
    }
}
