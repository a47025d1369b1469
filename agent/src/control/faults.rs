//! Tiers that cannot be used, in the words of a Dataset's status: of the cache itself the socket has no status to tell.

use std::sync::{Mutex, PoisonError};

use forebay_cache::TierHealth;
use forebay_crds::conditions::{dataset as kind, reason};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};

/// Since when a tier cannot be used, as far as anybody has asked.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Option<Timestamp>>);

impl Faults {
    /// The condition that tells which tiers cannot be used, and why; `None`: all can.
    pub(super) fn of(&self, tiers: &[TierHealth]) -> Option<Condition> {
        // As the operator says it of a node.
        let told = |tier: &TierHealth| tier.fault().map(|why| format!("tier {} is not used: {why}", tier.name));
        let faults: Vec<String> = tiers.iter().filter_map(told).collect();
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.is_empty() {
            *since = None;
            return None;
        }
        Some(Condition {
            type_: kind::TIERS_USABLE.to_owned(),
            status: "False".to_owned(),
            reason: reason::TIER_FAULTY.to_owned(),
            message: faults.join("; "),
            last_transition_time: Time(*since.get_or_insert_with(Timestamp::now)),
            observed_generation: None,
        })
    }
}
