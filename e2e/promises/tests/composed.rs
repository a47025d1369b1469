//! Pods that stay on a listing have its names and pinned files from their node's kernel, whoever of ours is alive, unless that is
//! switched off.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use forebay_cluster::Node;
use forebay_e2e::wait_until;
use forebay_promises::{Opens, Reader, SOON, SUMS, Site, dataset, has_condition, sums_of};
use serde_json::Value;

use crate::{Promise, source};

pub(crate) const PROMISES: &[Promise] = &[
    ("composed::a_pod_reads_pinned_files_with_the_agent_dead", agent_dead),
    ("composed::what_the_chart_switches_off_is_not_done_and_reads_are_right", switched_off),
];

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

/// Every byte, and what the volume is mounted as.
fn all_and_how() -> String {
    format!("{SUMS} && grep -o ' /data [a-z.]*' /proc/mounts")
}

/// [`all_and_how`] in a pod that runs.
fn seen(site: &Site, pod: &Reader) -> Result<String> {
    Ok(pod.exec(site, &["sh", "-c", &format!("cd /data && {}", all_and_how())])?.trim().to_owned())
}

/// A pod that does nothing by itself, once it runs.
fn idle(site: &Site, name: &str, node: &str) -> Result<Reader> {
    let pod = Reader::inline("default", name, "steps").on(node).script("sleep 3600");
    pod.start(site)?;
    wait_until(&format!("pod {name} to run"), SOON, || Ok((pod.phase(site)? == "Running").then_some(())))
        .with_context(|| pod.describe(site).unwrap_or_default())?;
    Ok(pod)
}

/// Waits until a condition of Dataset `steps` is so, in these words.
fn wait_said(site: &Site, kind: &str, status: &str, words: &str) -> Result<()> {
    let is_said = |one: &Value| one["message"].as_str().is_some_and(|message| message.contains(words));
    site.wait_for(&format!("{kind} to be {status} with {words:?}"), &["dataset", "steps"], |dataset| {
        has_condition(dataset, |one| one["type"] == kind && one["status"] == status && is_said(one))
    })
    .map(drop)
}

fn switched_off(site: &Site) -> Result<()> {
    let tried = off_and_on(site);
    let pods = ["delete", "pod", "steps-before", "steps-during", "steps-after", "--ignore-not-found", "--timeout=180s"];
    let pods = site.cluster.kubectl(&pods).map(drop);
    tried.and(pods).and(source::clear(site, "steps"))
}

fn off_and_on(site: &Site) -> Result<()> {
    let wishes = "  consistency: {policy: Snapshot, refresh: NewPods}\n";
    let object = dataset("steps", &site.store.mount("steps")).replace("---\n", &format!("{wishes}---\n"));
    site.cluster.apply(&format!("{}{object}", site.store.secret("steps")))?;
    site.wait_phase("default", "steps", "Ready")?;
    let before = idle(site, "steps-before", "n1")?;
    wait_said(site, "Composed", "True", "")?;

    let off = ["agent.passthrough=false", "agent.composed=false", "agent.log=info,steps=info"];
    let gone = site.upgrade(&off).and_then(|()| site.wait_agents_log("info,steps=info"));
    let during = gone.and_then(|()| while_off(site, &before));
    // Whatever came of it: what follows counts on the defaults.
    let back = site.upgrade(&[]).and_then(|()| site.wait_agents_log("info"));
    let during = during?;
    back?;

    let all = sums_of(&site.store.source)?;
    // All is cached there now, and the mount was made when the kernel was to read nothing by itself.
    let native = site.opens_on("n2", "steps")?.native;
    ensure!(seen(site, &during)? == format!("{all}\n /data fuse.forebay"), "what a pod began with that ran meanwhile");
    ensure!(site.opens_on("n2", "steps")?.native > native, "no file is read natively again");
    let after = Reader::inline("default", "steps-after", "steps").on("n2").script(&all_and_how()).run(site)?;
    ensure!(after == format!("{all}\n /data overlay"), "a pod that began after it: {after}");
    wait_said(site, "NativeReads", "True", "")?;
    wait_said(site, "Composed", "True", "")
}

/// With both steps switched off; a pod that began so, on the node where nobody had mounted the Dataset.
fn while_off(site: &Site, before: &Reader) -> Result<Reader> {
    let all = sums_of(&site.store.source)?;
    let during = idle(site, "steps-during", "n2")?;
    ensure!(seen(site, &during)? == format!("{all}\n /data fuse.forebay"), "a pod that began with both off");
    let Opens { native, served } = site.opens_on("n2", "steps")?;
    ensure!(native == 0 && served > 0, "{native} native, {served} served");
    ensure!(seen(site, before)? == format!("{all}\n /data overlay"), "a pod keeps what it began with");
    wait_said(site, "NativeReads", "False", "agent.passthrough=true")?;
    wait_said(site, "Composed", "False", "agent.composed=true")?;
    Ok(during)
}
