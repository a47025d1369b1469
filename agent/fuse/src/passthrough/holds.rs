//! The files that this process holds for inodes that it opened natively, and those that it keeps ready for the next open. What is open in
//! truth, by whichever server, the table knows: a hold that is off by a handle costs room in the cache and no reader anything.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// What is held of one mount. `H` holds a backing file, `K` keeps one ready.
#[derive(Debug)]
pub(crate) struct Holds<H, K> {
    inodes: HashMap<u64, Held<H, K>>,
    /// Inodes that nobody has open, by age.
    ages: BTreeMap<u64, u64>,
    clock: u64,
    most_kept: usize,
}

#[derive(Debug)]
enum Held<H, K> {
    Open {
        handles: u64,
        hold: H,
    },
    /// Dropping what is kept says that it is not ready any more.
    Kept {
        age: u64,
        _kept: K,
    },
}

impl<H, K> Holds<H, K> {
    /// Keeps at most `most_kept` files ready that nobody has open.
    pub(crate) fn new(most_kept: usize) -> Self {
        Self { inodes: HashMap::new(), ages: BTreeMap::new(), clock: 0, most_kept }
    }

    /// Notes that an inode was opened natively; `hold` where its file is at hand.
    pub(crate) fn opened(&mut self, ino: u64, hold: Option<H>) {
        if let Some(Held::Open { handles, .. }) = self.inodes.get_mut(&ino) {
            *handles += 1;
        } else if let Some(hold) = hold {
            self.forget(ino);
            self.inodes.insert(ino, Held::Open { handles: 1, hold });
        }
    }

    /// Notes a release. With the last one `keep` turns the hold into what keeps the file ready; the inode that had to go for it, if
    /// too many are kept. `last`: nobody has it open any more, though other servers may have heard of releases that are missed here.
    pub(crate) fn released(&mut self, ino: u64, last: bool, keep: impl FnOnce(H) -> K) -> Option<u64> {
        let Entry::Occupied(mut there) = self.inodes.entry(ino) else { return None };
        match there.get_mut() {
            Held::Kept { .. } => return None,
            Held::Open { handles, .. } if *handles > 1 && !last => {
                *handles -= 1;
                return None;
            }
            Held::Open { .. } => {}
        }
        let Held::Open { hold, .. } = there.remove() else { return None };
        if self.most_kept == 0 {
            return Some(ino);
        }
        self.clock += 1;
        self.ages.insert(self.clock, ino);
        self.inodes.insert(ino, Held::Kept { age: self.clock, _kept: keep(hold) });
        if self.ages.len() <= self.most_kept {
            return None;
        }
        let (_, oldest) = self.ages.pop_first()?;
        self.inodes.remove(&oldest);
        Some(oldest)
    }

    /// Keeps an inode's file no longer, if nobody has it open.
    pub(crate) fn forget(&mut self, ino: u64) {
        if let Entry::Occupied(there) = self.inodes.entry(ino)
            && let Held::Kept { age, .. } = there.get()
        {
            self.ages.remove(age);
            there.remove();
        }
    }

    /// Whether anything of the inode is held or kept.
    pub(crate) fn has(&self, ino: u64) -> bool {
        self.inodes.contains_key(&ino)
    }

    /// Files kept ready.
    pub(crate) fn kept(&self) -> usize {
        self.ages.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_unused_longest_goes_first() {
        let mut holds: Holds<(), ()> = Holds::new(2);
        for ino in 1..=2 {
            holds.opened(ino, Some(()));
            assert_eq!(holds.released(ino, false, drop), None);
        }
        holds.opened(1, Some(()));
        holds.opened(1, None);
        assert_eq!((holds.released(1, false, |()| unreachable!()), holds.kept()), (None, 1));
        assert_eq!(holds.released(1, false, drop), None);
        holds.opened(3, Some(()));
        assert_eq!(holds.released(3, false, drop), Some(2));
        assert_eq!((holds.kept(), holds.has(1), holds.has(2), holds.has(3)), (2, true, false, true));
        holds.forget(1);
        assert_eq!((holds.kept(), holds.has(1)), (1, false));
        // Of these three handles another server has heard that two are closed.
        (0..3).for_each(|_| holds.opened(4, Some(())));
        assert_eq!((holds.released(4, true, drop), holds.kept()), (None, 2));
    }

    #[test]
    fn who_keeps_none_closes_at_once_and_what_a_former_server_opened_is_not_held() {
        let mut holds: Holds<(), ()> = Holds::new(0);
        holds.opened(1, Some(()));
        holds.forget(1);
        assert!(holds.has(1), "it is open");
        assert_eq!(holds.released(1, false, |()| unreachable!()), Some(1));
        holds.opened(2, None);
        assert_eq!((holds.has(2), holds.released(2, false, drop)), (false, None));
    }
}
