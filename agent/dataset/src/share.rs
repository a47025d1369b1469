use std::fmt::Debug;
use std::time::Duration;

use forebay_store::{StoreId, Version};
use tokio::sync::watch;

/// Which objects this node keeps, where several nodes keep a Dataset's data together.
pub trait Share: Debug + Send + Sync {
    /// How many nodes keep each object, at least 1.
    fn copies(&self) -> usize;

    /// Which of the keepers of an object's version this node is, the first one 0; `None`: none of them. `key` is below the mount's root.
    fn rank(&self, store: &StoreId, key: &str, version: &Version) -> Option<usize>;

    /// Nodes that go and come again within this time, as at an upgrade, move nothing.
    fn settle(&self) -> Duration;

    /// A node is about to go for good: what it keeps is taken over without waiting for it to come again.
    fn is_urgent(&self) -> bool;

    /// This node is about to go for good: what it keeps it gives until then.
    fn is_leaving(&self) -> bool;

    /// Stands for the nodes there are: another number when others are there, 0 as long as they are not known.
    fn members(&self) -> watch::Receiver<u64>;
}
