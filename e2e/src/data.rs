use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::tree::list_files;

/// Which real tree to make. The same `Cargo.lock` and toolchain give the same tree on every machine of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeSize {
    /// At most 20,000 files of the sources that this workspace was built from, and the toolchain's shared libraries (over 100 MB each).
    Full,
    /// At most 1,500 files of the same, and libraries of 4 to 16 MB.
    Small,
}

impl TreeSize {
    fn source_files(self) -> usize {
        match self {
            TreeSize::Full => 20_000,
            TreeSize::Small => 1_500,
        }
    }
}

/// Makes a real tree at `to` (which must not exist) from what every machine has that can build this workspace:
/// `crates/NAME-VERSION/...` and `toolchain/...`. Returns files and bytes.
///
/// Files are copied, never linked: a test may change its tree, and must not change the registry's.
pub fn build_tree(workspace: &Path, to: &Path, size: TreeSize) -> Result<(usize, u64)> {
    ensure!(!to.exists(), "{} exists already: remove it or name another directory", to.display());
    let (mut files, mut bytes) = (0, 0);
    'crates: for dir in crate_sources(workspace)? {
        let name = dir.file_name().context("a crate's source without a name")?.to_owned();
        for source in list_files(&dir)? {
            if files == size.source_files() {
                break 'crates;
            }
            bytes += copy(&source, &to.join("crates").join(&name).join(source.strip_prefix(&dir)?))?;
            files += 1;
        }
    }
    for source in toolchain_files(size)? {
        let name = source.file_name().context("a library without a name")?;
        bytes += copy(&source, &to.join("toolchain").join(name))?;
        files += 1;
    }
    Ok((files, bytes))
}

fn copy(from: &Path, to: &Path) -> Result<u64> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

/// Unpacked sources of the registry crates that this workspace uses on this platform, sorted by name.
fn crate_sources(workspace: &Path) -> Result<BTreeSet<PathBuf>> {
    let host =
        rustc(&["-vV"])?.lines().find_map(|l| l.strip_prefix("host: ").map(str::to_owned)).context("rustc -vV names no host")?;
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &host])
        .current_dir(workspace)
        .output()
        .context("run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let registry = packages.iter().filter(|p| p["source"].as_str().is_some_and(|s| s.starts_with("registry+")));
    registry
        .map(|p| {
            let manifest = Path::new(p["manifest_path"].as_str().context("a package without a manifest path")?);
            Ok(manifest.parent().context("a manifest without a directory")?.to_path_buf())
        })
        .collect()
}

fn toolchain_files(size: TreeSize) -> Result<Vec<PathBuf>> {
    let sysroot = PathBuf::from(rustc(&["--print", "sysroot"])?.trim());
    let target = PathBuf::from(rustc(&["--print", "target-libdir"])?.trim());
    let (dir, range) = match size {
        TreeSize::Full => (sysroot.join("lib"), 64 << 20..u64::MAX),
        TreeSize::Small => (target, 4 << 20..16 << 20),
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() && range.contains(&entry.metadata()?.len()) {
            found.push(entry.path());
        }
    }
    found.sort();
    ensure!(!found.is_empty(), "{} holds no library of {range:?} bytes", dir.display());
    Ok(found)
}

fn rustc(args: &[&str]) -> Result<String> {
    let output = Command::new("rustc").args(args).output().context("run rustc")?;
    ensure!(output.status.success(), "rustc {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
