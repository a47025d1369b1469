//! The socket's file: whose it is, its mode, its end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use forebay_api::socket::Reachable;
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{UnixListener, UnixStream};

/// Why the socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindError {
    #[error("{}: end it, or give this one a --state directory of its own", match .pid {
        Some(pid) => format!("another agent (process {pid}) listens there"),
        None => "another agent listens there".to_owned(),
    })]
    InUse { pid: Option<i32> },
    #[error("there is something else than a socket of that name: move it away")]
    NotASocket,
    #[error("the socket of a former agent belongs to another user: run the agent as that user, or remove it")]
    Denied,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The socket's file; dropping it removes the file, unless another agent has put its own there.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`, for this user only (mode 0600).
pub(super) async fn bind(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    ensure_free(path).await?;
    // Made complete under another name and moved into place: the path never shows a socket that does not answer.
    let mut made = path.as_os_str().to_owned();
    made.push(".new");
    let made = PathBuf::from(made);
    match fs::remove_file(&made) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let listener = listen(&made)?;
    fs::rename(&made, path)?;
    let meta = fs::symlink_metadata(path)?;
    Ok((UnixListener::from_std(listener)?, SocketFile { path: path.into(), id: (meta.dev(), meta.ino()) }))
}

/// Fails unless there is nothing at `path`, or a socket at which nobody listens.
async fn ensure_free(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        // Connecting to a plain file is refused too, which must not cost somebody that file.
        Ok(meta) if !meta.file_type().is_socket() => return Err(BindError::NotASocket),
        Ok(_) => {}
    }
    let reachable = Reachable::new(path)?;
    match UnixStream::connect(reachable.path()).await {
        Ok(stream) => Err(BindError::InUse { pid: stream.peer_cred().ok().and_then(|peer| peer.pid()) }),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(()),
            // The listener's queue is full, so there is one.
            io::ErrorKind::WouldBlock => Err(BindError::InUse { pid: None }),
            io::ErrorKind::PermissionDenied => Err(BindError::Denied),
            _ => Err(error.into()),
        },
    }
}

fn listen(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let reachable = Reachable::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Before bind: the file is made with the socket's mode, so that it is never open to others.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(reachable.path())?)?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket.into())
}
