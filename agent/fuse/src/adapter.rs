//! Translates between `fuser` and the file system. Cached data is answered on the thread that the kernel's request came in
//! on; what must wait goes to the runtime with its reply.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use forebay_fs::{Caller, Entry, FileSystem, FsError, Handle, Opened, PageCache, ROOT_INO, Tree, fit_xattr};
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, Version,
    WriteFlags,
};

use crate::convert::{GENERATION, absent, attr, errno, kind};
use crate::faults::Faults;
use crate::listings::Listings;
use crate::opening::{Opening, Unique};
use crate::options::{MAX_READ, MountOptions};
use crate::passthrough::{Passthrough, Way};
use crate::{buffer, waiting::Waiting};

/// Requests of its own accord (read-ahead) that the kernel may have under way.
const BACKGROUND: u16 = 64;

/// The kernel's minor version from which all names can be taken back by one word (Linux 6.16).
const EPOCHS: Version = Version(7, 44);
/// How long names in the root directory are believed where they can only be taken back one by one: which ones stood there before a new
/// generation, the next server of a mount does not know.
const NAMES_OF_ROOT: Duration = Duration::from_secs(1);

/// What makes the kernel ask less or wait less; each is used if the kernel has it. Not FUSE_AUTO_INVAL_DATA: numbers that
/// stand for versions make it needless, and it would ask for attributes at every read once they expired.
const WISHES: [InitFlags; 7] = [
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_ASYNC_DIO,
    // Node ids are permanent, so an NFS server may export the mount.
    InitFlags::FUSE_EXPORT_SUPPORT,
    // The mount may be shown with shifted owners, as pods with a user namespace need it. Only right with
    // `default_permissions`, which every mount of ours has.
    InitFlags::FUSE_ALLOW_IDMAP,
    // Requests of a dead server can be sent again to the next one.
    InitFlags::FUSE_HAS_RESEND,
];

/// One mount's side of the conversation with the kernel.
#[derive(Debug)]
pub(crate) struct Adapter<T: Tree> {
    fs: FileSystem<T>,
    waiting: Waiting,
    faults: Arc<Faults>,
    listings: Listings,
    opening: Opening,
    passthrough: Arc<Passthrough>,
    not_native: Option<&'static str>,
    xattrs: bool,
    /// Names are taken back one by one.
    by_name: bool,
}

impl<T: Tree> Adapter<T> {
    pub(crate) fn new(fs: FileSystem<T>, waiting: Waiting, options: &MountOptions, passthrough: Arc<Passthrough>) -> Self {
        let MountOptions { dataset, xattrs, not_native, beneath_overlay, .. } = options;
        let (dataset, xattrs, not_native, by_name) = (dataset.clone(), *xattrs, *not_native, *beneath_overlay);
        Self {
            fs,
            waiting,
            faults: Arc::new(Faults::new(dataset)),
            listings: Listings::new(),
            opening: Opening::default(),
            passthrough,
            not_native,
            xattrs,
            by_name,
        }
    }

    /// How long the kernel may believe a name in `dir` that holds for `validity`.
    fn name_holds(&self, dir: INodeNo, validity: Duration) -> Duration {
        if self.by_name && dir.0 == ROOT_INO { validity.min(NAMES_OF_ROOT) } else { validity }
    }

    /// The errno for the kernel, after the words have been logged where they are worth it.
    fn refuse(&self, request: &'static str, ino: INodeNo, error: &FsError) -> Errno {
        self.faults.note(request, ino.0, error);
        errno(error)
    }
}

/// Which way an open goes.
fn decide<T: Tree>(passthrough: &Passthrough, fs: &FileSystem<T>, ino: INodeNo, request: Unique, opened: Opened) -> Way {
    passthrough.open(ino.0, request, || match opened.page_cache {
        PageCache::Keep => fs.backing(opened.handle),
        PageCache::Bypass => None,
    })
}

fn send_opened(reply: ReplyOpen, opened: Opened, flags: OpenFlags, way: Way) {
    let handle = FileHandle(opened.handle.0);
    match way {
        Way::Native(id) => {
            // Direct reads come to us: any offset and length will do then, as for a file that is not complete.
            let direct = if flags.0 & libc::O_DIRECT == 0 { FopenFlags::empty() } else { FopenFlags::FOPEN_DIRECT_IO };
            // SAFETY: the id is one of this mount's, open as long as the registry counts this open, and its owner again before it could be
            // closed here.
            let id = unsafe { reply.wrap_backing(id) };
            reply.opened_passthrough(handle, direct | FopenFlags::FOPEN_NOFLUSH, &id);
            id.into_raw();
        }
        Way::Served => {
            let pages = match opened.page_cache {
                PageCache::Keep => FopenFlags::FOPEN_KEEP_CACHE,
                PageCache::Bypass => FopenFlags::FOPEN_DIRECT_IO,
            };
            reply.opened(handle, pages | FopenFlags::FOPEN_NOFLUSH);
        }
    }
}

impl<T: Tree> Filesystem for Adapter<T> {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.by_name |= config.kernel_abi() < EPOCHS;
        for wish in WISHES {
            // Refused means that this kernel lacks it.
            let _ = config.add_capabilities(wish);
        }
        // Bounds reads as well: the kernel sizes its requests by it. Each setter refuses only values out of range, and says
        // which one is in range.
        let _ = config.set_max_write(MAX_READ);
        if let Err(most) = config.set_max_readahead(u32::MAX) {
            let _ = config.set_max_readahead(most);
        }
        let _ = config.set_max_background(BACKGROUND);
        // Also where it is not wanted now: what is agreed on here holds as long as the mount, whose next server may want it.
        let can = config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok();
        if can {
            // Backing files on a file system that is no stack itself; another stack fits on top of this mount.
            let _ = config.set_max_stack_depth(1);
        }
        if let Some(why) = self.not_native {
            self.passthrough.switch_off(why);
        } else if !can {
            self.passthrough.switch_off("this kernel cannot do it (Linux 6.9 and later can)");
        }
        Ok(())
    }

    fn forget(&self, _request: &Request, _ino: INodeNo, _lookups: u64) {}

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.fs.lookup(parent.0, name.as_bytes()) {
            Ok(Entry::Present { attributes, validity }) => {
                reply.entry(&self.name_holds(parent, validity), &attr(&attributes), GENERATION);
            }
            Ok(Entry::Absent { validity }) => reply.entry(&self.name_holds(parent, validity), &absent(), GENERATION),
            Err(error) => reply.error(self.refuse("lookup", parent, &error)),
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.fs.getattr(ino.0, handle.map(|handle| Handle(handle.0))) {
            Ok(attributes) => reply.attr(&self.fs.validity(), &attr(&attributes)),
            Err(error) => reply.error(self.refuse("getattr", ino, &error)),
        }
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let number = Unique(request.unique().0);
        match self.fs.try_open(ino.0, flags.0) {
            Some(Ok(opened)) => send_opened(reply, opened, flags, decide(&self.passthrough, &self.fs, ino, number, opened)),
            Some(Err(error)) => reply.error(self.refuse("open", ino, &error)),
            None => {
                let (fs, faults, passthrough) = (self.fs.clone(), Arc::clone(&self.faults), Arc::clone(&self.passthrough));
                let (attempt, tree) = (self.opening.begin(number), fs.clone());
                let work = async move { fs.open(ino.0, flags.0).await };
                self.waiting.spawn(request.pid(), work, move |result| match result {
                    Ok(opened) => {
                        let way = attempt.way(|| decide(&passthrough, &tree, ino, number, opened));
                        if attempt.is_superseded() {
                            tree.release(opened.handle);
                        }
                        send_opened(reply, opened, flags, way);
                    }
                    Err(error) => {
                        faults.note("open", ino.0, &error);
                        reply.error(errno(&error));
                    }
                });
            }
        }
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let handle = Handle(handle.0);
        let wait = buffer::with(size as usize, |buf| match self.fs.try_read(handle, offset, buf) {
            Some(Ok(count)) => {
                reply.data(&buf[..count.min(buf.len())]);
                None
            }
            Some(Err(error)) => {
                reply.error(self.refuse("read", ino, &error));
                None
            }
            None => Some(reply),
        });
        let Some(reply) = wait else { return };
        let (fs, faults) = (self.fs.clone(), Arc::clone(&self.faults));
        let work = async move { fs.read(handle, offset, size).await };
        self.waiting.spawn(request.pid(), work, move |result| match result {
            Ok(data) => reply.data(&data[..data.len().min(size as usize)]),
            Err(error) => {
                faults.note("read", ino.0, &error);
                reply.error(errno(&error));
            }
        });
    }

    fn release(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.passthrough.release(ino.0, Unique(request.unique().0));
        self.fs.release(Handle(handle.0));
        reply.ok();
    }

    /// Nothing is ever written, so there is nothing to flush: the kernel stops asking after this answer.
    fn flush(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    /// As for flush: the kernel takes this answer for success, now and later.
    fn fsync(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _data: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsyncdir(&self, _request: &Request, _ino: INodeNo, _handle: FileHandle, _data: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.fs.open_dir(ino.0) {
            Ok(()) => {
                let mut flags = FopenFlags::FOPEN_CACHE_DIR;
                if self.listings.still_good(ino.0, self.fs.tree().generation_tag()) {
                    flags |= FopenFlags::FOPEN_KEEP_CACHE;
                }
                reply.opened(FileHandle(0), flags);
            }
            Err(error) => reply.error(self.refuse("opendir", ino, &error)),
        }
    }

    fn readdir(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let done = self.fs.read_dir(ino.0, offset, &mut |line| {
            let shown = &line.attributes;
            !reply.add(INodeNo(shown.ino), line.next, kind(shown.kind), OsStr::from_bytes(line.name))
        });
        match done {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.refuse("readdir", ino, &error)),
        }
    }

    fn readdirplus(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let validity = self.name_holds(ino, self.fs.validity());
        let done = self.fs.read_dir(ino.0, offset, &mut |line| {
            let shown = attr(&line.attributes);
            !reply.add(shown.ino, line.next, OsStr::from_bytes(line.name), &validity, &shown, GENERATION)
        });
        match done {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.refuse("readdir", ino, &error)),
        }
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let shown = self.fs.statfs();
        reply.statfs(shown.blocks, 0, 0, shown.files, 0, shown.block_size, shown.name_max, shown.block_size);
    }

    fn access(&self, request: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let caller = Caller { uid: request.uid(), gid: request.gid() };
        match self.fs.access(ino.0, caller, mask.bits()) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn lseek(&self, _request: &Request, ino: INodeNo, handle: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        match self.fs.seek(Handle(handle.0), offset, whence) {
            Ok(at) => reply.offset(at),
            Err(error) => reply.error(self.refuse("lseek", ino, &error)),
        }
    }

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !self.xattrs {
            // The kernel never asks again.
            return reply.error(Errno::ENOSYS);
        }
        match self.fs.xattr(ino.0, name.as_bytes()).and_then(|value| fit_xattr(value, size)) {
            Ok((_, Some(value))) => reply.data(&value),
            Ok((length, None)) => reply.size(length),
            Err(error) => reply.error(self.refuse("getxattr", ino, &error)),
        }
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        if !self.xattrs {
            return reply.error(Errno::ENOSYS);
        }
        match self.fs.xattr_names(ino.0).and_then(|names| fit_xattr(names, size)) {
            Ok((_, Some(names))) => reply.data(&names),
            Ok((length, None)) => reply.size(length),
            Err(error) => reply.error(self.refuse("listxattr", ino, &error)),
        }
    }

    fn ioctl(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _input: &[u8],
        _output_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    // From here on: requests to change something. A mount that is read-only keeps them in the kernel; these answer for one
    // that somebody remounted read-write.

    fn setattr(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(Errno::EROFS);
    }

    fn mknod(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, _mode: u32, _umask: u32, _rdev: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn mkdir(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, _mode: u32, _umask: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn unlink(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn rmdir(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn symlink(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, _target: &Path, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn rename(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _new_parent: INodeNo,
        _new_name: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn link(&self, _request: &Request, _ino: INodeNo, _parent: INodeNo, _name: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn write(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _offset: u64,
        _data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS);
    }

    fn create(
        &self,
        _request: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        reply.error(Errno::EROFS);
    }

    fn setxattr(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn removexattr(&self, _request: &Request, _ino: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn fallocate(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        _ino_in: INodeNo,
        _handle_in: FileHandle,
        _offset_in: u64,
        _ino_out: INodeNo,
        _handle_out: FileHandle,
        _offset_out: u64,
        _length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS);
    }
}
