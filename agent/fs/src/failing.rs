//! The failing twin: any tree, with faults put in front of chosen operations.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::{Backing, DirEntry, FsError, Handle, Node, Opened, Totals, Tree};

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Tree::node`].
    Node,
    /// [`Tree::lookup`], by the parent's number.
    Lookup,
    /// [`Tree::read_dir`].
    ReadDir,
    /// [`Tree::try_open`] and [`Tree::open`].
    Open,
    /// [`Tree::try_read`] and [`Tree::read`].
    Read,
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails so.
    Error(FsError),
    /// The operation waits until the tree is healed, then succeeds; only [`Operation::Open`] and [`Operation::Read`] can wait.
    Stall,
    /// The operation waits that long, then succeeds.
    Delay(Duration),
}

/// A tree with faults. Without any it is the tree below.
#[derive(Debug)]
pub struct FailingTree<T: Tree> {
    inner: Arc<T>,
    faults: Mutex<Vec<(Operation, Option<u64>, Fault)>>,
    cold: AtomicBool,
    waiting: AtomicUsize,
    healed: Notify,
}

/// Counts a wait for as long as it lives, so that a dropped future is seen to be gone.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<T: Tree> FailingTree<T> {
    /// Puts itself before `inner`.
    #[must_use]
    pub fn new(inner: Arc<T>) -> Self {
        Self {
            inner,
            faults: Mutex::default(),
            cold: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            healed: Notify::new(),
        }
    }

    /// The tree below.
    #[must_use]
    pub fn inner(&self) -> &Arc<T> {
        &self.inner
    }

    /// From now on `operation` on `ino` (or on any, with `None`) meets `fault`. The first fault that fits counts.
    pub fn inject(&self, operation: Operation, ino: Option<u64>, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push((operation, ino, fault));
    }

    /// Whether nothing is cached: every open and read takes the waiting way.
    pub fn set_cold(&self, cold: bool) {
        self.cold.store(cold, Ordering::SeqCst);
    }

    /// Removes all faults and lets what stalls go on.
    pub fn heal(&self) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.healed.notify_waiters();
    }

    /// How many operations are waiting in a fault.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn fault(&self, operation: Operation, ino: u64) -> Option<Fault> {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let meets = |(at, only, _): &&(Operation, Option<u64>, Fault)| *at == operation && only.is_none_or(|only| only == ino);
        faults.iter().find(meets).map(|(_, _, fault)| fault.clone())
    }

    fn now(&self, operation: Operation, ino: u64) -> Result<(), FsError> {
        match self.fault(operation, ino) {
            Some(Fault::Error(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether an answer without waiting is possible, and which.
    fn at_once(&self, operation: Operation, ino: u64) -> Option<Result<(), FsError>> {
        match self.fault(operation, ino) {
            Some(Fault::Stall | Fault::Delay(_)) => None,
            _ if self.cold.load(Ordering::SeqCst) => None,
            Some(Fault::Error(error)) => Some(Err(error)),
            None => Some(Ok(())),
        }
    }

    async fn wait(&self, operation: Operation, ino: u64) -> Result<(), FsError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _counted = Waiting(&self.waiting);
        loop {
            let healed = self.healed.notified();
            tokio::pin!(healed);
            // Registered before the fault is looked at, so that a heal in between is not missed.
            healed.as_mut().enable();
            match self.fault(operation, ino) {
                None => return Ok(()),
                Some(Fault::Error(error)) => return Err(error),
                Some(Fault::Stall) => healed.await,
                Some(Fault::Delay(time)) => {
                    tokio::time::sleep(time).await;
                    return Ok(());
                }
            }
        }
    }

    fn ino_of(&self, handle: Handle) -> u64 {
        self.inner.handle_node(handle).map_or(0, |node| node.ino)
    }
}

#[async_trait]
impl<T: Tree> Tree for FailingTree<T> {
    fn node(&self, ino: u64) -> Result<Node, FsError> {
        self.now(Operation::Node, ino)?;
        self.inner.node(ino)
    }

    fn lookup(&self, parent: u64, name: &[u8]) -> Result<Node, FsError> {
        self.now(Operation::Lookup, parent)?;
        self.inner.lookup(parent, name)
    }

    fn read_dir(&self, dir: u64, from: u64, each: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<(), FsError> {
        self.now(Operation::ReadDir, dir)?;
        self.inner.read_dir(dir, from, each)
    }

    fn parent(&self, dir: u64) -> Result<u64, FsError> {
        self.inner.parent(dir)
    }

    fn try_open(&self, ino: u64) -> Option<Result<Opened, FsError>> {
        match self.at_once(Operation::Open, ino)? {
            Ok(()) => self.inner.try_open(ino),
            Err(error) => Some(Err(error)),
        }
    }

    async fn open(&self, ino: u64) -> Result<Opened, FsError> {
        self.wait(Operation::Open, ino).await?;
        self.inner.open(ino).await
    }

    fn backing(&self, handle: Handle) -> Option<Box<dyn Backing>> {
        self.inner.backing(handle)
    }

    fn release(&self, handle: Handle) {
        self.inner.release(handle);
    }

    fn handle_node(&self, handle: Handle) -> Result<Node, FsError> {
        self.inner.handle_node(handle)
    }

    fn try_read(&self, handle: Handle, offset: u64, buf: &mut [u8]) -> Option<Result<usize, FsError>> {
        match self.at_once(Operation::Read, self.ino_of(handle))? {
            Ok(()) => self.inner.try_read(handle, offset, buf),
            Err(error) => Some(Err(error)),
        }
    }

    async fn read(&self, handle: Handle, offset: u64, len: u32) -> Result<Bytes, FsError> {
        self.wait(Operation::Read, self.ino_of(handle)).await?;
        self.inner.read(handle, offset, len).await
    }

    fn totals(&self) -> Totals {
        self.inner.totals()
    }

    fn validity(&self) -> Duration {
        self.inner.validity()
    }

    fn generation_tag(&self) -> u64 {
        self.inner.generation_tag()
    }

    fn xattrs(&self, ino: u64) -> Result<Vec<(&'static str, String)>, FsError> {
        self.inner.xattrs(ino)
    }
}
