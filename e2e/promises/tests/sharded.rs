//! A tree that no node has room for: three nodes keep it together, some of it twice, and one of them dies.

use anyhow::{Result, ensure};
use forebay_promises::{Site, has_condition};

use crate::Promise;
use crate::source::{self, Source};

pub(crate) const PROMISES: &[Promise] =
    &[("sharded::nodes_with_room_for_half_a_tree_keep_all_of_it_and_one_of_them_dies", halves)];

const RUNTIME: &str = "halves";
const NAME: &str = "sharded";
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
    let tried = with_three(site);
    // Each is tried, whatever became of the one before.
    let dataset = source::clear(site, NAME);
    let runtime = site.cluster.kubectl(&["delete", "cacheruntime", RUNTIME, "--ignore-not-found", "--timeout=180s"]).map(drop);
    let node = site.remove_nodes(&[SUDDEN]);
    tried.and(dataset).and(runtime).and(node).and_then(|()| site.wait_agents("default"))
}

fn with_three(site: &Site) -> Result<()> {
    let source = Source::of(site, NAME, sizes())?;
    let nodes = source.nodes.len() as u64;
    // With three nodes each has room for a little more than half of the tree: no node's part is a third to the byte.
    site.add_runtime(RUNTIME, "/var/lib/forebay-halves", &(source.bytes * 8 / 5 / nodes).to_string())?;
    source.create(site, SPEC)?;
    site.wait_phase("default", NAME, "Ready")?;
    let pinned = 2 * source.bytes_below(&PINNED)?;
    source.wait_pinned_by(site, RUNTIME, &source.nodes, pinned)?;
    let mut left = vec![source.counting.bytes()];
    for _ in 0..2 {
        let readers = source.readers(site)?;
        source.finish(site, &readers)?;
        left.push(source.counting.bytes());
    }
    let trees = |bytes: u64| bytes as f64 / source.bytes as f64;
    crate::say(&format!(
        "          {nodes} nodes with room for 1.6 trees: pinning took {:.3} of the tree from the store, the first epoch {:.3}, the second {:.3}",
        trees(left[0]),
        trees(left[1] - left[0]),
        trees(left[2] - left[1])
    ));
    ensure!((left[2] - left[1]) * 100 < source.bytes, "the second epoch took {} bytes from the store", left[2] - left[1]);
    dies(site, &source, pinned)
}

/// The node is gone from one moment to the next while all others read.
fn dies(site: &Site, source: &Source, pinned: u64) -> Result<()> {
    let others: Vec<String> = source.nodes.iter().filter(|node| *node != SUDDEN).cloned().collect();
    let gets = || PINNED.iter().map(|dir| source.counting.gets_below(dir)).sum::<u64>();
    let (before, asked) = (source.counting.bytes(), gets());
    let readers = source.readers_on(site, &others)?;
    readers.iter().try_for_each(|reader| reader.wait_printed(site, "reading"))?;
    site.cluster.node(SUDDEN)?.kill()?;
    // That something moves is said for twenty seconds, which a change of leaders may hide; that a node is missing, until that is gone.
    let told =
        |dataset: &serde_json::Value| has_condition(dataset, |one| one["reason"] == "Moving" || one["reason"] == "NodesMissing");
    site.wait_for("the loss to be told", &["dataset", NAME], told)?;
    source.finish(site, &readers)?;
    site.cluster.remove_node(SUDDEN)?;
    site.wait_phase("default", NAME, "Ready")?;
    source.wait_pinned_by(site, RUNTIME, &others, pinned)?;
    let (out, asked) = (source.counting.bytes() - before, gets() - asked);
    crate::say(&format!(
        "          a node died: {out} bytes of {} left the store, in {asked} requests for what is pinned",
        source.bytes
    ));
    // A reader that met the node at its end asks the store, and so does who was to get a copy from it.
    ensure!(asked * 10 < source.files_below(&PINNED)?, "the store was asked {asked} times for what another node had, too");
    Ok(())
}
