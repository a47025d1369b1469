//! Many nodes, one cache: what they read leaves the store about once.

use anyhow::{Context, Result, anyhow, ensure};
use forebay_e2e::wait_until;
use forebay_promises::{Reader, SOON, SUMS, Site, has_condition};

use crate::Promise;
use crate::source::{self, DIRS, Source};

pub(crate) const PROMISES: &[Promise] = &[
    ("peers::a_tree_is_listed_once_for_all_nodes", listed_once),
    ("peers::what_all_nodes_read_at_once_leaves_the_store_once", once),
    ("peers::nodes_share_pinned_data_and_bring_in_what_a_node_that_went_had_kept", shared),
    ("peers::a_node_that_is_drained_gives_what_it_alone_keeps_to_others", drained),
    ("peers::several_nodes_that_come_together_take_next_to_nothing_from_the_store", together),
    ("peers::an_agent_killed_in_the_middle_costs_no_byte_of_what_others_read", killed),
];

/// The node that comes to be drained and taken away.
const DRAINED: &str = "n5";
/// Nodes that come together.
const TOGETHER: [&str; 2] = ["n6", "n7"];

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

/// Each file has one keeper, and a pod reads on the node that goes. The machine is given back once others have taken over, for
/// nothing of ours holds it back until then.
fn drained(site: &Site) -> Result<()> {
    let tried = drained_and_removed(site);
    tried.and(cleared(site, &[DRAINED], "drained"))
}

fn drained_and_removed(site: &Site) -> Result<()> {
    site.cluster.add_node(DRAINED)?;
    site.wait_agents("default")?;
    let source = Source::of_small(site, "drained", "  placement: {policy: Sharded, replicas: 1}\n  pin: {paths: [/]}\n")?;
    site.wait_phase("default", source.name, "Ready")?;
    source.wait_pinned(site, &source.nodes, source.bytes)?;
    let others: Vec<String> = source.nodes.iter().filter(|node| *node != DRAINED).cloned().collect();
    let had = site.pinned_on(DRAINED, source.name);
    ensure!(had > 0, "{DRAINED} keeps nothing");
    // It has read all once before anything is counted: from then on its node has what it reads, and what leaves the store is
    // for the others.
    let pod = "drained-away";
    let endless = format!("{SUMS} > /dev/null; echo reading; while {SUMS} > /dev/null; do sleep 1; done");
    let reader = Reader::of_claim("default", pod, source.name).on(DRAINED).script(&endless);
    reader.start(site)?;
    reader.wait_printed(site, "reading")?;
    let before = source.counting.bytes();
    let how = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=180s"];
    site.cluster.kubectl(&[&["drain", DRAINED], &how[..]].concat())?;
    let left = site.cluster.kubectl(&["get", "pod", "-n", "default", pod, "--ignore-not-found", "-o", "name"])?;
    ensure!(left.trim().is_empty(), "the drain of {DRAINED} left {left}");
    source.wait_pinned(site, &others, source.bytes)?;
    let moved = source.counting.bytes() - before;
    site.cluster.remove_node(DRAINED)?;
    site.wait_agents("default")?;
    site.wait_phase("default", source.name, "Ready")?;
    let readers = source.readers_on(site, &others)?;
    source.finish(site, &readers)?;
    let out = source.counting.bytes() - before;
    crate::say(&format!(
        "          {had} bytes of {} were on the drained node alone, {moved} left the store to hand them over, {out} until all was read",
        source.bytes
    ));
    ensure!(
        out * 4 < had,
        "{out} bytes left the store, {moved} of them for the hand-over, though {DRAINED} had all {had} that were moved"
    );
    Ok(())
}

/// One node has all of a tree. Of two that come then each is asked by the other for what neither has.
fn together(site: &Site) -> Result<()> {
    let tried = come_together(site);
    tried.and(cleared(site, &TOGETHER, "together"))
}

/// Each is tried, whatever became of the one before.
fn cleared(site: &Site, nodes: &[&str], dataset: &str) -> Result<()> {
    let (nodes, dataset) = (site.remove_nodes(nodes), source::clear(site, dataset));
    nodes.and(dataset).and_then(|()| site.wait_agents("default"))
}

fn come_together(site: &Site) -> Result<()> {
    let source = Source::of_small(site, "together", "")?;
    let first = &source.nodes[..1];
    let readers = source.readers_on(site, first)?;
    source.finish(site, &readers)?;
    wait_until(&format!("all of {} bytes to be cached on {first:?}", source.bytes), SOON, || {
        let cached = site.cached_on(&first[0], source.name)?;
        ensure!(cached == source.bytes, "{cached} bytes are");
        Ok(Some(()))
    })?;
    let (cluster, before) = (&site.cluster, source.counting.bytes());
    std::thread::scope(|scope| {
        let coming = TOGETHER.map(|node| scope.spawn(move || cluster.add_node(node).map(drop)));
        coming.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    site.wait_agents("default")?;
    let nodes = source.nodes.len() + TOGETHER.len();
    site.wait_for("the nodes that came to show the tree", &["dataset", source.name], |dataset| {
        dataset["status"]["nodes"]["ready"] == nodes
    })?;
    let readers = source.readers_on(site, &TOGETHER.map(str::to_owned))?;
    source.finish(site, &readers)?;
    let out = source.counting.bytes() - before;
    let share = out as f64 / source.bytes as f64;
    crate::say(&format!(
        "          {} nodes came together and read {} bytes each, {out} left the store: {share:.3} of the tree",
        TOGETHER.len(),
        source.bytes
    ));
    ensure!(out * 5 < source.bytes, "{out} bytes left the store for {TOGETHER:?}, though {first:?} had all {}", source.bytes);
    Ok(())
}
