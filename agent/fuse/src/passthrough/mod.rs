//! Lets the kernel read complete files by itself (Linux 6.9 and later), and says why where it does not.

mod refusal;
mod registrar;
mod registry;

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use forebay_fs::{Backing, Kept};

use refusal::Refusals;
pub(crate) use registrar::{Direct, Registrar};
use registry::Registry;
pub(crate) use registry::Way;

/// How the files of a mount were opened so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenCounts {
    /// Opens whose reads are the kernel's own.
    pub native: u64,
    /// Opens whose reads come to this process.
    pub served: u64,
    /// Backing ids kept for files that nobody has open now.
    pub kept_ids: usize,
    /// Why complete files are not read natively, or not all: in words, for people. `None` when nothing stands in the way.
    pub why_not: Option<String>,
}

/// One mount's passthrough. One lock guards opens, releases and the life of ids; nothing waits under it.
#[derive(Debug)]
pub(crate) struct Passthrough {
    registrar: Option<Box<dyn Registrar>>,
    registry: Mutex<Registry<Box<dyn Backing>, Box<dyn Kept>>>,
    refusals: Refusals,
    native: AtomicU64,
    served: AtomicU64,
}

impl Passthrough {
    /// For the mount of `dataset`; keeps at most `most_kept` ids of files that nobody has open.
    pub(crate) fn new(dataset: String, registrar: Option<Box<dyn Registrar>>, most_kept: usize) -> Self {
        let passthrough = Self {
            registrar,
            registry: Mutex::new(Registry::new(most_kept)),
            refusals: Refusals::new(dataset),
            native: AtomicU64::new(0),
            served: AtomicU64::new(0),
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

    /// Decides how an open of `ino` is answered. It counts until [`Passthrough::release`]. `backing` is asked for a complete file if one
    /// could be used.
    pub(crate) fn open(self: &Arc<Self>, ino: u64, backing: impl FnOnce() -> Option<Box<dyn Backing>>) -> Way {
        let way = self.decide(ino, backing);
        let counter = if way == Way::Served { &self.served } else { &self.native };
        counter.fetch_add(1, Ordering::Relaxed);
        way
    }

    fn decide(&self, ino: u64, backing: impl FnOnce() -> Option<Box<dyn Backing>>) -> Way {
        let open = self.registry().join(ino);
        if let Some(way) = open {
            return way;
        }
        let backing = if self.refusals.is_refused() { None } else { backing() };
        let Some(backing) = backing.filter(|backing| self.refusals.allow(backing.place())) else {
            return self.served(ino);
        };
        let needs_id = match self.registry().open_native(ino, backing) {
            Ok(way) => return way,
            Err(hold) => hold,
        };
        // Neither the disk nor the kernel is waited for under the lock; whoever is faster meanwhile decides.
        match needs_id.open().and_then(|file| self.register(&file, needs_id.place())) {
            Ok(id) => {
                let (way, surplus) = self.registry().open_registered(ino, id, needs_id);
                self.close(surplus);
                way
            }
            Err(error) => {
                tracing::debug!(ino, %error, "opened through us");
                self.served(ino)
            }
        }
    }

    fn served(&self, ino: u64) -> Way {
        let (way, surplus) = self.registry().open_served(ino);
        self.close(surplus);
        way
    }

    fn register(&self, file: &impl AsFd, place: &str) -> io::Result<u32> {
        let registrar = self.registrar.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        registrar.register(file.as_fd()).inspect_err(|error| self.refusals.note(place, error))
    }

    /// Closes one handle of `ino`.
    pub(crate) fn release(self: &Arc<Self>, ino: u64) {
        let surplus = self.registry().release(ino, |hold| {
            let whom = Arc::downgrade(self);
            hold.keep(Box::new(move || Self::give_back(&whom, ino)))
        });
        self.close(surplus);
    }

    fn give_back(whom: &Weak<Self>, ino: u64) {
        if let Some(passthrough) = whom.upgrade() {
            let id = passthrough.registry().give_back(ino);
            passthrough.close(id);
        }
    }

    fn close(&self, id: Option<u32>) {
        if let Some(id) = id
            && let Some(registrar) = &self.registrar
            && let Err(error) = registrar.close(id)
        {
            tracing::debug!(id, %error, "a backing id stays until the mount ends");
        }
    }

    pub(crate) fn counts(&self) -> OpenCounts {
        OpenCounts {
            native: self.native.load(Ordering::Relaxed),
            served: self.served.load(Ordering::Relaxed),
            kept_ids: self.registry().kept(),
            why_not: self.refusals.words(),
        }
    }

    fn registry(&self) -> MutexGuard<'_, Registry<Box<dyn Backing>, Box<dyn Kept>>> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
