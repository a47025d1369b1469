//! A tree that no node has room for: three nodes keep it together, some of it twice, and one of them dies.

use anyhow::{Context, Result, ensure};
use forebay_e2e::wait_until;
use forebay_promises::{SOON, Site, has_condition};

use crate::Promise;
use crate::source::Source;

pub(crate) const PROMISES: &[Promise] =
    &[("sharded::nodes_with_room_for_half_a_tree_keep_all_of_it_and_one_of_them_dies", halves)];

const RUNTIME: &str = "halves";
/// The node that comes for this and dies.
const SUDDEN: &str = "n4";
/// Two of the seven directories are pinned, each file on two nodes.
const SPEC: &str = "  runtime: halves\n  placement: {policy: Sharded, replicas: 2}\n  pin: {paths: [/d0, /d1]}\n";
const PINNED: [&str; 2] = ["d0", "d1"];

/// Files of the sizes that images have: so many that each node's part of them is about the same.
fn sizes() -> impl Iterator<Item = u64> {
    (0..1100).map(|n| 80_000 + (n * 7919) % 240_000)
}

fn halves(site: &Site) -> Result<()> {
    site.cluster.add_node(SUDDEN)?;
    let source = Source::of(site, "sharded", sizes())?;
    let nodes = source.nodes.len() as u64;
    // With three nodes each has room for half of the tree.
    site.add_runtime(RUNTIME, "/var/lib/forebay-halves", &(source.bytes * 3 / 2 / nodes).to_string())?;
    source.create(site, SPEC)?;
    site.wait_phase("default", source.name, "Ready")?;
    let pinned = 2 * source.bytes_below(&PINNED)?;
    wait_pinned(site, &source, &source.nodes, pinned)?;
    let mut left = vec![source.counting.bytes()];
    for _ in 0..2 {
        let readers = source.readers(site)?;
        source.finish(site, &readers)?;
        left.push(source.counting.bytes());
    }
    let trees = |bytes: u64| bytes as f64 / source.bytes as f64;
    crate::say(&format!(
        "          {nodes} nodes with room for 1.5 trees: pinning took {:.3} of the tree from the store, the first epoch {:.3}, the second {:.3}",
        trees(left[0]),
        trees(left[1] - left[0]),
        trees(left[2] - left[1])
    ));
    ensure!((left[2] - left[1]) * 100 < source.bytes, "the second epoch took {} bytes from the store", left[2] - left[1]);
    dies(site, &source, pinned)?;
    source.delete(site)?;
    site.cluster.kubectl(&["delete", "cacheruntime", RUNTIME, "--timeout=180s"])?;
    site.wait_agents("default")
}

/// The node is gone from one moment to the next while all others read.
fn dies(site: &Site, source: &Source, pinned: u64) -> Result<()> {
    let others: Vec<String> = source.nodes.iter().filter(|node| *node != SUDDEN).cloned().collect();
    let before = source.counting.bytes();
    let readers = source.readers_on(site, &others)?;
    readers.iter().try_for_each(|reader| reader.wait_printed(site, "reading"))?;
    site.cluster.node(SUDDEN)?.kill()?;
    let moving = |dataset: &serde_json::Value| has_condition(dataset, |one| one["reason"] == "Moving");
    site.wait_for("the loss to be told", &["dataset", source.name], moving)?;
    source.finish(site, &readers)?;
    site.cluster.remove_node(SUDDEN)?;
    site.wait_phase("default", source.name, "Ready")?;
    wait_pinned(site, source, &others, pinned)?;
    let out = source.counting.bytes() - before;
    crate::say(&format!("          a node died: {out} bytes of {} left the store", source.bytes));
    Ok(())
}

/// Waits until these nodes together keep so many bytes pinned.
fn wait_pinned(site: &Site, source: &Source, nodes: &[String], bytes: u64) -> Result<()> {
    let mut found = 0;
    wait_until(&format!("{bytes} bytes to be pinned on {nodes:?} together"), SOON, || {
        found = nodes.iter().map(|node| site.pinned_by(RUNTIME, node, source.name)).sum();
        Ok((found == bytes).then_some(()))
    })
    .with_context(|| format!("{found} bytes are pinned"))
}
