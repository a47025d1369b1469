use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::Cluster;

/// The namespace that the release is in.
pub const NAMESPACE: &str = "forebay-system";

const RELEASE: &str = "forebay";

impl Cluster {
    /// Installs the chart, or upgrades what is installed, and waits until the operator's and csi's pods are ready. `values` is
    /// YAML; the images are those with the tag `dev`, unless it says otherwise.
    pub fn install(&self, values: &str) -> Result<()> {
        let file = self.dir().join("values.yaml");
        std::fs::write(&file, values).with_context(|| format!("write {}", file.display()))?;
        let (chart, file) = (chart(), file.to_string_lossy());
        let fixed = ["upgrade", "--install", RELEASE, &chart.to_string_lossy(), "--namespace", NAMESPACE, "--create-namespace"];
        let images = ["--set", "image.tag=dev", "--set", "image.pullPolicy=Never"];
        let wait = ["--wait", "--timeout", "5m", "--values", &file];
        self.helm(&[&fixed[..], &images, &wait].concat()).map(drop)
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
