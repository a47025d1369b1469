//! Mounting without root, by the set-uid helper that distributions ship with fuse3.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::MountError;
use crate::options::MAX_READ;

const HELPER: &str = "fusermount3";

/// Has the helper mount at `at`, and receives the descriptor that it opened.
pub(crate) fn mount(at: &Path, source: &str, allow_other: bool) -> Result<OwnedFd, MountError> {
    let failed = |source| MountError::Mount { at: at.to_owned(), source };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let others = if allow_other { ",allow_other" } else { "" };
    let source = source.replace('\\', "\\\\");
    let options =
        format!("ro,nodev,nosuid,noatime,default_permissions,max_read={MAX_READ},fsname={source},subtype=forebay{others}");
    // The helper sends the descriptor over the socket whose number it is told; as its standard input the socket needs no
    // juggling with close-on-exec.
    let child = Command::new(HELPER)
        .args(["-o", &options, "--"])
        .arg(at)
        .env("_FUSE_COMMFD", "0")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.map_err(|error| not_permitted(at, &error.to_string()))?;
    let received = receive(&ours);
    let output = child.wait_with_output().map_err(failed)?;
    match received.map_err(failed)? {
        Some(fd) => Ok(fd),
        None => Err(not_permitted(at, &complaint(&output))),
    }
}

/// Has the helper unmount `at`; `Ok(false)` when it is in use.
pub(crate) fn unmount(at: &Path, lazily: bool) -> Result<bool, MountError> {
    let failed = |source| MountError::Unmount { at: at.to_owned(), source };
    let flags = if lazily { "-uz" } else { "-u" };
    let output = Command::new(HELPER).args([flags, "--"]).arg(at).stdin(Stdio::null()).output().map_err(failed)?;
    if output.status.success() {
        return Ok(true);
    }
    let complaint = complaint(&output);
    if complaint.contains("busy") {
        return Ok(false);
    }
    Err(failed(io::Error::other(complaint)))
}

fn not_permitted(at: &Path, what: &str) -> MountError {
    MountError::NotPermitted { at: at.to_owned(), reason: format!("{HELPER}: {what}") }
}

fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.trim();
    if line.is_empty() { output.status.to_string() } else { line.to_owned() }
}

/// The descriptor that the peer sends, or `None` when it closes the socket without one.
fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut byte)];
    rustix::io::retry_on_intr(|| rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC))?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok(received)
}
