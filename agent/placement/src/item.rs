/// Bytes of an object that are placed together where an object is placed in pieces: long enough for one request, short enough that the
/// readers of one big object ask many nodes at a time.
pub const EXTENT: u64 = 8 << 20;

/// The odd number nearest to 2^64 divided by the golden ratio: its multiples are far apart.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Something that is placed: an object version, an extent of one, or a catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Item(u64);

impl Item {
    /// A version of an object, named by its store's id, its key there and its version's token.
    pub fn object(store: &str, key: &str, version: &str) -> Self {
        Self::of("forebay placement object v1", &[store, key, version])
    }

    /// A Dataset's catalog, by the Dataset's `namespace/name`.
    pub fn catalog(dataset: &str) -> Self {
        Self::of("forebay placement catalog v1", &[dataset])
    }

    fn of(kind: &str, parts: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(kind);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(first_word(&hasher))
    }

    /// The extent of the object (see [`EXTENT`]) that holds the byte at `offset`.
    pub fn extent_at(self, offset: u64) -> Self {
        Self(mix(self.0.wrapping_add((offset / EXTENT + 1).wrapping_mul(GOLDEN))))
    }

    /// The score of the node with this seed.
    pub(crate) fn score(self, seed: u64) -> u64 {
        mix(seed ^ self.0)
    }
}

/// What stands for a node in its scores.
pub(crate) fn seed(node: &str) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("forebay placement node v1");
    hasher.update(node.as_bytes());
    first_word(&hasher)
}

fn first_word(hasher: &blake3::Hasher) -> u64 {
    let mut word = [0; 8];
    hasher.finalize_xof().fill(&mut word);
    u64::from_le_bytes(word)
}

/// The finaliser of SplitMix64: every bit of the input changes each bit of the output with probability one half.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
