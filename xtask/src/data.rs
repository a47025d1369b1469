use std::path::Path;

use anyhow::Result;
use forebay_e2e::{TreeSize, build_tree};

use crate::{sh::say, workspace};

/// `cargo xtask data DIR`.
pub(crate) fn run(dir: &Path, small: bool) -> Result<()> {
    let size = if small { TreeSize::Small } else { TreeSize::Full };
    let (files, bytes) = build_tree(&workspace::root()?, dir, size)?;
    say(&format!("{files} files, {:.1} MB in {}", bytes as f64 / 1e6, dir.display()));
    Ok(())
}
