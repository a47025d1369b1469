//! What a person may ask for, and who takes part then.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use forebay_e2e::S3Server;

use super::rows::{AGAINST, COMPOSED, FOREBAY, FUSE, PINNED, RAM};
use crate::contender::peers::{self, GEESEFS, JUICEFS, MOUNT_S3, RCLONE, S3FS};
use crate::{parts, sh};

/// What `--without` takes.
const MAY_LEAVE: [&str; 11] = ["tmpfs", FUSE, FOREBAY, COMPOSED, PINNED, RAM, RCLONE, S3FS, MOUNT_S3, GEESEFS, JUICEFS];

/// What `cargo xtask bench` may be told.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// Small and quick, beside rclone and s3fs alone; fails when a ratio falls below its floor
    #[arg(long)]
    pub(super) short: bool,
    /// Runs of each measurement
    #[arg(long, default_value_t = 3)]
    pub(super) runs: usize,
    /// Size of each of the four large files in MiB
    #[arg(long, default_value_t = 512)]
    pub(super) big_mib: u64,
    /// Number of small files
    #[arg(long, default_value_t = 20_000)]
    pub(super) small_files: usize,
    /// Size of each small file in KiB
    #[arg(long, default_value_t = 100)]
    pub(super) small_kib: u64,
    /// Entries of the large catalog; 0 leaves it out
    #[arg(long, default_value_t = 1_000_000)]
    pub(super) catalog: usize,
    /// Build nothing: measure this forebay-agent
    #[arg(long, value_name = "PROGRAM")]
    pub(super) agent: Option<PathBuf>,
    /// Another build of forebay-agent, measured beside this one
    #[arg(long, value_name = "PROGRAM")]
    pub(super) against: Option<PathBuf>,
    /// Measures only what starts with an empty cache
    #[arg(long)]
    pub(super) cold: bool,
    /// The store; MinIO takes several times the processor time for a GET
    #[arg(long, value_enum, default_value_t = Server::Versitygw)]
    pub(super) server: Server,
    /// Leaves out a contender; with forebay go fuse, composed, pinned and ram
    #[arg(long, value_name = "CONTENDER", value_parser = MAY_LEAVE)]
    pub(super) without: Vec<String>,
    /// Where results.json and chart.svg go
    #[arg(long, default_value = "target/bench")]
    pub(super) out: PathBuf,
    /// Where the data and caches go while it runs; several times the data's size, and once more for each contender
    #[arg(long)]
    pub(super) work: Option<PathBuf>,
    /// Where the programs of peers are looked for, as in PATH.
    #[arg(skip)]
    pub(super) path: OsString,
}

/// The real server that is the store.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Server {
    Versitygw,
    Minio,
}

impl Server {
    pub(super) fn name(self) -> &'static str {
        match self {
            Server::Versitygw => "versitygw",
            Server::Minio => "minio",
        }
    }

    /// Whether the directories of its data are buckets, and files in them objects.
    pub(super) fn shows_files(self) -> bool {
        matches!(self, Server::Versitygw)
    }

    pub(super) fn start(self, work: &Path) -> Result<S3Server> {
        parts::ensure(&[self.name()])?;
        match self {
            Server::Versitygw => S3Server::versitygw(work),
            Server::Minio => S3Server::minio(work),
        }
    }
}

impl BenchArgs {
    /// What `cargo xtask test` measures.
    pub(crate) fn short(agent: PathBuf) -> Self {
        BenchArgs {
            short: true,
            runs: 3,
            big_mib: 0,
            small_files: 0,
            small_kib: 100,
            catalog: 0,
            agent: Some(agent),
            against: None,
            cold: false,
            server: Server::Versitygw,
            without: Vec::new(),
            out: "target/bench-short".into(),
            work: None,
            path: OsString::new(),
        }
    }

    pub(super) fn sized(mut self) -> Self {
        if self.short {
            (self.big_mib, self.small_files, self.catalog) = (64, 2_000, 20_000);
        }
        self
    }

    /// The same with the programs on this path, which is written as PATH is.
    pub(super) fn looking_on(mut self, path: OsString) -> Self {
        self.path = path;
        self
    }

    /// Why a contender does not take part; `None` when it does.
    pub(super) fn left_out(&self, name: &str) -> Option<&'static str> {
        if self.without.iter().any(|w| w == name) {
            return Some("by --without");
        }
        let is_brought = peers::named(name).is_some_and(|peer| !peer.in_debian);
        match name {
            AGAINST if self.against.is_none() => Some("for want of --against"),
            FUSE | COMPOSED | PINNED | RAM if !self.has(FOREBAY) => Some("with forebay, whose program it is"),
            // What has no floor is a figure that nobody reads, which is not worth the gate's time; and whether the gate passes is no matter of what
            // else a machine has.
            _ if self.short && (is_brought || matches!(name, FUSE | COMPOSED)) => Some("as in every short run"),
            // Two mount an overlay, the other a tmpfs.
            COMPOSED | PINNED | RAM if !rustix::process::geteuid().is_root() => {
                Some("for want of the right to mount; run it as root")
            }
            _ if is_brought && !sh::is_on(&self.path, name) => Some("for not being on the PATH"),
            _ => None,
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.left_out(name).is_none()
    }

    /// Those of `names` that take part in a run. Every other run goes the other way round: what was measured just before, and the
    /// disk's work for it, is not the same for the first and the second.
    pub(super) fn taking_part(&self, names: &[&'static str], run: usize) -> Vec<&'static str> {
        let mut names: Vec<_> = names.iter().copied().filter(|name| self.has(name)).collect();
        if run.is_multiple_of(2) {
            names.reverse();
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::super::rows::PEERS;
    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn parsed(words: &[&str]) -> Result<BenchArgs> {
        Ok(Line::try_parse_from(std::iter::once("bench").chain(words.iter().copied()))?.args)
    }

    #[test]
    fn a_peer_takes_part_where_its_program_is_on_the_path_and_nobody_leaves_it_out() -> Result<()> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join(MOUNT_S3), "")?;
        fs::write(dir.path().join(JUICEFS), "")?;
        // Debian's are installed wherever they are missing.
        let cases: [(&[&str], &[&str]); 4] = [
            (&[], &[RCLONE, S3FS, MOUNT_S3, JUICEFS]),
            (&["--without", "mount-s3"], &[RCLONE, S3FS, JUICEFS]),
            (&["--without", "juicefs", "--without", "rclone"], &[S3FS, MOUNT_S3]),
            (&["--short"], &[RCLONE, S3FS]),
        ];
        for (words, taking_part) in cases {
            let args = parsed(words)?.looking_on(dir.path().into());
            assert_eq!(args.taking_part(PEERS, 1), taking_part, "{words:?}");
        }
        let args = parsed(&["--without", "juicefs"])?.looking_on(dir.path().into());
        assert_eq!(args.left_out(GEESEFS), Some("for not being on the PATH"));
        assert_eq!(args.left_out(JUICEFS), Some("by --without"));
        assert_eq!(args.left_out(MOUNT_S3), None);
        Ok(())
    }

    #[test]
    fn a_name_that_is_nobodys_is_refused() {
        let words = |name| parsed(&["--without", name]).map_or_else(|error| error.to_string(), |_| "taken".into());
        assert!(words("mounts3").contains("mount-s3"), "{}", words("mounts3"));
        for name in MAY_LEAVE {
            assert_eq!(words(name), "taken");
        }
        for peer in &peers::PEERS {
            assert_eq!(words(peer.name), "taken");
        }
    }
}
