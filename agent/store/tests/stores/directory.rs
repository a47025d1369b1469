use std::fs::{self, File};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use forebay_e2e::{Process, free_port, wait_until};
use forebay_store::UnderStore;
use forebay_store::http::{HttpConfig, HttpStore};
use forebay_store::local::{LocalConfig, LocalStore};

use super::{Fixture, is_path};

/// Containers as directories, with times of our own making.
struct Directory {
    root: tempfile::TempDir,
    clock: AtomicU64,
}

impl Directory {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), clock: AtomicU64::new(1_600_000_000) }
    }

    fn path(&self, container: &str) -> PathBuf {
        let path = self.root.path().join(container);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn put(&self, container: &str, key: &str, bytes: &[u8]) {
        let path = self.path(container).join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(self.clock.fetch_add(10, Ordering::Relaxed));
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }

    fn remove(&self, container: &str, key: &str) {
        fs::remove_file(self.path(container).join(key)).unwrap();
    }
}

/// A local directory.
pub(crate) struct Local(Directory);

impl Local {
    pub(crate) fn new() -> Self {
        Self(Directory::new())
    }
}

#[async_trait]
impl Fixture for Local {
    async fn open(&self, container: &str, page_size: usize) -> Arc<dyn UnderStore> {
        let config = LocalConfig { page_size, allow_empty: true, ..LocalConfig::new(self.0.path(container)) };
        Arc::new(LocalStore::new(config).unwrap())
    }

    async fn missing(&self) -> Arc<dyn UnderStore> {
        Arc::new(LocalStore::new(LocalConfig::new(self.0.root.path().join("missing"))).unwrap())
    }

    async fn put(&self, container: &str, key: &str, bytes: &[u8]) {
        self.0.put(container, key, bytes);
    }

    async fn remove(&self, container: &str, key: &str) {
        self.0.remove(container, key);
    }

    fn holds(&self, key: &str) -> bool {
        is_path(key)
    }
}

/// A directory behind a real HTTP server.
struct Served {
    directory: Directory,
    address: String,
    _server: Process,
    /// The server's log, outside of what it serves.
    _log: tempfile::TempDir,
}

impl Served {
    fn start(name: &str, command: impl Fn(&str, u16) -> Command) -> Self {
        let (directory, log) = (Directory::new(), tempfile::tempdir().unwrap());
        for _ in 0..5 {
            let port = free_port().unwrap();
            let command = command(directory.root.path().to_str().unwrap(), port);
            let mut server = Process::spawn(name, command, &log.path().join("log")).unwrap();
            let address = format!("127.0.0.1:{port}");
            let up = wait_until(name, Duration::from_secs(180), || {
                if server.exited()?.is_some() {
                    return Ok(Some(false));
                }
                Ok(TcpStream::connect(&address).ok().map(|_| true))
            });
            // Somebody else may have been quicker to take the port.
            if up.unwrap() {
                return Self { directory, address, _server: server, _log: log };
            }
        }
        panic!("{name} does not start: is it installed?");
    }

    fn open(&self, container: &str, page_size: usize) -> Arc<dyn UnderStore> {
        let url = format!("http://{}/{container}/", self.address);
        Arc::new(HttpStore::new(HttpConfig { page_size, ..HttpConfig::new(&url) }).unwrap())
    }
}

/// `rclone serve http`: ranges, `Last-Modified`.
pub(crate) struct Rclone(Served);

impl Rclone {
    pub(crate) fn start() -> Self {
        Self(Served::start("rclone", |directory, port| {
            let mut command = Command::new("rclone");
            command.args(["serve", "http", "--dir-cache-time", "0s", "--addr", &format!("127.0.0.1:{port}"), directory]);
            command.env("RCLONE_CONFIG", "/dev/null").env_remove("AWS_CA_BUNDLE");
            command
        }))
    }

    pub(crate) fn address(&self) -> &str {
        &self.0.address
    }
}

/// `python3 -m http.server`: no ranges, no `If-Match`, another kind of page.
pub(crate) struct Python(Served);

impl Python {
    pub(crate) fn start() -> Self {
        Self(Served::start("python3 -m http.server", |directory, port| {
            let mut command = Command::new("python3");
            command.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory", directory, &port.to_string()]);
            command
        }))
    }
}

/// Both servers differ only in their address.
macro_rules! served {
    ($name:ident, |$key:ident| $holds:expr) => {
        #[async_trait]
        impl Fixture for $name {
            async fn open(&self, container: &str, page_size: usize) -> Arc<dyn UnderStore> {
                self.0.directory.path(container);
                self.0.open(container, page_size)
            }

            async fn missing(&self) -> Arc<dyn UnderStore> {
                self.0.open("missing", 10)
            }

            async fn put(&self, container: &str, key: &str, bytes: &[u8]) {
                self.0.directory.put(container, key, bytes);
            }

            async fn remove(&self, container: &str, key: &str) {
                self.0.directory.remove(container, key);
            }

            fn holds(&self, $key: &str) -> bool {
                is_path($key) && $holds
            }

            fn is_exact(&self) -> bool {
                false
            }

            fn tells_missing_container(&self) -> bool {
                false
            }
        }
    };
}

// rclone shows control characters as other characters.
served!(Rclone, |key| !key.contains(char::is_control));
served!(Python, |key| true);
