use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use forebay_cluster::{Cluster, ClusterOptions, NAMESPACE, chart, image_archives};
use forebay_e2e::wait_until;
use serde_json::Value;
use tempfile::TempDir;

use crate::Store;

/// Long enough for anything that should happen soon, on a machine that does ten other things.
pub const SOON: Duration = Duration::from_secs(420);

/// The cluster, and a store. The first promise installs the chart.
#[derive(Debug)]
pub struct Site {
    /// The cluster.
    pub cluster: Cluster,
    /// A store whose files are at `store.source`.
    pub store: Store,
    keep: bool,
    dir: TempDir,
}

impl Site {
    /// Brings all of it up. Needs root, and in the environment FOREBAY_IMAGES: the directory that `cargo xtask images` filled.
    /// With FOREBAY_CLUSTER, the directory of a cluster that is up, that one is used and stays, whatever nodes it has; the chart is upgraded
    /// in it.
    pub fn start(nodes: u8) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("forebay-promises-").tempdir()?;
        let images = images()?;
        let kept = std::env::var_os("FOREBAY_CLUSTER").map(PathBuf::from);
        let cluster = match &kept {
            Some(kept) => {
                let cluster = Cluster::open(kept)?;
                for image in &images {
                    cluster.import_image(image)?;
                }
                cluster
            }
            None => {
                let mut options = ClusterOptions::new(dir.path().join("cluster"));
                options.images = images;
                options.nodes = nodes;
                Cluster::start(&options)?
            }
        };
        let store = Store::start(&cluster, &dir.path().join("store"))?;
        Ok(Self { cluster, store, keep: kept.is_some(), dir })
    }

    /// A directory for a promise's own things.
    pub fn work(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// What `helm` is told beside the chart's defaults.
    pub fn values(&self) -> Vec<&'static str> {
        let usual = ["image.tag=dev", "operator.secretRefreshSeconds=2"];
        usual.into_iter().flat_map(|value| ["--set", value]).collect()
    }

    /// Installs the chart or upgrades it with values such as `agent.log=debug`, and waits until all of it is ready.
    pub fn upgrade(&self, values: &[&str]) -> Result<()> {
        let chart = chart();
        let chart = chart.to_str().context("the chart's path is not UTF-8")?;
        let mut words = vec!["upgrade", "--install", "forebay", chart, "--namespace", NAMESPACE, "--create-namespace"];
        words.extend(["--wait", "--timeout", "4m"]);
        words.extend(self.values());
        let escaped: Vec<String> = values.iter().map(|value| value.replace(',', "\\,")).collect();
        for value in &escaped {
            words.extend(["--set", value]);
        }
        self.cluster.helm(&words).map(drop).with_context(|| self.diagnosis())
    }

    /// What runs where, and what our programs say: for the message of a promise that does not hold.
    pub fn diagnosis(&self) -> String {
        let mut text = String::new();
        let mut add = |words: &[&str]| match self.cluster.kubectl(words) {
            Ok(told) => text.push_str(&format!("$ kubectl {}\n{told}\n", words.join(" "))),
            Err(error) => text.push_str(&format!("$ kubectl {}\n{error:#}\n", words.join(" "))),
        };
        add(&["get", "datasets,cacheruntimes,pv,pvc,pods", "-A", "-o", "wide"]);
        add(&["get", "datasets", "-A", "-o", "jsonpath={range .items[*]}{.metadata.name}: {.status.conditions}{\"\\n\"}{end}"]);
        add(&["get", "events", "-A", "--sort-by=.lastTimestamp"]);
        for app in ["forebay-operator", "forebay-agent", "forebay-csi", "forebay-csi-controller"] {
            let selector = format!("app.kubernetes.io/name={app}");
            add(&["logs", "-n", NAMESPACE, "-l", &selector, "--all-containers", "--tail=40", "--prefix"]);
        }
        text
    }

    /// The field `path` (a JSON pointer) of an object.
    pub fn field(&self, words: &[&str], path: &str) -> Result<Value> {
        Ok(self.cluster.get(words)?.pointer(path).cloned().unwrap_or(Value::Null))
    }

    /// Changes the CacheRuntime by a patch of this kind: `merge` or `json`.
    pub fn patch_runtime(&self, kind: &str, patch: &str) -> Result<()> {
        self.cluster.kubectl(&["patch", "cacheruntime", "default", &format!("--type={kind}"), "-p", patch]).map(drop)
    }

    /// A CacheRuntime with one tier, `capacity` in `path` of each node, once it has an agent on every node that is up.
    pub fn add_runtime(&self, name: &str, path: &str, capacity: &str) -> Result<()> {
        self.cluster.apply(&format!(
            "apiVersion: forebay.io/v1alpha1
kind: CacheRuntime
metadata: {{name: {name}}}
spec:
  tiers: [{{name: ssd, medium: Disk, path: {path}, capacity: {capacity}, reserve: 1%}}]
"
        ))?;
        self.wait_agents(name)
    }

    /// Waits until the agents of a CacheRuntime are ready on all nodes that are up.
    pub fn wait_agents(&self, runtime: &str) -> Result<()> {
        let nodes = self.cluster.nodes()?.iter().filter(|node| node.is_up()).count();
        self.wait_for("all agents", &["cacheruntime", runtime], |object| object["status"]["readyReplicas"] == nodes).map(drop)
    }

    /// Takes those of these nodes away that are there.
    pub fn remove_nodes(&self, names: &[&str]) -> Result<()> {
        let there = self.cluster.nodes()?;
        let mut names = names.iter().filter(|name| there.iter().any(|node| node.name() == **name));
        names.try_for_each(|name| self.cluster.remove_node(name))
    }

    /// Waits until the only agents of CacheRuntime `default` are ready ones, on all nodes that are up, that were started with this
    /// value of `agent.log`: an upgrade has ended then.
    pub fn wait_agents_log(&self, log: &str) -> Result<()> {
        let nodes = self.cluster.nodes()?.iter().filter(|node| node.is_up()).count();
        let set = |pod: &Value| {
            let container = &pod["spec"]["containers"][0];
            let env = container["env"].as_array().into_iter().flatten();
            let logs = env.filter(|one| one["name"] == "FOREBAY_LOG").any(|one| one["value"] == log);
            logs && pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["containerStatuses"][0]["ready"] == true
        };
        let words = ["pods", "-n", NAMESPACE, "-l", "forebay.io/runtime=default"];
        self.wait_for("the upgrade of all agents", &words, |pods| {
            pods["items"].as_array().is_some_and(|pods| pods.len() == nodes && pods.iter().all(set))
        })
        .map(drop)
    }

    /// Waits until an object is as `accept` wants it; the object.
    pub fn wait_for(&self, what: &str, words: &[&str], accept: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        wait_until(what, SOON, || {
            last = self.cluster.get(words).unwrap_or(Value::Null);
            Ok(accept(&last).then(|| last.clone()))
        })
        .with_context(|| format!("{words:?} is {last:#}"))
    }

    /// Waits until a Dataset is in `phase`.
    pub fn wait_phase(&self, namespace: &str, dataset: &str, phase: &str) -> Result<Value> {
        let what = format!("Dataset {namespace}/{dataset} to be {phase}");
        self.wait_for(&what, &["dataset", "-n", namespace, dataset], |object| object["status"]["phase"] == phase)
    }

    /// Takes away the pod of a runtime's agent on a node without a word to it.
    pub fn delete_agent(&self, runtime: &str, node: &str) -> Result<()> {
        let (selector, field) = (format!("forebay.io/runtime={runtime}"), format!("spec.nodeName={node}"));
        let words = ["delete", "pod", "-n", NAMESPACE, "-l", &selector, "--field-selector", &field];
        self.cluster.kubectl(&[&words[..], &["--grace-period=0", "--force"]].concat()).map(drop)
    }

    /// Waits until an object is gone.
    pub fn wait_gone(&self, words: &[&str]) -> Result<()> {
        wait_until(&format!("{words:?} to be gone"), SOON, || {
            let all = self.cluster.kubectl(&[&["get"], words, &["--ignore-not-found", "-o", "name"]].concat())?;
            Ok(all.trim().is_empty().then_some(()))
        })
    }

    /// Ends everything. Fails when something could not be taken away.
    pub fn stop(self) -> Result<()> {
        if self.keep { Ok(()) } else { self.cluster.stop() }
    }
}

/// The archives that nodes get. Those of our programs must be among them.
fn images() -> Result<Vec<PathBuf>> {
    let archives = image_archives()?;
    for program in ["forebay-operator", "forebay-agent", "forebay-csi", "csi-provisioner"] {
        let there = archives.iter().any(|archive| archive.file_stem().is_some_and(|stem| stem == program));
        ensure!(there, "the archive of {program} is missing: run `cargo xtask images --test`");
    }
    Ok(archives)
}

/// Whether one of an object's conditions is as `is` says.
pub fn has_condition(object: &Value, is: impl Fn(&Value) -> bool) -> bool {
    object["status"]["conditions"].as_array().into_iter().flatten().any(is)
}
