use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::addresses::{Addresses, MAX_NODES};
use crate::owner::Owner;
use crate::run::{run, run_with};

/// Makes the bridge that joins machine and nodes. It bears the cluster's directory, so that who finds it knows whose it is.
pub(crate) fn create_bridge(addresses: Addresses, dir: &Path) -> Result<()> {
    let bridge = addresses.bridge();
    batch(
        None,
        &format!(
            "link add {bridge} type bridge\nlink set {bridge} alias {}\naddr add {}/24 dev {bridge}\nlink set {bridge} up\n",
            dir.display(),
            addresses.host()
        ),
    )
}

/// The directory of the cluster that has this network now.
pub(crate) fn taken_by(addresses: Addresses) -> Option<PathBuf> {
    let alias = fs::read_to_string(format!("/sys/class/net/{}/ifalias", addresses.bridge())).ok()?;
    Some(PathBuf::from(alias.trim()))
}

/// Fails when the network is another cluster's that is in use; gives the directory of one that nobody stopped.
pub(crate) fn left_over(addresses: Addresses) -> Result<Option<PathBuf>> {
    let Some(dir) = taken_by(addresses) else { return Ok(None) };
    Owner::refuse_if_in_use(&dir).with_context(|| format!("network 10.{}.0.0/16 is taken", addresses.number()))?;
    Ok(Some(dir))
}

/// Makes a node's network namespace and gives its path.
pub(crate) fn create_namespace(addresses: Addresses, node: &str, index: u8) -> Result<()> {
    let name = addresses.of_node(node);
    run(Command::new("ip").args(["netns", "add", &name]))?;
    let bridge = addresses.bridge();
    batch(
        None,
        &format!(
            "link add {name} type veth peer name eth0 netns {name}\nlink set {name} master {bridge} up\n\
             route replace {} via {} dev {bridge} onlink\n",
            addresses.pods(index),
            addresses.node(index)
        ),
    )?;
    let mut inner = format!(
        "link set lo up\nlink set eth0 up\naddr add {}/24 dev eth0\nroute add default via {}\n",
        addresses.node(index),
        addresses.host()
    );
    for other in (1..=MAX_NODES).filter(|other| *other != index) {
        inner += &format!("route add {} via {}\n", addresses.pods(other), addresses.node(other));
    }
    batch(Some(&name), &inner)
}

/// The path by which processes join a node's network.
pub(crate) fn namespace_path(addresses: Addresses, node: &str) -> PathBuf {
    Path::new("/run/netns").join(addresses.of_node(node))
}

/// Takes a node's namespace away; nothing happens when there is none.
pub(crate) fn remove_namespace(addresses: Addresses, node: &str) -> Result<()> {
    let name = addresses.of_node(node);
    if namespace_path(addresses, node).exists() {
        run(Command::new("ip").args(["netns", "del", &name]))?;
    }
    // The pair goes with the namespace, but not at once, and its name must be free for the next start.
    if link_exists(&name) {
        let _ = run(Command::new("ip").args(["link", "del", &name]));
    }
    if link_exists(&name) {
        bail!("the link {name} cannot be deleted");
    }
    Ok(())
}

pub(crate) fn remove_bridge(addresses: Addresses) -> Result<()> {
    let bridge = addresses.bridge();
    if link_exists(&bridge) {
        run(Command::new("ip").args(["link", "del", &bridge]))?;
    }
    Ok(())
}

/// The nodes whose namespaces are there, whatever a directory says of them.
pub(crate) fn nodes_present(addresses: Addresses) -> Vec<String> {
    let prefix = addresses.of_node("");
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    names.filter_map(|e| e.file_name().to_str()?.strip_prefix(&prefix).map(str::to_owned)).collect()
}

fn link_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

fn batch(namespace: Option<&str>, lines: &str) -> Result<()> {
    let mut ip = Command::new("ip");
    if let Some(namespace) = namespace {
        ip.args(["-n", namespace]);
    }
    run_with(ip.args(["-batch", "-"]), lines).map(drop)
}
