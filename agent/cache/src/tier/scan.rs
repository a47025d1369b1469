use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::adopt::Adopted;
use super::objects::{Key, SEEN, SIDECAR};
use super::{Phase, State, Tier, metafile};
use crate::{CacheError, ObjectId, RecoverReport};

/// Why a scan ended early.
pub(crate) enum Halt {
    /// It was told to.
    Stopped,
    /// The disk failed.
    Disk(io::Error),
}

impl From<io::Error> for Halt {
    fn from(e: io::Error) -> Self {
        Self::Disk(e)
    }
}

impl From<CacheError> for Halt {
    fn from(_: CacheError) -> Self {
        Self::Stopped
    }
}

impl Tier {
    /// Makes the table agree with the files: adopts what is not in it, drops what has no file, removes what is of no use.
    /// Reads and writes go on meanwhile.
    pub(crate) fn scan(&self, stop: &AtomicBool, report: &mut RecoverReport) -> Result<(), Halt> {
        let halted = || if stop.load(Ordering::SeqCst) || self.shared.is_closed() { Err(Halt::Stopped) } else { Ok(()) };
        let leaked = {
            let state = self.state();
            state.account.leaked.saturating_sub(state.leases.limbo())
        };
        self.unsee();
        for name in self.io.list("tmp")? {
            if !self.shared.is_temporary(&name) {
                self.io.unlink(&format!("tmp/{name}"))?;
                report.garbage += 1;
            }
        }
        self.io.tidy_published()?;
        for prefix in self.io.list("objects")? {
            halted()?;
            let names = self.io.list(&format!("objects/{prefix}"))?;
            for name in &names {
                halted()?;
                self.scan_name(&prefix, name, report)?;
            }
        }
        report.lost += self.drop_unseen(&halted)?;
        let mut state = self.state();
        state.account.unknown = 0;
        // What the disk did not give back was found or is gone; what was lost meanwhile is not known yet.
        state.account.leaked = state.account.leaked.saturating_sub(leaked);
        state.phase = Phase::Whole;
        Ok(())
    }

    fn scan_name(&self, prefix: &str, name: &str, report: &mut RecoverReport) -> Result<(), Halt> {
        let path = format!("objects/{prefix}/{name}");
        let (stem, is_sidecar) = match name.strip_suffix(".meta") {
            Some(stem) => (stem, true),
            None => (name, false),
        };
        let Some(id) = ObjectId::from_hex(&format!("{prefix}{stem}")) else {
            self.io.unlink(&path)?;
            report.garbage += 1;
            return Ok(());
        };
        let stripe = self.shared.stripe(&id);
        if is_sidecar {
            // The data file comes in its own turn; here only sidecars that belong to none go.
            let alone = self.io.stat(&metafile::path(&id))?.is_none();
            let unused = {
                let state = self.state();
                state.objects.find(&id).is_some_and(|key| !state.is_stale(key) && !state.objects.is(key, SIDECAR))
            };
            if alone || unused {
                self.io.unlink(&path)?;
                report.garbage += 1;
            }
            return Ok(());
        }
        report.files += 1;
        let known = self.state().objects.find(&id).is_some();
        let adopted = if known {
            self.refresh_in(id, &stripe);
            Adopted::Yes
        } else {
            self.adopt_in(id, &stripe)
        };
        match adopted {
            Adopted::Yes => {
                report.adopted += u64::from(!known);
                self.reclaim(&id, &stripe)?;
                let mut state = self.state();
                match state.objects.find(&id) {
                    Some(key) => state.objects.flag(key, SEEN, true),
                    None => report.damaged += 1,
                }
            }
            Adopted::Damaged => report.damaged += 1,
            Adopted::Nothing => {}
            Adopted::Unknown => return Err(Halt::Disk(io::Error::other(self.last_error()))),
        }
        Ok(())
    }

    fn keys(&self) -> impl Iterator<Item = Key> + use<> {
        let (smalls, larges) = self.state().objects.bounds();
        (0..smalls).map(Key::Small).chain((0..larges).map(Key::Large))
    }

    fn unsee(&self) {
        for key in self.keys() {
            let mut state = self.state();
            if let Some(key) = state.objects.at(key) {
                state.objects.flag(key, SEEN, false);
            }
        }
    }

    /// Drops objects whose files the scan did not meet and that are really not there.
    fn drop_unseen(&self, halted: &impl Fn() -> Result<(), Halt>) -> Result<u64, Halt> {
        let mut lost = 0;
        for key in self.keys() {
            let id = {
                let state = self.state();
                match state.objects.at(key) {
                    Some(key) if !state.objects.is(key, SEEN) => *state.objects.id_of(key),
                    _ => continue,
                }
            };
            halted()?;
            let stripe = self.shared.stripe(&id);
            if self.io.stat(&metafile::path(&id))?.is_none() {
                self.remove_object(id, &stripe);
                lost += 1;
            }
        }
        Ok(lost)
    }

    /// Ids of the objects that belong to Datasets for which `of` holds.
    pub(crate) fn owned(&self, of: impl Fn(u16) -> bool) -> HashSet<ObjectId> {
        self.ids(|state, key| of(state.objects.set_of(key)))
    }

    /// Ids of the objects that such Datasets pin.
    pub(crate) fn pinned_by(&self, of: impl Fn(u16) -> bool) -> HashSet<ObjectId> {
        self.ids(|state, key| state.pinners_of(key).into_iter().any(&of))
    }

    fn ids(&self, of: impl Fn(&State, Key) -> bool) -> HashSet<ObjectId> {
        let mut ids = HashSet::new();
        for key in self.keys() {
            let state = self.state();
            if let Some(key) = state.objects.at(key)
                && of(&state, key)
            {
                ids.insert(*state.objects.id_of(key));
            }
        }
        ids
    }
}
