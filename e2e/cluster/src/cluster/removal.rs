use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::addresses::Addresses;
use crate::daemon::{self, Daemon};
use crate::pki::Pki;
use crate::{Node, cgroups, network};

/// Ends and takes away everything that a directory and its network know of, and goes on where a step fails: the rest should
/// still go. Gives the first failure. Logs stay.
pub(super) fn remove(dir: &Path) -> Result<()> {
    let Ok(text) = fs::read(dir.join("cluster.json")) else { return Ok(()) };
    let addresses = Addresses::new(serde_json::from_slice(&text).context("parse cluster.json")?)?;
    let ours = network::taken_by(addresses).is_none_or(|owner| owner == dir);
    let mut outcomes: Vec<Result<()>> = nodes(dir, addresses, ours)
        .iter()
        .map(|name| Node::new(name, addresses, dir, Pki::at(dir.join("pki")))?.kill())
        .collect();
    for file in daemon::files(&dir.join("run")) {
        // Their state goes with them: there is nothing to end in good order.
        let ended = Daemon::recall(&file).map_or(Ok(()), |daemon| daemon.end(Signal::KILL, Duration::from_secs(30)));
        outcomes.push(ended.with_context(|| format!("end what {} names", file.display())));
    }
    if ours {
        outcomes.push(network::remove_bridge(addresses));
    }
    for sub in ["run", "nodes", "etcd", "client", "pki", "images"] {
        let path = dir.join(sub);
        if path.exists() {
            outcomes.push(fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display())));
        }
    }
    outcomes.into_iter().collect::<Result<()>>()?;
    // Last: as long as this is there, another attempt finds what is left.
    for file in ["cluster.json", "owner.json"] {
        fs::remove_file(dir.join(file)).with_context(|| format!("remove {file} in {}", dir.display()))?;
    }
    Ok(())
}

/// Takes a network away whose cluster's directory is gone: its processes cannot be known, except for those of the nodes, which
/// end with their namespaces' last link.
pub(super) fn remove_network(addresses: Addresses) -> Result<()> {
    for node in network::nodes_present(addresses) {
        network::remove_namespace(addresses, &node)?;
        cgroups::remove(&addresses.of_node(&node))?;
    }
    network::remove_bridge(addresses)
}

fn nodes(dir: &Path, addresses: Addresses, ours: bool) -> BTreeSet<String> {
    let known = fs::read_dir(dir.join("nodes")).into_iter().flatten().flatten();
    let mut names: BTreeSet<_> = known.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    if ours {
        names.extend(network::nodes_present(addresses));
    }
    names
}
