//! From the manifest's tiers to directories that the cache may fill.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use forebay_cache::{Medium, TierConfig};
use forebay_crds::runtime::{CacheRuntime, Medium as Wanted, Tier};
use rustix::fs::{StatVfs, statfs, statvfs};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::state::StateDir;

const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// Prepares each tier of `runtime`, fastest first.
pub(crate) fn prepare(runtime: &CacheRuntime, state: &StateDir) -> anyhow::Result<Vec<TierConfig>> {
    runtime.spec.tiers.iter().map(|tier| one(tier, state).with_context(|| format!("tier {}", tier.name.as_str()))).collect()
}

fn one(tier: &Tier, state: &StateDir) -> anyhow::Result<TierConfig> {
    let name = tier.name.as_str().to_owned();
    let capacity = tier.capacity.bytes();
    let (medium, dir) = match (tier.medium, &tier.path) {
        (Wanted::Memory, _) => (Medium::Memory, state.memory_tier(&name)),
        (Wanted::Disk, Some(path)) => (Medium::Disk, path.as_path().to_owned()),
        (Wanted::Disk, None) => bail!("a tier of medium Disk needs a path"),
    };
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    if medium == Medium::Memory {
        mount_tmpfs(&dir, capacity)?;
        return Ok(TierConfig { name, medium, dir, capacity, reserve: 0 });
    }
    disk(tier, dir)
}

/// A tier in a directory of a disk that is there.
pub(crate) fn disk(tier: &Tier, dir: PathBuf) -> anyhow::Result<TierConfig> {
    let (name, capacity) = (tier.name.as_str().to_owned(), tier.capacity.bytes());
    let space = statvfs(&dir).with_context(|| format!("ask for the space of {}", dir.display()))?;
    let reserve = tier.reserve.bytes_of(total(&space));
    let room = total(&space).saturating_sub(reserve);
    ensure!(
        capacity <= room,
        "its capacity of {} bytes does not fit the file system of {}, which has {} bytes of which {reserve} stay free; \
         lower capacity or reserve",
        capacity,
        dir.display(),
        total(&space),
    );
    Ok(TierConfig { name, medium: Medium::Disk, dir, capacity, reserve })
}

fn total(space: &StatVfs) -> u64 {
    space.f_blocks.saturating_mul(space.f_frsize)
}

/// Whether what lies at `dir` is in memory.
pub(crate) fn is_tmpfs(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|found| found.f_type == TMPFS_MAGIC)
}

/// Makes `dir` a tmpfs with `capacity` as its limit, unless a former process did: what it holds outlives the agent.
fn mount_tmpfs(dir: &Path, capacity: u64) -> anyhow::Result<()> {
    let is_tmpfs = is_tmpfs(dir);
    if is_mount_point(dir)? && is_tmpfs {
        let options = options(capacity)?;
        let changed = rustix::mount::mount_remount(dir, MountFlags::NODEV | MountFlags::NOSUID, &options);
        return changed.with_context(|| format!("set the size of the tmpfs at {}", dir.display()));
    }
    if !rustix::process::geteuid().is_root() {
        // Without root no tmpfs can be mounted; a state directory on one serves as well, a disk does not.
        ensure!(
            is_tmpfs,
            "a memory tier needs a tmpfs: run as root, or give --state a directory on one, such as /dev/shm/forebay"
        );
        return Ok(());
    }
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = options(capacity)?;
    mount("forebay", dir, "tmpfs", flags, Some(options.as_c_str()))
        .with_context(|| format!("mount a tmpfs of {capacity} bytes at {}", dir.display()))
}

/// Directories and inodes of the cache come on top of its bytes; a tmpfs counts them apart, so only inodes need room.
fn options(capacity: u64) -> anyhow::Result<CString> {
    Ok(CString::new(format!("size={capacity},mode=0700,nr_inodes=0"))?)
}

fn is_mount_point(dir: &Path) -> anyhow::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let above = dir.parent().unwrap_or(Path::new("/"));
    Ok(fs::metadata(dir)?.dev() != fs::metadata(above)?.dev())
}

/// Gives the memory of the memory tiers back. Reads that still go on keep it until they end.
pub(crate) fn release_memory(tiers: &[TierConfig]) {
    for tier in tiers.iter().filter(|tier| tier.medium == Medium::Memory) {
        if !rustix::process::geteuid().is_root() || !is_mount_point(&tier.dir).unwrap_or(false) {
            continue;
        }
        if let Err(error) = unmount(&tier.dir, UnmountFlags::DETACH) {
            tracing::warn!(dir = %tier.dir.display(), %error, "a memory tier stays mounted");
        }
    }
}
