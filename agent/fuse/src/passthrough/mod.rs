//! Lets the kernel read complete files by itself (Linux 6.9 and later), and says why where it does not.

mod holds;
mod refusal;
mod registrar;

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use forebay_backing::{Begun, Heard, Table};
use forebay_fs::{Backing, Kept};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::opening::Unique;
use holds::Holds;
use refusal::Refusals;
pub(crate) use registrar::Direct;
pub use registrar::{Registrar, Shared};

/// Inodes are spread over so many locks, each of which is held while one of them gets its id.
const TURNS: usize = 64;

/// How long ids that could not be closed are left alone.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// How an open is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Reads come to us.
    Served,
    /// The kernel reads the file that has this backing id.
    Native(u32),
}

/// How the files of a mount were opened so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenCounts {
    /// Opens whose reads are the kernel's own.
    pub native: u64,
    /// Opens whose reads come to this process.
    pub served: u64,
    /// Files kept ready, with their backing id, that nobody has open now.
    pub kept_ids: usize,
    /// Why complete files are not read natively, or not all: in words, for people. `None` when nothing stands in the way.
    pub why_not: Option<String>,
}

/// One mount's passthrough. Which way an inode goes, and by which id, is decided in the table; neither the disk nor who registers is
/// waited for under the lock of the holds.
#[derive(Debug)]
pub(crate) struct Passthrough {
    registrar: Option<Box<dyn Registrar>>,
    table: Table,
    holds: Mutex<Holds<Box<dyn Backing>, Box<dyn Kept>>>,
    turns: [Mutex<()>; TURNS],
    refusals: Refusals,
    native: AtomicU64,
    served: AtomicU64,
    /// There are ids that nobody here needs.
    left: Arc<Notify>,
    /// Who registers did not answer in time when it was last asked to close an id. Until it does, only the sweep asks it, which holds nobody up:
    /// the cache waits under its lock of an object for what it wants back.
    silent: AtomicBool,
}

impl Passthrough {
    /// For the mount of `dataset`; keeps at most `most_kept` ids of files that nobody has open. `table` is that of all servers that the
    /// mount has had.
    pub(crate) fn new(dataset: String, registrar: Option<Box<dyn Registrar>>, table: Table, most_kept: usize) -> Self {
        let passthrough = Self {
            registrar,
            table,
            holds: Mutex::new(Holds::new(most_kept)),
            turns: [const { Mutex::new(()) }; TURNS],
            refusals: Refusals::new(dataset),
            native: AtomicU64::new(0),
            served: AtomicU64::new(0),
            left: Arc::new(Notify::new()),
            silent: AtomicBool::new(false),
        };
        if passthrough.registrar.is_none() {
            passthrough.switch_off("nobody who serves this mount may tell the kernel what to read");
        }
        passthrough
    }

    /// Says once for the whole mount that nothing is read natively, and why.
    pub(crate) fn switch_off(&self, why: &'static str) {
        self.refusals.all(why);
    }

    /// Decides how an open of `ino`, which came as `request`, is answered. It counts until [`Passthrough::release`]. `backing` is asked
    /// for a complete file if one could be used.
    pub(crate) fn open(&self, ino: u64, request: Unique, backing: impl FnOnce() -> Option<Box<dyn Backing>>) -> Way {
        let way = match self.table.hear(request.number()) {
            Heard::Before(Some(native)) if request.is_sent_again() => match self.table.id(ino).filter(|_| native) {
                Some(id) => self.opened(ino, id, None),
                None => Way::Served,
            },
            // What was heard and perhaps not counted is counted once more.
            Heard::New | Heard::Before(_) | Heard::Unknown => {
                let way = self.decide(ino, backing);
                self.table.counted(request.number(), way != Way::Served);
                way
            }
        };
        let counter = if way == Way::Served { &self.served } else { &self.native };
        counter.fetch_add(1, Ordering::Relaxed);
        way
    }

    fn decide(&self, ino: u64, backing: impl FnOnce() -> Option<Box<dyn Backing>>) -> Way {
        if let Some(id) = self.table.join(ino) {
            return self.opened(ino, id, None);
        }
        let backing = if self.refusals.is_refused() { None } else { backing() };
        let Some(backing) = backing.filter(|backing| self.refusals.allow(backing.place())) else {
            return self.table.serve(ino).map_or(Way::Served, |id| self.opened(ino, id, None));
        };
        // Who opens it meanwhile waits for the id, rather than make the inode a served one.
        let _turn = lock(&self.turns[(ino % TURNS as u64) as usize]);
        let claim = match self.table.begin(ino) {
            Begun::Native(id) => return self.opened(ino, id, Some(backing)),
            Begun::Served { idle, busy } => {
                if let Some(idle) = idle {
                    self.holds().forget(idle);
                }
                if busy || idle.is_some() {
                    self.left.notify_one();
                }
                return Way::Served;
            }
            Begun::Free(claim) => claim,
        };
        let id = match backing.open().and_then(|file| self.register(&file, backing.place())) {
            Ok(id) => id,
            Err(error) => {
                tracing::debug!(ino, %error, "opened through us");
                drop(claim);
                return Way::Served;
            }
        };
        if claim.native(id) {
            return self.opened(ino, id, Some(backing));
        }
        self.close_id(id);
        Way::Served
    }

    fn opened(&self, ino: u64, id: u32, backing: Option<Box<dyn Backing>>) -> Way {
        self.holds().opened(ino, backing);
        Way::Native(id)
    }

    fn register(&self, file: &impl AsFd, place: &str) -> io::Result<u32> {
        let registrar = self.registrar.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        registrar.register(file.as_fd()).inspect_err(|error| self.refusals.note(place, error))
    }

    /// Closes one handle of `ino`, as `request` wants it.
    pub(crate) fn release(self: &Arc<Self>, ino: u64, request: Unique) {
        let is_counted = match self.table.hear(request.number()) {
            Heard::New => false,
            Heard::Before(_) => true,
            // Rather one too many than one too few.
            Heard::Unknown => request.is_sent_again(),
        };
        let was_last = !is_counted && self.table.release(ino);
        let surplus = self.holds().released(ino, was_last, |hold| {
            let whom = Arc::downgrade(self);
            hold.keep(Box::new(move || Self::give_back(&whom, ino)))
        });
        // A former server's file: nobody here keeps it ready, and nobody else would close its id.
        if was_last && !self.holds().has(ino) {
            self.close(ino);
        }
        if let Some(surplus) = surplus {
            self.close(surplus);
        }
    }

    fn give_back(whom: &Weak<Self>, ino: u64) {
        if let Some(passthrough) = whom.upgrade() {
            passthrough.holds().forget(ino);
            passthrough.close(ino);
        }
    }

    /// Closes the id of an inode, unless somebody has it open; later, while nobody answers.
    fn close(&self, ino: u64) {
        let closed = !self.silent.load(Ordering::Relaxed) && self.table.close(ino, |id| self.close_id(id));
        if !closed {
            self.left.notify_one();
        }
    }

    fn close_id(&self, id: u32) -> bool {
        let Some(registrar) = &self.registrar else { return false };
        let closed = registrar.close(id);
        let silent = closed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
        self.silent.store(silent, Ordering::Relaxed);
        match closed {
            // Nothing is left to be closed.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => {
                tracing::debug!(id, %error, "a backing id cannot be closed now");
                false
            }
            Ok(()) => true,
        }
    }

    /// Closes the ids that nobody uses and that this process does not keep: those of a former server, those that could not be closed
    /// before, and those in the way of others. May wait for who registers.
    fn sweep(&self) {
        if !self.table.tend(|ino| self.holds().has(ino), |id| self.close_id(id)) {
            self.left.notify_one();
        }
    }

    /// Sweeps on `runtime` whenever there is reason to, as long as this lives.
    pub(crate) fn sweep_on(self: &Arc<Self>, runtime: &Handle) {
        let (whom, left) = (Arc::downgrade(self), Arc::clone(&self.left));
        left.notify_one();
        runtime.spawn(async move {
            loop {
                left.notified().await;
                let Some(passthrough) = whom.upgrade() else { return };
                if tokio::task::spawn_blocking(move || passthrough.sweep()).await.is_err() {
                    return;
                }
                tokio::time::sleep(SWEEP_EVERY).await;
            }
        });
    }

    pub(crate) fn counts(&self) -> OpenCounts {
        OpenCounts {
            native: self.native.load(Ordering::Relaxed),
            served: self.served.load(Ordering::Relaxed),
            kept_ids: self.holds().kept(),
            why_not: self.refusals.words(),
        }
    }

    fn holds(&self) -> MutexGuard<'_, Holds<Box<dyn Backing>, Box<dyn Kept>>> {
        lock(&self.holds)
    }
}

impl Drop for Passthrough {
    fn drop(&mut self) {
        self.left.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
