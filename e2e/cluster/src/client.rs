use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use forebay_e2e::part;
use serde_json::Value;

use crate::run::{run, run_with};

/// kubectl and helm as the cluster's administrator, with their caches in the cluster's directory.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    kubeconfig: PathBuf,
    cache: PathBuf,
}

impl Client {
    pub(crate) fn new(kubeconfig: PathBuf, dir: &Path) -> Self {
        Self { kubeconfig, cache: dir.join("client") }
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(crate) fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(part(program)?);
        command.env("KUBECONFIG", &self.kubeconfig).env("KUBECACHEDIR", self.cache.join("kube"));
        for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(name, self.cache.join("helm"));
        }
        Ok(command)
    }

    pub(crate) fn kubectl(&self, args: &[&str]) -> Result<String> {
        run(self.command("kubectl")?.args(args))
    }

    pub(crate) fn helm(&self, args: &[&str]) -> Result<String> {
        run(self.command("helm")?.args(args))
    }

    pub(crate) fn get(&self, args: &[&str]) -> Result<Value> {
        let text = run(self.command("kubectl")?.arg("get").args(args).args(["-o", "json"]))?;
        serde_json::from_str(&text).context("parse kubectl's JSON")
    }

    pub(crate) fn feed(&self, args: &[&str], yaml: &str) -> Result<String> {
        run_with(self.command("kubectl")?.args(args).args(["-f", "-"]), yaml)
    }
}
