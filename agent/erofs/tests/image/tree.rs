//! Trees to write images of, and the order in which a source gives them.

use std::collections::{BTreeMap, VecDeque};

use forebay_erofs::{Entry, Kind, Source};

pub(crate) type Names = BTreeMap<Vec<u8>, Node>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Dir { mtime_ns: i64, names: Names },
    File { mtime_ns: i64, size: u64, object: [u8; 32] },
}

impl Node {
    pub(crate) fn mtime_ns(&self) -> i64 {
        match self {
            Self::Dir { mtime_ns, .. } | Self::File { mtime_ns, .. } => *mtime_ns,
        }
    }
}

pub(crate) fn dir<N: Into<Vec<u8>>>(names: impl IntoIterator<Item = (N, Node)>) -> Node {
    Node::Dir { mtime_ns: 1_700_000_000_000_000_007, names: names.into_iter().map(|(name, node)| (name.into(), node)).collect() }
}

pub(crate) fn file(size: u64) -> Node {
    let mut object = [0xa5; 32];
    object[..8].copy_from_slice(&size.to_le_bytes());
    Node::File { mtime_ns: -1_500_000_001, size, object }
}

/// A node and all that is below it in the order that a source has to have.
pub(crate) struct BreadthFirst {
    entries: Vec<(Vec<u8>, Node, u32)>,
}

impl BreadthFirst {
    pub(crate) fn new(root: &Node) -> Self {
        let mut entries = Vec::new();
        let mut queue = VecDeque::from([(Vec::new(), root)]);
        while let Some((name, node)) = queue.pop_front() {
            let (node, children) = match node {
                Node::Dir { mtime_ns, names } => {
                    queue.extend(names.iter().map(|(name, node)| (name.clone(), node)));
                    (Node::Dir { mtime_ns: *mtime_ns, names: Names::new() }, names.len())
                }
                Node::File { .. } => (node.clone(), 0),
            };
            entries.push((name, node, u32::try_from(children).unwrap()));
        }
        Self { entries }
    }
}

impl Source for BreadthFirst {
    fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap()
    }

    fn entry(&self, index: u32) -> Option<Entry<'_>> {
        let (name, node, children) = self.entries.get(index as usize)?;
        let kind = match node {
            Node::Dir { .. } => Kind::Directory { children: *children },
            Node::File { size, .. } => Kind::File { size: *size },
        };
        Some(Entry { name, mtime_ns: node.mtime_ns(), kind })
    }

    fn object(&self, index: u32) -> Option<[u8; 32]> {
        match self.entries.get(index as usize)?.1 {
            Node::File { object, .. } => Some(object),
            Node::Dir { .. } => None,
        }
    }
}

/// A tree made of dice: deep, wide, with names of any length and any bytes.
pub(crate) fn random(dice: &mut fastrand::Rng, entries: usize) -> Node {
    let mut left = entries;
    random_dir(dice, &mut left, 0)
}

fn random_dir(dice: &mut fastrand::Rng, left: &mut usize, depth: usize) -> Node {
    let wanted = match dice.u32(0..10) {
        0 => 0,
        1..=5 => dice.usize(1..8),
        6..=8 => dice.usize(1..80),
        _ => dice.usize(1..2_000),
    };
    let longest = [2, 12, 60, 255][dice.usize(0..4)];
    let mut names = Names::new();
    for _ in 0..wanted.max(usize::from(depth == 0)) {
        if *left == 0 {
            break;
        }
        *left -= 1;
        // Paths stay below what one system call takes.
        let node = if depth < 14 && dice.u32(0..6) == 0 { random_dir(dice, left, depth + 1) } else { random_file(dice) };
        names.insert(random_name(dice, longest), node);
    }
    Node::Dir { mtime_ns: random_time(dice), names }
}

fn random_file(dice: &mut fastrand::Rng) -> Node {
    let size = match dice.u32(0..8) {
        0 => 0,
        1 => 1,
        2 => dice.u64(0..10_000),
        3 => 1 << dice.u32(0..62),
        4 => (1 << 43) * dice.u64(1..100) + dice.u64(0..2),
        _ => dice.u64(0..1 << 32),
    };
    let mut object = [0; 32];
    dice.fill(&mut object);
    Node::File { mtime_ns: random_time(dice), size, object }
}

fn random_time(dice: &mut fastrand::Rng) -> i64 {
    [0, -1, 1, 999_999_999, -999_999_999, dice.i64(..)][dice.usize(0..6)]
}

fn random_name(dice: &mut fastrand::Rng, longest: usize) -> Vec<u8> {
    let len = dice.usize(1..=longest);
    // Bytes on both sides of the dot, since `.` and `..` are sorted in among the names.
    let bytes: &[u8] = [b"-./0".as_slice(), b"abc", b"\xff\xfe.\x01"][dice.usize(0..3)];
    let any = dice.bool();
    loop {
        let mut name: Vec<u8> = (0..len).map(|_| if any { dice.u8(1..) } else { bytes[dice.usize(0..bytes.len())] }).collect();
        name.retain(|byte| *byte != b'/');
        if !name.is_empty() && name != b"." && name != b".." {
            return name;
        }
    }
}
