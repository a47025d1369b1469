use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forebay_e2e::S3Client;

use crate::contender::peers::{self, RCLONE, S3FS, Seat};
use crate::contender::{Contender, Ours};
use crate::sh::{self, say};
use crate::speed::{drop_pages, read_files};

/// So many small files are read: enough to last a second where they are quick, and not a minute where they are slow.
const SMALL_FILES: usize = 1_000;

/// Prints cold and warm read speed of this build, `rclone mount`, s3fs and the kernel's own file system.
pub(super) fn run(program: &Path, store: &S3Client, bucket: &str, source: &Path, work: &Path) -> Result<()> {
    let (large, small) = files(source)?;
    say(&format!("      {:<12}{:>15}{:>15}{:>15}{:>15}", "", "large cold", "large warm", "small cold", "small warm"));
    let path = sh::path();
    for name in ["forebay", RCLONE, S3FS] {
        let work = work.join(format!("compare-{name}"));
        let started = match peers::named(name) {
            Some(peer) => peer.start(&Seat { store, bucket, work: &work, home: &work, cache_mib: 2 << 10, path: &path }),
            None => {
                let ours = Ours { name, program, composed: false, pinned: false };
                Contender::forebay(ours, store, bucket, &work, "2Gi", &["prefetch: {policy: OnDemand}"])
            }
        };
        let contender = started.with_context(|| format!("start {name}"))?;
        measure(&contender, source, &large, &small)?;
        drop(contender);
        fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    }
    measure(&Contender::native("(this disk)", source.to_path_buf()), source, &large, &small)
}

fn measure(contender: &Contender, source: &Path, large: &[PathBuf], small: &[PathBuf]) -> Result<()> {
    let here = |paths: &[PathBuf]| -> Result<Vec<PathBuf>> {
        paths.iter().map(|p| Ok(contender.root.join(p.strip_prefix(source)?))).collect()
    };
    let (large, small) = (here(large)?, here(small)?);
    let mut line = format!("      {:<12}", contender.name);
    for (paths, threads) in [(&large, 1), (&small, 4)] {
        for _ in ["cold", "warm"] {
            let (bytes, time) = read_files(paths, threads)?;
            let seconds = time.as_secs_f64();
            line += &match threads {
                1 => format!("{:>9.0} MiB/s", bytes as f64 / seconds / f64::from(1 << 20)),
                _ => format!("{:>8.0} files/s", paths.len() as f64 / seconds),
            };
            // The kernel's own keeps its pages: they stand for what a cache has below its mount.
            if contender.process().is_some() {
                drop_pages(paths)?;
            }
        }
    }
    say(&line);
    Ok(())
}

/// The largest files, and small ones spread over the tree.
fn files(source: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let list = |dir: PathBuf| -> Result<Vec<PathBuf>> {
        let mut found: Vec<_> = fs::read_dir(&dir)?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
        found.sort();
        Ok(found)
    };
    let mut small = Vec::new();
    let mut todo = vec![source.join("crates")];
    while let Some(dir) = todo.pop() {
        for path in list(dir)? {
            if path.is_dir() {
                todo.push(path);
            } else {
                small.push(path);
            }
        }
    }
    let step = (small.len() / SMALL_FILES).max(1);
    Ok((list(source.join("toolchain"))?, small.into_iter().step_by(step).take(SMALL_FILES).collect()))
}
