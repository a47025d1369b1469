//! Packets with descriptors: a SEQPACKET socket under tokio.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use tokio::io::unix::AsyncFd;

/// Largest packet, in bytes.
pub(crate) const LARGEST: usize = 64 << 10;

/// Descriptors that come with one packet at most.
pub(crate) const DESCRIPTORS: usize = 16;

/// Makes tokio watch `fd`.
pub(crate) fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor all its life, and it is never taken out while it is watched.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// One end of a connection. Sending and receiving are cancellation-safe: a packet goes whole or not at all.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: AsyncFd<OwnedFd>,
}

impl Socket {
    /// `fd` must be a SEQPACKET socket in non-blocking mode; to be called within a tokio runtime.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: register(fd)? })
    }

    /// Sends one packet, waiting while the other side does not keep up.
    pub(crate) async fn send(&self, bytes: &[u8], with: &[BorrowedFd<'_>]) -> io::Result<()> {
        if bytes.len() > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a packet of {} bytes is too large", bytes.len())));
        }
        loop {
            let mut ready = self.fd.writable().await?;
            match ready.try_io(|fd| send_now(fd.as_fd(), bytes, with)) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// Ends the connection for both sides, whoever still has this value.
    pub(crate) fn shutdown(&self) {
        // It fails only where it has ended already.
        let _ = rustix::net::shutdown(self.fd.get_ref(), rustix::net::Shutdown::Both);
    }

    /// The next packet; `None` when the other side has ended.
    pub(crate) async fn receive(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        loop {
            let mut ready = self.fd.readable().await?;
            match ready.try_io(|fd| receive_now(fd.as_fd())) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }
}

fn send_now(fd: BorrowedFd<'_>, bytes: &[u8], with: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !with.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(with)) {
        return Err(Errno::NOBUFS.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(fd, &[IoSlice::new(bytes)], &mut ancillary, flags))?;
    Ok(())
}

fn receive_now(fd: BorrowedFd<'_>) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; LARGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received =
        rustix::io::retry_on_intr(|| rustix::net::recvmsg(fd, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags))?;
    let mut with = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            with.extend(descriptors);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet is larger, or has more descriptors, than allowed"));
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    bytes.truncate(received.bytes);
    Ok(Some((bytes, with)))
}
