//! A store with data in it, a proxy before it and a place for one agent: what nearly every test starts from.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_e2e::{Agent, AgentFiles, FaultProxy, Manifest, MountSpec, S3Client, S3Server, TreeSize, build_tree};
use serde_json::Value;
use tempfile::TempDir;

/// The bucket of every test.
pub(crate) const BUCKET: &str = "data";
/// Long enough for anything that should happen soon, on a machine that does ten other things.
pub(crate) const SOON: Duration = Duration::from_secs(180);

/// Fields in the order in which they must be dropped: the agent's directories go last.
pub(crate) struct Site {
    pub(crate) proxy: FaultProxy,
    _server: S3Server,
    pub(crate) client: S3Client,
    pub(crate) source: PathBuf,
    pub(crate) dir: TempDir,
}

impl Site {
    /// versitygw with an empty bucket.
    pub(crate) fn new() -> Self {
        Self::before(S3Server::versitygw)
    }

    /// Any server with an empty bucket.
    pub(crate) fn before(start: impl Fn(&Path) -> anyhow::Result<S3Server>) -> Self {
        let dir = tempfile::Builder::new().prefix("forebay-e2e-").tempdir().unwrap();
        let server = start(dir.path()).unwrap();
        let client = server.client();
        client.make_bucket(BUCKET).unwrap();
        let proxy = FaultProxy::start(&server.address).unwrap();
        let source = dir.path().join("source");
        Self { proxy, _server: server, client, source, dir }
    }

    /// The bucket holds the small real tree, which is also at `source`.
    pub(crate) fn with_tree(self) -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        build_tree(workspace, &self.source, TreeSize::Small).unwrap();
        self.client.upload(&self.source, BUCKET).unwrap();
        self
    }

    /// The bucket holds these files, which are also at `source`.
    pub(crate) fn with_files(self, files: &[(&str, usize)]) -> Self {
        for (n, (name, size)) in files.iter().enumerate() {
            let path = self.source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, noise(n as u64 + 1, *size)).unwrap();
        }
        self.client.upload(&self.source, BUCKET).unwrap();
        self
    }

    /// The bucket, through the proxy, at `/`.
    pub(crate) fn mount(&self) -> MountSpec {
        MountSpec::s3("/", BUCKET, &self.proxy.endpoint(), self.client.keys())
    }

    /// A Dataset of the bucket with one disk tier.
    pub(crate) fn manifest(&self, name: &str, capacity: &str) -> Manifest {
        Manifest::new(name, vec![self.mount()], &self.files().tier, capacity)
    }

    /// The same with time limits and retries that make a test of faults short.
    pub(crate) fn impatient(&self, name: &str) -> Manifest {
        self.trying(name, 1, 2)
    }

    /// For faults that pass: one that stands still for a moment has tries left.
    pub(crate) fn patient(&self, name: &str) -> Manifest {
        self.trying(name, 5, 5)
    }

    fn trying(&self, name: &str, seconds: u32, retries: u32) -> Manifest {
        let mut manifest = self.manifest(name, "1Gi");
        let mount = self.mount().option(&format!("requestTimeout: {seconds}s")).option(&format!("retries: {retries}"));
        manifest.mounts = vec![mount];
        manifest
    }

    pub(crate) fn files(&self) -> AgentFiles {
        AgentFiles::below(&self.dir.path().join("agent")).unwrap()
    }

    pub(crate) fn start(&self, manifest: &Manifest) -> Agent {
        Agent::start(&self.files(), manifest).unwrap()
    }

    /// The bytes of a source file.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.source.join(name)).unwrap()
    }
}

/// Bytes that do not repeat and are the same for the same seed.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    });
    words.flatten().take(size).collect()
}

/// Reads a part of a file; a failed read is its errno.
pub(crate) fn read_at(path: &Path, offset: u64, length: usize) -> Result<Vec<u8>, i32> {
    read_open(&File::open(path).map_err(errno)?, offset, length)
}

/// The same, but not from pages that the kernel has of it.
pub(crate) fn read_afresh(path: &Path, offset: u64, length: usize) -> Result<Vec<u8>, i32> {
    let file = File::open(path).map_err(errno)?;
    drop_pages(&file);
    read_open(&file, offset, length)
}

/// Reads a part of an open file; a failed read is its errno.
pub(crate) fn read_open(file: &File, offset: u64, length: usize) -> Result<Vec<u8>, i32> {
    let mut buffer = vec![0; length];
    let mut done = 0;
    while done < length {
        match file.read_at(&mut buffer[done..], offset + done as u64).map_err(errno)? {
            0 => break,
            n => done += n,
        }
    }
    buffer.truncate(done);
    Ok(buffer)
}

/// Makes the kernel drop the pages that it keeps of a file beyond its last close: what is read then comes from the agent, or from the
/// cached file.
pub(crate) fn drop_pages(file: &File) {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

/// Reads a whole file; a failed read is its errno.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, i32> {
    fs::read(path).map_err(errno)
}

fn errno(error: std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(-1)
}

/// Everything that the agent would prefetch is in the cache.
pub(crate) fn is_cached(status: &Value) -> bool {
    status["phase"] == "Ready" && status["cache"]["percent"] == 100
}

/// Bytes that a directory takes on its disk.
pub(crate) fn disk_usage(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk_usage(&entry.path()),
            Ok(meta) => meta.blocks() * 512,
            // Evicted between the listing and the question.
            Err(_) => 0,
        })
        .sum()
}
