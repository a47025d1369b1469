mod config;
mod namespaces;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use forebay_e2e::wait_until;
use rustix::process::Signal;

use self::namespaces::Namespaces;
use crate::addresses::{Addresses, node_index};
use crate::daemon::Daemon;
use crate::pki::Pki;
use crate::run::run;
use crate::{cgroups, network};

const PATIENCE: Duration = Duration::from_secs(180);

/// A node: a set of namespaces with a containerd, a kubelet and a kube-proxy. The handle owns nothing; the cluster does.
#[derive(Debug, Clone)]
pub struct Node {
    name: String,
    index: u8,
    addresses: Addresses,
    /// The cluster's directory.
    dir: PathBuf,
    pki: Pki,
}

/// A mount of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub at: String,
    /// The file system's type, such as `ext4`.
    pub fs_type: String,
}

impl Mounted {
    /// A line of `mountinfo`.
    fn parse(line: &str) -> Option<Self> {
        let (fields, rest) = line.split_once(" - ")?;
        Some(Self { at: fields.split(' ').nth(4)?.to_owned(), fs_type: rest.split(' ').next()?.to_owned() })
    }
}

impl Node {
    pub(crate) fn new(name: &str, addresses: Addresses, dir: &Path, pki: Pki) -> Result<Self> {
        Ok(Self { name: name.to_owned(), index: node_index(name)?, addresses, dir: dir.to_path_buf(), pki })
    }

    /// `n1`, ...
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's address on the bridge.
    pub fn address(&self) -> std::net::Ipv4Addr {
        self.addresses.node(self.index)
    }

    /// The node's `/var`, as the machine sees it.
    pub fn var(&self) -> PathBuf {
        self.home().join("var")
    }

    /// The node's root directory with everything mounted in it, as the machine sees it. Fails when the node is down.
    pub fn root(&self) -> Result<PathBuf> {
        Ok(format!("/proc/{}/root", self.init()?.pid()).into())
    }

    /// The log of one of its programs: `containerd`, `kubelet`, `kube-proxy`.
    pub fn log(&self, program: &str) -> PathBuf {
        self.dir.join("log").join(format!("{}.{program}.log", self.name))
    }

    /// Everything that is mounted in the node, in its own view.
    pub fn mounts(&self) -> Result<Vec<Mounted>> {
        let text = fs::read_to_string(format!("/proc/{}/mountinfo", self.init()?.pid())).context("read a node's mountinfo")?;
        Ok(text.lines().filter_map(Mounted::parse).collect())
    }

    /// A command that will run in the node. Its output and input are the caller's to set.
    pub fn command<S: AsRef<str>>(&self, words: &[S]) -> Result<Command> {
        Ok(Namespaces::of(self.init()?).command(words))
    }

    /// Runs a command in the node and gives its standard output; fails with its standard error.
    pub fn exec<S: AsRef<str>>(&self, words: &[S]) -> Result<String> {
        run(&mut self.command(words)?).with_context(|| format!("in node {}", self.name))
    }

    /// Whether the node is up.
    pub fn is_up(&self) -> bool {
        self.init().is_ok()
    }

    /// Imports an image's archive, as [`crate::Image`] writes it.
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        let file = File::open(archive).with_context(|| format!("open {}", archive.display()))?;
        // From standard input: the node need not see the directory that the archive is in.
        let output = self.command(&["ctr", "-n", "k8s.io", "images", "import", "-"])?.stdin(file).output()?;
        if !output.status.success() {
            bail!("import {} into {}: {}", archive.display(), self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Ends the node at once with everything in it, as a power cut does. Kubernetes is not told.
    pub fn kill(&self) -> Result<()> {
        for file in ["init", "unshare"] {
            if let Some(daemon) = Daemon::recall(&self.file(file)) {
                daemon.end(Signal::KILL, PATIENCE).with_context(|| format!("kill node {}", self.name))?;
            }
        }
        for program in ["init", "unshare", "containerd", "kubelet", "kube-proxy"] {
            let _ = fs::remove_file(self.file(program));
        }
        network::remove_namespace(self.addresses, &self.name)?;
        cgroups::remove(&self.addresses.of_node(&self.name))
    }

    /// Starts the node again after [`Node::kill`], with the disk that it had.
    pub fn start(&self) -> Result<()> {
        self.prepare(&[])?;
        self.join()
    }

    /// Ends the kubelet with SIGKILL and starts it again. Pods go on.
    pub fn restart_kubelet(&self) -> Result<()> {
        self.kill_kubelet()?;
        self.start_kubelet()
    }

    /// Ends the kubelet with SIGKILL. Containers go on, and none that ends is started again, until [`Node::start_kubelet`].
    pub fn kill_kubelet(&self) -> Result<()> {
        let kubelet = Daemon::recall(&self.file("kubelet"));
        kubelet.map_or(Ok(()), |kubelet| kubelet.end(Signal::KILL, PATIENCE))
    }

    /// Everything up to a containerd that has the images.
    pub(crate) fn prepare(&self, images: &[PathBuf]) -> Result<()> {
        ensure!(!self.is_up(), "node {} is up already", self.name);
        let cgroup = self.addresses.of_node(&self.name);
        network::create_namespace(self.addresses, &self.name, self.index)?;
        cgroups::create(&cgroup)?;
        self.pki.create_node(&self.name, self.addresses, &self.var().join(config::PKI.trim_start_matches("/var/")))?;
        let init = Namespaces::create(
            &network::namespace_path(self.addresses, &self.name),
            &self.log("init"),
            &self.file("unshare"),
            &self.file("init"),
        )?;
        init.set_up(&self.name, &self.home())?;
        self.write("/run/cni/net.d/10-pods.conflist", &config::cni(self.addresses, self.index))?;
        self.write("/run/containerd.toml", &config::containerd())?;
        self.write("/run/kubelet.yaml", &config::kubelet(&self.name, self.address(), &cgroup, self.addresses.dns()))?;
        self.write("/run/proxy.yaml", &config::proxy(&self.name, &self.addresses.all_pods()))?;
        self.write("/run/resolv.conf", "")?;
        self.spawn("containerd", &["containerd", "-c", "/run/containerd.toml", "-l", "info"])?;
        let what = format!("containerd of {} (see {})", self.name, self.log("containerd").display());
        wait_until(&what, PATIENCE, || self.exec(&["ctr", "version"]).map(Some))?;
        images.iter().try_for_each(|image| self.import_image(image))
    }

    /// The kubelet will make its Node with this taint.
    pub(crate) fn register_with_taint(&self, key: &str) -> Result<()> {
        let path = self.root()?.join("run/kubelet.yaml");
        let config = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        self.write("/run/kubelet.yaml", &format!("{config}registerWithTaints: [{{key: {key}, effect: NoSchedule}}]\n"))
    }

    /// Starts what speaks to the API server.
    pub(crate) fn join(&self) -> Result<()> {
        self.start_kubelet()?;
        self.spawn("kube-proxy", &["kube-proxy", "--config=/run/proxy.yaml", "--v=1"])
    }

    /// Starts the kubelet, which must not run.
    pub fn start_kubelet(&self) -> Result<()> {
        let config = format!("--kubeconfig={}/{}.kubeconfig", config::PKI, self.name);
        let name = format!("--hostname-override={}", self.name);
        let address = format!("--node-ip={}", self.address());
        let fixed = ["kubelet", "--config=/run/kubelet.yaml", "--root-dir=/var/lib/kubelet", "--v=2"];
        self.spawn("kubelet", &[&fixed[..], &[&config, &name, &address]].concat())
    }

    fn spawn(&self, program: &str, words: &[&str]) -> Result<()> {
        let init = Namespaces::of(self.init()?);
        init.spawn(words, &self.log(program), &self.file(program)).with_context(|| format!("in node {}", self.name))
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.root()?.join(path.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    fn init(&self) -> Result<Daemon> {
        let init = Daemon::recall(&self.file("init")).filter(|init| init.alive());
        init.with_context(|| format!("node {} is down", self.name))
    }

    fn home(&self) -> PathBuf {
        self.dir.join("nodes").join(&self.name)
    }

    fn file(&self, program: &str) -> PathBuf {
        self.dir.join("run").join(format!("{}.{program}.pid", self.name))
    }
}
