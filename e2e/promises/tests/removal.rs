//! Everything goes, in whatever order it is deleted, and leaves nothing behind.

use anyhow::{Result, ensure};
use forebay_cluster::Mounted;
use forebay_e2e::wait_until;
use forebay_promises::{NAMESPACE, Reader, SOON, Site};

use crate::Promise;

/// In this order, and after those of all other rooms: the last one takes the release away.
pub(crate) const PROMISES: &[Promise] = &[
    ("removal::everything_deleted_in_any_order_is_gone", any_order),
    ("removal::an_uninstalled_release_leaves_nothing", uninstalled),
];

/// Orders of the four deletions, by a seed that is told.
fn shuffled(seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..4).collect();
    let mut state = seed;
    for i in (1..order.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(i, (state >> 33) as usize % (i + 1));
    }
    order
}

fn any_order(site: &Site) -> Result<()> {
    // A promise that was broken leaves its pods, and the runtime of the others goes with its Dataset.
    let _ = site.cluster.kubectl(&["delete", "pods", "--all", "--timeout=180s"]);
    let _ = site.cluster.kubectl(&["delete", "dataset", "--all", "--timeout=180s"]);
    let seed = u64::from(std::process::id());
    for round in 0..3u64 {
        let order = shuffled(seed + round);
        crate::say(&format!("          order {order:?} of dataset, runtime, pod, secret (seed {})", seed + round));
        site.cluster.apply(&format!(
            "apiVersion: forebay.io/v1alpha1
kind: CacheRuntime
metadata: {{name: default}}
spec:
  tiers:
  - {{name: ram, medium: Memory, capacity: 64Mi}}
  - {{name: ssd, medium: Disk, path: /var/lib/forebay-cache, capacity: 1Gi, reserve: 1%}}
---
{}apiVersion: forebay.io/v1alpha1
kind: Dataset
metadata: {{name: passing}}
spec:
  mounts: {}
  prefetch: {{policy: Eager}}
  pin: {{paths: [/]}}
",
            site.store.secret("passing"),
            site.store.mount("passing"),
        ))?;
        site.wait_phase("default", "passing", "Ready")?;
        let reader = Reader::of_claim("default", "lingers", "passing").script("sleep 3600");
        reader.start(site)?;
        site.wait_for("the pod to run", &["pod", "lingers"], |pod| pod["status"]["phase"] == "Running")?;
        for what in order {
            let words: &[&str] = match what {
                0 => &["delete", "dataset", "passing", "--wait=false"],
                1 => &["delete", "cacheruntime", "default", "--wait=false"],
                2 => &["delete", "pod", "lingers", "--wait=false"],
                _ => &["delete", "secret", "passing", "--wait=false"],
            };
            site.cluster.kubectl(words)?;
        }
        for gone in [["dataset", "passing"], ["cacheruntime", "default"], ["pod", "lingers"], ["pvc", "passing"]] {
            site.wait_gone(&gone)?;
        }
        nothing_left(site)?;
    }
    Ok(())
}

fn uninstalled(site: &Site) -> Result<()> {
    for kind in ["datasets", "cacheruntimes"] {
        site.cluster.kubectl(&["delete", kind, "--all", "--all-namespaces", "--timeout=180s"])?;
    }
    site.cluster.uninstall()?;
    let kinds = "pods,daemonsets,deployments,secrets,configmaps,leases,services,serviceaccounts,roles,rolebindings";
    wait_until("the release's namespace to be empty", SOON, || {
        let left = site.cluster.kubectl(&["get", kinds, "-n", NAMESPACE, "-o", "name"])?;
        // Kubernetes' own.
        let ours: Vec<&str> =
            left.lines().filter(|name| !name.ends_with("/default") && !name.ends_with("/kube-root-ca.crt")).collect();
        ensure!(ours.is_empty(), "{ours:?} are left");
        Ok(Some(()))
    })?;
    // Of what belongs to the cluster too: a webhook that stays would be asked about pods for ever.
    let kinds = "mutatingwebhookconfigurations,clusterroles,clusterrolebindings,csidrivers,priorityclasses";
    site.wait_gone(&[kinds, "-l", "app.kubernetes.io/part-of=forebay"])?;
    nothing_left(site)
}

fn nothing_left(site: &Site) -> Result<()> {
    site.wait_gone(&["pv"])?;
    site.wait_gone(&["pods", "-n", NAMESPACE, "-l", "forebay.io/runtime=default"])?;
    for node in site.cluster.nodes()? {
        wait_until(&format!("node {} to have no mount of ours", node.name()), SOON, || {
            // What the machine itself has mounted is seen in a node too; /var and /run are the node's own.
            let ours = |mount: &Mounted| {
                let at = &mount.at;
                at.starts_with("/run/forebay")
                    || (at.starts_with("/var/") && (mount.fs_type == "fuse.forebay" || at.contains("csi.forebay.io")))
            };
            let left: Vec<Mounted> = node.mounts()?.into_iter().filter(ours).collect();
            ensure!(left.is_empty(), "{left:?} are left");
            Ok(Some(()))
        })?;
        let cache = node.var().join("lib/forebay-cache");
        for dir in [cache, node.var().join("lib/forebay")] {
            wait_until(&format!("{} to have no byte of ours", dir.display()), SOON, || {
                let bytes = bytes_below(&dir)?;
                ensure!(bytes == 0, "{bytes} bytes stay");
                Ok(Some(()))
            })?;
        }
    }
    Ok(())
}

fn bytes_below(dir: &std::path::Path) -> Result<u64> {
    let mut bytes = 0;
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(0) };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += if kind.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
