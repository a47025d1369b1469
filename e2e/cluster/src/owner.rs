use std::path::Path;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::daemon::Daemon;

/// Who is to end a cluster, kept in its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Owner {
    /// A program that stops it when it ends; if it was killed, whoever comes next does.
    Program(Daemon),
    /// A person: it stays until it is asked to go.
    Person,
}

impl Owner {
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(file(dir)).ok()?).ok()
    }

    pub(crate) fn write(self, dir: &Path) -> Result<()> {
        Ok(std::fs::write(file(dir), serde_json::to_vec(&self)?)?)
    }

    /// Fails when the cluster in this directory is somebody's who is not this program.
    pub(crate) fn refuse_if_in_use(dir: &Path) -> Result<()> {
        match Self::read(dir) {
            Some(Self::Person) => {
                bail!("a cluster runs from {0}: stop it first (`cargo xtask cluster down --dir {0}`)", dir.display())
            }
            Some(Self::Program(program)) if program.alive() => {
                bail!("process {} runs a cluster from {}: wait for its end", program.pid(), dir.display())
            }
            _ => Ok(()),
        }
    }
}

fn file(dir: &Path) -> std::path::PathBuf {
    dir.join("owner.json")
}
