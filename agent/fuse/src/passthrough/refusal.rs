//! Why files are not read natively: said once, and remembered, so that what is refused for good is not tried at each open.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

/// What stands in the way on one mount.
#[derive(Debug)]
pub(crate) struct Refusals {
    dataset: String,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    /// Of every file.
    all: Option<&'static str>,
    /// Of the files of one part of the cache.
    places: BTreeMap<String, &'static str>,
}

/// How far a refusal reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Mount(&'static str),
    Place(&'static str),
    File,
}

/// What an error of the registration says about the next one.
fn reach(error: &io::Error) -> Reach {
    match Errno::from_io_error(error) {
        Some(Errno::PERM) => Reach::Mount("the right to register files is missing (CAP_SYS_ADMIN)"),
        Some(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS) => Reach::Mount("this kernel cannot do it"),
        Some(Errno::LOOP) => Reach::Place("its file system lies on top of another one (overlay)"),
        Some(Errno::INVAL) => Reach::Place("the kernel refuses files of its file system"),
        _ => Reach::File,
    }
}

impl Refusals {
    pub(crate) fn new(dataset: String) -> Self {
        Self { dataset, found: Mutex::default() }
    }

    /// Whether no file can be read natively.
    pub(crate) fn is_refused(&self) -> bool {
        self.found().all.is_some()
    }

    /// Whether files of a part of the cache may be tried.
    pub(crate) fn allow(&self, place: &str) -> bool {
        let found = self.found();
        found.places.is_empty() || !found.places.contains_key(place)
    }

    /// Nothing is read natively, because of `why`.
    pub(crate) fn all(&self, why: &'static str) {
        if self.found().all.replace(why).is_none() {
            tracing::info!(dataset = %self.dataset, why, "complete files are read through this process, not natively");
        }
    }

    /// Notes what the registration of a file of `place` met.
    pub(crate) fn note(&self, place: &str, error: &io::Error) {
        match reach(error) {
            Reach::Mount(why) => self.all(why),
            Reach::Place(why) => {
                if self.found().places.insert(place.to_owned(), why).is_none() {
                    tracing::info!(dataset = %self.dataset, tier = place, why, "its files are read through this process, not natively");
                }
            }
            Reach::File => {}
        }
    }

    /// What stands in the way, if anything does.
    pub(crate) fn words(&self) -> Option<String> {
        let found = self.found();
        let places = || found.places.iter().map(|(place, why)| format!("tier {place}: {why}")).collect::<Vec<_>>();
        match found.all {
            Some(why) => Some(why.to_owned()),
            None if found.places.is_empty() => None,
            None => Some(places().join("; ")),
        }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_for_good_is_not_tried_again() {
        let refusals = Refusals::new("ns/name".into());
        refusals.note("ssd", &Errno::MFILE.into());
        assert_eq!((refusals.allow("ssd"), refusals.words()), (true, None));
        refusals.note("ssd", &Errno::LOOP.into());
        assert!(!refusals.allow("ssd") && refusals.allow("ram") && !refusals.is_refused());
        assert!(refusals.words().is_some_and(|words| words.contains("tier ssd: ") && words.contains("overlay")));
        refusals.note("ram", &Errno::PERM.into());
        assert!(refusals.is_refused() && refusals.words().is_some_and(|words| words.contains("CAP_SYS_ADMIN")));
    }
}
