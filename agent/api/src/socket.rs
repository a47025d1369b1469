//! Where an agent's socket lies, and how to name it to the kernel.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// The socket's name in the state directory.
pub const FILE: &str = "agent.sock";

/// The socket of the agent that was started with `--state STATE_DIR`.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// Longest path that fits a socket address, its closing zero not counted.
const LONGEST: usize = 107;

/// A path to `socket` that is short enough for a socket address: a longer one goes through the descriptor of its
/// directory, which must stay open while the path is used.
#[derive(Debug)]
pub struct Reachable {
    path: PathBuf,
    _dir: Option<File>,
}

impl Reachable {
    /// Finds such a path. Fails when the path is long and its directory cannot be opened.
    pub fn new(socket: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Ok(Self { path: socket.into(), _dir: None });
        };
        if socket.as_os_str().len() <= LONGEST {
            return Ok(Self { path: socket.into(), _dir: None });
        }
        let dir = File::open(parent)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
        Ok(Self { path, _dir: Some(dir) })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
