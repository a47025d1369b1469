//! What a csi that is started anew must know: which volumes are in use where, and which mount is which.
//!
//! One small file each, written under another name, synced and renamed: what can be read is whole. What a former boot of the
//! node left is of no use, for its mounts are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use forebay_api::DatasetName;
use serde::{Deserialize, Serialize};

/// A volume in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Use {
    /// The staging directory, or the directory that a pod sees.
    pub(crate) path: PathBuf,
    pub(crate) volume: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Staged: pods of this node may follow.
    Stage,
    /// Published to one pod, with flags for its mount; `generation` is the one that it sees, where that is composed.
    Publish {
        flags: u32,
        #[serde(default)]
        generation: Option<u64>,
    },
    /// Not a use: the Dataset's own mount at `path`, whose number in the list of mounts is `number`.
    Mount { id: u64, number: String },
}

impl Use {
    pub(crate) fn dataset(&self) -> DatasetName {
        DatasetName::new(&*self.namespace, &*self.name)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    boot: String,
    #[serde(flatten)]
    what: Use,
}

/// All records, in memory and on disk.
#[derive(Debug)]
pub(crate) struct Records {
    dir: PathBuf,
    boot: String,
    all: Mutex<BTreeMap<PathBuf, Use>>,
}

impl Records {
    /// Reads what is in `dir`, which is made if it is missing. What cannot be understood is removed.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        fs::create_dir_all(&dir)?;
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            match fs::read(&path).map(|bytes| serde_json::from_slice::<Written>(&bytes)) {
                Ok(Ok(written)) if written.boot == boot && path == place(&dir, &written.what.path) => {
                    all.insert(written.what.path.clone(), written.what);
                    continue;
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(file = %path.display(), %error, "a record that makes no sense is removed"),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "a record cannot be read");
                    continue;
                }
            }
            fs::remove_file(&path)?;
        }
        Ok(Self { dir, boot, all: Mutex::new(all) })
    }

    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Use>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes `what`, in place of another record of the same path. On disk when it returns.
    pub(crate) fn put(&self, what: Use) -> io::Result<()> {
        if self.get(&what.path).as_ref() == Some(&what) {
            return Ok(());
        }
        let place = place(&self.dir, &what.path);
        let draft = place.with_extension(format!("{:08x}.new", fastrand::u32(..)));
        let bytes = serde_json::to_vec(&Written { boot: self.boot.clone(), what: what.clone() })?;
        let mut file = File::create(&draft)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&draft, &place)?;
        File::open(&self.dir)?.sync_all()?;
        self.all().insert(what.path.clone(), what);
        Ok(())
    }

    /// Forgets what is known of `path`. Nothing known is fine.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(place(&self.dir, path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.all().remove(path);
        Ok(())
    }

    pub(crate) fn get(&self, path: &Path) -> Option<Use> {
        self.all().get(path).cloned()
    }

    pub(crate) fn list(&self) -> Vec<Use> {
        self.all().values().cloned().collect()
    }

    /// The generations of `dataset` that pods see composed, oldest first.
    pub(crate) fn generations(&self, dataset: &DatasetName) -> Vec<u64> {
        let composed = |what: &Use| match what.kind {
            Kind::Publish { generation, .. } if what.dataset() == *dataset => generation,
            _ => None,
        };
        self.all().values().filter_map(composed).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether any volume of `dataset` is staged or published.
    pub(crate) fn in_use(&self, dataset: &DatasetName) -> bool {
        let used = |what: &Use| !matches!(what.kind, Kind::Mount { .. }) && what.dataset() == *dataset;
        self.all().values().any(used)
    }
}

/// A path is longer than a file's name may be, so its hash is the name.
fn place(dir: &Path, path: &Path) -> PathBuf {
    let hash = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
    dir.join(format!("{}.json", &hash[..32]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;

    fn stage(path: &str) -> Use {
        let path = path.into();
        Use { path, volume: "v".into(), namespace: "ml".into(), name: "x".into(), kind: Kind::Stage }
    }

    #[test]
    fn what_is_whole_is_read_again_and_what_is_torn_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path().join("r")).unwrap();
        records.put(stage("/a")).unwrap();
        records.put(stage("/b")).unwrap();
        records.put(Use { kind: Kind::Publish { flags: 7, generation: Some(3) }, ..stage("/b") }).unwrap();
        records.put(Use { kind: Kind::Mount { id: 3, number: "0:4".into() }, ..stage("/m") }).unwrap();
        records.put(stage("/torn")).unwrap();
        records.put(stage("/gone")).unwrap();
        records.remove(Path::new("/gone")).unwrap();
        records.remove(Path::new("/gone")).unwrap();
        let torn = place(&dir.path().join("r"), Path::new("/torn"));
        let whole = fs::read(&torn).unwrap();
        fs::write(&torn, &whole[..whole.len() / 2]).unwrap();
        fs::write(dir.path().join("r/x.00000000.new"), &whole).unwrap();
        let other_boot = String::from_utf8(whole).unwrap().replace(&records.boot, "another");
        fs::write(place(&dir.path().join("r"), Path::new("/old")), other_boot.replace("/torn", "/old")).unwrap();

        let again = Records::open(dir.path().join("r")).unwrap();
        let mut want = records.list();
        want.retain(|record| record.path != Path::new("/torn"));
        assert_eq!((again.list(), want.len()), (want, 3));
        assert_eq!(fs::read_dir(dir.path().join("r")).unwrap().count(), 3);
    }

    #[test]
    fn what_a_former_driver_wrote_is_understood_and_each_generation_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path().to_owned()).unwrap();
        for (path, generation) in [("/a", Some(4)), ("/b", None), ("/c", Some(3)), ("/d", Some(4))] {
            records.put(Use { kind: Kind::Publish { flags: 7, generation }, ..stage(path) }).unwrap();
        }
        let old = place(dir.path(), Path::new("/b"));
        let without = fs::read_to_string(&old).unwrap().replace(",\"generation\":null", "");
        assert!(!without.contains("generation"), "{without}");
        fs::write(&old, without).unwrap();
        let again = Records::open(dir.path().to_owned()).unwrap();
        assert_eq!(again.get(Path::new("/b")).unwrap().kind, Kind::Publish { flags: 7, generation: None });
        assert_eq!(again.generations(&DatasetName::new("ml", "x")), [3, 4]);
        assert!(again.generations(&DatasetName::new("ml", "y")).is_empty());
    }

    #[test]
    fn a_mount_alone_is_no_use() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path().to_owned()).unwrap();
        let name = DatasetName::new("ml", "x");
        records.put(Use { kind: Kind::Mount { id: 3, number: "0:4".into() }, ..stage("/m") }).unwrap();
        assert!(!records.in_use(&name));
        records.put(stage("/a")).unwrap();
        assert!(records.in_use(&name) && !records.in_use(&DatasetName::new("ml", "y")));
    }
}
