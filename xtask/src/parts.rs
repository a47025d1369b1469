use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::install::lock;
use crate::sh::{self, say};
use crate::workspace;

/// A real server that is built from a Go module in `e2e/parts/NAME`, which pins its version and checksums.
struct Part {
    name: &'static str,
    package: &'static str,
    /// The module whose version in go.mod is the part's version.
    module: &'static str,
}

const PARTS: &[Part] = &[
    Part { name: "versitygw", package: "github.com/versity/versitygw/cmd/versitygw", module: "github.com/versity/versitygw" },
    Part { name: "minio", package: "github.com/minio/minio", module: "github.com/minio/minio" },
];

/// `cargo xtask parts`.
pub(crate) fn run(names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|n| !PARTS.iter().any(|p| p.name == *n)) {
        let known: Vec<_> = PARTS.iter().map(|p| p.name).collect();
        bail!("there is no part {unknown}; there are {}", known.join(", "));
    }
    let names: Vec<_> = PARTS.iter().map(|p| p.name).filter(|n| names.is_empty() || names.iter().any(|m| m == n)).collect();
    say(&ensure(&names)?.display().to_string());
    Ok(())
}

/// Builds those parts that are missing and gives the directory that holds a link to each, as `FOREBAY_PARTS` wants it.
pub(crate) fn ensure(names: &[&str]) -> Result<PathBuf> {
    let bin = forebay_e2e::parts_bin()?;
    let home = bin.parent().context("FOREBAY_PARTS has no parent directory")?.to_path_buf();
    fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
    for part in PARTS.iter().filter(|p| names.contains(&p.name)) {
        let _lock = lock(part.name)?;
        let sources = workspace::root()?.join("e2e/parts").join(part.name);
        let dir = format!("{}-{}", part.name, version(part, &sources)?);
        let program = home.join(&dir).join(part.name);
        if !program.is_file() {
            build(part, &sources, &program)?;
        }
        link(Path::new("..").join(&dir).join(part.name), &bin.join(part.name))?;
    }
    Ok(bin)
}

fn build(part: &Part, sources: &Path, program: &Path) -> Result<()> {
    if !sh::has("go") {
        bail!("{} is built from Go sources and there is no `go` on the path: install Go 1.26 or later", part.name);
    }
    say(&format!("building {} (once; a few minutes)", part.name));
    let start = Instant::now();
    let dir = program.parent().context("a program without a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let unfinished = dir.join(format!("{}.{}.tmp", part.name, std::process::id()));
    let mut go = Command::new("go");
    go.current_dir(sources).args(["build", "-mod=readonly", "-trimpath", "-ldflags", "-s -w", "-o"]).arg(&unfinished);
    sh::run(go.arg(part.package).env("CGO_ENABLED", "0").env("GOFLAGS", "-buildvcs=false"))?;
    fs::rename(&unfinished, program).with_context(|| format!("rename {}", unfinished.display()))?;
    say(&format!("built {} in {:.0} s", part.name, start.elapsed().as_secs_f64()));
    Ok(())
}

/// Puts the link in place by a rename, so that a test that runs now finds either the old or the new program.
fn link(target: PathBuf, at: &Path) -> Result<()> {
    if fs::read_link(at).is_ok_and(|old| old == target) {
        return Ok(());
    }
    let new = at.with_extension(format!("{}.tmp", std::process::id()));
    symlink(&target, &new).with_context(|| format!("link {}", new.display()))?;
    fs::rename(&new, at).with_context(|| format!("rename {}", new.display()))
}

/// The version in the part's go.mod, without the leading `v`.
fn version(part: &Part, sources: &Path) -> Result<String> {
    let path = sources.join("go.mod");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let line = text.lines().find_map(|l| l.trim().trim_start_matches("require ").strip_prefix(part.module)?.strip_prefix(" v"));
    let version = line.and_then(|v| v.split_whitespace().next());
    version.map(str::to_owned).with_context(|| format!("{} does not require {}", path.display(), part.module))
}
