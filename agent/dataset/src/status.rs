//! The Dataset's state in the words of its status.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use forebay_crds::DatasetStatus;
use forebay_crds::dataset::{
    CacheStatus, CatalogStatus, FailedFile, HandledStatus, MountStatus, NodesStatus, PrefetchStatus, RejectedObject, TierUsage,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::dataset::{Dataset, Inner};
use crate::failures::Failures;
use crate::judge::{self, Facts};
use crate::progress;

/// A read that failed longer ago says nothing of now.
const LATELY: Duration = Duration::from_secs(120);

impl Dataset {
    /// What is so now. Costs no look at a store or at the cache's files.
    pub fn status(&self) -> DatasetStatus {
        let inner = &self.inner;
        inner.failed_reads.forget_before(inner.started.elapsed().saturating_sub(LATELY));
        let facts = inner.facts();
        let mut status = DatasetStatus {
            observed_generation: None,
            phase: judge::phase(&facts),
            conditions: inner.conditions(&facts),
            catalog: inner.catalog_status(),
            cache: inner.cache_status(),
            prefetch: inner.prefetch_status(),
            nodes: NodesStatus { ready: u32::from(facts.listed), desired: 1 },
            first_used_at: None,
            claim: None,
            handled: HandledStatus::default(),
            summary: Default::default(),
        };
        status.summarize();
        status
    }
}

impl Inner {
    fn facts(&self) -> Facts {
        let state = self.state().clone();
        Facts {
            listed: self.generations.current().is_some(),
            listing: state.listing.then(|| self.listed.load(Ordering::Relaxed)),
            listing_failure: state.listing_failure,
            filling: state.filling,
            not_fetched: example(&self.not_fetched),
            failed_reads: example(&self.failed_reads),
        }
    }

    /// Conditions keep the time of their last change of status.
    fn conditions(&self, facts: &Facts) -> Vec<Condition> {
        let mut since = self.condition_times.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Timestamp::now();
        judge::verdicts(facts)
            .into_iter()
            .map(|verdict| {
                let entry = since.entry(verdict.kind).or_insert((verdict.holds, now));
                if entry.0 != verdict.holds {
                    *entry = (verdict.holds, now);
                }
                Condition {
                    type_: verdict.kind.to_owned(),
                    status: if verdict.holds { "True" } else { "False" }.to_owned(),
                    reason: verdict.reason.to_owned(),
                    message: verdict.message,
                    last_transition_time: Time(entry.1),
                    observed_generation: None,
                }
            })
            .collect()
    }

    fn catalog_status(&self) -> CatalogStatus {
        let Some(generation) = self.generations.current() else {
            return CatalogStatus { files: 0, ..CatalogStatus::default() };
        };
        let info = generation.catalog.info();
        let report = generation.catalog.report();
        let sample = report.sample.iter().filter_map(|rejected| {
            Some(RejectedObject {
                mount: self.mounts.get(usize::from(rejected.mount))?.path.parse().ok()?,
                key: rejected.key.clone(),
                reason: rejected.reason.clone(),
            })
        });
        let failure = self.state().listing_failure.clone();
        let mounts = self.mounts.iter().zip(&info.totals).filter_map(|(mount, totals)| {
            let error = failure.as_ref().filter(|failure| failure.mount.as_deref() == Some(&mount.path));
            Some(MountStatus {
                path: mount.path.parse().ok()?,
                files: totals.files,
                bytes: totals.bytes,
                error: error.map(|failure| failure.message.clone()),
            })
        });
        CatalogStatus {
            files: info.files,
            bytes: info.bytes,
            generation: u64::from(generation.number),
            listed_at: Timestamp::from_nanosecond(i128::from(info.listed_at_ns)).ok().map(Time),
            rejected: report.rejected(),
            rejected_sample: sample.take(CatalogStatus::SAMPLE).collect(),
            mounts: mounts.collect(),
        }
    }

    fn cache_status(&self) -> CacheStatus {
        let usage = self.cache.usage();
        let mine = usage.datasets.get(&self.settings.name).cloned().unwrap_or_default();
        let tiers = usage.tiers.iter().zip(&mine.tiers);
        let total = self.read_bytes.load(Ordering::Relaxed);
        let cached = self.hit_bytes.load(Ordering::Relaxed);
        CacheStatus {
            bytes: mine.bytes,
            percent: 0,
            pinned_bytes: mine.pinned,
            hit_ratio: (total > 0).then(|| cached as f64 / total as f64),
            tiers: tiers
                .map(|(tier, bytes)| TierUsage { name: tier.name.clone(), bytes: *bytes, ..TierUsage::default() })
                .collect(),
        }
    }

    fn prefetch_status(&self) -> PrefetchStatus {
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let (done_bytes, total_bytes) = (read(&self.prefetch.done_bytes), read(&self.prefetch.total_bytes));
        let bytes_per_second = self.prefetch.bytes_per_second(self.started.elapsed());
        let left = progress::time_left(done_bytes, total_bytes, bytes_per_second);
        let (failed, failed_files) = self.not_fetched.list();
        PrefetchStatus {
            done_bytes: done_bytes.min(total_bytes),
            total_bytes,
            done_files: read(&self.prefetch.done_files),
            total_files: read(&self.prefetch.total_files),
            bytes_per_second,
            estimated_completion: left.and_then(|left| Timestamp::try_from(SystemTime::now() + left).ok()).map(Time),
            failed_files,
            failed: failed.into_iter().take(PrefetchStatus::SAMPLE).map(|(path, error)| FailedFile { path, error }).collect(),
        }
    }
}

/// How many failed, and one of them with its error.
fn example(failures: &Failures) -> Option<(u64, String)> {
    let (list, count) = failures.list();
    list.into_iter().next().map(|(path, error)| (count, format!("{path}: {error}")))
}
