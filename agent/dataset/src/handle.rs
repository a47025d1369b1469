//! File handles that mean the same to this process and to the next: they say which version was opened, not where
//! it is remembered.

use forebay_fs::Handle;

const OVERRIDE: u64 = 1 << 62;
const GENERATIONS: u64 = 1 << 30;

/// What a handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Opened {
    /// Number of the generation.
    pub(crate) generation: u32,
    /// The file there.
    pub(crate) file: Version,
}

/// Which version of a file, inside one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Version {
    /// As listed: index of the catalog's entry.
    Listed(u32),
    /// As found by a later look at the store: index in the generation's overrides.
    Override(u32),
}

impl Opened {
    pub(crate) fn to_handle(self) -> Handle {
        let generation = u64::from(self.generation) % GENERATIONS;
        Handle(match self.file {
            Version::Listed(index) => generation << 32 | u64::from(index),
            Version::Override(index) => OVERRIDE | generation << 32 | u64::from(index),
        })
    }

    /// `None` for a number that [`Opened::to_handle`] never gives.
    pub(crate) fn from_handle(handle: Handle) -> Option<Self> {
        let Handle(raw) = handle;
        let generation = u32::try_from((raw & !OVERRIDE) >> 32).ok()?;
        if u64::from(generation) >= GENERATIONS {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the low half is the index")]
        let index = raw as u32;
        let file = if raw & OVERRIDE == 0 { Version::Listed(index) } else { Version::Override(index) };
        Some(Self { generation, file })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_handle_reads_back(generation in 0..1u32 << 30, index: u32, listed: bool) {
            let file = if listed { Version::Listed(index) } else { Version::Override(index) };
            let opened = Opened { generation, file };
            prop_assert_eq!(Opened::from_handle(opened.to_handle()), Some(opened));
        }

        #[test]
        fn two_files_never_share_a_handle(a in (0..1u32 << 30, any::<u32>(), any::<bool>()),
                                          b in (0..1u32 << 30, any::<u32>(), any::<bool>())) {
            let opened = |(generation, index, listed)| Opened {
                generation,
                file: if listed { Version::Listed(index) } else { Version::Override(index) },
            };
            prop_assert_eq!(a == b, opened(a).to_handle() == opened(b).to_handle());
        }
    }

    #[test]
    fn a_number_that_was_never_given_is_no_handle() {
        assert_eq!(Opened::from_handle(Handle(u64::MAX)), None);
        assert_eq!(Opened::from_handle(Handle(1 << 63)), None);
    }
}
