//! What the kernel says of this process and of its cgroup. What it does not say is left out.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::names;
use super::page::Page;

/// Clock ticks a second in /proc, on every architecture that the agent is built for.
const TICKS: f64 = 100.0;

/// Numbers of the process; `None` where the kernel did not say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    rss: Option<Rss>,
    threads: Option<u64>,
    cpu_seconds: Option<f64>,
    start: Option<f64>,
    fds: Option<u64>,
    max_fds: Option<u64>,
    cgroup: Option<Cgroup>,
}

/// Resident memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rss {
    anonymous: u64,
    file: u64,
    shared: u64,
}

/// Memory of a cgroup, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cgroup {
    anonymous: u64,
    page_cache: u64,
    tmpfs: u64,
    kernel: u64,
}

impl Process {
    /// Asks the kernel.
    pub(super) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).ok();
        let status = text("/proc/self/status");
        let times = text("/proc/self/stat").as_deref().and_then(times);
        Self {
            rss: status.as_deref().and_then(rss),
            threads: status.as_deref().and_then(|text| field(text, "Threads:")),
            cpu_seconds: times.map(|(cpu, _)| cpu),
            start: times.zip(text("/proc/stat").as_deref().and_then(|text| field(text, "btime"))).map(
                #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
                |((_, since_boot), boot)| since_boot + boot as f64,
            ),
            fds: fs::read_dir("/proc/self/fd").ok().map(|dir| dir.count() as u64),
            max_fds: text("/proc/self/limits").as_deref().and_then(max_fds),
            cgroup: text("/proc/self/cgroup").as_deref().and_then(cgroup_dir).and_then(|dir| {
                // The root of the hierarchy is the whole machine, and has no memory.current.
                fs::metadata(dir.join("memory.current")).ok()?;
                cgroup(&fs::read_to_string(dir.join("memory.stat")).ok()?)
            }),
        }
    }

    /// Writes what is known.
    pub(super) fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let rss = self.rss;
        page.write(&names::PROCESS_RSS, rss.map(|rss| ([], rss.anonymous + rss.file + rss.shared)))?;
        let kinds = rss.map(|r| [(["anonymous"], r.anonymous), (["file"], r.file), (["shared"], r.shared)]);
        page.write(&names::PROCESS_MEMORY, kinds.into_iter().flatten())?;
        page.write(&names::PROCESS_CPU, self.cpu_seconds.map(|value| ([], value)))?;
        page.write(&names::PROCESS_START, self.start.map(|value| ([], value)))?;
        page.write(&names::PROCESS_FDS, self.fds.map(|value| ([], value)))?;
        page.write(&names::PROCESS_MAX_FDS, self.max_fds.map(|value| ([], value)))?;
        page.write(&names::PROCESS_THREADS, self.threads.map(|value| ([], value)))?;
        let kinds = self.cgroup.map(|c| {
            [(["anonymous"], c.anonymous), (["page_cache"], c.page_cache), (["tmpfs"], c.tmpfs), (["kernel"], c.kernel)]
        });
        page.write(&names::CGROUP_MEMORY, kinds.into_iter().flatten())
    }
}

/// The number after `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

fn rss(status: &str) -> Option<Rss> {
    let kib = |name| field(status, name).map(|kib| kib * 1024);
    Some(Rss { anonymous: kib("RssAnon:")?, file: kib("RssFile:")?, shared: kib("RssShmem:")? })
}

/// Processor seconds, and seconds from boot to the process's start, from /proc/self/stat.
fn times(stat: &str) -> Option<(f64, f64)> {
    // The second field is the program's name in parentheses, and may itself have spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let rest: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |field: usize| rest.get(field - 3)?.parse::<f64>().ok();
    Some(((ticks(14)? + ticks(15)?) / TICKS, ticks(22)? / TICKS))
}

fn max_fds(limits: &str) -> Option<u64> {
    field(limits, "Max open files")
}

/// Where the cgroup of /proc/self/cgroup (version 2) lies.
fn cgroup_dir(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(path))
}

fn cgroup(stat: &str) -> Option<Cgroup> {
    let value = |name: &str| field(stat, &format!("{name} "));
    let tmpfs = value("shmem")?;
    // `file` counts tmpfs too, which nothing gives back.
    Some(Cgroup {
        anonymous: value("anon")?,
        page_cache: value("file")?.saturating_sub(tmpfs),
        tmpfs,
        kernel: value("kernel").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let status = "Name:\tforebay-agent\nVmRSS:\t   30 kB\nRssAnon:\t      10 kB\nRssFile:\t      15 kB\nRssShmem:\t       5 kB\nThreads:\t7\n";
        assert_eq!(rss(status), Some(Rss { anonymous: 10240, file: 15360, shared: 5120 }));
        assert_eq!(field(status, "Threads:"), Some(7));
        assert_eq!(rss("Name:\tkthread\n"), None, "without memory of its own");

        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 12345 1000 10";
        assert_eq!(times(stat), Some((3.0, 123.45)));
        assert_eq!(times("12 (a"), None);

        let limits = "Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 524288               files\n";
        assert_eq!(max_fds(limits), Some(1024));
        assert_eq!(max_fds("Max open files            unlimited            unlimited            files\n"), None);
    }

    #[test]
    fn tmpfs_is_not_page_cache() {
        let stat = "anon 100\nfile 900\nkernel 30\nkernel_stack 3\nshmem 600\nfile_mapped 5\n";
        assert_eq!(cgroup(stat), Some(Cgroup { anonymous: 100, page_cache: 300, tmpfs: 600, kernel: 30 }));
        assert_eq!(cgroup_dir("12:memory:/v1\n0::/kubepods/pod1\n"), Some("/sys/fs/cgroup/kubepods/pod1".into()));
        assert_eq!(cgroup_dir("0::/\n"), Some("/sys/fs/cgroup".into()));
        assert_eq!(cgroup_dir("12:memory:/v1\n"), None);
    }

    #[test]
    fn this_process_is_known() {
        let process = Process::read();
        assert!(process.rss.unwrap().anonymous > 100_000);
        assert!(process.threads.unwrap() >= 1 && process.fds.unwrap() >= 3);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let start = process.start.unwrap();
        assert!(start > now - 100_000.0 && start < now + 5.0, "started at {start}, now {now}");
    }
}
