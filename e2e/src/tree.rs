use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

/// One file's size in bytes and the BLAKE3 of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSum {
    /// Bytes read, which `stat` agreed with.
    pub size: u64,
    /// BLAKE3 of the content.
    pub hash: [u8; 32],
}

/// Every regular file of a tree by its path relative to the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeSum {
    /// Path relative to the root -> sum.
    pub files: BTreeMap<String, FileSum>,
}

impl TreeSum {
    /// Lists the tree below `root` and reads every file with `threads` threads.
    ///
    /// Fails on the first file that cannot be read, or whose content is not as long as `stat` says.
    pub fn of(root: &Path, threads: usize) -> Result<Self> {
        let paths = list_files(root)?;
        let next = AtomicUsize::new(0);
        let done = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1))
                .map(|_| {
                    scope.spawn(|| -> Result<()> {
                        let mut buffer = vec![0; 1 << 20];
                        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                            let sum = sum_file(path, &mut buffer)?;
                            let relative = path.strip_prefix(root)?.to_string_lossy().into_owned();
                            done.lock().map_err(|_| anyhow::anyhow!("a reader panicked"))?.insert(relative, sum);
                        }
                        Ok(())
                    })
                })
                .collect();
            workers.into_iter().try_for_each(|w| w.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?)
        })?;
        let files = done.into_inner().map_err(|_| anyhow::anyhow!("a reader panicked"))?;
        Ok(Self { files })
    }

    /// Sum of all sizes.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|f| f.size).sum()
    }

    /// One checksum over all paths, sizes and contents.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (path, sum) in &self.files {
            hasher.update(&(path.len() as u64).to_le_bytes());
            hasher.update(path.as_bytes());
            hasher.update(&sum.size.to_le_bytes());
            hasher.update(&sum.hash);
        }
        hasher.finalize().to_hex().to_string()
    }

    /// What differs from `other`, one line a file, at most twenty lines. Empty when equal.
    pub fn differences(&self, other: &TreeSum) -> Vec<String> {
        let missing = self.files.keys().filter(|p| !other.files.contains_key(*p)).map(|p| format!("missing: {p}"));
        let extra = other.files.keys().filter(|p| !self.files.contains_key(*p)).map(|p| format!("extra: {p}"));
        let changed = self.files.iter().filter_map(|(path, mine)| {
            let theirs = other.files.get(path)?;
            (mine != theirs).then(|| format!("differs: {path} ({} bytes, {} there)", mine.size, theirs.size))
        });
        missing.chain(extra).chain(changed).take(20).collect()
    }
}

/// Regular files below `root`, sorted. Symbolic links are not followed and not listed.
pub(crate) fn list_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
            let entry = entry.with_context(|| format!("list {}", dir.display()))?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn sum_file(path: &Path, buffer: &mut [u8]) -> Result<FileSum> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let promised = file.metadata()?.len();
    let mut hasher = blake3::Hasher::new();
    let mut size = 0;
    loop {
        let n = file.read(buffer).with_context(|| format!("read {} at {size}", path.display()))?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        size += n as u64;
    }
    anyhow::ensure!(size == promised, "{}: read {size} bytes where stat says {promised}", path.display());
    Ok(FileSum { size, hash: *hasher.finalize().as_bytes() })
}
