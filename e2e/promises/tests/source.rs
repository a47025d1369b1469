//! A store with a tree of its own that all nodes read, and what counts before it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use forebay_e2e::wait_until;
use forebay_promises::{Counting, Reader, SOON, SUMS, Site, Store, dataset, sums_of};
use serde_json::Value;

pub(crate) struct Source {
    store: Store,
    pub(crate) counting: Counting,
    pub(crate) name: &'static str,
    files: u64,
    pub(crate) bytes: u64,
    pub(crate) nodes: Vec<String>,
}

/// Directories of a tree.
pub(crate) const DIRS: u64 = 7;

/// Files of these sizes whose bytes have no order.
fn write_tree(to: &Path, sizes: impl IntoIterator<Item = u64>) -> Result<(u64, u64)> {
    let (mut files, mut total, mut seed) = (0, 0, 0x9e37_79b9_7f4a_7c15u64);
    for size in sizes {
        let mut bytes = Vec::with_capacity(usize::try_from(size)? + 8);
        while (bytes.len() as u64) < size {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            bytes.extend_from_slice(&seed.to_be_bytes());
        }
        bytes.truncate(usize::try_from(size)?);
        let dir = to.join(format!("d{}", files % DIRS));
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join(format!("f{files:05}")), bytes)?;
        (files, total) = (files + 1, total + size);
    }
    Ok((files, total))
}

impl Source {
    /// A Dataset that every node has listed and none has read: files of many sizes, big ones of several extents, many small ones.
    pub(crate) fn start(site: &Site, name: &'static str) -> Result<Self> {
        Self::with(site, name, "")
    }

    /// The same with more lines of its spec.
    pub(crate) fn with(site: &Site, name: &'static str, spec: &str) -> Result<Self> {
        let big = [20_000_000u64, 9_000_000].into_iter().chain((0..8).map(|n| 1_500_000 + n));
        let source = Self::of(site, name, big.chain((0..150).map(|n| 20_000 + n * 331)))?;
        source.create(site, spec)?;
        Ok(source)
    }

    /// The same of files that are each fetched at once, so that no moment in which a node does not answer costs much of the tree.
    pub(crate) fn of_small(site: &Site, name: &'static str, spec: &str) -> Result<Self> {
        let source = Self::of(site, name, (0..300).map(|n| 20_000 + n * 331))?;
        source.create(site, spec)?;
        Ok(source)
    }

    /// A store with files of these sizes, and no Dataset yet.
    pub(crate) fn of(site: &Site, name: &'static str, sizes: impl IntoIterator<Item = u64>) -> Result<Self> {
        let store = Store::start(&site.cluster, &site.work(name)?)?;
        let (files, bytes) = write_tree(&store.source, sizes)?;
        store.upload()?;
        let counting = Counting::before(&store)?;
        let nodes: Vec<String> =
            site.cluster.nodes()?.iter().filter(|node| node.is_up()).map(|node| node.name().to_owned()).collect();
        ensure!(nodes.len() > 1, "one node has no other to ask");
        Ok(Self { store, counting, name, files, bytes, nodes })
    }

    /// Its Dataset, until every node has listed it.
    pub(crate) fn create(&self, site: &Site, spec: &str) -> Result<()> {
        self.apply(site, spec)?;
        self.wait_listed(site, self.files)
    }

    /// Its Dataset.
    pub(crate) fn apply(&self, site: &Site, spec: &str) -> Result<()> {
        let mount = self.store.mount(self.name).replace(&self.store.endpoint(), &self.counting.endpoint());
        let dataset = dataset(self.name, &mount).replace("---\n", &format!("{spec}---\n"));
        site.cluster.apply(&(self.store.secret(self.name) + &dataset)).map(drop)
    }

    /// Until every node has listed so many files.
    pub(crate) fn wait_listed(&self, site: &Site, files: u64) -> Result<()> {
        let listed = site.wait_for("every node to have listed", &["dataset", self.name], |object| {
            object["status"]["catalog"]["files"] == files && object["status"]["nodes"]["ready"] == self.nodes.len()
        });
        listed.map(drop)
    }

    /// Waits until so many bytes of it are pinned on these nodes together.
    pub(crate) fn wait_pinned(&self, site: &Site, nodes: &[String], bytes: u64) -> Result<()> {
        self.wait_pinned_by(site, "default", nodes, bytes)
    }

    /// The same for the agents of another CacheRuntime.
    pub(crate) fn wait_pinned_by(&self, site: &Site, runtime: &str, nodes: &[String], bytes: u64) -> Result<()> {
        let mut pinned = 0;
        wait_until(&format!("{bytes} bytes to be pinned on {nodes:?} together"), SOON, || {
            pinned = nodes.iter().map(|node| site.pinned_by(runtime, node, self.name)).sum();
            Ok((pinned == bytes).then_some(()))
        })
        .with_context(|| format!("{pinned} bytes are pinned"))
    }

    /// Bytes of what is below these directories.
    pub(crate) fn bytes_below(&self, dirs: &[&str]) -> Result<u64> {
        Ok(self.sizes_below(dirs)?.iter().sum())
    }

    /// How many files are below these directories.
    pub(crate) fn files_below(&self, dirs: &[&str]) -> Result<u64> {
        Ok(self.sizes_below(dirs)?.len() as u64)
    }

    fn sizes_below(&self, dirs: &[&str]) -> Result<Vec<u64>> {
        let mut sizes = Vec::new();
        for dir in dirs {
            for file in std::fs::read_dir(self.store.source.join(dir))? {
                sizes.push(file?.metadata()?.len());
            }
        }
        Ok(sizes)
    }

    /// One file more in the store.
    pub(crate) fn add_file(&self) -> Result<u64> {
        std::fs::write(self.store.source.join("d0/one-more"), "one more")?;
        self.store.upload()?;
        Ok(self.files + 1)
    }

    /// A pod on each node that reads everything at once with the others.
    pub(crate) fn readers(&self, site: &Site) -> Result<Vec<Reader>> {
        self.readers_on(site, &self.nodes)
    }

    /// The same, on these nodes.
    pub(crate) fn readers_on(&self, site: &Site, nodes: &[String]) -> Result<Vec<Reader>> {
        let script = format!("echo reading; {SUMS}");
        let reader =
            |node: &String| Reader::of_claim("default", &format!("{}-{node}", self.name), self.name).on(node).script(&script);
        let readers: Vec<Reader> = nodes.iter().map(reader).collect();
        for reader in &readers {
            reader.remove(site)?;
            reader.start(site)?;
        }
        Ok(readers)
    }

    /// Until they have read all, and it was what the store has.
    pub(crate) fn finish(&self, site: &Site, readers: &[Reader]) -> Result<()> {
        let expected = sums_of(&self.store.source)?;
        for reader in readers {
            let printed = reader.finish(site)?;
            ensure!(printed.lines().last() == Some(&*expected), "{reader:?}: {printed}, and the store has {expected}");
            reader.remove(site)?;
        }
        Ok(())
    }

    /// Takes the Dataset away; the store stays.
    pub(crate) fn delete(&self, site: &Site) -> Result<()> {
        site.cluster.kubectl(&["delete", "dataset", self.name, "--timeout=180s"])?;
        site.cluster.kubectl(&["delete", "secret", self.name]).map(drop)
    }
}

/// Takes away what a promise, kept or broken, has left of a Dataset: the pods that mount its claim, itself and its Secret.
pub(crate) fn clear(site: &Site, name: &str) -> Result<()> {
    let pods = site.cluster.get(&["pods", "-n", "default"])?;
    let mounts = |pod: &&Value| {
        let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        volumes.any(|volume| volume["persistentVolumeClaim"]["claimName"] == name)
    };
    for pod in pods["items"].as_array().into_iter().flatten().filter(mounts) {
        let pod = pod["metadata"]["name"].as_str().context("a pod without a name")?;
        site.cluster.kubectl(&["delete", "pod", "-n", "default", pod, "--ignore-not-found", "--timeout=180s"])?;
    }
    site.cluster.kubectl(&["delete", "dataset", name, "--ignore-not-found", "--timeout=180s"])?;
    site.cluster.kubectl(&["delete", "secret", name, "--ignore-not-found"]).map(drop)
}
