//! Inode numbers: a function of the path, so that a path keeps its number across restarts, generations and nodes.

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
        assert_eq!(candidate(b"a", 0, 12), candidate(b"a", 0, INO_BITS) & 0xfff);
    }
}
