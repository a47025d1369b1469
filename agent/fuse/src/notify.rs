//! Tells the kernel what to forget. Written to the device directly, because two of the messages are younger than `fuser`.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use forebay_fs::{NodeKind, ROOT_INO, Tree};
use rustix::io::Errno;

// `enum fuse_notify_code` of <linux/fuse.h>.
const INVAL_INODE: i32 = 2;
const INVAL_ENTRY: i32 = 3;
const RESEND: i32 = 7;
const INC_EPOCH: i32 = 8;
/// Flag of INVAL_ENTRY: ask again instead of dropping the entry with all below it, so that a process whose working directory
/// it is keeps that. Kernels before 6.2 ignore it and drop.
const EXPIRE_ONLY: u32 = 1;

/// Files of the root directory that are named one by one on kernels that cannot forget all at once; answers about the others expire.
const TOP_FILES: usize = 10_000;

/// What stands in the root directory, for [`Notifier::invalidate_all`]: all directories, and the first 10,000 files.
pub fn top_names<T: Tree>(tree: &T) -> Vec<Vec<u8>> {
    let (mut top, mut files) = (Vec::new(), 0);
    let listed = tree.read_dir(ROOT_INO, 0, &mut |entry| {
        let is_dir = entry.node.kind == NodeKind::Dir;
        files += usize::from(!is_dir);
        if is_dir || files <= TOP_FILES {
            top.push(entry.name.to_vec());
        }
        true
    });
    if let Err(error) = listed {
        tracing::debug!(%error, "the root directory cannot be listed yet");
    }
    top
}

/// A handle by which the owner of the tree makes the kernel forget. Cheap to clone; outlives the mount harmlessly.
///
/// The calls may block until reads in flight on the inode are answered: they must not be made from a thread that those reads
/// need. What the kernel does not know is not an error.
#[derive(Debug, Clone)]
pub struct Notifier {
    device: Arc<OwnedFd>,
    by_name: bool,
}

impl Notifier {
    pub(crate) fn new(device: OwnedFd, by_name: bool) -> Self {
        Self { device: Arc::new(device), by_name }
    }

    pub(crate) fn device(&self) -> io::Result<OwnedFd> {
        self.device.try_clone()
    }

    /// Drops the attributes and pages of inode `ino`; of a directory, its remembered listing.
    ///
    /// # Errors
    /// Whatever the kernel says, except that it knows nothing of it.
    pub fn invalidate_inode(&self, ino: u64) -> io::Result<()> {
        // Offset and length 0 mean all pages.
        let mut body = [0; 24];
        body[..8].copy_from_slice(&ino.to_ne_bytes());
        self.send(INVAL_INODE, &body, &[]).map_err(io::Error::from)
    }

    /// Makes the kernel ask again for `name` in directory `parent`, whether it took it for present or absent.
    ///
    /// # Errors
    /// As [`Notifier::invalidate_inode`].
    pub fn invalidate_entry(&self, parent: u64, name: &[u8]) -> io::Result<()> {
        self.entry(parent, name, EXPIRE_ONLY).map_err(io::Error::from)
    }

    /// Makes the kernel ask again for every name: one message, however large the tree. Kernels before 6.16 lack it, and beneath an
    /// overlay it does harm; there `top`, which is not looked at elsewhere, names what stands in the root directory, and everything below those is dropped with them. What it does not
    /// name of the root, as what was there before or is new, is asked for again within a second, for answers about the root expire.
    ///
    /// # Errors
    /// As [`Notifier::invalidate_inode`].
    pub fn invalidate_all<N: AsRef<[u8]>>(&self, top: impl IntoIterator<Item = N>) -> io::Result<()> {
        let told = if self.by_name { Err(Errno::NOSYS) } else { self.send(INC_EPOCH, &[], &[]) };
        match told {
            Err(Errno::INVAL | Errno::NOSYS) => {
                for name in top {
                    self.entry(ROOT_INO, name.as_ref(), 0)?;
                }
            }
            other => other?,
        }
        self.invalidate_inode(ROOT_INO)
    }

    /// Makes the kernel send again every request that was read from the device and is not answered. For the server that takes
    /// over from one that has ended; requests that this server is working on come a second time, and their second answer is
    /// dropped by the kernel. Kernels before 6.9 lack it: there whoever waited for the former server goes on waiting.
    ///
    /// # Errors
    /// As [`Notifier::invalidate_inode`]; `InvalidInput` from a kernel that lacks it.
    pub fn resend(&self) -> io::Result<()> {
        self.send(RESEND, &[], &[]).map_err(io::Error::from)
    }

    fn entry(&self, parent: u64, name: &[u8], flags: u32) -> rustix::io::Result<()> {
        let length = u32::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
        let mut body = [0; 16];
        body[..8].copy_from_slice(&parent.to_ne_bytes());
        body[8..12].copy_from_slice(&length.to_ne_bytes());
        body[12..].copy_from_slice(&flags.to_ne_bytes());
        self.send(INVAL_ENTRY, &body, &[name, b"\0"])
    }

    /// Writes `struct fuse_out_header` - length, code, and 0 for "no request" - and what belongs to it, as one message.
    fn send(&self, code: i32, body: &[u8], more: &[&[u8]]) -> rustix::io::Result<()> {
        let length = 16 + body.len() + more.iter().map(|part| part.len()).sum::<usize>();
        let length = u32::try_from(length).map_err(|_| Errno::NAMETOOLONG)?;
        let mut header = [0; 16];
        header[..4].copy_from_slice(&length.to_ne_bytes());
        header[4..8].copy_from_slice(&code.to_ne_bytes());
        let mut parts = vec![IoSlice::new(&header), IoSlice::new(body)];
        parts.extend(more.iter().map(|part| IoSlice::new(part)));
        match rustix::io::retry_on_intr(|| rustix::io::writev(&*self.device, &parts)) {
            // Not known to the kernel, or not mounted any more: there is nothing to forget.
            Ok(_) | Err(Errno::NOENT | Errno::NODEV | Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
