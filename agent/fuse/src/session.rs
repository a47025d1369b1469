//! Begins to serve a descriptor, whether the kernel has greeted it yet or an earlier server was greeted in its place.
//!
//! `fuser` begins every session by waiting for FUSE_INIT, which the kernel sends once in a mount's life. So a session is
//! begun on one end of a socket pair: what comes out of the other end is the kernel's own request, read from the device, or
//! the one that was agreed on with an earlier server; then the device takes the socket's place under the same number.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use forebay_backing::Table;
use forebay_fs::{FileSystem, Tree};
use fuser::{BackgroundSession, Config, Filesystem, Session, SessionACL};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};
use tokio::runtime::Handle;

use crate::adapter::Adapter;
use crate::negotiated::{Negotiated, check_request};
use crate::notify::Notifier;
use crate::options::MountOptions;
use crate::passthrough::{OpenCounts, Passthrough, Registrar};
use crate::waiting::{Waiting, Watch};

/// How long the kernel may take to greet its first server; it does so while it mounts.
const GREETS_WITHIN: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// The least that the kernel demands of a buffer that reads from the device. Once it was greeted it demands more, so that a
/// descriptor with a server loses no request here.
const READ_BUFFER: usize = 8192;

/// Threads that serve a descriptor, and what belongs to them.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) session: BackgroundSession,
    pub(crate) notifier: Notifier,
    pub(crate) waiting: Waiting,
    pub(crate) negotiated: Negotiated,
    passthrough: Arc<Passthrough>,
}

impl Serving {
    pub(crate) fn opens(&self) -> OpenCounts {
        self.passthrough.counts()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.session.guard.is_finished()
    }
}

/// Serves the mount behind `device`, `native` being who may give files backing ids on it and the table of all its servers. With
/// `earlier`, the kernel was greeted by a former server: its unanswered requests are taken over, and whatever the kernel remembers is
/// looked at anew, for it may be of another generation of the tree.
pub(crate) fn begin<T: Tree>(
    tree: Arc<T>,
    options: &MountOptions,
    watch: Watch,
    runtime: Handle,
    device: OwnedFd,
    native: Option<(Box<dyn Registrar>, Table)>,
    earlier: Option<Negotiated>,
) -> io::Result<Serving> {
    let waiting = Waiting::new(runtime.clone(), options.waiting, watch);
    let notifier = Notifier::new(device.try_clone()?, options.beneath_overlay);
    let fs = FileSystem::new(tree, options.owner);
    let (registrar, table) = match native {
        Some((registrar, table)) => (Some(registrar), table),
        None => (None, Table::private()?),
    };
    let passthrough = Arc::new(Passthrough::new(options.dataset.clone(), registrar, table, options.kept_ids));
    let adapter = Adapter::new(fs, waiting.clone(), options, Arc::clone(&passthrough));
    passthrough.sweep_on(&runtime);
    let mut config = Config::default();
    config.n_threads = Some(options.threads.max(1));
    let (session, negotiated) = greet(adapter, &device, config, earlier)?;
    if earlier.is_some() {
        // Before the first request is read here, so that none of ours is sent again.
        match notifier.resend() {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                tracing::warn!("this kernel cannot send requests again: who waited for the former server waits for ever");
            }
            other => other?,
        }
    }
    Ok(Serving { session: session.spawn()?, notifier, waiting, negotiated, passthrough })
}

fn greet<F: Filesystem>(
    adapter: F,
    device: &OwnedFd,
    config: Config,
    earlier: Option<Negotiated>,
) -> io::Result<(Session<F>, Negotiated)> {
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let request = match earlier {
        Some(agreed) => agreed.request(),
        None => first_request(device)?,
    };
    check_request(&request)?;
    rustix::net::send(&ours, &request, SendFlags::NOSIGNAL)?;
    // Whoever wants more than this one request is told that there is no more, rather than left waiting.
    rustix::net::shutdown(&ours, Shutdown::Write)?;
    // Who may enter is decided by the kernel (`allow_other`), not once more by the library.
    let session = Session::from_fd(adapter, theirs, SessionACL::All, config)?;
    let mut reply = [0; 256];
    let (length, _) = rustix::net::recv(&ours, &mut reply, RecvFlags::DONTWAIT)?;
    let reply = &reply[..length];
    let negotiated = match earlier {
        Some(agreed) => agreed,
        None => {
            rustix::io::write(device, reply)?;
            Negotiated::between(&request, reply)?
        }
    };
    replace(session.as_fd(), device)?;
    Ok((session, negotiated))
}

/// The kernel's greeting.
fn first_request(device: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut ready = [PollFd::new(device, PollFlags::IN)];
    if rustix::io::retry_on_intr(|| rustix::event::poll(&mut ready, Some(&GREETS_WITHIN)))? == 0 {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel sends no FUSE_INIT: the descriptor is not mounted"));
    }
    let mut request = vec![0; READ_BUFFER];
    let length = match rustix::io::retry_on_intr(|| rustix::io::read(device, &mut request[..])) {
        Err(Errno::INVAL) => 0,
        other => other?,
    };
    request.truncate(length);
    Ok(request)
}

/// Makes number `place` stand for what `by` is.
fn replace(place: BorrowedFd<'_>, by: &OwnedFd) -> io::Result<()> {
    // SAFETY: the number is open, since `place` is borrowed from its owner; being never dropped, this second owner does not
    // close it, and the first one goes on owning a number that is open.
    let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(place.as_raw_fd()) });
    Ok(rustix::io::dup3(by, &mut place, rustix::io::DupFlags::CLOEXEC)?)
}
