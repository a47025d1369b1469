use forebay_cache::io::Op as DiskOp;
use proptest::prelude::*;

use super::ladder::MOUNTS;
use super::reference::KEYS;

/// By which step of the ladder a file is read. What a step does not give the next lower one does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// Through the tree.
    Served,
    /// From the cached file that the tree lends for the open handle.
    Native,
    /// As one of the generations that composed mounts show has it: from the published file, else by the name of its object.
    Composed { mount: usize },
}

/// What is left of a loan, beside the open file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    Hold,
    KeepReady,
    /// Nothing that the cache knows of, as of a mapping.
    LetGo,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Read {
        file: usize,
        at: u64,
        len: u32,
        way: Way,
    },
    Hold {
        file: usize,
    },
    ReadHeld {
        which: usize,
        at: u64,
        len: u32,
        native: bool,
    },
    Release {
        which: usize,
    },
    /// A file is read natively from now on, until as many others are.
    Lend {
        file: usize,
        then: Then,
    },
    /// `None`: other bytes of the same length, which only the version tells apart.
    Change {
        file: usize,
        size: Option<usize>,
    },
    Remove {
        file: usize,
    },
    Refresh,
    /// The newest generation is mounted, composed, beside those that are.
    Compose,
    Unmount {
        which: usize,
    },
    Evict {
        file: usize,
    },
    /// Somebody wishes that paths be evicted.
    Wish {
        paths: usize,
    },
    Pin {
        file: usize,
    },
    Unpin {
        file: usize,
    },
    Quota {
        quota: Option<u64>,
    },
    Faults {
        per_mille: u16,
        seed: u64,
    },
    Heal,
    /// The cache's disk fails in what it is asked for.
    Break {
        op: DiskOp,
        errno: i32,
    },
    /// After so many changes more nothing reaches it.
    Die {
        after: u32,
    },
    Mend,
    Restart {
        cleanly: bool,
        damage: Option<u64>,
        quota: Option<u64>,
        eager: bool,
        pins: bool,
    },
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let file = || 0..KEYS.len();
    let quota = || prop::option::of(0..4u64 << 20);
    prop_oneof![
        10 => (file(), range(), way()).prop_map(|(file, (at, len), way)| Step::Read { file, at, len, way }),
        3 => file().prop_map(|file| Step::Hold { file }),
        6 => (0..8usize, range(), any::<bool>())
            .prop_map(|(which, (at, len), native)| Step::ReadHeld { which, at, len, native }),
        1 => (0..8usize).prop_map(|which| Step::Release { which }),
        3 => (file(), then()).prop_map(|(file, then)| Step::Lend { file, then }),
        3 => (file(), prop::option::of(0..4usize << 20)).prop_map(|(file, size)| Step::Change { file, size }),
        1 => file().prop_map(|file| Step::Remove { file }),
        2 => Just(Step::Refresh),
        1 => Just(Step::Compose),
        1 => (0..MOUNTS).prop_map(|which| Step::Unmount { which }),
        2 => file().prop_map(|file| Step::Evict { file }),
        1 => (0..3usize).prop_map(|paths| Step::Wish { paths }),
        2 => file().prop_map(|file| Step::Pin { file }),
        1 => file().prop_map(|file| Step::Unpin { file }),
        1 => quota().prop_map(|quota| Step::Quota { quota }),
        2 => (0..700u16, any::<u64>()).prop_map(|(per_mille, seed)| Step::Faults { per_mille, seed }),
        2 => Just(Step::Heal),
        1 => (disk_op(), prop_oneof![Just(5), Just(28), Just(30)]).prop_map(|(op, errno)| Step::Break { op, errno }),
        1 => (0..12u32).prop_map(|after| Step::Die { after }),
        2 => Just(Step::Mend),
        2 => (any::<bool>(), prop::option::of(any::<u64>()), quota(), any::<bool>(), any::<bool>())
            .prop_map(|(cleanly, damage, quota, eager, pins)| Step::Restart { cleanly, damage, quota, eager, pins }),
    ]
}

/// Offset and length. Now and then all of a file, so that files become complete.
fn range() -> impl Strategy<Value = (u64, u32)> {
    prop_oneof![3 => (0..5u64 << 20, 0..2u32 << 20), 1 => Just((0u64, 5u32 << 20))]
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![3 => Just(Way::Served), 2 => Just(Way::Native), 2 => (0..MOUNTS).prop_map(|mount| Way::Composed { mount })]
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![Just(Then::Hold), Just(Then::KeepReady), Just(Then::LetGo)]
}

fn disk_op() -> impl Strategy<Value = DiskOp> {
    prop_oneof![Just(DiskOp::Read), Just(DiskOp::Write), Just(DiskOp::Attribute), Just(DiskOp::Free)]
}
