#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const INODES: u64 = 5;
const MOST_KEPT: usize = 2;

/// What happens to a mount.
#[derive(Clone, Debug)]
enum Step {
    /// An open, answered at once.
    Open(u64),
    /// Two opens at a time: both found nothing open, and both get an id for the file.
    Race(u64),
    /// An open that is under way when another one is answered by us.
    Overtaken(u64),
    Release(u64),
    /// The file is all there, or is evicted.
    Complete(u64),
    Evict(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let ino = || 0..INODES;
    prop_oneof![
        4 => ino().prop_map(Step::Open),
        1 => ino().prop_map(Step::Race),
        1 => ino().prop_map(Step::Overtaken),
        5 => ino().prop_map(Step::Release),
        2 => ino().prop_map(Step::Complete),
        2 => ino().prop_map(Step::Evict),
    ]
}

/// The kernel's side, which refuses what it would refuse.
#[derive(Default)]
struct Kernel {
    ids: BTreeMap<u32, u64>,
    next: u32,
    open: BTreeMap<u64, Vec<Way>>,
}

impl Kernel {
    fn register(&mut self, ino: u64) -> u32 {
        self.next += 1;
        self.ids.insert(self.next, ino);
        self.next
    }

    fn close(&mut self, id: Option<u32>) {
        if let Some(id) = id {
            assert!(self.ids.remove(&id).is_some(), "id {id} is closed twice");
        }
    }

    fn opened(&mut self, ino: u64, way: Way) {
        if let Way::Native(id) = way {
            assert_eq!(self.ids.get(&id), Some(&ino), "inode {ino} is opened with a dead id or another file's");
        }
        let handles = self.open.entry(ino).or_default();
        assert!(handles.iter().all(|other| *other == way), "EIO: inode {ino} is open as {handles:?}, now {way:?}");
        handles.push(way);
    }
}

#[derive(Default)]
struct Model {
    kernel: Kernel,
    complete: BTreeSet<u64>,
}

impl Model {
    fn open(&mut self, registry: &mut Registry<u64, u64>, ino: u64) {
        let way = registry.join(ino).unwrap_or_else(|| {
            if !self.complete.contains(&ino) {
                let (way, surplus) = registry.open_served(ino);
                self.kernel.close(surplus);
                return way;
            }
            registry.open_native(ino, ino).unwrap_or_else(|hold| self.register(registry, ino, hold))
        });
        self.kernel.opened(ino, way);
    }

    fn register(&mut self, registry: &mut Registry<u64, u64>, ino: u64, hold: u64) -> Way {
        let id = self.kernel.register(ino);
        let (way, surplus) = registry.open_registered(ino, id, hold);
        self.kernel.close(surplus);
        way
    }

    fn apply(&mut self, registry: &mut Registry<u64, u64>, step: &Step) {
        match *step {
            Step::Open(ino) => self.open(registry, ino),
            Step::Race(ino) if self.complete.contains(&ino) => {
                let holds: Vec<_> = (0..2).map(|_| registry.open_native(ino, ino)).collect();
                for hold in holds {
                    let way = hold.unwrap_or_else(|hold| self.register(registry, ino, hold));
                    self.kernel.opened(ino, way);
                }
            }
            Step::Overtaken(ino) if self.complete.contains(&ino) => {
                let hold = registry.open_native(ino, ino);
                let (way, surplus) = registry.open_served(ino);
                self.kernel.close(surplus);
                self.kernel.opened(ino, way);
                let way = hold.unwrap_or_else(|hold| self.register(registry, ino, hold));
                self.kernel.opened(ino, way);
            }
            Step::Race(_) | Step::Overtaken(_) => {}
            Step::Release(ino) => {
                if let Some(handles) = self.kernel.open.get_mut(&ino)
                    && handles.pop().is_some()
                {
                    let surplus = registry.release(ino, |hold| hold);
                    self.kernel.close(surplus);
                }
            }
            Step::Complete(ino) => drop(self.complete.insert(ino)),
            Step::Evict(ino) => {
                let given = registry.give_back(ino);
                self.kernel.close(given);
                let natively = |way: &Way| matches!(way, Way::Native(_));
                let in_use = self.kernel.open.get(&ino).is_some_and(|handles| handles.iter().any(natively));
                assert_eq!(self.kernel.ids.values().any(|of| *of == ino), in_use, "an id outlives the file");
                self.complete.remove(&ino);
            }
        }
    }

    fn verify(&self, registry: &Registry<u64, u64>) {
        let in_use = self.kernel.open.values().filter(|handles| matches!(handles.first(), Some(Way::Native(_)))).count();
        assert_eq!(self.kernel.ids.len(), in_use + registry.kept(), "ids are lost");
        assert!(registry.kept() <= MOST_KEPT);
        let one_each: BTreeSet<_> = self.kernel.ids.values().collect();
        assert_eq!(one_each.len(), self.kernel.ids.len(), "two ids for one inode");
    }
}

proptest! {
    #[test]
    fn the_kernel_is_never_told_what_it_refuses(steps in prop::collection::vec(step(), 0..200)) {
        let mut registry = Registry::new(MOST_KEPT);
        let mut model = Model::default();
        for step in &steps {
            model.apply(&mut registry, step);
            model.verify(&registry);
        }
        for ino in 0..INODES {
            while model.kernel.open.get(&ino).is_some_and(|handles| !handles.is_empty()) {
                model.apply(&mut registry, &Step::Release(ino));
            }
            model.apply(&mut registry, &Step::Evict(ino));
        }
        prop_assert!(model.kernel.ids.is_empty() && registry.inodes.is_empty() && registry.ages.is_empty());
    }
}

#[test]
fn a_file_that_completes_while_it_is_open_is_read_natively_from_the_next_open() {
    let mut registry: Registry<(), ()> = Registry::new(MOST_KEPT);
    assert_eq!(registry.open_served(1), (Way::Served, None));
    assert_eq!(registry.open_native(1, ()), Ok(Way::Served), "as long as it is open that way");
    assert_eq!((registry.release(1, drop), registry.release(1, drop)), (None, None));
    assert_eq!(registry.open_native(1, ()), Err(()));
    assert_eq!(registry.open_registered(1, 7, ()), (Way::Native(7), None));
    assert_eq!(registry.open_served(1), (Way::Native(7), None), "and the other way round");
}

#[test]
fn the_one_unused_longest_goes_first() {
    let mut registry: Registry<(), ()> = Registry::new(MOST_KEPT);
    for ino in 1..=2 {
        registry.open_registered(ino, ino as u32, ());
        assert_eq!(registry.release(ino, drop), None);
    }
    assert_eq!(registry.open_native(1, ()), Ok(Way::Native(1)));
    assert_eq!(registry.release(1, drop), None);
    registry.open_registered(3, 3, ());
    assert_eq!(registry.release(3, drop), Some(2));
    assert_eq!(registry.kept(), 2);
}

#[test]
fn who_keeps_none_closes_at_once() {
    let mut registry: Registry<(), ()> = Registry::new(0);
    registry.open_registered(1, 9, ());
    assert_eq!(registry.release(1, |()| unreachable!()), Some(9));
    assert_eq!(registry.release(1, drop), None, "a former server's");
}
