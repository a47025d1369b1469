//! Whether small files that nobody pins are published: only while what they take is not missed, for their space is not free as long as
//! the kernel remembers them, and what it reads of them by itself counts as no use.

/// What may be published of files that nobody pins. The lesser of two holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Room {
    /// Nothing, and what is published goes.
    Short,
    /// Nothing more.
    Tight,
    /// All of them.
    Plenty,
}

impl Room {
    /// By what is used of a bound. Between the two limits nothing changes, so that not each new file takes all others out.
    pub(crate) fn of(used: u64, bound: u64) -> Self {
        if used > bound - bound / 16 {
            Self::Short
        } else if used > bound - bound / 8 {
            Self::Tight
        } else {
            Self::Plenty
        }
    }

    /// By what a file system has free, of which so much must stay so.
    pub(crate) fn on_disk(free: u64, reserve: u64) -> Self {
        if free < reserve.saturating_add(reserve / 2) {
            Self::Short
        } else if free < reserve.saturating_mul(2) {
            Self::Tight
        } else {
            Self::Plenty
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_ends_before_the_bound_does() {
        for (used, room) in [(140, Room::Plenty), (141, Room::Tight), (150, Room::Tight), (151, Room::Short)] {
            assert_eq!(Room::of(used, 160), room, "{used}");
        }
        assert_eq!((Room::of(0, 0), Room::of(1, 0)), (Room::Plenty, Room::Short));
    }

    #[test]
    fn a_reserve_is_not_touched_and_none_is_never_missed() {
        for (free, room) in [(14, Room::Short), (15, Room::Tight), (19, Room::Tight), (20, Room::Plenty)] {
            assert_eq!(Room::on_disk(free, 10), room, "{free}");
        }
        assert_eq!(Room::on_disk(0, 0), Room::Plenty);
        assert_eq!(Room::Plenty.min(Room::Short), Room::Short);
    }
}
