use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// The directory with the real servers: `$FOREBAY_PARTS`, else `bin` in the cache that `cargo xtask parts` fills.
pub fn parts_bin() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("FOREBAY_PARTS") {
        return Ok(dir.into());
    }
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => {
            PathBuf::from(env::var_os("HOME").context("neither FOREBAY_PARTS, XDG_CACHE_HOME nor HOME is set")?).join(".cache")
        }
    };
    Ok(cache.join("forebay/parts/bin"))
}

/// The path of one real server, e.g. `versitygw`. Fails when it has not been built.
pub fn part(name: &str) -> Result<PathBuf> {
    let path = parts_bin()?.join(name);
    if !path.exists() {
        bail!("{} does not exist: run `cargo xtask parts` first", path.display());
    }
    Ok(path)
}

/// The YAML files that came with a part, such as its definitions, in the order of their names.
pub fn part_files(name: &str) -> Result<Vec<PathBuf>> {
    let program = part(name)?.canonicalize().with_context(|| format!("find {name}"))?;
    let dir = program.parent().context("a program without a directory")?;
    let entries = std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    files.sort();
    Ok(files)
}
