use std::net::Ipv4Addr;

use anyhow::{Result, ensure};

/// The most nodes that a cluster may have: routes between all of them are laid when one starts.
pub const MAX_NODES: u8 = 32;

/// Every address and name of a cluster follows from one number, so that two clusters of different numbers do not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    number: u8,
}

impl Addresses {
    /// The cluster whose nodes are in `10.NUMBER.0.0/24` and whose pods are in `10.NUMBER.128.0/17`.
    pub fn new(number: u8) -> Result<Self> {
        ensure!(number != 0 && number != 96, "a cluster's network cannot be {number}: 10.96.0.0/16 holds the services");
        Ok(Self { number })
    }

    /// The number that everything follows from.
    pub fn number(self) -> u8 {
        self.number
    }

    /// The machine itself, as nodes and pods reach it: here listen the API server and the servers of tests.
    pub fn host(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, 0, 1)
    }

    /// A loopback address of this cluster's own, for what nodes need not reach.
    pub fn loopback(self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.number, 0, 1)
    }

    /// Node `n1` is 1.
    pub fn node(self, index: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, 0, 10 + index)
    }

    /// A node's pods, as a CIDR.
    pub fn pods(self, index: u8) -> String {
        format!("10.{}.{}.0/24", self.number, 128 + index)
    }

    /// All pods, as a CIDR.
    pub fn all_pods(self) -> String {
        format!("10.{}.128.0/17", self.number)
    }

    /// All services, as a CIDR.
    pub fn services(self) -> &'static str {
        "10.96.0.0/16"
    }

    /// The service of the cluster's DNS.
    pub fn dns(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 96, 0, 10)
    }

    pub(crate) fn bridge(self) -> String {
        format!("fb{}", self.number)
    }

    /// The name of a node's network namespace, of its link in the machine and of its control groups.
    pub(crate) fn of_node(self, node: &str) -> String {
        format!("fb{}-{node}", self.number)
    }

    pub(crate) fn api_server(self) -> String {
        format!("https://{}:6443", self.host())
    }
}

/// The index of a node's name: `n3` is 3.
pub(crate) fn node_index(name: &str) -> Result<u8> {
    let index = name.strip_prefix('n').and_then(|n| n.parse().ok()).filter(|i| (1..=MAX_NODES).contains(i));
    index.ok_or_else(|| anyhow::anyhow!("nodes are called n1 to n{MAX_NODES}, not {name}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn names_fit_what_the_kernel_allows_for_a_link() {
        let widest = Addresses::new(255).unwrap().of_node(&format!("n{MAX_NODES}"));
        assert!(widest.len() < 16, "{widest}");
    }

    #[test]
    fn pods_of_every_node_are_pods_of_the_cluster_and_no_node_is() {
        let addresses = Addresses::new(88).unwrap();
        assert_eq!(addresses.pods(MAX_NODES), "10.88.160.0/24");
        assert_eq!(addresses.all_pods(), "10.88.128.0/17");
        assert_eq!(addresses.node(MAX_NODES).octets()[2], 0);
    }

    #[test]
    fn only_names_of_nodes_have_an_index() {
        assert_eq!(node_index("n3").unwrap(), 3);
        for wrong in ["n0", "n33", "3", "node3", "n", ""] {
            assert!(node_index(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_services_network_is_nobodys() {
        assert!(Addresses::new(96).is_err());
        assert!(Addresses::new(0).is_err());
    }
}
