//! For how long this node may have had data: since the oldest of its tiers was first used.
//!
//! The moment lies in the tier's own directory, so that it goes when what it tells of goes: with a disk that is replaced, with a
//! tmpfs when the machine starts again, with a tier that is given back. A state directory that is lost takes no data away.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay_cache::TierConfig;

/// In a tier's directory: when the tier was first used, in seconds since 1970, or [`UNKNOWN`].
const FILE: &str = "since";
/// While it is written.
const NEW: &str = "since.new";
/// What the cache makes in a tier before anything is in it.
const OBJECTS: &str = "objects";
/// The tier may have had data for as long as its node is there.
const UNKNOWN: u64 = 0;
/// By how many seconds the node's clock may have been set back since.
const SET_BACK: u64 = 3600;

/// An age that grows whatever happens to the node's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    at_start: Duration,
    start: Instant,
}

impl Age {
    /// Of these tiers, of which no cache has made anything yet that was not there before. `None`: not known.
    pub(super) fn begin(tiers: &[TierConfig]) -> Option<Self> {
        let start = Instant::now();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        Some(Self { at_start: age(tiers, now.as_secs())?, start })
    }

    pub(super) fn now(self) -> Duration {
        self.at_start.saturating_add(self.start.elapsed())
    }
}

/// For how long the oldest of the tiers has been used at `now`, in seconds since 1970.
fn age(tiers: &[TierConfig], now: u64) -> Option<Duration> {
    // One of which it is not known may be older than all others.
    let oldest = tiers.iter().map(|tier| since(&tier.dir, now)).min()?;
    (oldest != UNKNOWN).then(|| Duration::from_secs(now.saturating_sub(oldest)))
}

/// When the tier was first used, which is noted where it has not been.
fn since(dir: &Path, now: u64) -> u64 {
    let since = match fs::read_to_string(dir.join(FILE)) {
        Ok(text) => match text.trim().parse::<u64>() {
            Ok(since) if since <= now.saturating_add(SET_BACK) => return since,
            _ => UNKNOWN,
        },
        Err(error) if error.kind() == ErrorKind::NotFound && !dir.join(OBJECTS).exists() => now,
        // It cannot be read, or an agent that noted nothing has cached there.
        Err(_) => UNKNOWN,
    };
    if let Err(error) = note(dir, since) {
        tracing::warn!(dir = %dir.display(), %error, "since when it is used cannot be noted there, and is judged anew at each start");
    }
    since
}

/// Torn by a crash, the file is the old or the new one.
fn note(dir: &Path, since: u64) -> io::Result<()> {
    let new = dir.join(NEW);
    let mut file = fs::File::create(&new)?;
    writeln!(file, "{since}")?;
    file.sync_all()?;
    fs::rename(&new, dir.join(FILE))
}

/// Forgets it, for a tier that is given back.
pub(super) fn forget(dir: &Path) -> io::Result<()> {
    for name in [FILE, NEW] {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use forebay_cache::Medium;

    use super::*;

    /// Directories of tiers that are there and empty.
    fn tiers(root: &Path, names: &[&str]) -> Vec<TierConfig> {
        let tier = |name: &&str| {
            fs::create_dir_all(root.join(name)).unwrap();
            let (name, dir) = ((*name).to_owned(), root.join(name));
            TierConfig { name, medium: Medium::Disk, dir, capacity: 0, reserve: 0 }
        };
        names.iter().map(tier).collect()
    }

    fn seconds(age: Option<Duration>) -> Option<u64> {
        age.map(|age| age.as_secs())
    }

    #[test]
    fn a_node_is_as_old_as_its_oldest_tier_also_after_a_restart() {
        let root = tempfile::tempdir().unwrap();
        let ssd = tiers(root.path(), &["ssd"]);
        assert_eq!(seconds(age(&ssd, 1000)), Some(0));
        assert_eq!(seconds(age(&ssd, 1500)), Some(500));
        assert_eq!(seconds(age(&ssd, 900)), Some(0), "a clock was set back");
        let both = tiers(root.path(), &["ram", "ssd"]);
        assert_eq!(seconds(age(&both, 2000)), Some(1000), "one more tier makes it no younger");
        fs::remove_dir_all(root.path().join("ssd")).unwrap();
        let both = tiers(root.path(), &["ram", "ssd"]);
        assert_eq!(seconds(age(&both, 3000)), Some(1000), "what the other tier has is as old as that");
        fs::remove_dir_all(root.path().join("ram")).unwrap();
        let both = tiers(root.path(), &["ram", "ssd"]);
        assert_eq!(seconds(age(&both, 3100)), Some(100));
        assert_eq!(age(&[], 3100), None);
    }

    #[test]
    fn what_makes_no_sense_is_not_known_and_is_noted_so() {
        let root = tempfile::tempdir().unwrap();
        let table: [&[u8]; 6] = [b"", b"x", b"-1", b"99999999999999999999999", b"1000000", b"\xff"];
        for text in table {
            let tier = tiers(root.path(), &["ssd", "ram"]);
            fs::write(root.path().join("ssd").join(FILE), text).unwrap();
            assert_eq!(age(&tier, 1000), None, "{text:?}");
            assert_eq!(fs::read_to_string(root.path().join("ssd").join(FILE)).unwrap(), "0\n", "{text:?}");
            assert_eq!(age(&tier, 2_000_000), None, "{text:?}: and it stays so");
        }
    }

    #[test]
    fn a_tier_that_was_used_before_moments_were_noted_may_be_as_old_as_its_node() {
        let root = tempfile::tempdir().unwrap();
        let tier = tiers(root.path(), &["ssd"]);
        fs::create_dir(tier[0].dir.join(OBJECTS)).unwrap();
        assert_eq!((age(&tier, 1000), age(&tier, 2000)), (None, None));
    }

    #[test]
    fn a_tier_that_cannot_be_written_is_a_warning() {
        let root = tempfile::tempdir().unwrap();
        let tier = tiers(root.path(), &["ssd"]);
        fs::remove_dir(&tier[0].dir).unwrap();
        assert_eq!((seconds(age(&tier, 1000)), seconds(age(&tier, 2000))), (Some(0), Some(0)));
    }

    #[test]
    fn a_tier_that_was_given_back_begins_anew() {
        let root = tempfile::tempdir().unwrap();
        let tier = tiers(root.path(), &["ssd"]);
        age(&tier, 1000);
        fs::write(tier[0].dir.join(NEW), "torn").unwrap();
        forget(&tier[0].dir).unwrap();
        assert_eq!(fs::read_dir(&tier[0].dir).unwrap().count(), 0);
        forget(&tier[0].dir).unwrap();
        assert_eq!(seconds(age(&tier, 5000)), Some(0));
    }
}
