use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    open: AtomicI64,
    held: AtomicBool,
}

impl Generation {
    /// Takes a catalog that lies at `path`; its journal of overrides lies beside it.
    pub(crate) fn new(catalog: Catalog, path: &Path) -> std::io::Result<Self> {
        let number = u32::try_from(catalog.info().generation).map_err(std::io::Error::other)?;
        let overrides = Overrides::open(&path.with_extension("overrides"))?;
        Ok(Self { number, catalog, overrides, objects: OnceLock::new(), open: AtomicI64::new(0), held: AtomicBool::new(false) })
    }

    /// Time since its listing began.
    pub(crate) fn age(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_nanos(u64::try_from(self.catalog.info().listed_at_ns).unwrap_or(0)))
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
