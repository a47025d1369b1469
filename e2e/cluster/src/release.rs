use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::Cluster;

/// The namespace that the release is in.
pub const NAMESPACE: &str = "forebay-system";

const RELEASE: &str = "forebay";

const IMAGES: &str = "image: {tag: dev, pullPolicy: Never}\n";

impl Cluster {
    /// Installs the chart, or upgrades what is installed, and waits until the operator's and csi's pods are ready. `values` is
    /// YAML; the images are those with the tag `dev`, unless it says otherwise.
    pub fn install(&self, values: &str) -> Result<()> {
        let mut args: Vec<String> = ["upgrade", "--install", RELEASE].map(str::to_owned).to_vec();
        args.push(chart().to_string_lossy().into_owned());
        args.extend(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "5m"].map(str::to_owned));
        // Of two files the second wins.
        for (name, text) in [("images.yaml", IMAGES), ("values.yaml", values)] {
            let file = self.dir().join("images").join(name);
            std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
            args.extend(["--values".to_owned(), file.to_string_lossy().into_owned()]);
        }
        self.helm(&args.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
    }

    /// Uninstalls the release. The definitions stay, and with them every Dataset and CacheRuntime.
    pub fn uninstall(&self) -> Result<()> {
        self.helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "3m"]).map(drop)
    }
}

/// The chart's directory.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/forebay")
}

/// The archives that `cargo xtask images --test` has written, in the directory that `$FOREBAY_IMAGES` names.
pub fn image_archives() -> Result<Vec<PathBuf>> {
    let dir = env::var_os("FOREBAY_IMAGES").context(
        "FOREBAY_IMAGES is not set: run `cargo xtask images --debug --test` and set it to the directory of the archives",
    )?;
    let dir = PathBuf::from(dir);
    let entries = std::fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))?;
    let archives =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.extension().is_some_and(|e| e == "tar"));
    let archives: Vec<_> = archives.collect();
    if archives.is_empty() {
        bail!("there is no archive in {}: run `cargo xtask images --debug --test --out` with it", dir.display());
    }
    Ok(archives)
}
