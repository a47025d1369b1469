//! What is counted of what an agent says of a Dataset, in parts that agents who say the same share.
//!
//! A thousand agents with a thousand Datasets say a million reports of some 2 KiB, nearly all of them alike: what differs between
//! agents (when each listed) is kept apart, what nobody reads here (when, since when, where) is dropped, and the rest is kept once.

use std::sync::Arc;

use forebay_api::session::DatasetProgress;
use forebay_crds::conditions::{dataset, reason};
use forebay_crds::dataset::{CacheStatus, CatalogStatus, PrefetchStatus};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};
use forebay_crds::{DatasetStatus, Phase};

/// How a Dataset does on one node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    pub(crate) words: Arc<Words>,
    /// Without the number and the time of the listing.
    pub(crate) catalog: Arc<CatalogStatus>,
    pub(crate) cache: Arc<CacheStatus>,
    pub(crate) prefetch: Arc<PrefetchStatus>,
    /// Number of the listing in use there, from 1; 0 before the first.
    pub(crate) listing: u64,
    pub(crate) listed_at: Option<Time>,
}

/// What changes seldom, and is mostly the same on all nodes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Words {
    pub(crate) phase: Phase,
    pub(crate) observed_generation: Option<i64>,
    /// Without times.
    pub(crate) conditions: Vec<Condition>,
    pub(crate) refreshed: Option<String>,
    pub(crate) evicted: Option<String>,
}

impl Words {
    /// Whether the node has brought in all that it keeps, or all that fits. One that could not fetch some file may have more to fetch.
    pub(crate) fn is_share_complete(&self) -> bool {
        let told = self.conditions.iter().find(|condition| condition.type_ == dataset::PREFETCHED);
        told.is_some_and(|told| told.status == "True" || *told.reason == *reason::OUT_OF_SPACE)
    }
}

/// Parts that agents said lately of one Dataset.
#[derive(Debug, Default)]
pub(crate) struct Said {
    words: Recent<Words>,
    catalogs: Recent<CatalogStatus>,
    caches: Recent<CacheStatus>,
    prefetches: Recent<PrefetchStatus>,
}

impl Said {
    /// What is kept of a report.
    pub(crate) fn standing(&mut self, progress: DatasetProgress) -> Standing {
        let DatasetProgress { uid: _, report, refreshed, evicted, mounts: _ } = progress;
        let DatasetStatus {
            observed_generation,
            phase,
            mut conditions,
            mut catalog,
            cache,
            prefetch,
            nodes: _,
            first_used_at: _,
            claim: _,
            handled: _,
            summary: _,
        } = report.status;
        for condition in &mut conditions {
            condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
            condition.observed_generation = None;
        }
        let listing = std::mem::take(&mut catalog.generation);
        let listed_at = catalog.listed_at.take();
        Standing {
            words: self.words.share(Words { phase, observed_generation, conditions, refreshed, evicted }),
            catalog: self.catalogs.share(catalog),
            cache: self.caches.share(cache),
            prefetch: self.prefetches.share(prefetch),
            listing,
            listed_at,
        }
    }
}

impl Standing {
    /// The listing in use there.
    pub(crate) fn catalog(&self) -> CatalogStatus {
        CatalogStatus { generation: self.listing, listed_at: self.listed_at.clone(), ..(*self.catalog).clone() }
    }
}

/// Values that are looked through for an equal one: few, so that a report costs no more than it does to read it.
const LOOKED_AT: usize = 4;

/// The newest values of a kind.
#[derive(Debug)]
struct Recent<T> {
    values: [Option<Arc<T>>; LOOKED_AT],
    oldest: usize,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { values: [const { None }; LOOKED_AT], oldest: 0 }
    }
}

impl<T: PartialEq> Recent<T> {
    fn share(&mut self, value: T) -> Arc<T> {
        if let Some(same) = self.values.iter().flatten().find(|known| ***known == value) {
            return same.clone();
        }
        let value = Arc::new(value);
        self.values[self.oldest] = Some(value.clone());
        self.oldest = (self.oldest + 1) % LOOKED_AT;
        value
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
pub(crate) mod tests {
    use super::*;

    /// A status as it is kept.
    pub(crate) fn standing(status: DatasetStatus) -> Standing {
        Said::default().standing(said(status))
    }

    pub(crate) fn said(status: DatasetStatus) -> DatasetProgress {
        let report = forebay_api::DatasetReport {
            namespace: "ml".into(),
            name: "imagenet".into(),
            at: "/x".into(),
            mounted: true,
            since: std::time::UNIX_EPOCH,
            listing: None,
            status,
            not_native: None,
        };
        DatasetProgress { uid: "u".into(), report, refreshed: None, evicted: None, mounts: 1 }
    }

    #[test]
    fn agents_that_say_the_same_at_other_times_share_what_they_say() {
        let at = |second: i64| Some(Time(Timestamp::from_second(second).unwrap()));
        let status = |second: i64| {
            let condition = Condition {
                last_transition_time: at(second).unwrap(),
                message: "served".into(),
                observed_generation: None,
                reason: "AsDesired".into(),
                status: "True".into(),
                type_: "Ready".into(),
            };
            let catalog = CatalogStatus { files: 3, generation: second as u64, listed_at: at(second), ..Default::default() };
            DatasetStatus { conditions: vec![condition], catalog, ..DatasetStatus::default() }
        };
        let mut of_dataset = Said::default();
        let (a, b) = (of_dataset.standing(said(status(1))), of_dataset.standing(said(status(2))));
        assert!(Arc::ptr_eq(&a.words, &b.words) && Arc::ptr_eq(&a.catalog, &b.catalog) && Arc::ptr_eq(&a.cache, &b.cache));
        assert_eq!((a.catalog(), b.catalog()), (status(1).catalog, status(2).catalog), "each has its own listing");
        let mut other = status(1);
        other.cache.bytes = 1;
        let other = of_dataset.standing(said(other));
        assert!(!Arc::ptr_eq(&a.cache, &other.cache) && Arc::ptr_eq(&a.words, &other.words));
        assert_eq!(other.cache.bytes, 1);
    }

    #[test]
    fn only_the_newest_values_are_looked_through() {
        let mut recent = Recent::default();
        let first = recent.share(0);
        for value in 1..LOOKED_AT {
            recent.share(value);
        }
        assert!(Arc::ptr_eq(&first, &recent.share(0)));
        recent.share(LOOKED_AT);
        assert!(!Arc::ptr_eq(&first, &recent.share(0)));
    }
}
