//! A real Kubernetes of several nodes on one machine, without a container engine and without a virtual machine.
//!
//! The control plane and DNS are processes of the machine; each node is a set of namespaces (network, mount, pid, UTS, IPC) on
//! a bridge, with a containerd, a kubelet and a kube-proxy of its own. A node sees the machine's file system, but has its own
//! `/var`, `/run` and `/opt`. Everything needs root, and the parts that `cargo xtask parts` builds.
//!
//! What [`Cluster::start`] makes, [`Cluster::stop`] takes away; after a kill, [`Cluster::remove`] does so from the directory alone.

mod addresses;
mod cgroups;
mod client;
mod cluster;
mod control;
mod daemon;
mod dns;
mod image;
mod network;
mod node;
mod options;
mod owner;
mod pki;
mod release;
mod run;

pub use addresses::{Addresses, MAX_NODES};
pub use cluster::Cluster;
pub use image::{Image, busybox_image, pause_image};
pub use node::{Mounted, Node};
pub use options::ClusterOptions;
pub use release::{NAMESPACE, chart, image_archives};
