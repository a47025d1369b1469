//! The machine's memory, before what is measured fills it.

use std::fs;

use anyhow::{Context, Result};
use memmap2::{Advice, MmapMut};

/// Beside the data: sockets, buffers, the programs themselves.
const BESIDE_MIB: u64 = 512;

/// MiB that programs may still take.
pub(super) fn available_mib() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("no MemAvailable in /proc/meminfo")? >> 10)
}

/// Touches as much memory as a pass over `mib` of data will fill, which stay in a cache and in the mount's own pages, and gives it back.
/// The host of a virtual machine may have taken back what nobody used; then the first touch of each page waits for the host, which was
/// seen to take 2.4 s a GiB: more than all that is measured, and a matter of chance which contender pays for it. In huge pages, because what
/// was freed last is given out first only if it is free in one piece.
pub(super) fn touch(mib: u64) -> Result<()> {
    let mib = (2 * mib + BESIDE_MIB).min(available_mib()? / 2);
    let mut memory = MmapMut::map_anon(usize::try_from(mib << 20)?).context("map memory")?;
    // A kernel without huge pages measures all the same.
    let _ = memory.advise(Advice::HugePage);
    memory.fill(1);
    std::hint::black_box(&memory);
    Ok(())
}
