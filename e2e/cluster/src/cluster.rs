mod removal;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use forebay_e2e::wait_until;
use serde_json::Value;

use crate::addresses::Addresses;
use crate::client::Client;
use crate::control::ControlPlane;
use crate::daemon::Daemon;
use crate::image::{busybox_image, pause_image};
use crate::options::ClusterOptions;
use crate::owner::Owner;
use crate::pki::Pki;
use crate::{Node, dns, network};

const READY: Duration = Duration::from_secs(180);

/// A running cluster. Stops when it is dropped, unless it was opened or handed over to a person.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    addresses: Addresses,
    pki: Pki,
    client: Client,
    control: ControlPlane,
    ours: bool,
}

impl Cluster {
    /// Brings a cluster up and waits until its nodes are ready. Needs root. What a killed program left in the same directory
    /// or on the same network is taken away first; a cluster that somebody uses is not, and makes this fail.
    pub fn start(options: &ClusterOptions) -> Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "a cluster makes namespaces and mounts: run this as root");
        let addresses = Addresses::new(options.network)?;
        fs::create_dir_all(&options.dir).with_context(|| format!("create {}", options.dir.display()))?;
        let dir = options.dir.canonicalize().with_context(|| format!("find {}", options.dir.display()))?;
        Owner::refuse_if_in_use(&dir)?;
        if let Some(left) = network::left_over(addresses)? {
            removal::remove(&left)?;
            // Its directory may be gone, and with it what it was called.
            removal::remove_network(addresses)?;
        }
        removal::remove(&dir)?;
        for sub in ["run", "log", "nodes", "images"] {
            fs::create_dir_all(dir.join(sub)).with_context(|| format!("create {sub} in {}", dir.display()))?;
        }
        fs::write(dir.join("cluster.json"), serde_json::to_vec(&options.network)?).context("write cluster.json")?;
        Owner::Program(Daemon::myself()?).write(&dir)?;
        // From here on, dropping it takes away what was made.
        let cluster = Self::at(&dir, addresses, true);
        cluster.bring_up(options)?;
        Ok(cluster)
    }

    /// The cluster that runs from this directory; it goes on when the handle is dropped.
    pub fn open(dir: &Path) -> Result<Self> {
        let dir = dir.canonicalize().with_context(|| format!("there is no cluster at {}", dir.display()))?;
        let text = fs::read(dir.join("cluster.json")).with_context(|| format!("no cluster runs from {}", dir.display()))?;
        let network = serde_json::from_slice(&text).context("parse cluster.json")?;
        Ok(Self::at(&dir, Addresses::new(network)?, false))
    }

    /// Ends everything, and removes all but the logs. Fails when something could not be taken away.
    pub fn stop(mut self) -> Result<()> {
        self.ours = false;
        removal::remove(&self.dir)
    }

    /// The same for a cluster that this program does not hold, from its directory alone: also when its programs were killed.
    /// Fails for one that a running program holds. Nothing to remove is no error.
    pub fn remove(dir: &Path) -> Result<()> {
        let Ok(dir) = dir.canonicalize() else { return Ok(()) };
        if Owner::read(&dir) != Some(Owner::Person) {
            Owner::refuse_if_in_use(&dir)?;
        }
        removal::remove(&dir)
    }

    /// Leaves the cluster running when this program ends; [`Cluster::remove`] ends it.
    pub fn hand_over(mut self) -> Result<()> {
        Owner::Person.write(&self.dir)?;
        self.ours = false;
        Ok(())
    }

    /// Where its state and logs are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its addresses. [`Addresses::host`] is where pods find servers of the machine.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        self.client.kubeconfig()
    }

    /// A `kubectl` or `helm` command (or another of the parts) for this cluster, to be run by the caller.
    pub fn command(&self, program: &str) -> Result<Command> {
        self.client.command(program)
    }

    /// Runs kubectl and gives its output; fails with what it said.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.client.kubectl(args)
    }

    /// `kubectl get ARGS -o json`, parsed.
    pub fn get(&self, args: &[&str]) -> Result<Value> {
        self.client.get(args)
    }

    /// Applies manifests, server-side, and gives what kubectl said.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        self.client.feed(&["apply", "--server-side", "--force-conflicts"], yaml)
    }

    /// Deletes the objects of manifests and waits until they are gone. Those that do not exist are no error.
    pub fn delete(&self, yaml: &str) -> Result<String> {
        self.client.feed(&["delete", "--ignore-not-found", "--timeout=120s"], yaml)
    }

    /// Runs helm and gives its output; fails with what it said.
    pub fn helm(&self, args: &[&str]) -> Result<String> {
        self.client.helm(args)
    }

    /// One node, by its name. It may be down.
    pub fn node(&self, name: &str) -> Result<Node> {
        let node = Node::new(name, self.addresses, &self.dir, self.pki.clone())?;
        ensure!(self.dir.join("nodes").join(name).is_dir(), "there is no node {name}");
        Ok(node)
    }

    /// All nodes, in order, those that are down included.
    pub fn nodes(&self) -> Result<Vec<Node>> {
        let entries = fs::read_dir(self.dir.join("nodes")).context("list nodes")?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut indices: Vec<_> = names.filter_map(|name| crate::addresses::node_index(&name).ok()).collect();
        indices.sort_unstable();
        indices.iter().map(|index| self.node(&format!("n{index}"))).collect()
    }

    /// Imports an image's archive into every node that is up, and keeps it for those that come.
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        let kept = self.dir.join("images").join(archive.file_name().context("an image's path has no name")?);
        // Copied onto itself it would be empty.
        if archive.canonicalize().ok() != kept.canonicalize().ok() {
            fs::copy(archive, &kept).with_context(|| format!("copy {}", archive.display()))?;
        }
        self.nodes()?.iter().filter(|node| node.is_up()).try_for_each(|node| node.import_image(archive))
    }

    /// Starts one more node and waits until it is ready. It gets the images that the first ones got at their start.
    pub fn add_node(&self, name: &str) -> Result<Node> {
        let node = Node::new(name, self.addresses, &self.dir, self.pki.clone())?;
        node.prepare(&self.images()?)?;
        node.join()?;
        self.wait_for_nodes(&[name])?;
        Ok(node)
    }

    /// The same for a node that comes with a taint (its key; `NoSchedule`), as those of an autoscaler do. Does not wait.
    pub fn add_tainted_node(&self, name: &str, taint: &str) -> Result<Node> {
        let node = Node::new(name, self.addresses, &self.dir, self.pki.clone())?;
        node.prepare(&self.images()?)?;
        node.register_with_taint(taint)?;
        node.join()?;
        Ok(node)
    }

    /// Takes a node away at once, as an autoscaler does that gives the machine back, with its disk and what ran there.
    pub fn remove_node(&self, name: &str) -> Result<()> {
        let node = self.node(name)?;
        node.kill()?;
        self.kubectl(&["delete", "node", name, "--ignore-not-found"])?;
        let there = format!("spec.nodeName={name}");
        self.kubectl(&["delete", "pods", "-A", "--field-selector", &there, "--force", "--grace-period=0"])?;
        let home = self.dir.join("nodes").join(name);
        fs::remove_dir_all(&home).with_context(|| format!("remove {}", home.display()))
    }

    /// Waits until these nodes are ready.
    pub fn wait_for_nodes(&self, names: &[&str]) -> Result<()> {
        for name in names {
            wait_until(&format!("node {name} to be ready (see {})", self.dir.join("log").display()), READY, || {
                let node = self.get(&["node", name])?;
                let conditions = node["status"]["conditions"].as_array().context("no conditions yet")?;
                Ok(conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True").then_some(()))
            })?;
        }
        Ok(())
    }

    /// Kills the API server. All else goes on.
    pub fn stop_api_server(&self) -> Result<()> {
        self.control.stop_api_server()
    }

    /// Starts the API server again and waits until it answers.
    pub fn start_api_server(&self) -> Result<()> {
        self.control.start_api_server()?;
        self.control.wait_for_api_server(&self.client)
    }

    fn at(dir: &Path, addresses: Addresses, ours: bool) -> Self {
        let pki = Pki::at(dir.join("pki"));
        let client = Client::new(pki.kubeconfig("admin"), dir);
        let control = ControlPlane::new(addresses, dir, pki.clone());
        Self { dir: dir.to_path_buf(), addresses, pki, client, control, ours }
    }

    fn bring_up(&self, options: &ClusterOptions) -> Result<()> {
        self.pki.create(self.addresses)?;
        network::create_bridge(self.addresses, &self.dir)?;
        self.control.start_etcd()?;
        if let Some(policy) = &options.audit {
            self.control.audit(policy)?;
        }
        self.control.start_api_server()?;
        if options.nodes == 0 {
            return self.control.wait_for_api_server(&self.client);
        }
        busybox_image()?.write(&self.dir.join("images/busybox.tar"))?;
        pause_image()?.write(&self.dir.join("images/pause.tar"))?;
        for image in &options.images {
            let name = image.file_name().context("an image's path has no name")?;
            fs::copy(image, self.dir.join("images").join(name)).with_context(|| format!("copy {}", image.display()))?;
        }
        let images = self.images()?;
        let names: Vec<_> = (1..=options.nodes).map(|index| format!("n{index}")).collect();
        let nodes = names.iter().map(|name| Node::new(name, self.addresses, &self.dir, self.pki.clone()));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        // The API server needs seconds: the nodes are made meanwhile, at once, since importing images is waiting for the disk.
        std::thread::scope(|scope| {
            let started: Vec<_> = nodes.iter().map(|node| scope.spawn(|| node.prepare(&images))).collect();
            let ended = started.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?);
            ended.collect::<Result<Vec<()>>>()
        })?;
        self.control.wait_for_api_server(&self.client)?;
        self.control.start_others()?;
        nodes.iter().try_for_each(Node::join)?;
        dns::start(self.addresses, &self.dir, &self.pki)?;
        self.apply(&dns::manifest(self.addresses))?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.wait_for_nodes(&names)?;
        // Pods are refused before their namespace has its ServiceAccount.
        wait_until("the default ServiceAccount", READY, || self.get(&["serviceaccount", "default"]).map(Some)).map(drop)
    }

    fn images(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.dir.join("images")).context("list images")?;
        Ok(entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "tar"))
            .collect())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.ours {
            // Nobody can be told from here; the next start takes away what this could not.
            let _ = removal::remove(&self.dir);
        }
    }
}
