use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::words::{because, count, failed_files, prefetch};
use forebay_crds::{Dataset, DatasetStatus, Phase};
use kube::ResourceExt as _;

/// `namespace/name`.
pub(super) fn full_name(dataset: &Dataset) -> String {
    format!("{}/{}", dataset.namespace().unwrap_or_default(), dataset.name_any())
}

/// How far a Dataset is, on one line.
pub(super) fn line(status: &DatasetStatus, now: Timestamp) -> String {
    let phase = status.phase;
    let tree = || format!("{}, {}, {} cached", count(status.catalog.files, "file"), status.summary.size, status.summary.cached);
    match phase {
        Phase::Pending | Phase::Listing | Phase::Failed => format!("{phase:?}{}", because(status)),
        Phase::Prefetching => {
            let far = prefetch(&status.prefetch, now).unwrap_or_else(tree);
            format!("{phase:?} {far}{}", failed_files(&status.prefetch))
        }
        Phase::Ready => format!("{phase:?}: {}", tree()),
        Phase::Degraded => format!("{phase:?}: {}{}", tree(), because(status).replacen(": ", "; ", 1)),
    }
}

/// How full a bar is: of what is fetched ahead while that goes on, else of what is cached.
pub(super) fn bar(status: &DatasetStatus) -> (u64, u64) {
    match status.phase {
        Phase::Prefetching if status.prefetch.total_bytes > 0 => (status.prefetch.done_bytes, status.prefetch.total_bytes),
        Phase::Pending | Phase::Listing | Phase::Prefetching | Phase::Ready | Phase::Degraded | Phase::Failed => {
            (status.cache.bytes.min(status.catalog.bytes), status.catalog.bytes.max(1))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use forebay_crds::k8s::{Condition, Time};

    use super::*;

    pub(crate) fn status(phase: Phase, done: u64) -> DatasetStatus {
        let mut status = DatasetStatus { phase, ..DatasetStatus::default() };
        (status.catalog.files, status.catalog.bytes, status.catalog.generation) = (100, 100 << 20, 1);
        status.cache.bytes = done << 20;
        let prefetch = &mut status.prefetch;
        (prefetch.done_bytes, prefetch.total_bytes) = (done << 20, 100 << 20);
        (prefetch.done_files, prefetch.total_files) = (done, 100);
        prefetch.bytes_per_second = 10 << 20;
        status.summarize();
        status
    }

    pub(crate) fn condition(type_: &str, message: &str) -> Condition {
        Condition {
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            message: message.into(),
            observed_generation: None,
            reason: "Some".into(),
            status: "False".into(),
            type_: type_.into(),
        }
    }

    #[test]
    fn a_line_says_how_far_it_is_or_why_it_does_not_go_on() {
        let now = Timestamp::UNIX_EPOCH;
        let table = [
            (Phase::Pending, "Pending: the Secret is missing"),
            (Phase::Listing, "Listing: the Secret is missing"),
            (Phase::Prefetching, "Prefetching 42%: 42.0Mi of 100Mi, 42 of 100 files, 10.0Mi/s"),
            (Phase::Ready, "Ready: 100 files, 100Mi, 42% cached"),
            (Phase::Degraded, "Degraded: 100 files, 100Mi, 42% cached; the Secret is missing"),
            (Phase::Failed, "Failed: the Secret is missing"),
        ];
        for (phase, expected) in table {
            let mut status = status(phase, 42);
            status.conditions.push(condition("Accepted", "the Secret is missing"));
            assert_eq!(line(&status, now), expected);
        }
        assert_eq!(line(&DatasetStatus::default(), now), "Pending");
    }
}
