//! What promises in the cluster start from: a real Kubernetes with the chart installed, a real store with data in it, pods that read.

mod autoscaler;
mod counting;
mod forebay;
mod metering;
mod opens;
mod pods;
mod site;
mod stores;

pub use autoscaler::Autoscaler;
pub use counting::Counting;
pub use forebay::Answer;
pub use forebay_cluster::NAMESPACE;
pub use metering::Metering;
pub use opens::Opens;
pub use pods::{Reader, SUMS, sums_of};
pub use site::{SOON, Site, has_condition};
pub use stores::{Store, dataset, secret};
