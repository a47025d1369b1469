//! Pods that stay on a listing have its names and pinned files from their node's kernel, whoever of ours is alive.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use forebay_cluster::Node;
use forebay_e2e::wait_until;
use forebay_promises::{Reader, SOON, SUMS, Site, dataset, has_condition, sums_of};

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

/// Two directories of the tree, by their paths in it, beside which there are others.
fn two_of_many(tree: &Path) -> Result<(String, String)> {
    let dirs_in = |dir: &Path| -> Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        Ok(entries.into_iter().filter(|path| path.is_dir()).collect())
    };
    for dir in dirs_in(tree)? {
        if let [one, other, _, ..] = &*dirs_in(&dir)? {
            let path = |path: &Path| anyhow::Ok(path.strip_prefix(tree)?.to_str().context("a name is no UTF-8")?.to_owned());
            return Ok((path(one)?, path(other)?));
        }
    }
    bail!("no directory of the tree has three directories")
}

/// What the files below a directory hold.
fn bytes_of(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let (path, of) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        bytes += if of.is_dir() { bytes_of(&path)? } else { of.len() };
    }
    Ok(bytes)
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
    let (pinned, later) = two_of_many(&site.store.source)?;
    let wishes = format!("  consistency: {{policy: Snapshot, refresh: NewPods}}\n  pin: {{paths: [/{pinned}]}}\n");
    let object = dataset("stays", &site.store.mount("stays")).replace("---\n", &format!("{wishes}---\n"));
    site.cluster.apply(&format!("{}{object}", site.store.secret("stays")))?;
    site.wait_phase("default", "stays", "Ready")?;
    let reader = Reader::inline("default", "stays", "stays").on("n1").script(STAYS);
    reader.start(site)?;
    site.wait_for("the pod to run", &["pod", "stays"], |pod| pod["status"]["phase"] == "Running")?;
    site.wait_for("the mount to be composed", &["dataset", "stays"], |dataset| {
        has_condition(dataset, |one| one["type"] == "Composed" && one["status"] == "True")
    })?;
    let (all, part) = (sums_of(&site.store.source)?, sums_of(&site.store.source.join(&pinned))?);
    ensure!(inside(&node, SUMS)? == all, "with everybody alive");
    let files = inside(&node, "find . -type f | wc -l")?;
    let mapped = inside(&node, &format!("cd {pinned} && {MAPPED}"))?;

    // What is pinned now was looked up when it came through the agent.
    let pins = format!(r#"{{"spec":{{"pin":{{"paths":["/{pinned}","/{later}"]}}}}}}"#);
    site.cluster.kubectl(&["patch", "dataset", "stays", "--type=merge", "--patch", &pins])?;
    let more = sums_of(&site.store.source.join(&later))?;
    let both = bytes_of(&site.store.source.join(&pinned))? + bytes_of(&site.store.source.join(&later))?;
    wait_until("more to be pinned", SOON, || Ok((site.pinned_on("n1", "stays") >= both).then_some(())))?;
    // The kernel is told right after that, and keeps what is open just then.
    thread::sleep(Duration::from_secs(2));
    wait_until("them to be read by the kernel alone", SOON, || {
        let before = site.opens_on("n1", "stays")?;
        ensure!(
            inside(&node, &format!("echo 1 > /proc/sys/vm/drop_caches; cd {later} && {SUMS}"))? == more,
            "while it is pinned"
        );
        Ok((site.opens_on("n1", "stays")? == before).then_some(()))
    })?;

    node.kill_kubelet()?;
    let still = Still(&node);
    node.exec(&["pkill", "-KILL", "-x", "forebay-agent"])?;
    let new = inside(&node, &format!("echo 1 > /proc/sys/vm/drop_caches; cd {later} && timeout 60 sh -c '{SUMS}'"))?;
    ensure!(new == more, "files that were pinned after they had been read, with no agent");
    let forget = "echo 3 > /proc/sys/vm/drop_caches";
    ensure!(inside(&node, &format!("{forget}; find . -type f | wc -l"))? == files, "names, with no agent");
    ensure!(inside(&node, &format!("cd {pinned} && {SUMS}"))? == part, "pinned files, with no agent");
    ensure!(inside(&node, &format!("{forget}; cd {pinned} && {MAPPED}"))? == mapped, "mappings, with no agent");
    ensure!(node.exec(&["pgrep", "-x", "forebay-agent"]).is_err(), "somebody has started an agent");
    // The rest comes with the next agent.
    let rest = thread::scope(|scope| {
        let rest = scope.spawn(|| inside(&node, SUMS));
        thread::sleep(Duration::from_secs(2));
        let waits = !rest.is_finished();
        drop(still);
        let sums = rest.join().map_err(|_| anyhow!("the reader died"))?.context("what is not pinned")?;
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
