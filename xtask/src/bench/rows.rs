use crate::contender::peers::{GEESEFS, JUICEFS, MOUNT_S3, RCLONE, S3FS};

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Row {
    /// Name in JSON.
    pub(super) key: &'static str,
    /// Name for people.
    pub(super) label: &'static str,
    /// Unit.
    pub(super) unit: &'static str,
    /// Whether more is better.
    pub(super) more: bool,
}

const fn more(key: &'static str, label: &'static str, unit: &'static str) -> Row {
    Row { key, label, unit, more: true }
}

const fn less(key: &'static str, label: &'static str, unit: &'static str) -> Row {
    Row { key, label, unit, more: false }
}

pub(super) const SEQ_1: Row = more("seq1", "sequential 1 MiB, 1 job", "MiB/s");
pub(super) const SEQ_4: Row = more("seq4", "sequential 1 MiB, 4 jobs", "MiB/s");
pub(super) const RANDOM: Row = more("rand_iops", "random 4 KiB, 1 job", "IOPS");
pub(super) const RANDOM_P50: Row = less("rand_p50", "random 4 KiB, p50", "us");
pub(super) const RANDOM_P99: Row = less("rand_p99", "random 4 KiB, p99", "us");
pub(super) const RANDOM_128: Row = more("rand128_iops", "random 128 KiB, 1 job", "IOPS");
pub(super) const SMALL_1: Row = more("small1", "small files, 1 thread", "files/s");
pub(super) const SMALL_4: Row = more("small4", "small files, 4 threads", "files/s");
pub(super) const EPOCH: Row = more("epoch4", "shuffled epoch, 4 threads", "files/s");
pub(super) const FIND: Row = less("find", "find, warm", "ms");
pub(super) const LS: Row = less("ls", "ls -lR, warm", "ms");
pub(super) const CPU: Row = less("cpu", "CPU of the process, warm", "s/GiB");
pub(super) const COLD_SEQ: Row = more("cold_seq", "cold sequential, 1 reader", "MiB/s");
pub(super) const COLD_CPU: Row = less("cold_cpu", "CPU of the process, cold sequential", "s/GiB");
pub(super) const COLD_SMALL: Row = more("cold_small", "cold small files, 4 threads", "files/s");
pub(super) const FAR_SMALL: Row = more("far_small", "the same, store 20 ms away, in order", "files/s");
pub(super) const COLD_SMALL_CPU: Row = less("cold_small_cpu", "CPU of the process, cold small files", "ms/file");
pub(super) const FIRST_BYTE: Row = less("first_byte", "cold first byte", "ms");
pub(super) const PREFETCH_FILES: Row = more("prefetch_files", "prefetch of all, files", "files/s");
pub(super) const PREFETCH_BYTES: Row = more("prefetch_bytes", "prefetch of all, bytes", "MiB/s");
pub(super) const MEMORY_REST: Row = less("mem_rest", "memory at rest", "MiB");
pub(super) const MEMORY_FULL: Row = less("mem_full", "memory after filling", "MiB");
pub(super) const MEMORY_PEAK: Row = less("mem_peak", "memory at the peak, with mapped files", "MiB");
pub(super) const CATALOG_READY: Row = less("cat_ready", "large catalog: listed and mounted", "s");
pub(super) const CATALOG_AGAIN: Row = less("cat_again", "large catalog: second start", "s");
pub(super) const CATALOG_MEMORY: Row = less("cat_mem", "large catalog: memory", "MiB");
pub(super) const CATALOG_FIND: Row = less("cat_find", "large catalog: find", "ms");
pub(super) const CATALOG_LS: Row = less("cat_ls", "large catalog: ls -lR", "ms");
pub(super) const CATALOG_LIST: Row = more("cat_list", "large catalog from S3: names listed", "names/s");

/// Every row, in the order of the table.
pub(super) const ALL: &[Row] = &[
    SEQ_1,
    SEQ_4,
    RANDOM,
    RANDOM_P50,
    RANDOM_P99,
    RANDOM_128,
    SMALL_1,
    SMALL_4,
    EPOCH,
    FIND,
    LS,
    CPU,
    COLD_SEQ,
    COLD_CPU,
    COLD_SMALL,
    FAR_SMALL,
    COLD_SMALL_CPU,
    FIRST_BYTE,
    PREFETCH_FILES,
    PREFETCH_BYTES,
    MEMORY_REST,
    MEMORY_FULL,
    MEMORY_PEAK,
    CATALOG_READY,
    CATALOG_AGAIN,
    CATALOG_MEMORY,
    CATALOG_FIND,
    CATALOG_LS,
    CATALOG_LIST,
];

/// Those that start with an empty cache: all that a cold run measures.
pub(super) const COLD: &[Row] =
    &[COLD_SEQ, COLD_CPU, COLD_SMALL, FAR_SMALL, COLD_SMALL_CPU, FIRST_BYTE, PREFETCH_FILES, PREFETCH_BYTES];

/// The plain mount: the kernel reads complete files by itself, an open is a round trip to the agent.
pub(super) const FOREBAY: &str = "forebay";

/// The plain mount without that: the agent answers every read, as it must on older kernels.
pub(super) const FUSE: &str = "fuse";

/// Forebay composed, with everything pinned: the kernel reads by itself.
pub(super) const PINNED: &str = "pinned";

/// The same with nothing pinned: the kernel reads small files by itself, and asks at each open of a large one.
pub(super) const COMPOSED: &str = "composed";

/// The plain mount with its cache in memory.
pub(super) const RAM: &str = "ram";

/// Another build of Forebay.
pub(super) const AGAINST: &str = "against";

/// Forebay's builds.
pub(super) const BUILDS: &[&str] = &[FOREBAY, AGAINST];

/// All that is ours.
pub(super) const OURS: &[&str] = &[FUSE, FOREBAY, COMPOSED, PINNED, RAM, AGAINST];

/// All that mount the bucket with an empty cache. How a complete file is read makes no difference there.
pub(super) const MOUNTS: &[&str] = &[FOREBAY, AGAINST, RCLONE, S3FS, MOUNT_S3, GEESEFS, JUICEFS];

/// Those whose data is in their cache when it is read again.
pub(super) const WARM: &[&str] = &[FUSE, FOREBAY, AGAINST, COMPOSED, PINNED, RAM, RCLONE, S3FS, MOUNT_S3, GEESEFS, JUICEFS];

/// Columns, in the order of the table; it shows those that have a value. `store` is what the S3 server gives a bare client.
pub(super) const COLUMNS: &[&str] =
    &["ext4", "tmpfs", "store", FUSE, FOREBAY, COMPOSED, PINNED, RAM, AGAINST, RCLONE, S3FS, MOUNT_S3, GEESEFS, JUICEFS];

/// The columns that are caches before the same store.
pub(super) const PEERS: &[&str] = &[RCLONE, S3FS, MOUNT_S3, GEESEFS, JUICEFS];

/// In place of a column: the best of the peers.
pub(super) const BEST_PEER: &str = "peers";

/// The table's ratios: heading, who, against what.
pub(super) const RATIOS: &[(&str, &str, &str)] = &[
    ("/ ext4", FOREBAY, "ext4"),
    ("/ store", FOREBAY, "store"),
    ("/ peers", FOREBAY, BEST_PEER),
    ("composed / ext4", COMPOSED, "ext4"),
    ("pinned / ext4", PINNED, "ext4"),
    ("fuse / ext4", FUSE, "ext4"),
    ("ram / tmpfs", RAM, "tmpfs"),
];

/// The kernel's own file system that the cache of one of ours is on.
pub(super) fn native(who: &str) -> &'static str {
    if who == RAM { "tmpfs" } else { "ext4" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::peers;

    #[test]
    fn every_peer_is_measured_cold_and_warm_and_has_a_column() {
        let names: Vec<_> = peers::PEERS.iter().map(|peer| peer.name).collect();
        for list in [PEERS, MOUNTS, WARM, COLUMNS] {
            let of_peers: Vec<_> = list.iter().copied().filter(|name| names.contains(name)).collect();
            assert_eq!(of_peers, names, "{list:?}");
        }
        assert_eq!(PEERS.len(), names.len());
    }
}
