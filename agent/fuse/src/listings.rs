//! Whether the kernel may go on using a directory's listing that it remembers from an earlier opendir.

use std::sync::{Mutex, PoisonError};

/// Directories remembered at once: 16 bytes each.
const PLACES: usize = 1 << 14;

/// Remembers of some directories in which generation they were last opened. Forgetting is safe: the kernel then lists the
/// directory once more. A table of fixed size, in which a directory displaces another with the same remainder.
#[derive(Debug)]
pub(crate) struct Listings {
    places: Mutex<Box<[(u64, u64)]>>,
}

impl Listings {
    pub(crate) fn new() -> Self {
        Self { places: Mutex::new(vec![(0, 0); PLACES].into_boxed_slice()) }
    }

    /// Notes that directory `ino` is opened in `generation`; answers whether it last was in the same one.
    pub(crate) fn still_good(&self, ino: u64, generation: u64) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut places[(ino % PLACES as u64) as usize];
        std::mem::replace(place, (ino, generation)) == (ino, generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_directory_of_the_same_generation_is_still_good() {
        let listings = Listings::new();
        let twin = 7 + PLACES as u64;
        for (ino, generation, good) in [
            (7, 1, false),
            (7, 1, true),
            (7, 2, false),
            (7, 2, true),
            (twin, 2, false),
            (7, 2, false),
            (8, 2, false),
            (7, 2, true),
        ] {
            assert_eq!(listings.still_good(ino, generation), good, "{ino} {generation}");
        }
    }
}
