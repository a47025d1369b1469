//! A mount over the in-memory twin, taken down whatever happens.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_fs::Tree;
use forebay_fs::failing::FailingTree;
use forebay_fs::memory::{Contents, MemoryTree};
use forebay_fuse::{MountOptions, Mounted, mount};
use tokio::runtime::Runtime;

/// As good as for ever, as an immutable generation has it.
pub(crate) const FOREVER: Duration = Duration::from_secs(1 << 30);

/// How long a condition may take to come true before the test fails; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Shown<T: Tree> {
    pub(crate) tree: Arc<T>,
    // Dropped in this order: the mount before its directory.
    pub(crate) mounted: Option<Mounted>,
    dir: tempfile::TempDir,
}

pub(crate) type Failing = FailingTree<MemoryTree>;

pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// An empty directory for mount points. What killed runs left mounted beside it is cleaned up before the first: later there
/// may be mounts that another test just made dead on purpose.
pub(crate) fn directory() -> tempfile::TempDir {
    static ALL: OnceLock<PathBuf> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let all = std::env::temp_dir().join("forebay-fuse-tests");
        std::fs::create_dir_all(&all).unwrap();
        forebay_fuse::cleanup_dead_below(&all).unwrap();
        all
    });
    tempfile::tempdir_in(all).unwrap()
}

pub(crate) fn show(contents: &Contents) -> Shown<Failing> {
    show_with(contents, FOREVER, |_| {})
}

pub(crate) fn show_with(contents: &Contents, validity: Duration, choose: impl FnOnce(&mut MountOptions)) -> Shown<Failing> {
    let tree = Arc::new(FailingTree::new(Arc::new(MemoryTree::new(contents, validity))));
    let dir = directory();
    let mut options = MountOptions::new("tests/memory", dir.path().join("m"));
    choose(&mut options);
    let mounted = mount(Arc::clone(&tree), &options, runtime().handle().clone()).unwrap();
    Shown { tree, mounted: Some(mounted), dir }
}

impl<T: Tree> Shown<T> {
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("m").canonicalize().unwrap()
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    pub(crate) fn mounted(&self) -> &Mounted {
        self.mounted.as_ref().unwrap()
    }
}

/// Bytes that differ at every offset and between files, so that a wrong offset or file is seen.
pub(crate) fn pattern(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// The standard output of a program that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str], at: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(at).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The errno of a result that must be an error.
pub(crate) fn errno<T>(result: std::io::Result<T>) -> i32 {
    result.err().expect("should have failed").raw_os_error().expect("an error of the operating system")
}

/// Whether `mounts` of this process name the place.
pub(crate) fn is_mount_point(at: &Path) -> bool {
    let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.lines().any(|line| line.split(' ').nth(4) == at.to_str())
}
