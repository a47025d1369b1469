//! A tree of 2 GiB that all nodes read whole, at once and cold, and what may be wrong with a node meanwhile.
//!
//! On a CacheRuntime of its own: each node has room for all of it, on a file system of its own, so that it can be full.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use forebay_e2e::wait_until;
use forebay_promises::{SOON, Site};

use crate::Promise;
use crate::source::Source;

pub(crate) const PROMISES: &[Promise] = &[("stampede::two_gib_on_all_nodes_leave_the_store_once_whatever_a_node_does", stampede)];

const RUNTIME: &str = "stampede";
/// Where its tier lies on each node.
const TIER: &str = "/var/lib/forebay-stampede";
const GIB: u64 = 1 << 30;
/// Most that may leave the store, in trees.
const LIMIT: f64 = 1.1;

/// Big files, and as many bytes in small ones as a tree of images has.
fn sizes() -> impl Iterator<Item = u64> {
    let big = (0..6).map(|n| 256 * (1 << 20) + n * 77_777);
    big.chain((0..2200).map(|n| 200_000 + (n * 7919) % 120_000))
}

/// What one node has to bear while all read.
struct Trouble<'a> {
    what: &'static str,
    /// Happens when all readers have begun.
    begin: &'a dyn Fn() -> Result<()>,
    end: &'a dyn Fn() -> Result<()>,
}

fn stampede(site: &Site) -> Result<()> {
    let source = Source::of(site, "stampede-2g", sizes())?;
    ensure!(source.bytes >= 2 * GIB, "the tree has {} bytes", source.bytes);
    let last = source.nodes.last().context("no node")?.clone();
    let disks = site.work("stampede-disks")?;
    for node in &source.nodes {
        let disk = disks.join(node);
        File::create(&disk)?.set_len(3 * GIB)?;
        // Without a journal and at once: many bytes that nobody needs would be written else.
        let make = format!(
            "mkdir -p {TIER} && mkfs.ext4 -q -m 0 -O ^has_journal -E lazy_itable_init=1 {0} && mount -o loop {0} {TIER}",
            disk.display()
        );
        site.cluster.node(node)?.exec(&["sh", "-c", &make])?;
    }
    let tried = on_own_disks(site, &source, &last);
    let cleared = source.nodes.iter().map(|node| {
        let unmount = || Ok(site.cluster.node(node)?.exec(&["umount", TIER]).is_ok().then_some(()));
        wait_until(&format!("the tier's file system on {node} to be free"), SOON, unmount)
    });
    let cleared: Result<Vec<()>> = cleared.collect();
    std::fs::remove_dir_all(&disks)?;
    tried.and(cleared.map(drop))
}

fn on_own_disks(site: &Site, source: &Source, last: &str) -> Result<()> {
    site.add_runtime(RUNTIME, TIER, "2800Mi")?;
    let ready = || site.wait_agents(RUNTIME);
    let on_last = |script: &str| site.cluster.node(last)?.exec(&["sh", "-c", script]).map(drop);
    let nothing = || Ok(());
    let kill = || {
        on_last("pkill -KILL -f '[f]orebay-agent.*stampede'")?;
        site.delete_agent(RUNTIME, last)
    };
    let fill = || on_last(&format!("dd if=/dev/zero of={TIER}/junk bs=1M 2>/dev/null; true"));
    let empty = || on_last(&format!("rm {TIER}/junk"));
    let troubles = [
        Trouble { what: "nothing is wrong", begin: &nothing, end: &nothing },
        Trouble { what: "one node's agent is killed", begin: &kill, end: &ready },
        Trouble { what: "one node's disk is full", begin: &fill, end: &empty },
    ];
    for Trouble { what, begin, end } in troubles {
        source.create(site, &format!("  runtime: {RUNTIME}\n"))?;
        let before = source.counting.bytes();
        let readers = source.readers(site)?;
        readers.iter().try_for_each(|reader| reader.wait_printed(site, "reading"))?;
        begin()?;
        let read = source.finish(site, &readers);
        end()?;
        read.context(what)?;
        told(source, what, source.counting.bytes() - before)?;
        source.delete(site)?;
    }
    lying(site, source, last)?;
    site.cluster.kubectl(&["delete", "cacheruntime", RUNTIME, "--timeout=180s"]).map(drop)
}

/// One node has all, and its disk changes a piece of every file. The others read all from it and the store.
fn lying(site: &Site, source: &Source, liar: &str) -> Result<()> {
    source.create(site, &format!("  runtime: {RUNTIME}\n"))?;
    let (liar, others): (Vec<String>, Vec<String>) = source.nodes.iter().cloned().partition(|node| node == liar);
    let alone = source.readers_on(site, &liar)?;
    source.finish(site, &alone)?;
    let damage = format!(
        "find {TIER} -path '*objects*' -type f -size +100k | while read f; do \
         printf 'these are not the bytes' | dd of=$f bs=1 seek=$(( $(stat -c %s $f) / 2 )) conv=notrunc 2>/dev/null; echo; done | wc -l"
    );
    let damaged = site.cluster.node(&liar[0])?.exec(&["sh", "-c", &damage])?;
    let damaged: u64 = damaged.trim().parse().context("count damaged files")?;
    ensure!(damaged > 1000, "{damaged} files were damaged");
    let before = source.counting.bytes();
    let readers = source.readers_on(site, &others)?;
    source.finish(site, &readers)?;
    let what = format!("one node gives what its disk has changed, in {damaged} files");
    told(source, &what, source.counting.bytes() - before)?;
    source.delete(site)
}

fn told(source: &Source, what: &str, out: u64) -> Result<()> {
    let share = out as f64 / source.bytes as f64;
    crate::say(&format!("          {what}: {share:.3} of {:.2} GiB left the store", source.bytes as f64 / GIB as f64));
    ensure!(share <= LIMIT, "{what}: {share:.3} of the tree left the store, and at most {LIMIT} may");
    Ok(())
}
