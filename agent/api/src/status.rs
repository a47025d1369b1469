//! A Dataset's status to its message and back. Every struct is taken apart field by field, so that a new field which
//! nobody carries over does not compile.

use forebay_crds::dataset::{
    CacheStatus, CatalogStatus, FailedFile, MountStatus, NodesStatus, PrefetchStatus, RejectedObject, TierUsage,
};
use forebay_crds::k8s::Condition;
use forebay_crds::values::TreePath;
use forebay_crds::{DatasetStatus, Phase};

use crate::convert::{all, every, to_time, to_timestamp};
use crate::{InvalidMessage, v1};

impl From<DatasetStatus> for v1::DatasetStatus {
    fn from(status: DatasetStatus) -> Self {
        let DatasetStatus {
            observed_generation,
            phase,
            conditions,
            catalog,
            cache,
            prefetch,
            nodes,
            first_used_at: _,
            claim,
            handled: _,
            summary: _,
        } = status;
        Self {
            observed_generation,
            phase: v1::Phase::from(phase).into(),
            conditions: every(conditions),
            catalog: Some(catalog.into()),
            cache: Some(cache.into()),
            prefetch: Some(prefetch.into()),
            nodes: Some(nodes.into()),
            claim,
        }
    }
}

impl TryFrom<v1::DatasetStatus> for DatasetStatus {
    type Error = InvalidMessage;

    fn try_from(status: v1::DatasetStatus) -> Result<Self, InvalidMessage> {
        let v1::DatasetStatus { observed_generation, phase, conditions, catalog, cache, prefetch, nodes, claim } = status;
        let phase = v1::Phase::try_from(phase).ok().and_then(to_phase);
        let mut status = Self {
            observed_generation,
            phase: phase.ok_or_else(|| InvalidMessage::new("status.phase", "it is none that this version knows"))?,
            conditions: all(conditions)?,
            catalog: catalog.unwrap_or_default().try_into()?,
            cache: cache.unwrap_or_default().into(),
            prefetch: prefetch.unwrap_or_default().try_into()?,
            nodes: nodes.unwrap_or_default().into(),
            first_used_at: None,
            claim,
            handled: Default::default(),
            summary: Default::default(),
        };
        status.summarize();
        Ok(status)
    }
}

impl From<Phase> for v1::Phase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Pending => Self::Pending,
            Phase::Listing => Self::Listing,
            Phase::Prefetching => Self::Prefetching,
            Phase::Ready => Self::Ready,
            Phase::Degraded => Self::Degraded,
            Phase::Failed => Self::Failed,
        }
    }
}

fn to_phase(phase: v1::Phase) -> Option<Phase> {
    Some(match phase {
        v1::Phase::Unspecified => return None,
        v1::Phase::Pending => Phase::Pending,
        v1::Phase::Listing => Phase::Listing,
        v1::Phase::Prefetching => Phase::Prefetching,
        v1::Phase::Ready => Phase::Ready,
        v1::Phase::Degraded => Phase::Degraded,
        v1::Phase::Failed => Phase::Failed,
    })
}

impl From<Condition> for v1::Condition {
    fn from(condition: Condition) -> Self {
        let Condition { last_transition_time, message, observed_generation, reason, status, type_ } = condition;
        Self {
            r#type: type_,
            status,
            reason,
            message,
            last_transition_time: Some(to_timestamp(&last_transition_time)),
            observed_generation,
        }
    }
}

impl TryFrom<v1::Condition> for Condition {
    type Error = InvalidMessage;

    fn try_from(condition: v1::Condition) -> Result<Self, InvalidMessage> {
        let v1::Condition { r#type, status, reason, message, last_transition_time, observed_generation } = condition;
        const TIME: &str = "status.conditions.lastTransitionTime";
        Ok(Self {
            last_transition_time: to_time(TIME, last_transition_time.ok_or(InvalidMessage::missing(TIME))?)?,
            message,
            observed_generation,
            reason,
            status,
            type_: r#type,
        })
    }
}

impl From<CatalogStatus> for v1::CatalogStatus {
    fn from(catalog: CatalogStatus) -> Self {
        let CatalogStatus { files, bytes, generation, listed_at, rejected, rejected_sample, mounts } = catalog;
        Self {
            files,
            bytes,
            generation,
            listed_at: listed_at.as_ref().map(to_timestamp),
            rejected,
            rejected_sample: every(rejected_sample),
            mounts: every(mounts),
        }
    }
}

impl TryFrom<v1::CatalogStatus> for CatalogStatus {
    type Error = InvalidMessage;

    fn try_from(catalog: v1::CatalogStatus) -> Result<Self, InvalidMessage> {
        let v1::CatalogStatus { files, bytes, generation, listed_at, rejected, rejected_sample, mounts } = catalog;
        Ok(Self {
            files,
            bytes,
            generation,
            listed_at: listed_at.map(|stamp| to_time("status.catalog.listedAt", stamp)).transpose()?,
            rejected,
            rejected_sample: all(rejected_sample)?,
            mounts: all(mounts)?,
        })
    }
}

impl From<MountStatus> for v1::MountStatus {
    fn from(MountStatus { path, files, bytes, error }: MountStatus) -> Self {
        Self { path: path.to_string(), files, bytes, error }
    }
}

impl TryFrom<v1::MountStatus> for MountStatus {
    type Error = InvalidMessage;

    fn try_from(v1::MountStatus { path, files, bytes, error }: v1::MountStatus) -> Result<Self, InvalidMessage> {
        Ok(Self { path: tree_path("status.catalog.mounts.path", &path)?, files, bytes, error })
    }
}

impl From<RejectedObject> for v1::RejectedObject {
    fn from(RejectedObject { mount, key, reason }: RejectedObject) -> Self {
        Self { mount: mount.to_string(), key, reason }
    }
}

impl TryFrom<v1::RejectedObject> for RejectedObject {
    type Error = InvalidMessage;

    fn try_from(v1::RejectedObject { mount, key, reason }: v1::RejectedObject) -> Result<Self, InvalidMessage> {
        Ok(Self { mount: tree_path("status.catalog.rejectedSample.mount", &mount)?, key, reason })
    }
}

fn tree_path(field: &'static str, text: &str) -> Result<TreePath, InvalidMessage> {
    text.parse().map_err(|error: forebay_crds::values::ValueError| InvalidMessage::new(field, error.to_string()))
}

impl From<CacheStatus> for v1::CacheStatus {
    fn from(CacheStatus { bytes, percent: _, pinned_bytes, hit_ratio, tiers }: CacheStatus) -> Self {
        Self { bytes, pinned_bytes, hit_ratio, tiers: every(tiers) }
    }
}

impl From<v1::CacheStatus> for CacheStatus {
    fn from(v1::CacheStatus { bytes, pinned_bytes, hit_ratio, tiers }: v1::CacheStatus) -> Self {
        Self { bytes, percent: 0, pinned_bytes, hit_ratio, tiers: every(tiers) }
    }
}

impl From<TierUsage> for v1::TierUsage {
    fn from(TierUsage { name, bytes, pinned_bytes }: TierUsage) -> Self {
        Self { name, bytes, pinned_bytes }
    }
}

impl From<v1::TierUsage> for TierUsage {
    fn from(v1::TierUsage { name, bytes, pinned_bytes }: v1::TierUsage) -> Self {
        Self { name, bytes, pinned_bytes }
    }
}

impl From<PrefetchStatus> for v1::PrefetchStatus {
    fn from(prefetch: PrefetchStatus) -> Self {
        let PrefetchStatus {
            done_bytes,
            total_bytes,
            done_files,
            total_files,
            bytes_per_second,
            estimated_completion,
            failed_files,
            failed,
        } = prefetch;
        Self {
            done_bytes,
            total_bytes,
            done_files,
            total_files,
            bytes_per_second,
            estimated_completion: estimated_completion.as_ref().map(to_timestamp),
            failed_files,
            failed: every(failed),
        }
    }
}

impl TryFrom<v1::PrefetchStatus> for PrefetchStatus {
    type Error = InvalidMessage;

    fn try_from(prefetch: v1::PrefetchStatus) -> Result<Self, InvalidMessage> {
        let v1::PrefetchStatus {
            done_bytes,
            total_bytes,
            done_files,
            total_files,
            bytes_per_second,
            estimated_completion,
            failed_files,
            failed,
        } = prefetch;
        let completion = estimated_completion.map(|stamp| to_time("status.prefetch.estimatedCompletion", stamp));
        Ok(Self {
            done_bytes,
            total_bytes,
            done_files,
            total_files,
            bytes_per_second,
            estimated_completion: completion.transpose()?,
            failed_files,
            failed: every(failed),
        })
    }
}

impl From<FailedFile> for v1::FailedFile {
    fn from(FailedFile { path, error }: FailedFile) -> Self {
        Self { path, error }
    }
}

impl From<v1::FailedFile> for FailedFile {
    fn from(v1::FailedFile { path, error }: v1::FailedFile) -> Self {
        Self { path, error }
    }
}

impl From<NodesStatus> for v1::NodesStatus {
    fn from(NodesStatus { ready, desired }: NodesStatus) -> Self {
        Self { ready, desired }
    }
}

impl From<v1::NodesStatus> for NodesStatus {
    fn from(v1::NodesStatus { ready, desired }: v1::NodesStatus) -> Self {
        Self { ready, desired }
    }
}
