use std::time::Duration;

/// How much may be asked of a store, and how long to be patient with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// From a request to the head of its answer (for a listing, to the whole page).
    pub request_timeout: Duration,
    /// Longest time without a byte within a body.
    pub progress_timeout: Duration,
    /// Requests and bodies at once, at least 1.
    pub concurrency: usize,
    /// How many of those only readers may use; at least one is left to prefetch.
    pub reserved_for_readers: usize,
    /// Bytes a second of all bodies together, at least 1 KiB; `None` for no limit.
    pub bandwidth: Option<u64>,
    /// Repetitions of one call after its first try, the resumptions of its body included.
    pub retries: u32,
    /// Longest time from a call's first failure (of those without a byte between them) to its last repetition.
    pub retry_time: Duration,
    /// The first pause is a random part of this; it doubles with each.
    pub backoff: Duration,
    /// No pause is longer than a random part of this.
    pub max_backoff: Duration,
    /// Whether to compute and compare the checksum of whole objects, where the store names one. MD5 costs about
    /// 1.5 s of one processor a GB.
    pub verify_checksums: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            progress_timeout: Duration::from_secs(30),
            concurrency: 64,
            reserved_for_readers: 16,
            bandwidth: None,
            retries: 6,
            retry_time: Duration::from_secs(60),
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            verify_checksums: true,
        }
    }
}

impl Limits {
    /// Without what would make no call possible at all.
    pub(super) fn sane(mut self) -> Self {
        self.concurrency = self.concurrency.clamp(1, 4096);
        self.reserved_for_readers = self.reserved_for_readers.min(self.concurrency - 1);
        self.bandwidth = self.bandwidth.map(|rate| rate.max(1 << 10));
        self.max_backoff = self.max_backoff.max(self.backoff);
        self
    }
}
