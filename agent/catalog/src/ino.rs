//! Inode numbers: a function of a directory's path, and of a file's path and version. They are the same after every
//! restart and on every node, and a changed file is another inode, as after `rename(2)` over it.

/// Number of the root.
pub(crate) const ROOT_INO: u64 = 1;
/// Bits of a number; the sign bit stays clear for programs that read `st_ino` as signed.
pub(crate) const INO_BITS: u32 = 63;

/// The number of `path` (relative to the dataset's root, `a/b`) at its `attempt`th try: the first 8 bytes
/// (little-endian) of BLAKE3 of the path, with NUL and the attempt (u32, little-endian) behind it from the second
/// try on, cut to `bits` bits. May be 0 or 1, which are no number of a path.
pub(crate) fn candidate(path: &[u8], attempt: u32, bits: u32) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(path);
    if attempt > 0 {
        hasher.update(&[0]);
        hasher.update(&attempt.to_le_bytes());
    }
    let hash = hasher.finalize();
    let first = hash.as_bytes().first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
    first & (u64::MAX >> (64 - bits.clamp(1, INO_BITS)))
}

/// What a file's number is made of: its path and its version, because the kernel keeps pages by number and pages of
/// two versions must not meet. `path` relative to the dataset's root.
pub(crate) fn file_input(path: &[u8], version: &str, size: u64) -> Vec<u8> {
    // Two NULs, so that the input is that of no directory; a length, so that no two versions give the same.
    let mut input = path.to_vec();
    input.extend_from_slice(b"\0\0");
    input.extend_from_slice(&(version.len() as u64).to_le_bytes());
    input.extend_from_slice(version.as_bytes());
    input.extend_from_slice(&size.to_le_bytes());
    input
}

/// The inode number of a version of the file at `path`, also one that no catalog lists because it was found when the
/// file was opened: what a catalog that lists it gives it, but for collisions. Never 0 or 1; the same on every machine.
///
/// `path` as [`crate::Entry::path`] gives it, `version` the store's token, `size` in bytes.
pub fn inode_number(path: &str, version: &str, size: u64) -> u64 {
    let input = file_input(path.trim_start_matches('/').as_bytes(), version, size);
    (0..).map(|attempt| candidate(&input, attempt, INO_BITS)).find(|&ino| is_free_for_paths(ino)).unwrap_or(u64::MAX >> 1)
}

/// Whether `ino` can be a path's number.
pub(crate) fn is_free_for_paths(ino: u64) -> bool {
    ino > ROOT_INO
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers are in the hands of kernels and programs across upgrades: a change of these is a break. The values were
    /// computed with another implementation of BLAKE3.
    #[test]
    fn golden_vectors() {
        let vectors: [(&str, u32, u64); 6] = [
            ("a", 0, 6_027_058_585_768_261_143),
            ("train/n01440764/n01440764_10026.JPEG", 0, 5_396_988_223_259_957_419),
            ("labels", 0, 1_598_999_254_910_857_763),
            ("日本/ファイル", 0, 1_251_694_279_585_371_142),
            ("a", 1, 5_574_714_540_688_856_951),
            ("a", 2, 3_731_286_215_674_094_378),
        ];
        for (path, attempt, ino) in vectors {
            assert_eq!(candidate(path.as_bytes(), attempt, INO_BITS), ino, "{path} {attempt}");
        }
        assert_eq!(inode_number("/a/b", "e\"x\"", 7), 8_044_005_901_645_264_073);
        assert_eq!(candidate(b"a", 0, 12), candidate(b"a", 0, INO_BITS) & 0xfff);
    }

    #[test]
    fn versions_of_a_file_have_numbers_of_their_own() {
        let all = [("/a", "v", 1), ("/a", "v", 2), ("/a", "w", 1), ("/b", "v", 1), ("/a", "", 1)];
        let mut numbers: Vec<u64> = all.map(|(path, version, size)| inode_number(path, version, size)).to_vec();
        numbers.extend([candidate(b"a", 0, INO_BITS), candidate(b"a", 1, INO_BITS), candidate(b"b", 0, INO_BITS)]);
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 8);
        assert_eq!(inode_number("a", "v", 1), inode_number("/a", "v", 1));
    }
}
