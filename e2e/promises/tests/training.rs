//! A training job that was not written for this: PyTorch reads a Dataset for two epochs, the second one without the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use forebay_e2e::wait_until;
use forebay_promises::{NAMESPACE, Reader, SOON, Site, Store, dataset, sums_of};

use crate::Promise;

pub(crate) const PROMISES: &[Promise] =
    &[("training::pytorch_reads_the_claim_for_two_epochs_and_the_second_asks_the_store_for_nothing", two_epochs)];

/// Debian's oxygen-icon-theme: real images, in a directory for each kind of thing.
const ICONS: &str = "/usr/share/icons/oxygen/base";
const SIZES: [&str; 3] = ["64x64", "128x128", "256x256"];

/// What an epoch must have read.
#[derive(Debug, Default, PartialEq)]
struct Tree {
    files: u64,
    bytes: u64,
    /// Of each file its class's place among the sorted classes, added up.
    labels: u64,
}

/// Copies the icons to `to/CLASS/SIZE-NAME.png`.
fn copy_icons(to: &Path) -> Result<Tree> {
    let mut classes: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for size in SIZES {
        let dir = Path::new(ICONS).join(size);
        for class in fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
            let class = class?;
            let name = class.file_name().to_string_lossy().into_owned();
            for icon in fs::read_dir(class.path())? {
                let icon = icon?;
                // Other names of the same image are links.
                if !icon.file_type()?.is_file() || icon.path().extension().is_none_or(|end| end != "png") {
                    continue;
                }
                fs::create_dir_all(to.join(&name))?;
                let copied =
                    fs::copy(icon.path(), to.join(&name).join(format!("{size}-{}", icon.file_name().to_string_lossy())))?;
                let (files, bytes) = classes.entry(name.clone()).or_default();
                (*files, *bytes) = (*files + 1, *bytes + copied);
            }
        }
    }
    let mut tree = Tree::default();
    for (label, (files, bytes)) in (0u64..).zip(classes.into_values()) {
        tree = Tree { files: tree.files + files, bytes: tree.bytes + bytes, labels: tree.labels + label * files };
    }
    Ok(tree)
}

/// Bytes and requests that all nodes have had from stores since the agents started, for readers or not: four files that the job happens to
/// open in the order of their names have those behind them read ahead, which another node that is asked for them counts as background.
fn from_stores(site: &Site) -> Result<(u64, u64)> {
    let selector = "forebay.io/runtime=default";
    let pods = site.cluster.kubectl(&["get", "pods", "-n", NAMESPACE, "-l", selector, "-o", "name"])?;
    let (mut bytes, mut gets) = (0, 0);
    for pod in pods.lines().filter_map(|line| line.strip_prefix("pod/")) {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:9101/proxy/metrics");
        let metrics = site.cluster.kubectl(&["get", "--raw", &path])?;
        let sum = |name: &str| {
            let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{class=")));
            let values = lines.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()));
            values.sum::<Option<f64>>().with_context(|| format!("{pod} tells no {name}")).map(|sum| sum as u64)
        };
        bytes += sum("forebay_store_received_bytes_total")?;
        gets += sum("forebay_store_gets_total")?;
    }
    Ok((bytes, gets))
}

/// The value after `word` in a line of what the program prints.
fn told<'a>(line: &'a str, word: &str) -> Result<&'a str> {
    let mut words = line.split(' ');
    words.find(|one| *one == word).and_then(|_| words.next()).with_context(|| format!("no {word} in {line:?}"))
}

fn two_epochs(site: &Site) -> Result<()> {
    let store = Store::start(&site.cluster, &site.work("training")?)?;
    let tree = copy_icons(&store.source)?;
    ensure!(tree.files > 1000, "{tree:?} is not worth the name of training");
    store.upload()?;
    site.cluster.apply(&(store.secret("training") + &dataset("training", &store.mount("training"))))?;
    site.wait_for("the listing", &["dataset", "training"], |object| object["status"]["catalog"]["files"] == tree.files)?;

    let program = include_str!("training.py").replace('\'', "'\\''");
    let job = Reader::of_claim("default", "training", "training")
        .on("n1")
        .script(&format!("printf %s '{program}' > /tmp/training.py && exec /usr/bin/python3 -u /tmp/training.py /data"))
        .host_path("usr", "/usr", "/usr")
        .host_path("lib", "/usr/lib", "/lib")
        .host_path("lib64", "/usr/lib64", "/lib64")
        // Which of several linear algebra libraries is used.
        .host_path("alternatives", "/etc/alternatives", "/etc/alternatives");
    job.remove(site)?;
    // Nothing else is being fetched.
    site.wait_phase("default", "first", "Ready")?;
    let before = from_stores(site)?;
    job.start(site)?;
    let mut seen = vec![before];
    for epoch in [1, 2] {
        job.wait_printed(site, &format!("epoch {epoch}: "))?;
        // A request counts when all of it has come, which may be after the job had its bytes.
        let mut counted = (0, 0);
        wait_until("all bytes to be counted", SOON, || {
            counted = from_stores(site)?;
            Ok((counted.0 - before.0 >= tree.bytes).then_some(()))
        })
        .with_context(|| {
            format!("epoch {epoch} had only {counted:?} bytes and requests from the store since {before:?}, of {tree:?}")
        })?;
        seen.push(counted);
        // The last epoch's job may end, and its container with it, before `touch` has.
        let _ = job.exec(site, &["touch", &format!("/tmp/next-{epoch}")]);
    }
    let printed = job.finish(site)?;
    job.remove(site)?;

    let sums = sums_of(&store.source)?;
    let mut losses = Vec::new();
    for epoch in [1, 2] {
        let start = format!("epoch {epoch}: ");
        let line = printed.lines().find(|line| line.starts_with(&start)).with_context(|| format!("no {start:?} in {printed}"))?;
        let read = Tree {
            files: told(line, "files")?.parse()?,
            bytes: told(line, "bytes")?.parse()?,
            labels: told(line, "labels")?.parse()?,
        };
        ensure!(read == tree, "epoch {epoch} read {read:?} of {tree:?}");
        ensure!(sums.starts_with(told(line, "sums")?), "epoch {epoch} read other bytes than the store has: {line}");
        losses.push(told(line, "loss")?.parse::<f64>()?);
    }
    ensure!(losses[1] < losses[0], "nothing was learnt: {losses:?}");
    let first = (seen[1].0 - seen[0].0, seen[1].1 - seen[0].1);
    ensure!(seen[2] == seen[1], "the second epoch asked the store: {:?} bytes and requests, then {:?}", seen[1], seen[2]);
    crate::say(&format!("          {tree:?}, loss {losses:?}, from the store {first:?} bytes and requests, then none"));
    site.cluster.kubectl(&["delete", "dataset", "training", "--timeout=180s"])?;
    site.cluster.kubectl(&["delete", "secret", "training"]).map(drop)
}
