//! Every metric of the agent: its name, unit, labels and help, once. `docs/metrics.md` is compared with this by a test.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// What a metric is.
#[derive(Debug)]
pub(super) struct Metric {
    /// Its name without unit and `_total`.
    pub(super) name: &'static str,
    /// Its unit, which stands at the end of the exported name.
    pub(super) unit: Option<Measure>,
    /// Counter or gauge.
    pub(super) kind: MetricType,
    /// Its labels, in the order of the samples' values.
    pub(super) labels: &'static [&'static str],
    /// What it says.
    pub(super) help: &'static str,
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, unit: None, kind: MetricType::Gauge, labels, help }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, unit: None, kind: MetricType::Counter, labels, help }
}

impl Metric {
    const fn bytes(self) -> Self {
        Self { unit: Some(Measure::Bytes), ..self }
    }

    const fn seconds(self) -> Self {
        Self { unit: Some(Measure::Seconds), ..self }
    }
}

/// The units in use.
#[derive(Debug, Clone, Copy)]
pub(super) enum Measure {
    Bytes,
    Seconds,
}

impl From<Measure> for Unit {
    fn from(measure: Measure) -> Self {
        match measure {
            Measure::Bytes => Self::Bytes,
            Measure::Seconds => Self::Seconds,
        }
    }
}

/// A Dataset's labels.
const DATASET: &[&str] = &["namespace", "dataset"];
const DATASET_PHASE_LABELS: &[&str] = &["namespace", "dataset", "phase"];
const DATASET_CONDITION_LABELS: &[&str] = &["namespace", "dataset", "condition"];
const DATASET_TIER: &[&str] = &["namespace", "dataset", "tier"];
const DATASET_MOUNT: &[&str] = &["namespace", "dataset", "mount"];
const TIER: &[&str] = &["tier", "medium"];
const TIER_STATE_LABELS: &[&str] = &["tier", "medium", "state"];
/// For whom something is fetched: `reader` or `background` (prefetch and pin).
const CLASS: &[&str] = &["class"];
const KIND: &[&str] = &["kind"];

macro_rules! metrics {
    ($($const:ident = $metric:expr;)*) => {
        $(pub(super) const $const: Metric = $metric;)*
        /// All of them, in the order in which they are exported.
        #[cfg(test)]
        pub(super) const ALL: &[Metric] = &[$($const),*];
    };
}

metrics! {
    BUILD_INFO = gauge("forebay_build_info", &["version"], "1; the label says which version of the agent runs");

    DATASET_PHASE = gauge("forebay_dataset_phase", DATASET_PHASE_LABELS, "1 for the phase that the Dataset is in, 0 for the others");
    DATASET_CONDITION = gauge("forebay_dataset_condition", DATASET_CONDITION_LABELS, "1 when the condition is True, 0 when it is False, -1 when it is Unknown");
    DATASET_MOUNTED = gauge("forebay_dataset_mounted", DATASET, "1 when the Dataset's tree is mounted");
    DATASET_FILES = gauge("forebay_dataset_files", DATASET, "Files in the tree");
    DATASET_BYTES = gauge("forebay_dataset_size", DATASET, "Bytes in the tree").bytes();
    DATASET_GENERATION = gauge("forebay_dataset_generation", DATASET, "Number of the listing that is served; 0 before the first");
    DATASET_LISTED = gauge("forebay_dataset_listed_timestamp", DATASET, "When that listing was completed, in seconds since 1970; absent before the first").seconds();
    DATASET_LISTING = gauge("forebay_dataset_listing_objects", DATASET, "Objects that the listing under way has seen; absent when none is");
    DATASET_REJECTED = gauge("forebay_dataset_rejected_objects", DATASET, "Objects in the stores that could not become files");
    DATASET_CACHED = gauge("forebay_dataset_cached", DATASET, "Bytes cached on this node").bytes();
    DATASET_TIER_CACHED = gauge("forebay_dataset_tier_cached", DATASET_TIER, "Bytes cached in a tier").bytes();
    DATASET_PINNED = gauge("forebay_dataset_pinned", DATASET, "Bytes that nothing evicts").bytes();
    DATASET_QUOTA = gauge("forebay_dataset_quota", DATASET, "Bytes that the Dataset may have cached; absent without a quota").bytes();
    DATASET_HIT_RATIO = gauge("forebay_dataset_hit_ratio", DATASET, "Share of the bytes read since the start that came from the cache, 0 to 1; absent before the first read");
    DATASET_OPENS = counter("forebay_dataset_opens", &["namespace", "dataset", "way"], "Files opened through mounts: native ones are read by the kernel alone, served ones through the agent");
    DATASET_KEPT_FILES = gauge("forebay_dataset_kept_files", DATASET, "Files that nobody has open and that are kept ready for the kernel to read");
    DATASET_NATIVE = gauge("forebay_dataset_native", DATASET, "0 when something keeps complete files from being read natively; the status says what");
    DATASET_MOUNT_OK = gauge("forebay_dataset_mount_ok", DATASET_MOUNT, "0 when the last listing or fetch from the mount's store failed");
    DATASET_MOUNT_FILES = gauge("forebay_dataset_mount_files", DATASET_MOUNT, "Files that the tree has from the mount");
    DATASET_MOUNT_BYTES = gauge("forebay_dataset_mount_size", DATASET_MOUNT, "Bytes that the tree has from the mount").bytes();
    PREFETCH_TOTAL_FILES = gauge("forebay_prefetch_planned_files", DATASET, "Files to fetch ahead");
    PREFETCH_DONE_FILES = gauge("forebay_prefetch_done_files", DATASET, "Files of these that are cached");
    PREFETCH_FAILED_FILES = gauge("forebay_prefetch_failed_files", DATASET, "Files of these that could not be fetched");
    PREFETCH_TOTAL_BYTES = gauge("forebay_prefetch_planned", DATASET, "Bytes to fetch ahead").bytes();
    PREFETCH_DONE_BYTES = gauge("forebay_prefetch_done", DATASET, "Bytes of these that are cached").bytes();

    TIER_CAPACITY = gauge("forebay_tier_capacity", TIER, "Bytes that the tier may occupy").bytes();
    TIER_CHARGED = gauge("forebay_tier_charged", TIER, "Bytes charged against the capacity, with the overhead of files and what is in flight").bytes();
    TIER_BYTES = gauge("forebay_tier_cached", TIER, "Bytes of objects in the tier").bytes();
    TIER_PINNED = gauge("forebay_tier_pinned", TIER, "Bytes of objects pinned in the tier").bytes();
    TIER_OBJECTS = gauge("forebay_tier_objects", TIER, "Objects with at least one block or a pin in the tier");
    TIER_BLOCKS = gauge("forebay_tier_blocks", TIER, "Blocks in the tier");
    TIER_STATE = gauge("forebay_tier_state", TIER_STATE_LABELS, "1 for the state that the tier is in (ready, recovering, faulted), 0 for the others");
    TIER_FREE = gauge("forebay_tier_filesystem_free", TIER, "Bytes free on the tier's file system when last asked").bytes();
    TIER_RESERVE = gauge("forebay_tier_filesystem_reserve", TIER, "Bytes that must stay free there").bytes();
    TIER_ERRORS = counter("forebay_tier_errors", TIER, "Errors of the tier's disk");

    CACHE_NATIVE = gauge("forebay_cache_native_files", &["tier"], "Complete files that composed mounts read without the agent, as far as is known; after a start they are found one by one");
    CACHE_HITS = counter("forebay_cache_hits", &["tier"], "Reads that found their first block in the tier");
    CACHE_MISSES = counter("forebay_cache_misses", &[], "Reads that did not find their first block");
    CACHE_HIT_BYTES = counter("forebay_cache_hit", &[], "Bytes read from the cache").bytes();
    CACHE_INSERTED = counter("forebay_cache_inserted_blocks", &[], "Blocks stored");
    CACHE_INSERTED_BYTES = counter("forebay_cache_inserted", &[], "Bytes stored").bytes();
    CACHE_EVICTED = counter("forebay_cache_evicted_blocks", &[], "Blocks evicted to make room, or expired");
    CACHE_PROMOTED = counter("forebay_cache_promoted_blocks", &[], "Blocks moved to a faster tier");
    CACHE_DEMOTED = counter("forebay_cache_demoted_blocks", &[], "Blocks moved to a slower tier instead of being lost");
    CACHE_MOVES_DROPPED = counter("forebay_cache_dropped_moves", &[], "Moves between tiers given up: too many waited, or the block was gone");
    CACHE_REFUSED = counter("forebay_cache_refused_blocks", &["reason"], "Blocks that were not stored, by reason; readers get them all the same");
    CACHE_VERIFIED = counter("forebay_cache_verified_blocks", &[], "Blocks read whole and found right at their first read after a start");
    CACHE_DAMAGED = counter("forebay_cache_damaged_blocks", &[], "Blocks found damaged and dropped");
    CACHE_INDEX_ERRORS = counter("forebay_cache_index_errors", &[], "Failures of the index; each costs at most a scan after the next start");

    STORE_GETS = counter("forebay_store_gets", CLASS, "GETs sent to stores");
    STORE_BYTES = counter("forebay_store_received", CLASS, "Bytes received from stores").bytes();
    PEER_GETS = counter("forebay_peer_gets", &[], "GETs sent to other agents instead of a store");
    PEER_BYTES = counter("forebay_peer_received", &[], "Bytes received from other agents instead of a store").bytes();
    STORE_FAILED = counter("forebay_store_failed_gets", &[], "GETs that ended with an error");
    FETCH_JOINED = counter("forebay_fetch_joined_reads", &[], "Reads that waited for a fetch which another had started");
    FETCH_REFUSED = counter("forebay_fetch_uncached_blocks", &[], "Blocks fetched that the cache did not take");

    PROCESS_RSS = gauge("process_resident_memory", &[], "Memory of the process in RAM, of every kind").bytes();
    PROCESS_MEMORY = gauge("forebay_process_memory", KIND, "The same by kind: anonymous (its own), file (mapped catalogs and programs: given back when others need it), shared (tmpfs mapped)").bytes();
    PROCESS_CPU = counter("process_cpu", &[], "Processor time spent, user and system").seconds();
    PROCESS_START = gauge("process_start_time", &[], "When the process started, in seconds since 1970").seconds();
    PROCESS_FDS = gauge("process_open_fds", &[], "Descriptors open");
    PROCESS_MAX_FDS = gauge("process_max_fds", &[], "Descriptors that may be open");
    PROCESS_THREADS = gauge("process_threads", &[], "Threads");
    CGROUP_MEMORY = gauge("forebay_cgroup_memory", KIND, "Memory charged to the agent's cgroup by kind: anonymous, page_cache (given back when others need it), tmpfs (the RAM tier), kernel; absent outside a cgroup of its own").bytes();
}
