use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex};

use crate::io::FileIo;
use crate::shared::lock;

/// Open files of larger objects, bounded, the least recently used closed first.
///
/// A file is known by the tier's number and the birth of its incarnation: a descriptor of a file that was unlinked can never be
/// taken for its successor's.
pub(crate) struct Descriptors {
    max: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    files: HashMap<(usize, u64), (u64, Arc<dyn FileIo>)>,
    ages: BTreeMap<u64, (usize, u64)>,
    clock: u64,
}

impl Descriptors {
    pub(crate) fn new(max: usize) -> Self {
        Self { max: max.max(1), open: Mutex::default() }
    }

    /// The open file, opened now when it is not. Who opens it at the same time gets the same one: another would be somebody else's to the kernel,
    /// which is asked who has the file.
    pub(crate) fn get(
        &self,
        tier: usize,
        birth: u64,
        open: impl FnOnce() -> io::Result<Arc<dyn FileIo>>,
    ) -> io::Result<Arc<dyn FileIo>> {
        if let Some(file) = lock(&self.open).touch((tier, birth)) {
            return Ok(file);
        }
        let file = open()?;
        if let Some(first) = lock(&self.open).touch((tier, birth)) {
            return Ok(first);
        }
        self.put(tier, birth, file.clone());
        Ok(file)
    }

    /// Keeps a file open.
    pub(crate) fn put(&self, tier: usize, birth: u64, file: Arc<dyn FileIo>) {
        let mut closed = Vec::new();
        let mut open = lock(&self.open);
        open.clock += 1;
        let age = open.clock;
        if let Some((old, _)) = open.files.insert((tier, birth), (age, file)) {
            open.ages.remove(&old);
        }
        open.ages.insert(age, (tier, birth));
        while open.files.len() > self.max {
            let Some((_, key)) = open.ages.pop_first() else { break };
            closed.extend(open.files.remove(&key));
        }
        // The files close after the lock: closing may wait for the disk.
        drop(open);
    }

    /// Closes a file as soon as nobody reads it.
    pub(crate) fn remove(&self, tier: usize, birth: u64) {
        let mut open = lock(&self.open);
        let gone = open.files.remove(&(tier, birth));
        if let Some((age, _)) = &gone {
            open.ages.remove(age);
        }
        drop(open);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.open).files.len()
    }
}

impl Open {
    fn touch(&mut self, key: (usize, u64)) -> Option<Arc<dyn FileIo>> {
        self.clock += 1;
        let (age, file) = self.files.get_mut(&key)?;
        self.ages.remove(age);
        *age = self.clock;
        self.ages.insert(self.clock, key);
        Some(file.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use crate::io::{MemoryIo, Mode, TierIo};

    #[test]
    fn the_least_recently_used_is_closed() {
        let io = MemoryIo::new(1 << 20, true);
        let files = Descriptors::new(2);
        let mut opened = 0;
        for birth in [1, 2, 1, 3, 1, 2] {
            files
                .get(0, birth, || {
                    opened += 1;
                    io.open("x", Mode::Create)
                })
                .unwrap();
            assert!(files.len() <= 2);
        }
        assert_eq!(opened, 4, "1, 2, 3 and 2 again");
        files.remove(0, 1);
        files.remove(0, 1);
        assert_eq!(files.len(), 1);
        assert!(files.get(0, 9, || Err(io::Error::other("no"))).is_err());
    }

    #[test]
    fn a_file_that_two_open_at_once_is_open_once() {
        let (io, files) = (MemoryIo::new(1 << 20, true), Descriptors::new(2));
        let open = || io.open("x", Mode::Create);
        let mut first = None;
        let second = files.get(0, 1, || {
            first = Some(files.get(0, 1, open)?);
            open()
        });
        assert!(first.is_some() && second.unwrap().is_unshared().unwrap());
    }
}
