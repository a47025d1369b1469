use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use forebay_e2e::wait_until;

use crate::site::{SOON, Site};

/// Prints one checksum of all names and bytes below the working directory.
pub const SUMS: &str = "find . -type f -print0 | sort -z | xargs -0 -n 500 sha256sum | sha256sum";

/// What [`SUMS`] prints for a directory of this machine.
pub fn sums_of(dir: &Path) -> Result<String> {
    let output = Command::new("busybox").args(["sh", "-c", SUMS]).current_dir(dir).env("LC_ALL", "C").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A pod that reads a volume at `/data`.
#[derive(Debug, Clone)]
pub struct Reader {
    name: String,
    namespace: String,
    volume: String,
    script: String,
    node: Option<String>,
    more: String,
    mount_more: String,
    host_paths: Vec<(String, String, String)>,
}

impl Reader {
    /// A pod of namespace `namespace` that mounts the claim `claim`.
    pub fn of_claim(namespace: &str, name: &str, claim: &str) -> Self {
        Self::of(namespace, name, &format!("persistentVolumeClaim: {{claimName: {claim}}}"))
    }

    /// A pod that mounts Dataset `dataset` (`name` or `namespace/name`) inline.
    pub fn inline(namespace: &str, name: &str, dataset: &str) -> Self {
        Self::of(
            namespace,
            name,
            &format!("csi: {{driver: csi.forebay.io, readOnly: true, volumeAttributes: {{dataset: {dataset}}}}}"),
        )
    }

    fn of(namespace: &str, name: &str, volume: &str) -> Self {
        Self {
            name: name.into(),
            namespace: namespace.into(),
            volume: volume.into(),
            script: SUMS.into(),
            node: None,
            more: String::new(),
            mount_more: String::new(),
            host_paths: Vec::new(),
        }
    }

    /// What it does, in a shell whose working directory is the volume. Otherwise [`SUMS`].
    pub fn script(mut self, script: &str) -> Self {
        self.script = script.into();
        self
    }

    /// Where it runs.
    pub fn on(mut self, node: &str) -> Self {
        self.node = Some(node.into());
        self
    }

    /// A line more in its spec.
    pub fn with(mut self, line: &str) -> Self {
        self.more.push_str(&format!("  {line}\n"));
        self
    }

    /// Fields more in its volumeMount, such as `subPath: a`.
    pub fn mounted_with(mut self, fields: &str) -> Self {
        self.mount_more = format!(", {fields}");
        self
    }

    /// A directory of its node, read-only.
    pub fn host_path(mut self, name: &str, path: &str, at: &str) -> Self {
        self.host_paths.push((name.into(), path.into(), at.into()));
        self
    }

    /// Its manifest.
    pub fn yaml(&self) -> String {
        let Self { name, namespace, volume, script, node, more, mount_more, host_paths } = self;
        let mut mounts = String::new();
        let mut volumes = String::new();
        for (name, path, at) in host_paths {
            mounts.push_str(&format!(", {{name: {name}, mountPath: {at}, readOnly: true}}"));
            volumes.push_str(&format!("  - {{name: {name}, hostPath: {{path: {path}}}}}\n"));
        }
        let node = node.as_ref().map(|node| format!("  nodeSelector: {{kubernetes.io/hostname: {node}}}\n")).unwrap_or_default();
        let script = format!("cd /data && {script}");
        format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}}}
spec:
{node}{more}  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: localhost/busybox:1
    args: [{script:?}]
    volumeMounts: [{{name: data, mountPath: /data{mount_more}}}{mounts}]
  volumes:
  - name: data
    {volume}
{volumes}---
"
        )
    }

    /// Creates it, also while the API server is slow.
    pub fn start(&self, site: &Site) -> Result<()> {
        let what = format!("pod {}/{} to be created", self.namespace, self.name);
        wait_until(&what, SOON, || site.cluster.apply(&self.yaml()).map(Some)).map(drop)
    }

    /// Waits until it has ended well; what it printed.
    pub fn finish(&self, site: &Site) -> Result<String> {
        let Self { name, namespace, .. } = self;
        let pod = ["-n", namespace.as_str()];
        let kubectl = |words: &[&str]| site.cluster.kubectl(&[&pod[..], words].concat());
        let (phase, printed) = wait_until(&format!("pod {namespace}/{name} to succeed"), SOON, || {
            let phase = kubectl(&["get", "pod", name, "-o", "jsonpath={.status.phase}"])?;
            let ended = phase == "Succeeded" || phase == "Failed";
            ended.then(|| Ok((phase, kubectl(&["logs", name])?))).transpose()
        })
        .with_context(|| kubectl(&["describe", "pod", name]).unwrap_or_default())?;
        ensure!(phase == "Succeeded", "pod {namespace}/{name} failed: {printed}");
        Ok(printed.trim().to_owned())
    }

    /// Its phase.
    pub fn phase(&self, site: &Site) -> Result<String> {
        site.cluster.kubectl(&["get", "pod", "-n", &self.namespace, &self.name, "-o", "jsonpath={.status.phase}"])
    }

    /// What it has printed.
    pub fn printed(&self, site: &Site) -> Result<String> {
        site.cluster.kubectl(&["logs", "-n", &self.namespace, &self.name])
    }

    /// Waits until it has printed `words`.
    pub fn wait_printed(&self, site: &Site, words: &str) -> Result<()> {
        wait_until(&format!("pod {}/{} to print {words:?}", self.namespace, self.name), SOON, || {
            ensure!(self.phase(site)? != "Failed", "it failed: {}", self.printed(site)?);
            Ok(self.printed(site).is_ok_and(|printed| printed.contains(words)).then_some(()))
        })
        .with_context(|| self.describe(site).unwrap_or_default())
    }

    /// Runs a command in it.
    pub fn exec(&self, site: &Site, words: &[&str]) -> Result<String> {
        site.cluster.kubectl(&[&["exec", "-n", &self.namespace, &self.name, "--"], words].concat())
    }

    /// Creates it, waits for its end, removes it; what it printed.
    pub fn run(&self, site: &Site) -> Result<String> {
        self.start(site)?;
        let printed = self.finish(site)?;
        self.remove(site)?;
        Ok(printed)
    }

    /// Removes it, and waits until it is gone.
    pub fn remove(&self, site: &Site) -> Result<()> {
        let words = ["delete", "pod", "-n", &self.namespace, &self.name, "--ignore-not-found", "--timeout=180s"];
        let what = format!("pod {}/{} to go", self.namespace, self.name);
        wait_until(&what, SOON, || site.cluster.kubectl(&words).map(Some)).map(drop)
    }

    /// What kubectl tells of it.
    pub fn describe(&self, site: &Site) -> Result<String> {
        site.cluster.kubectl(&["describe", "pod", "-n", &self.namespace, &self.name])
    }

    /// Waits until what kubectl tells of it contains `words`.
    pub fn wait_described(&self, site: &Site, words: &str) -> Result<()> {
        wait_until(&format!("pod {}/{} to be described by {words:?}", self.namespace, self.name), SOON, || {
            Ok(self.describe(site)?.contains(words).then_some(()))
        })
        .with_context(|| self.describe(site).unwrap_or_default())
    }
}
