//! Which nodes hold what: rendezvous hashing over the nodes that are there. Pure; every node computes the same from the same
//! [`Members`], and nodes whose lists differ for a moment still agree on nearly all of it.
//!
//! Each node has a score for each [`Item`]; the nodes with the highest scores own it. A score depends on the node's name and the item
//! alone, so a node that comes takes over only what it now scores highest for, and a node that goes gives away only what it had.
//!
//! The scores are an agreement between nodes of different versions: the golden vectors in the tests never change.

mod item;
mod members;

pub use item::{EXTENT, Item};
pub use members::{Member, Members};

#[cfg(test)]
mod tests;
