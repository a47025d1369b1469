//! Files on this node that the kernel may read by itself in place of a file of the tree.

use std::fmt::Debug;
use std::io;
use std::os::fd::OwnedFd;

/// A local file with exactly the bytes of an opened version, held: while this lives nothing is taken from it.
///
/// Nobody takes anything from it under those who have it open or mapped either, whenever they opened it.
pub trait Backing: Debug + Send + Sync {
    /// Opens it, for reading only. Reads a directory, and may wait for its disk.
    ///
    /// # Errors
    /// Not found when it was dropped meanwhile, which is no fault; else the disk's.
    fn open(&self) -> io::Result<OwnedFd>;

    /// The part of the node's cache that it lies in, for words.
    fn place(&self) -> &str;

    /// Keeps it ready for the next open instead of holding it. Its owner calls `wanted` before it takes anything from it: whoever keeps it
    /// must see to it that nobody begins to read it after that call, and drop what it has of it.
    ///
    /// `wanted` may drop the [`Kept`], and must not call the tree.
    fn keep(self: Box<Self>, wanted: Box<dyn Fn() + Send + Sync>) -> Box<dyn Kept>;
}

/// A [`Backing`] that is kept ready; until it is dropped its owner asks first.
pub trait Kept: Debug + Send + Sync {}
