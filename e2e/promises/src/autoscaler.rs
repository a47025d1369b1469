use std::process::Command;

use anyhow::{Context, Result};
use forebay_e2e::{Process, part, part_files};

use crate::Site;

/// Karpenter, whose nodes kwok pretends: their Node objects and all pods on them, but nothing runs. Ends when it is dropped; what
/// it made must be gone before.
#[derive(Debug)]
pub struct Autoscaler {
    karpenter: Process,
    kwok: Process,
    definitions: String,
}

impl Autoscaler {
    /// Starts both, as programs of the machine.
    pub fn start(site: &Site) -> Result<Self> {
        let work = site.work("autoscaler")?;
        let mut definitions = String::new();
        for file in part_files("karpenter")? {
            let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
            definitions.push_str(&format!("---\n{text}\n"));
        }
        site.cluster.apply(&definitions)?;
        site.cluster.kubectl(&["wait", "--for=condition=Established", "crd/nodeclaims.karpenter.sh", "--timeout=60s"])?;

        let mut kwok = Command::new(part("kwok")?);
        kwok.arg("--kubeconfig").arg(site.cluster.kubeconfig());
        kwok.args(["--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake", "--node-lease-duration-seconds=40"]);
        kwok.args(["--server-address=127.0.0.1:0", "--cidr=10.255.0.1/16", "--node-ip=10.254.0.1"]);
        for file in part_files("kwok")? {
            kwok.arg("--config").arg(file);
        }
        let kwok = Process::spawn("kwok", kwok, &work.join("kwok.log"))?;

        let mut karpenter = Command::new(part("karpenter")?);
        karpenter.env("KUBECONFIG", site.cluster.kubeconfig()).env("SYSTEM_NAMESPACE", "kube-system");
        // Ports that are free: whoever else runs on the machine has the usual ones.
        karpenter.args(["--metrics-port=0", "--health-probe-port=0", "--disable-leader-election"]);
        let karpenter = Process::spawn("karpenter", karpenter, &work.join("karpenter.log"))?;
        Ok(Self { karpenter, kwok, definitions })
    }

    /// The last that both said.
    pub fn tail(&self) -> String {
        format!("karpenter:\n{}\nkwok:\n{}", self.karpenter.tail(), self.kwok.tail())
    }

    /// Ends both and takes the definitions away.
    pub fn stop(self, site: &Site) -> Result<()> {
        let Self { karpenter, kwok, definitions } = self;
        drop((karpenter, kwok));
        site.cluster.delete(&definitions).map(drop)
    }
}
