//! Many nodes, one cache: what they read leaves the store about once.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use forebay_e2e::wait_until;
use forebay_promises::{Counting, NAMESPACE, Reader, SOON, SUMS, Site, Store, dataset, has_condition, sums_of};

use crate::Promise;

pub(crate) const PROMISES: &[Promise] = &[
    ("peers::what_all_nodes_read_at_once_leaves_the_store_once", once),
    ("peers::nodes_share_pinned_data_and_bring_in_what_a_node_that_went_had_kept", shared),
    ("peers::a_node_that_is_drained_gives_what_it_alone_keeps_to_others", drained),
    ("peers::an_agent_killed_in_the_middle_costs_no_byte_of_what_others_read", killed),
];

/// A store with a tree of its own, and what counts before it.
struct Source {
    store: Store,
    counting: Counting,
    name: &'static str,
    bytes: u64,
    nodes: Vec<String>,
}

/// Files of many sizes whose bytes have no order: big ones of several extents, many small ones.
fn write_tree(to: &Path) -> Result<(u64, u64)> {
    let sizes =
        [20_000_000u64, 9_000_000].into_iter().chain((0..8).map(|n| 1_500_000 + n)).chain((0..150).map(|n| 20_000 + n * 331));
    let (mut files, mut total, mut seed) = (0, 0, 0x9e37_79b9_7f4a_7c15u64);
    for size in sizes {
        let mut bytes = Vec::with_capacity(usize::try_from(size)? + 8);
        while (bytes.len() as u64) < size {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            bytes.extend_from_slice(&seed.to_be_bytes());
        }
        bytes.truncate(usize::try_from(size)?);
        let dir = to.join(format!("d{}", files % 7));
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join(format!("f{files:04}")), bytes)?;
        (files, total) = (files + 1, total + size);
    }
    Ok((files, total))
}

impl Source {
    /// A Dataset that every node has listed and none has read.
    fn start(site: &Site, name: &'static str) -> Result<Self> {
        Self::with(site, name, "")
    }

    /// The same with more lines of its spec.
    fn with(site: &Site, name: &'static str, spec: &str) -> Result<Self> {
        let store = Store::start(&site.cluster, &site.work(name)?)?;
        let (files, bytes) = write_tree(&store.source)?;
        store.upload()?;
        let counting = Counting::before(&store)?;
        let mount = store.mount(name).replace(&store.endpoint(), &counting.endpoint());
        let dataset = dataset(name, &mount).replace("---\n", &format!("{spec}---\n"));
        site.cluster.apply(&(store.secret(name) + &dataset))?;
        let nodes: Vec<String> =
            site.cluster.nodes()?.iter().filter(|node| node.is_up()).map(|node| node.name().to_owned()).collect();
        ensure!(nodes.len() > 1, "one node has no other to ask");
        site.wait_for("every node to have listed", &["dataset", name], |object| {
            object["status"]["catalog"]["files"] == files && object["status"]["nodes"]["ready"] == nodes.len()
        })?;
        Ok(Self { store, counting, name, bytes, nodes })
    }

    /// A pod on each node that reads everything at once with the others.
    fn readers(&self, site: &Site) -> Result<Vec<Reader>> {
        let script = format!("echo reading; {SUMS}");
        let reader =
            |node: &String| Reader::of_claim("default", &format!("{}-{node}", self.name), self.name).on(node).script(&script);
        let readers: Vec<Reader> = self.nodes.iter().map(reader).collect();
        for reader in &readers {
            reader.remove(site)?;
            reader.start(site)?;
        }
        Ok(readers)
    }

    fn finish(&self, site: &Site, readers: &[Reader]) -> Result<()> {
        let expected = sums_of(&self.store.source)?;
        for (reader, node) in readers.iter().zip(&self.nodes) {
            let printed = reader.finish(site)?;
            ensure!(printed.lines().last() == Some(&*expected), "on {node}: {printed}, and the store has {expected}");
            reader.remove(site)?;
        }
        Ok(())
    }

    fn end(self, site: &Site) -> Result<()> {
        site.cluster.kubectl(&["delete", "dataset", self.name, "--timeout=180s"])?;
        site.cluster.kubectl(&["delete", "secret", self.name]).map(drop)
    }
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
    source.end(site)
}

fn killed(site: &Site) -> Result<()> {
    let source = Source::start(site, "sudden")?;
    let before = source.counting.bytes();
    let readers = source.readers(site)?;
    for reader in &readers {
        reader.wait_printed(site, "reading")?;
    }
    let last = source.nodes.last().context("no node")?;
    let fields = format!("spec.nodeName={last}");
    site.cluster.node(last)?.exec(&["pkill", "-KILL", "-x", "forebay-agent"])?;
    let words = ["delete", "pod", "-n", NAMESPACE, "-l", "forebay.io/runtime=default", "--field-selector", &fields];
    site.cluster.kubectl(&[&words[..], &["--grace-period=0", "--force"]].concat())?;
    source.finish(site, &readers)?;
    let out = source.counting.bytes() - before;
    crate::say(&format!("          {out} bytes left the store for {} on {} nodes", source.bytes, source.nodes.len()));
    let nodes = source.nodes.len();
    site.wait_for("all agents", &["cacheruntime", "default"], |runtime| runtime["status"]["readyReplicas"] == nodes)?;
    source.end(site)
}

/// Waits until so many bytes are pinned on these nodes together.
fn wait_pinned(site: &Site, source: &Source, nodes: &[String], bytes: u64) -> Result<()> {
    let mut pinned = 0;
    wait_until(&format!("{bytes} bytes to be pinned on {nodes:?} together"), SOON, || {
        pinned = nodes.iter().map(|node| site.pinned_on(node, source.name)).sum();
        Ok((pinned == bytes).then_some(()))
    })
    .with_context(|| format!("{pinned} bytes are pinned"))
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
    wait_pinned(site, &source, &source.nodes, copies * source.bytes)?;
    let once = source.counting.bytes();
    ensure!(once as f64 <= 1.1 * source.bytes as f64, "{once} bytes left the store for {} that are pinned", source.bytes);
    let readers = source.readers(site)?;
    source.finish(site, &readers)?;
    let again = source.counting.bytes() - once;
    ensure!(again * 100 < source.bytes, "{again} bytes left the store again when all that is pinned was read");

    site.cluster.kubectl(&["scale", "cacheruntime", "default", &format!("--replicas={}", nodes - 1)])?;
    site.wait_for("the loss to be told", &["dataset", source.name], |dataset| {
        has_condition(dataset, |one| one["reason"] == "Moving")
    })?;
    site.wait_phase("default", source.name, "Ready")?;
    let left = copies.min(nodes - 1) * source.bytes;
    wait_pinned(site, &source, &source.nodes, left)?;
    let moved = source.counting.bytes() - once - again;
    crate::say(&format!(
        "          {copies} copies on {nodes} nodes: {once} bytes left the store for {}, and {moved} when a node had gone",
        source.bytes
    ));
    ensure!(copies == 1 || moved * 100 < source.bytes, "{moved} bytes left the store though other nodes had them");
    site.patch_runtime("json", r#"[{"op": "remove", "path": "/spec/replicas"}]"#)?;
    site.wait_for("all agents", &["cacheruntime", "default"], |runtime| runtime["status"]["readyReplicas"] == nodes)?;
    // What the node gave back comes again, for the promises that follow.
    site.wait_phase("default", "first", "Ready")?;
    source.end(site)
}

/// Each file has one keeper. A drain begins with a cordon, and so does what an autoscaler does.
fn drained(site: &Site) -> Result<()> {
    let source = Source::with(site, "drained", "  placement: {policy: Sharded, replicas: 1}\n  pin: {paths: [/]}\n")?;
    site.wait_phase("default", source.name, "Ready")?;
    wait_pinned(site, &source, &source.nodes, source.bytes)?;
    let (last, others) = source.nodes.split_last().context("no node")?;
    let had = site.pinned_on(last, source.name);
    ensure!(had > 0, "{last} keeps nothing");
    let before = source.counting.bytes();
    site.cluster.kubectl(&["cordon", last])?;
    let taken = wait_pinned(site, &source, others, source.bytes);
    site.cluster.kubectl(&["uncordon", last])?;
    taken?;
    let out = source.counting.bytes() - before;
    crate::say(&format!("          {had} bytes of {} were on the drained node alone, {out} left the store", source.bytes));
    ensure!(out * 100 < had, "{out} bytes left the store though {last} had all that was moved");
    source.end(site)
}
