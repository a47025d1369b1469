//! Many nodes, one cache: what they read leaves the store about once.

use anyhow::{Context, Result, ensure};
use forebay_promises::{Site, has_condition};

use crate::Promise;
use crate::source::{DIRS, Source};

pub(crate) const PROMISES: &[Promise] = &[
    ("peers::a_tree_is_listed_once_for_all_nodes", listed_once),
    ("peers::what_all_nodes_read_at_once_leaves_the_store_once", once),
    ("peers::nodes_share_pinned_data_and_bring_in_what_a_node_that_went_had_kept", shared),
    ("peers::a_node_that_is_drained_gives_what_it_alone_keeps_to_others", drained),
    ("peers::an_agent_killed_in_the_middle_costs_no_byte_of_what_others_read", killed),
];

/// One listing asks for the root and each directory in it. Each node has one of its own without the others.
fn listed_once(site: &Site) -> Result<()> {
    let source = Source::start(site, "listed")?;
    let (nodes, one) = (source.nodes.len() as u64, 1 + DIRS);
    let first = source.counting.listings();
    let files = source.add_file()?;
    let before = source.counting.listings();
    site.cluster.kubectl(&["annotate", "dataset", source.name, "forebay.io/refresh=again"])?;
    source.wait_listed(site, files)?;
    site.wait_for("all nodes to show it", &["dataset", source.name], |dataset| {
        dataset["status"]["handled"]["refresh"] == "again"
    })?;
    let again = source.counting.listings() - before;
    crate::say(&format!("          {nodes} nodes: {first} pages listed at first, {again} for a refresh; {one} are one listing"));
    ensure!(first < 2 * one && again < 2 * one, "{first} and {again} pages were listed for {nodes} nodes, and {one} are enough");
    source.delete(site)
}

fn once(site: &Site) -> Result<()> {
    let source = Source::start(site, "stampede")?;
    let before = source.counting.bytes();
    let readers = source.readers(site)?;
    source.finish(site, &readers)?;
    let out = source.counting.bytes() - before;
    let nodes = source.nodes.len();
    let share = out as f64 / source.bytes as f64;
    crate::say(&format!(
        "          {nodes} nodes read {} bytes each, {out} left the store: {share:.3} of the tree",
        source.bytes
    ));
    ensure!(share <= 1.1, "{out} bytes left the store for {nodes} nodes that read {} each", source.bytes);
    source.delete(site)
}

fn killed(site: &Site) -> Result<()> {
    let source = Source::start(site, "sudden")?;
    let before = source.counting.bytes();
    let readers = source.readers(site)?;
    for reader in &readers {
        reader.wait_printed(site, "reading")?;
    }
    let last = source.nodes.last().context("no node")?;
    site.cluster.node(last)?.exec(&["pkill", "-KILL", "-x", "forebay-agent"])?;
    site.delete_agent("default", last)?;
    source.finish(site, &readers)?;
    let out = source.counting.bytes() - before;
    crate::say(&format!("          {out} bytes left the store for {} on {} nodes", source.bytes, source.nodes.len()));
    site.wait_agents("default")?;
    source.delete(site)
}

/// With two nodes each file has one keeper; with more, each has two.
fn shared(site: &Site) -> Result<()> {
    let copies = if site.cluster.nodes()?.iter().filter(|node| node.is_up()).count() > 2 { 2u64 } else { 1 };
    let page = include_str!("../../../docs/operations/many-nodes.md");
    let example = page.split("```yaml\nspec:\n").nth(1).and_then(|rest| rest.split("```").next()).context("no example")?;
    let spec = example.replace("replicas: 2", &format!("replicas: {copies}"));
    ensure!(spec.contains("Sharded") && spec.contains("pin:"), "the page's example is another one: {spec}");
    let source = Source::with(site, "shared", &spec)?;
    let nodes = source.nodes.len() as u64;
    site.wait_phase("default", source.name, "Ready")?;
    // A node that knew of fewer others at first has pinned more, and gives it back in a while.
    source.wait_pinned(site, &source.nodes, copies * source.bytes)?;
    let once = source.counting.bytes();
    ensure!(once as f64 <= 1.1 * source.bytes as f64, "{once} bytes left the store for {} that are pinned", source.bytes);
    let readers = source.readers(site)?;
    source.finish(site, &readers)?;
    let again = source.counting.bytes() - once;
    ensure!(again * 100 < source.bytes, "{again} bytes left the store again when all that is pinned was read");

    site.cluster.kubectl(&["scale", "cacheruntime", "default", &format!("--replicas={}", nodes - 1)])?;
    site.wait_for("the hand-over to be told", &["cacheruntime", "default"], |runtime| {
        has_condition(runtime, |one| {
            one["reason"] == "Releasing" && one["message"].as_str().is_some_and(|said| said.contains("take over"))
        })
    })?;
    site.wait_for("the agent to be gone", &["cacheruntime", "default"], |runtime| runtime["status"]["replicas"] == nodes - 1)?;
    site.wait_phase("default", source.name, "Ready")?;
    let left = copies.min(nodes - 1) * source.bytes;
    source.wait_pinned(site, &source.nodes, left)?;
    let moved = source.counting.bytes() - once - again;
    crate::say(&format!(
        "          {copies} copies on {nodes} nodes: {once} bytes left the store for {}, and {moved} when a node had gone",
        source.bytes
    ));
    ensure!(moved * 100 < source.bytes, "{moved} bytes left the store though the node that went or others had them");
    site.patch_runtime("json", r#"[{"op": "remove", "path": "/spec/replicas"}]"#)?;
    site.wait_agents("default")?;
    // What the node gave back comes again, for the promises that follow.
    site.wait_phase("default", "first", "Ready")?;
    source.delete(site)
}

/// Each file has one keeper. A drain begins with a cordon, and so does what an autoscaler does.
fn drained(site: &Site) -> Result<()> {
    let source = Source::with(site, "drained", "  placement: {policy: Sharded, replicas: 1}\n  pin: {paths: [/]}\n")?;
    site.wait_phase("default", source.name, "Ready")?;
    source.wait_pinned(site, &source.nodes, source.bytes)?;
    let (last, others) = source.nodes.split_last().context("no node")?;
    let had = site.pinned_on(last, source.name);
    ensure!(had > 0, "{last} keeps nothing");
    let before = source.counting.bytes();
    site.cluster.kubectl(&["cordon", last])?;
    let taken = source.wait_pinned(site, others, source.bytes);
    site.cluster.kubectl(&["uncordon", last])?;
    taken?;
    let out = source.counting.bytes() - before;
    crate::say(&format!("          {had} bytes of {} were on the drained node alone, {out} left the store", source.bytes));
    ensure!(out * 100 < had, "{out} bytes left the store though {last} had all that was moved");
    source.delete(site)
}
