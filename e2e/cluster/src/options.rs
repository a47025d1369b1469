use std::path::PathBuf;

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Where all its state and logs are; made when it does not exist. One cluster a directory.
    pub dir: PathBuf,
    /// How many nodes: `n1` to `nN`. More can be added later. With none there are etcd and the API server only: no controller of
    /// Kubernetes, no scheduler and no DNS.
    pub nodes: u8,
    /// The second number of all its addresses. Two clusters can run at once with different ones.
    pub network: u8,
    /// Archives of images that every node gets when it first starts, beside those of busybox and pause.
    pub images: Vec<PathBuf>,
    /// An audit policy of the API server, as YAML. What it selects is in `log/audit.log`, an event a line.
    pub audit: Option<String>,
}

impl ClusterOptions {
    /// Two nodes at 10.88.0.0/16, with the test images only.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), nodes: 2, network: 88, images: Vec::new(), audit: None }
    }
}
