//! The cache against a plain reference: whatever is done to it, and whatever happens to its disks, what it serves are the bytes of the
//! object asked for, and what it occupies is within its bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::tools::*;
use crate::index::MemoryIndex;
use crate::io::{FileIo, MemoryIo, Mode, Op, TierIo};
use crate::*;

const NAMES: [&str; 3] = ["a", "b", "c"];
const SIZES: [u64; 6] = [1, 5000, 100_000, BLOCK, BLOCK + 1, 2 * BLOCK + 4096];
const KEYS: u64 = 24;

#[derive(Clone, Debug)]
enum Step {
    Insert {
        key: u64,
        block: u32,
        pin: bool,
    },
    Read {
        key: u64,
        block: u32,
    },
    Evict {
        key: u64,
    },
    Pin {
        key: u64,
    },
    Unpin {
        key: u64,
    },
    Quota {
        name: usize,
        blocks: u64,
    },
    Ttl {
        name: usize,
        seconds: u64,
    },
    Pass {
        seconds: u64,
    },
    Remove {
        name: usize,
    },
    Work,
    Recover,
    Restart,
    Kill {
        index: Loss,
        damage: Vec<(Damage, u64)>,
        recover: bool,
    },
    Break {
        disk: usize,
        op: Op,
        errno: i32,
    },
    Die {
        disk: usize,
        after: u32,
        index: Loss,
    },
    Mend,
    Native {
        key: u64,
    },
    /// What was mapped is unmapped.
    Unmap,
}

#[derive(Clone, Copy, Debug)]
enum Loss {
    Kept,
    Lost,
    Old,
    Torn,
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip,
    Truncate,
    Extend,
    Delete,
    Meta,
    Sidecar,
    Swap,
    Litter,
    Ledger,
}

fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![3 => Just(Loss::Kept), 1 => Just(Loss::Lost), 2 => Just(Loss::Old), 1 => Just(Loss::Torn)]
}

fn damage() -> impl Strategy<Value = Damage> {
    use Damage::*;
    prop_oneof![
        Just(Flip),
        Just(Truncate),
        Just(Extend),
        Just(Delete),
        Just(Meta),
        Just(Sidecar),
        Just(Swap),
        Just(Litter),
        Just(Ledger)
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS;
    let op = prop_oneof![Just(Op::Read), Just(Op::Write), Just(Op::Attribute), Just(Op::Free)];
    let errno = prop_oneof![Just(5), Just(28), Just(30)];
    prop_oneof![
        30 => (key(), 0u32..3, prop::bool::weighted(0.05)).prop_map(|(key, block, pin)| Step::Insert { key, block, pin }),
        20 => (key(), 0u32..3).prop_map(|(key, block)| Step::Read { key, block }),
        2 => key().prop_map(|key| Step::Evict { key }),
        3 => key().prop_map(|key| Step::Pin { key }),
        3 => key().prop_map(|key| Step::Unpin { key }),
        2 => (0usize..3, 0u64..8).prop_map(|(name, blocks)| Step::Quota { name, blocks }),
        1 => (0usize..3, 50u64..200).prop_map(|(name, seconds)| Step::Ttl { name, seconds }),
        6 => (1u64..100).prop_map(|seconds| Step::Pass { seconds }),
        1 => (0usize..3).prop_map(|name| Step::Remove { name }),
        5 => Just(Step::Work),
        2 => Just(Step::Recover),
        2 => Just(Step::Restart),
        2 => (loss(), prop::collection::vec((damage(), any::<u64>()), 0..3), any::<bool>())
            .prop_map(|(index, damage, recover)| Step::Kill { index, damage, recover }),
        2 => (0usize..2, op, errno).prop_map(|(disk, op, errno)| Step::Break { disk, op, errno }),
        2 => (0usize..2, 0u32..12, loss()).prop_map(|(disk, after, index)| Step::Die { disk, after, index }),
        3 => Just(Step::Mend),
        5 => key().prop_map(|key| Step::Native { key }),
        1 => Just(Step::Unmap),
    ]
}

/// What should be.
struct Model {
    bench: Bench,
    ids: Vec<DatasetId>,
    policies: Vec<DatasetPolicy>,
    /// Blocks ever offered, by key: nothing else may be hit.
    offered: BTreeMap<u64, BTreeSet<u32>>,
    pinned: BTreeSet<u64>,
    /// Blocks of pinned objects that must be there.
    held: BTreeSet<(u64, u32)>,
    old_index: MemoryIndex,
    /// Accounts equal the disks exactly: no fault, kill or damage since they were last compared by a scan.
    exact: bool,
    /// The disk that loses power, and what becomes of the index then.
    dying: Option<Loss>,
    natives: Vec<(u64, Native)>,
    /// Kept ready by who had them natively.
    kept: Vec<(u64, Arc<Mutex<Option<Kept>>>)>,
    /// Files that somebody opened natively and has open or mapped still, whatever became of the cache since.
    mapped: Vec<(u64, Arc<dyn FileIo>)>,
    /// Some disk fails now.
    broken: bool,
    /// Bytes on a disk were changed behind the cache: who reads them natively has them as they are.
    hurt: bool,
}

/// Small objects are published while there is room to spare.
fn native() -> DatasetPolicy {
    DatasetPolicy { native: true, ..DatasetPolicy::default() }
}

impl Model {
    fn new(attributes: bool) -> Self {
        let bench = Bench::with_attributes(&[6, 7], attributes);
        let policies = vec![native(); NAMES.len()];
        let mut model = Self {
            old_index: bench.index.snapshot(),
            bench,
            ids: Vec::new(),
            policies,
            offered: BTreeMap::new(),
            pinned: BTreeSet::new(),
            held: BTreeSet::new(),
            exact: true,
            dying: None,
            natives: Vec::new(),
            kept: Vec::new(),
            mapped: Vec::new(),
            broken: false,
            hurt: false,
        };
        model.declare();
        model
    }

    fn declare(&mut self) {
        self.ids =
            NAMES.iter().zip(&self.policies).map(|(name, policy)| self.bench.cache().set_dataset(name, policy.clone())).collect();
    }

    fn name(key: u64) -> usize {
        key as usize % NAMES.len()
    }

    fn object(&self, key: u64) -> Object {
        let size = SIZES[key as usize % SIZES.len()];
        object(self.bench.cache(), self.ids[Self::name(key)], key, size)
    }

    /// Something happened that may have cost blocks, pins and exact accounts, but nothing else.
    fn excuse(&mut self) {
        self.exact = false;
        self.held.clear();
        self.pinned.clear();
    }

    fn read(&mut self, key: u64, block: u32) {
        let object = self.object(key);
        if block < object.blocks() {
            let hit = check(&object, key, block);
            let offered = self.offered.get(&key).is_some_and(|blocks| blocks.contains(&block));
            assert!(!hit || offered, "a block that nobody ever inserted");
        }
    }

    fn hold(&mut self, key: u64) {
        if self.broken {
            return;
        }
        let object = self.object(key);
        self.pinned.insert(key);
        for block in (0..object.blocks()).filter(|block| check(&object, key, *block)) {
            self.held.insert((key, block));
        }
    }

    fn release(&mut self, key: u64) {
        self.pinned.remove(&key);
        self.held.retain(|(held, _)| *held != key);
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Insert { key, block, pin } => {
                let object = self.object(*key);
                if *block < object.blocks() {
                    self.offered.entry(*key).or_default().insert(*block);
                    let landing = Landing { pin: *pin, ..Landing::default() };
                    let stored = is_stored(&object.insert(*block, &bytes(*key, object.size(), *block), landing));
                    if stored && (*pin || self.pinned.contains(key)) {
                        self.hold(*key);
                    }
                }
            }
            Step::Read { key, block } => self.read(*key, *block),
            Step::Evict { key } => {
                self.object(*key).evict();
                self.release(*key);
                assert!(self.object(*key).present_bytes() == 0 || !self.exact);
            }
            Step::Pin { key } => {
                if self.object(*key).pin().is_ok() {
                    self.hold(*key);
                }
            }
            Step::Unpin { key } => {
                self.object(*key).unpin();
                self.release(*key);
            }
            Step::Quota { name, blocks } => {
                self.policies[*name].quota = Some(blocks * BLOCK);
                self.declare();
            }
            Step::Ttl { name, seconds } => {
                self.policies[*name].ttl = Some(Duration::from_secs(*seconds));
                self.declare();
            }
            Step::Pass { seconds } => self.bench.clock.advance(Duration::from_secs(*seconds)),
            Step::Remove { name } => {
                self.bench.cache().remove_dataset(NAMES[*name]);
                for key in (0..KEYS).filter(|key| Self::name(*key) == *name) {
                    self.release(key);
                    assert!(self.object(key).present_bytes() == 0 || !self.exact);
                }
                self.policies[*name] = native();
                self.declare();
            }
            Step::Work => {
                self.bench.cache().step();
                self.old_index = self.bench.index.snapshot();
            }
            Step::Recover => self.recover(),
            Step::Restart => {
                self.natives.clear();
                self.kept.clear();
                self.bench.restart();
                self.declare();
            }
            Step::Kill { index, damage, recover } => self.kill(*index, damage, *recover),
            Step::Break { disk, op, errno } => {
                self.bench.faults[*disk].fail(*op, *errno);
                self.broken = true;
                self.excuse();
            }
            Step::Die { disk, after, index } => {
                self.bench.faults[*disk].die_after(*after);
                self.broken = true;
                self.dying = Some(*index);
                self.excuse();
            }
            Step::Mend => {
                if let Some(index) = self.dying.take() {
                    self.kill(index, &[], false);
                }
                self.mend();
            }
            Step::Native { key } => {
                // Odd ones are let go at once, even ones kept ready.
                let (over, rest) = std::mem::take(&mut self.natives).into_iter().partition(|(held, _)| held == key);
                self.natives = rest;
                let mut over: Vec<(u64, Native)> = over;
                if self.natives.len() > 2 {
                    over.push(self.natives.remove(0));
                }
                for (key, native) in over.into_iter().filter(|(key, _)| key % 2 == 0) {
                    let slot = Arc::new(Mutex::new(None));
                    let asked = Arc::downgrade(&slot);
                    let kept = native.keep_ready(move || {
                        asked.upgrade().map(|slot| slot.lock().unwrap().take());
                    });
                    *slot.lock().unwrap() = Some(kept);
                    self.kept.push((key, slot));
                }
                if let Some(native) = self.object(*key).native() {
                    if let Ok(file) = native.open() {
                        self.mapped.push((*key, file));
                    }
                    self.natives.push((*key, native));
                }
                self.declare();
            }
            Step::Unmap => {
                self.mapped.clear();
                self.kept.retain(|(_, slot)| slot.lock().unwrap().is_some());
                self.keep();
            }
        }
    }

    fn mend(&mut self) {
        self.bench.faults.iter().for_each(crate::io::Faults::mend);
        self.broken = false;
    }

    fn recover(&mut self) {
        let report = self.bench.recover();
        if report.failed_tiers.is_empty() && self.natives.is_empty() && self.mapped.is_empty() {
            self.exact = !self.broken && self.bench.cache().health().iter().all(|health| health.state == TierState::Ready);
            self.keep();
        }
    }

    /// As the cache does from time to time: what could not be taken when a quota was lowered goes when it can.
    fn keep(&mut self) {
        self.bench.cache().step();
    }

    fn kill(&mut self, index: Loss, damage: &[(Damage, u64)], recover: bool) {
        self.natives.clear();
        self.kept.clear();
        if !damage.is_empty() {
            // What a disk does to a file, it does to who has it mapped.
            self.mapped.clear();
            self.hurt = true;
        }
        self.bench.kill();
        self.mend();
        self.dying = None;
        match index {
            Loss::Kept => {}
            Loss::Lost => self.bench.index = MemoryIndex::default(),
            Loss::Old => self.bench.index = self.old_index.snapshot(),
            Loss::Torn => {
                let mut n = 0;
                self.bench.index.damage(|value| {
                    n += 1;
                    match n % 3 {
                        0 => *value = None,
                        1 => value.iter_mut().for_each(|raw| raw[n % 20] ^= 1),
                        _ => {}
                    }
                });
            }
        }
        for (kind, pick) in damage {
            hurt(&self.bench.disks[*pick as usize % 2], *kind, *pick / 2);
        }
        if damage.is_empty() {
            self.exact = false;
        } else {
            self.excuse();
        }
        self.bench.open();
        self.declare();
        if recover {
            self.recover();
        }
    }

    fn verify(&mut self) {
        for (n, usage) in self.bench.cache().usage().tiers.iter().enumerate() {
            let disk = &self.bench.disks[n];
            assert!(disk.allocated() <= usage.capacity, "tier {n} occupies {} of {}", disk.allocated(), usage.capacity);
            // A tier that could not be taken into use knows of nothing and takes nothing.
            let shut = usage.objects == 0 && usage.charged == crate::tier::BASE;
            assert!(
                shut || disk.allocated() <= usage.charged,
                "tier {n} occupies {}, charged {}",
                disk.allocated(),
                usage.charged
            );
            assert!(usage.charged <= usage.capacity || !self.exact, "tier {n} charged {} of {}", usage.charged, usage.capacity);
            if self.exact {
                let found = recount(disk);
                assert_eq!((usage.bytes, usage.blocks, usage.objects), found, "tier {n}: accounts and disk");
                let published = disk.names().iter().filter(|path| disk.is_published(path).unwrap()).count();
                // After a restart what a file has is known when it was looked at.
                assert!(usage.native <= published as u64, "tier {n}: {} of {published} published files", usage.native);
            }
        }
        self.verify_published();
        for (name, policy) in NAMES.iter().zip(&self.policies) {
            // What is handed out stays, however low the quota becomes meanwhile.
            if let (true, true, Some(quota)) = (self.exact, self.natives.is_empty() && self.mapped.is_empty(), policy.quota) {
                let used = self.bench.cache().usage().datasets[*name].clone();
                assert!(used.bytes <= quota.max(used.pinned), "Dataset {name} has {} of {quota}", used.bytes);
            }
        }
        for (key, file) in &self.mapped {
            let object = self.object(*key);
            for block in 0..object.blocks() {
                let expected = bytes(*key, object.size(), block);
                let mut buf = vec![0; expected.len()];
                if let Ok(n) = file.read_at(u64::from(block) * BLOCK, &mut buf) {
                    assert!(n == expected.len() && buf == expected, "object {key} read natively: block {block} is wrong");
                }
            }
        }
        for (key, block) in &self.held {
            assert!(check(&self.object(*key), *key, *block), "pinned object {key} lost block {block}");
        }
    }
}

impl Model {
    /// Whoever finds a file by its name, with nobody in between, finds all of its bytes.
    fn verify_published(&self) {
        for key in (0..KEYS).filter(|_| !self.hurt) {
            let object = self.object(key);
            let hex = object.id().hex();
            let path = format!("objects/{}/{}", &hex[..2], &hex[2..]);
            for disk in self.bench.disks.iter().filter(|disk| disk.is_published(&path).unwrap()) {
                assert_eq!(object.blocks(), 1, "object {key} is large, and nobody pinned and published it");
                let expected = bytes(key, object.size(), 0);
                let mut found = vec![0; expected.len()];
                let file = disk.open(&path, Mode::Read).unwrap();
                assert!(file.read_at(0, &mut found).unwrap() == found.len() && found == expected, "object {key} is published");
            }
        }
    }
}

/// Bytes, blocks and objects on a disk, counted from the files alone.
fn recount(disk: &MemoryIo) -> (u64, u64, u64) {
    let mut sums = (0, 0, 0);
    for path in disk.names().iter().filter(|path| path.starts_with("objects/") && !path.ends_with(".meta")) {
        let id = ObjectId::from_hex(&path["objects/".len()..].replace('/', "")).unwrap();
        let len = disk.stat(path).unwrap().unwrap().len;
        let mut raw = disk.attribute(path).unwrap().unwrap_or_default();
        if raw.is_empty() {
            raw = vec![0; crate::meta::len(block_count(len))];
            disk.open(&format!("{path}.meta"), Mode::Existing).unwrap().read_at(0, &mut raw).unwrap();
        }
        for block in (0..block_count(len)).filter(|block| crate::meta::record(&id, &raw, *block).is_some()) {
            sums.0 += block_len(len, block);
            sums.1 += 1;
        }
        sums.2 += 1;
    }
    sums
}

/// Damages something on a disk.
fn hurt(disk: &MemoryIo, kind: Damage, pick: u64) {
    let names: Vec<String> = disk.names().into_iter().filter(|name| name.starts_with("objects/")).collect();
    let choose = |sidecar: bool| {
        let fit: Vec<_> = names.iter().filter(|name| name.ends_with(".meta") == sidecar).cloned().collect();
        (!fit.is_empty()).then(|| fit[pick as usize % fit.len()].clone())
    };
    let Some(path) = choose(false) else { return };
    let file = disk.open(&path, Mode::Existing).unwrap();
    let len = disk.stat(&path).unwrap().unwrap().len;
    match kind {
        Damage::Flip => {
            let at = pick % len.max(1);
            let mut byte = [0];
            file.read_at(at, &mut byte).unwrap();
            file.write_at(at, &[byte[0] ^ 0x10]).unwrap();
        }
        Damage::Truncate => file.set_len(pick % len.max(1)).unwrap(),
        Damage::Extend => file.set_len(len + 1).unwrap(),
        Damage::Delete => disk.unlink(&path).unwrap(),
        Damage::Meta => {
            if let Some(mut raw) = file.attribute().unwrap() {
                let at = pick as usize % raw.len();
                if pick.is_multiple_of(3) {
                    raw.truncate(at)
                } else {
                    raw[at] ^= 1 << (pick % 8)
                }
                file.set_attribute(&raw).unwrap();
            }
        }
        Damage::Sidecar => {
            let Some(path) = choose(true) else { return };
            match pick % 3 {
                0 => disk.unlink(&path).unwrap(),
                1 => disk.open(&path, Mode::Existing).unwrap().set_len(pick % 40).unwrap(),
                _ => disk.open(&path, Mode::Existing).unwrap().write_at(pick % 40, &[pick as u8]).unwrap(),
            }
        }
        Damage::Swap => {
            let other = &names[(pick / 7) as usize % names.len()];
            if !other.ends_with(".meta") && *other != path {
                disk.rename(&path, other).unwrap();
            }
        }
        Damage::Litter => {
            for name in ["tmp/0000-1", "objects/zz/foreign", "objects/ab/short", &format!("{path}.meta")] {
                disk.open(name, Mode::Create).unwrap().write_at(0, b"x").unwrap();
            }
        }
        Damage::Ledger => disk.open("ledger", Mode::Create).unwrap().write_at(pick % 24, &[pick as u8]).unwrap(),
    }
}

fn cases() -> u32 {
    std::env::var("FOREBAY_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_right_bytes_are_served_within_the_bounds(attributes in any::<bool>(), steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model::new(attributes);
        for step in &steps {
            model.apply(step);
            model.verify();
        }
        for key in 0..KEYS {
            for block in 0..3 {
                model.read(key, block);
            }
        }
        model.natives.clear();
        model.kept.clear();
        model.mapped.clear();
        model.mend();
        model.bench.clock.advance(Duration::from_secs(100));
        model.recover();
        model.verify();
        for key in 0..KEYS {
            model.object(key).evict();
        }
        for disk in &model.bench.disks {
            let left: Vec<_> = disk.names().into_iter().filter(|name| name != "ledger").collect();
            prop_assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}
