//! Pods that stay on a listing have its names and pinned files from their node's kernel, whoever of ours is alive.

use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use forebay_cluster::Node;
use forebay_e2e::wait_until;
use forebay_promises::{Reader, SOON, SUMS, Site, dataset, sums_of};

use crate::Promise;

pub(crate) const PROMISES: &[Promise] = &[("composed::a_pod_reads_pinned_files_with_the_agent_dead", agent_dead)];

/// What the pod does, so that its process is found on its node.
const STAYS: &str = "sleep 36123";

/// Every byte by a mapping of its own, as a checksum of all.
const MAPPED: &str = "python3 -c '
import hashlib, mmap, os
whole = hashlib.sha256()
for at, dirs, files in os.walk(\".\"):
    dirs.sort()
    for name in sorted(files):
        with open(os.path.join(at, name), \"rb\") as file:
            if os.fstat(file.fileno()).st_size:
                with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                    whole.update(mapped)
print(whole.hexdigest())'";

/// Runs a script on the pod's node in what the pod sees: nothing is asked of kubelet.
fn inside(node: &Node, script: &str) -> Result<String> {
    let words = format!("export LC_ALL=C; cd /proc/$(pgrep -xf '{STAYS}')/root/data && {script}");
    Ok(node.exec(&["sh", "-c", &words])?.trim().to_owned())
}

/// While it lives there is no kubelet, so nothing is started.
struct Still<'a>(&'a Node);

impl Drop for Still<'_> {
    fn drop(&mut self) {
        let _ = self.0.start_kubelet();
    }
}

fn agent_dead(site: &Site) -> Result<()> {
    let node = site.cluster.node("n1")?;
    let some = std::fs::read_dir(&site.store.source)?.filter_map(Result::ok).find(|entry| entry.path().is_dir());
    let pinned = some.context("the tree has no directory")?.file_name().into_string().unwrap_or_default();
    let wishes = format!("  consistency: {{policy: Snapshot, refresh: NewPods}}\n  pin: {{paths: [/{pinned}]}}\n");
    let object = dataset("stays", &site.store.mount("stays")).replace("---\n", &format!("{wishes}---\n"));
    site.cluster.apply(&format!("{}{object}", site.store.secret("stays")))?;
    site.wait_phase("default", "stays", "Ready")?;
    let reader = Reader::inline("default", "stays", "stays").on("n1").script(STAYS);
    reader.start(site)?;
    site.wait_for("the pod to run", &["pod", "stays"], |pod| pod["status"]["phase"] == "Running")?;
    site.wait_for("the mount to be composed", &["dataset", "stays"], |dataset| {
        let conditions = dataset["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Composed" && one["status"] == "True"))
    })?;
    let (all, part) = (sums_of(&site.store.source)?, sums_of(&site.store.source.join(&pinned))?);
    ensure!(inside(&node, SUMS)? == all, "with everybody alive");
    let files = inside(&node, "find . -type f | wc -l")?;
    let mapped = inside(&node, &format!("cd {pinned} && {MAPPED}"))?;

    node.kill_kubelet()?;
    let still = Still(&node);
    node.exec(&["pkill", "-KILL", "-x", "forebay-agent"])?;
    let forget = "echo 3 > /proc/sys/vm/drop_caches";
    ensure!(inside(&node, &format!("{forget}; find . -type f | wc -l"))? == files, "names, with no agent");
    ensure!(inside(&node, &format!("cd {pinned} && {SUMS}"))? == part, "pinned files, with no agent");
    ensure!(inside(&node, &format!("{forget}; cd {pinned} && {MAPPED}"))? == mapped, "mappings, with no agent");
    ensure!(node.exec(&["pgrep", "-x", "forebay-agent"]).is_err(), "somebody has started an agent");
    // The rest comes with the next agent.
    let rest = thread::scope(|scope| {
        let rest = scope.spawn(|| inside(&node, SUMS));
        thread::sleep(std::time::Duration::from_secs(2));
        let waits = !rest.is_finished();
        drop(still);
        let sums = rest.join().map_err(|_| anyhow!("the reader died"))??;
        ensure!(waits, "what is not pinned was read with no agent");
        anyhow::Ok(sums)
    })?;
    ensure!(rest == all, "after the next agent came");

    reader.remove(site)?;
    site.cluster.kubectl(&["delete", "dataset", "stays", "--timeout=180s"])?;
    wait_until("its mounts to be gone", SOON, || {
        Ok(node.exec(&["sh", "-c", "grep -F forebay:default/stays /proc/self/mountinfo"]).is_err().then_some(()))
    })?;
    site.cluster.kubectl(&["delete", "secret", "stays"]).map(drop)
}
