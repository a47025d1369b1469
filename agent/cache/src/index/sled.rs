use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::{Batch, Index, IndexError};
use crate::ObjectId;

/// sled's own cache of pages. The cache reads its index once, at the start; a small one does.
const PAGES: u64 = 8 << 20;
/// How long an index that is locked is waited for: a child process that was forked a moment ago holds the lock until it runs
/// its own program, and sled's threads let go of theirs a little after the last handle.
const LOCKED_FOR: Duration = Duration::from_secs(5);
const LOCKED_PAUSE: Duration = Duration::from_millis(10);
/// The only key that is not an object's id; they are told apart by their length.
const TOKEN: &[u8] = b"token";

/// The index in sled 0.34. Opened at the first use: that takes a second when there are a million entries, and the cache serves without it.
pub struct SledIndex(RwLock<Slot>);

/// Why sled does not open a directory.
enum OpenError {
    /// Another process, or a handle that is being dropped, has it.
    Locked,
    Damaged(String),
}

impl OpenError {
    fn of(self, dir: &Path) -> IndexError {
        let dir = dir.display();
        IndexError(match self {
            Self::Locked => format!("{dir} is in use by another process; end that one first"),
            Self::Damaged(why) => format!("{dir}: {why}"),
        })
    }
}

enum Slot {
    Unopened(PathBuf),
    Open(sled::Db),
    /// Closed, or could not be opened.
    Gone(String),
}

impl SledIndex {
    /// An index in a directory. What is there and damaged is deleted, and a new one begun: the tiers know all that it knew. What another
    /// process has is left alone, and there is no index then.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self(RwLock::new(Slot::Unopened(dir.into())))
    }

    fn open(dir: &Path) -> Result<sled::Db, IndexError> {
        let until = Instant::now() + LOCKED_FOR;
        let failed = loop {
            match Self::try_open(dir) {
                Ok(db) => return Ok(db),
                Err(OpenError::Locked) if Instant::now() < until => std::thread::sleep(LOCKED_PAUSE),
                Err(locked @ OpenError::Locked) => return Err(locked.of(dir)),
                Err(OpenError::Damaged(why)) => break why,
            }
        };
        tracing::warn!(dir = %dir.display(), error = failed, "the cache's index cannot be opened; it is deleted and rebuilt from the tiers");
        if let Err(e) = std::fs::remove_dir_all(dir)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            return Err(IndexError(format!("{} cannot be removed: {e}", dir.display())));
        }
        Self::try_open(dir).map_err(|failed| failed.of(dir))
    }

    fn try_open(dir: &Path) -> Result<sled::Db, OpenError> {
        // sled 0.34 panics on some damage where it should return an error.
        catch_unwind(AssertUnwindSafe(|| {
            sled::Config::new().path(dir).cache_capacity(PAGES).flush_every_ms(None).mode(sled::Mode::LowSpace).open()
        }))
        .map_err(|_| OpenError::Damaged("sled panicked".into()))?
        .map_err(|error| match error {
            // sled has no kind of its own for this.
            sled::Error::Io(io) if io.to_string().contains("acquire lock") => OpenError::Locked,
            other => OpenError::Damaged(other.to_string()),
        })
    }

    fn tree(&self, tier: &str) -> Result<sled::Tree, IndexError> {
        let db = self.db()?;
        guarded(|| db.open_tree(tier))
    }

    fn db(&self) -> Result<sled::Db, IndexError> {
        if let Slot::Open(db) = &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(db.clone());
        }
        let mut slot = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Slot::Unopened(dir) = &*slot {
            *slot = match Self::open(dir) {
                Ok(db) => Slot::Open(db),
                Err(e) => Slot::Gone(e.0),
            };
        }
        match &*slot {
            Slot::Open(db) => Ok(db.clone()),
            Slot::Gone(why) => Err(IndexError(why.clone())),
            Slot::Unopened(dir) => Err(IndexError(format!("{} is not open", dir.display()))),
        }
    }
}

fn error(e: sled::Error) -> IndexError {
    IndexError(e.to_string())
}

fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| IndexError("sled panicked".into()))?.map_err(error)
}

impl Index for SledIndex {
    fn load(&self, tier: &str, each: &mut dyn FnMut(ObjectId, &[u8]) -> bool) -> Result<(), IndexError> {
        let tree = self.tree(tier)?;
        guarded(|| {
            for entry in &tree {
                let (key, value) = entry?;
                if let Ok(id) = <[u8; 32]>::try_from(key.as_ref())
                    && !each(ObjectId(id), &value)
                {
                    break;
                }
            }
            Ok(())
        })
    }

    fn apply(&self, tier: &str, batch: Batch) -> Result<(), IndexError> {
        let tree = self.tree(tier)?;
        guarded(|| {
            for (id, value) in batch {
                match value {
                    Some(value) => tree.insert(id.0, value)?,
                    None => tree.remove(id.0)?,
                };
            }
            Ok(())
        })
    }

    fn flush(&self) -> Result<(), IndexError> {
        let db = self.db()?;
        guarded(|| db.flush().map(drop))
    }

    fn close(&self) {
        let slot = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), Slot::Gone("closed".into()));
        // Dropping the last handle flushes; sled may panic there as elsewhere.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(slot)));
    }

    fn token(&self, tier: &str) -> Result<Option<u64>, IndexError> {
        let tree = self.tree(tier)?;
        let value = guarded(|| tree.get(TOKEN))?;
        Ok(value.and_then(|value| Some(u64::from_le_bytes(value.as_ref().try_into().ok()?))))
    }

    fn set_token(&self, tier: &str, token: Option<u64>) -> Result<(), IndexError> {
        let tree = self.tree(tier)?;
        guarded(|| match token {
            Some(token) => tree.insert(TOKEN, &token.to_le_bytes()),
            None => tree.remove(TOKEN),
        })?;
        self.flush()
    }
}
