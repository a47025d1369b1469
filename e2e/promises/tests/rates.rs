//! How fast pods read what is cached on their node, beside the same files on the node's own file system.

use anyhow::{Context, Result, ensure};
use forebay_promises::{Reader, Site, dataset, has_condition};

use crate::Promise;

pub(crate) const PROMISES: &[Promise] = &[("rates::a_pod_reads_cached_files_at_a_rate_beside_the_nodes_own", beside_native)];

/// No ratio was ever seen to be less than several times this: what is below it is read through the agent, or not from the cache.
const FLOOR: f64 = 0.02;

/// What is read natively with an open that asks the agent, and what is composed and pinned.
fn beside_native(site: &Site) -> Result<()> {
    measured(site, "first", "own", "complete files")?;

    let wishes = "  consistency: {policy: Snapshot, refresh: NewPods}\n  pin: {paths: [/]}\n";
    let object = dataset("rates", &site.store.mount("rates")).replace("---\n", &format!("{wishes}---\n"));
    site.cluster.apply(&format!("{}{object}", site.store.secret("rates")))?;
    site.wait_phase("default", "rates", "Ready")?;
    // The status tells of the ways while somebody mounts it.
    let stays = Reader::inline("default", "rates-stays", "rates").on("n1").script("sleep 36124");
    stays.start(site)?;
    for kind in ["Composed", "NativeReads"] {
        site.wait_for(&format!("the status to say {kind}"), &["dataset", "rates"], |dataset| {
            has_condition(dataset, |one| one["type"] == kind && one["status"] == "True")
        })?;
    }
    measured(site, "rates", "shared", "pinned, composed")?;
    stays.remove(site)?;
    site.cluster.kubectl(&["delete", "dataset", "rates", "--timeout=180s"])?;
    site.cluster.kubectl(&["delete", "secret", "rates"]).map(drop)
}

/// `pages`: whether the volume's pages are its own; see the program.
fn measured(site: &Site, name: &str, pages: &str, what: &str) -> Result<()> {
    let program = include_str!("rates.py").replace('\'', "'\\''");
    let reader = Reader::inline("default", &format!("rates-of-{name}"), name)
        .on("n1")
        .script(&format!("printf %s '{program}' > /tmp/rates.py && exec /usr/bin/python3 -u /tmp/rates.py /data /source {pages}"))
        .host_path("source", &site.store.source.display().to_string(), "/source")
        .host_path("usr", "/usr", "/usr")
        .host_path("lib", "/usr/lib", "/lib")
        .host_path("lib64", "/usr/lib64", "/lib64");
    let printed = reader.run(site)?;
    let lines: Vec<&str> = printed.lines().collect();
    crate::say(&format!("          {what}, of the node's own rate: {}", lines.join(", ")));
    ensure!(lines.len() == 3, "{printed}");
    for line in lines {
        let ratio: f64 = line.rsplit(' ').next().and_then(|ratio| ratio.parse().ok()).with_context(|| line.to_owned())?;
        ensure!(ratio > FLOOR, "{what}: {line}");
    }
    Ok(())
}
