use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay_catalog::Catalog;

use crate::objects::ObjectTable;
use crate::overrides::Overrides;

/// One immutable listing of the tree, with what `Validate` found since.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) number: u32,
    pub(crate) catalog: Catalog,
    pub(crate) overrides: Overrides,
    /// Where its objects are, once a composed mount needed it.
    pub(crate) objects: OnceLock<ObjectTable>,
    /// Its age when it was opened, and since when: the clock may be set meanwhile.
    age: (Duration, Instant),
    open: AtomicI64,
    held: AtomicBool,
}

impl Generation {
    /// Takes a catalog that lies at `path`; its journal of overrides lies beside it.
    pub(crate) fn new(catalog: Catalog, path: &Path) -> std::io::Result<Self> {
        let number = u32::try_from(catalog.info().generation).map_err(std::io::Error::other)?;
        let overrides = Overrides::open(&path.with_extension("overrides"))?;
        let age = (age_of(&catalog), Instant::now());
        let (open, held) = (AtomicI64::new(0), AtomicBool::new(false));
        Ok(Self { number, catalog, overrides, objects: OnceLock::new(), age, open, held })
    }

    /// Time since its listing began.
    pub(crate) fn age(&self) -> Duration {
        let (then, since) = self.age;
        then.saturating_add(since.elapsed())
    }

    /// A handle was opened on this generation.
    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
    }

    /// A handle on this generation was released.
    pub(crate) fn released(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    /// Says whether a mount that nobody here can see shows it.
    pub(crate) fn set_held(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Whether handles are open on it, or a mount shows it.
    pub(crate) fn in_use(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0 || self.is_held()
    }
}

/// By the clock as it is now; one that was listed later than that is of any age.
fn age_of(catalog: &Catalog) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let listed = Duration::from_nanos(u64::try_from(catalog.info().listed_at_ns).unwrap_or(0));
    now.checked_sub(listed).unwrap_or(Duration::MAX)
}
