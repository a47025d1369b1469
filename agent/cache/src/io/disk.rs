use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustix::fs::{self, AtFlags, FallocateFlags, FlockOperation, OFlags, XattrFlags};
use rustix::io::Errno;

use super::{FileIo, FileStat, Mode, TierIo, published, sharing};

const ATTRIBUTE: &CStr = c"user.forebay";
/// Larger values never go into the attribute, so a longer one is not ours.
const ATTRIBUTE_MAX: usize = 4096;

/// A directory of a real file system.
pub struct DiskIo {
    root: PathBuf,
    opened: RwLock<Option<Arc<Root>>>,
}

struct Root {
    dir: OwnedFd,
    /// Directory of published files, below `dir`; only looked into once there is one.
    published: Option<String>,
    publishes: AtomicBool,
    knows_sharers: bool,
    /// Held for its lock, which ends with the process however that ends.
    lock: OwnedFd,
}

impl Drop for Root {
    /// A child that another thread is starting has copies of all descriptors until it runs its program: closed ones would stay locked by them.
    fn drop(&mut self) {
        let _ = fs::flock(&self.lock, FlockOperation::Unlock);
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl Root {
    /// The directory of published files, if there may be any.
    fn publishing(&self) -> Option<&str> {
        self.published.as_deref().filter(|_| self.publishes.load(Ordering::Acquire))
    }
}

impl DiskIo {
    /// Nothing is touched before [`TierIo::prepare`].
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), opened: RwLock::new(None) }
    }

    fn dir(&self) -> io::Result<Arc<Root>> {
        // ENXIO: "no such device" is what an unprepared tier is to its callers.
        self.opened.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| Errno::NXIO.into())
    }

    fn make_parents(&self, path: &str) -> io::Result<()> {
        let dir = self.dir()?;
        for (at, _) in path.match_indices('/') {
            match fs::mkdirat(&dir, &path[..at], 0o700.into()) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Tries what a cache needs. A file system that cannot punch holes could not give the space of an evicted block back. Whether it knows
    /// who has a file open is the answer.
    fn probe(dir: BorrowedFd<'_>) -> io::Result<bool> {
        let file = fs::openat(dir, "probe", OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC, 0o600.into())?;
        let result = fs::ftruncate(&file, 8192).and_then(|()| punch(&file, 0, 4096));
        let asked = sharing::is_unshared(file.as_fd());
        if let Err(error) = &asked {
            tracing::warn!(%error, "this file system cannot tell who has a file open (file leases): nothing of it is read natively");
        }
        let knows_sharers = asked.is_ok();
        fs::unlinkat(dir, "probe", AtFlags::empty())?;
        result.map(|()| knows_sharers).map_err(|e| match e {
            Errno::OPNOTSUPP | Errno::NOSYS => io::Error::new(
                io::ErrorKind::Unsupported,
                "the file system cannot punch holes; put the tier on ext4, xfs, btrfs or tmpfs",
            ),
            e => e.into(),
        })
    }
}

fn punch(file: impl AsFd, offset: u64, len: u64) -> Result<(), Errno> {
    fs::fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len)
}

fn absent(result: Result<usize, Errno>, buf: &[u8]) -> io::Result<Option<Vec<u8>>> {
    match result {
        Ok(n) => Ok(Some(buf[..n].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT | Errno::RANGE) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

impl TierIo for DiskIo {
    fn prepare(&self) -> io::Result<()> {
        if self.dir().is_ok() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.root)?;
        let dir = fs::open(&self.root, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, 0.into())?;
        let lock = fs::openat(&dir, "lock", OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC, 0o600.into())?;
        fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let knows_sharers = Self::probe(dir.as_fd())?;
        for name in ["objects", "tmp"] {
            match fs::mkdirat(&dir, name, 0o700.into()) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let published = published::directory();
        let publishes = published::any(dir.as_fd());
        let root = Root { dir, published, publishes: AtomicBool::new(publishes), knows_sharers, lock };
        *self.opened.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(root));
        Ok(())
    }

    fn release(&self) {
        *self.opened.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn FileIo>> {
        let dir = self.dir()?;
        let common = OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let flags = match mode {
            Mode::Read => common | OFlags::RDONLY,
            Mode::Existing => common | OFlags::RDWR,
            Mode::Create => common | OFlags::RDWR | OFlags::CREATE,
            Mode::Replace => common | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        let file = match fs::openat(&dir, path, flags, 0o600.into()) {
            Err(Errno::NOENT) if flags.contains(OFlags::CREATE) => {
                self.make_parents(path)?;
                fs::openat(&dir, path, flags, 0o600.into())?
            }
            Err(Errno::EXIST) => {
                self.unlink(path)?;
                fs::openat(&dir, path, flags, 0o600.into())?
            }
            other => other?,
        };
        Ok(Arc::new(DiskFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let dir = self.dir()?;
        match fs::renameat(&dir, from, &dir, to) {
            Err(Errno::NOENT) => {
                self.make_parents(to)?;
                Ok(fs::renameat(&dir, from, &dir, to)?)
            }
            other => Ok(other?),
        }
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        let dir = self.dir()?;
        if let Some(published) = dir.publishing() {
            published::conceal(dir.as_fd(), published, path)?;
        }
        match fs::unlinkat(dir, path, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn stat(&self, path: &str) -> io::Result<Option<FileStat>> {
        match fs::statat(self.dir()?, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileStat {
                len: u64::try_from(stat.st_size).unwrap_or(0),
                allocated: u64::try_from(stat.st_blocks).unwrap_or(0) * 512,
                modified: Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0)),
                linked: stat.st_nlink > 1,
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn attribute(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let mut buf = [0u8; ATTRIBUTE_MAX];
        absent(fs::lgetxattr(self.root.join(path), ATTRIBUTE, &mut buf[..]), &buf)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let dir = match fs::openat(self.dir()?, path, flags, 0.into()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        };
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn free(&self) -> io::Result<u64> {
        let stat = fs::fstatvfs(self.dir()?)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn published(&self) -> io::Result<Option<PathBuf>> {
        let dir = self.dir()?;
        let Some(path) = &dir.published else { return Ok(None) };
        published::prepare(dir.as_fd(), path)?;
        dir.publishes.store(true, Ordering::Release);
        Ok(Some(self.root.join(path)))
    }

    fn publish(&self, path: &str) -> io::Result<()> {
        let dir = self.dir()?;
        published::publish(dir.as_fd(), dir.publishing().ok_or(Errno::OPNOTSUPP)?, path)
    }

    fn is_published(&self, path: &str) -> io::Result<bool> {
        let dir = self.dir()?;
        dir.publishing().map_or(Ok(false), |published| published::is_published(dir.as_fd(), published, path))
    }

    fn is_linked(&self, path: &str) -> io::Result<bool> {
        let dir = self.dir()?;
        if dir.publishing().is_none() { Ok(false) } else { published::is_linked(dir.as_fd(), path) }
    }

    fn conceal(&self, path: &str) -> io::Result<()> {
        let dir = self.dir()?;
        dir.publishing().map_or(Ok(()), |published| published::conceal(dir.as_fd(), published, path))
    }

    fn tidy_published(&self) -> io::Result<()> {
        let dir = self.dir()?;
        dir.published.as_ref().map_or(Ok(()), |path| published::remove_others(dir.as_fd(), &self.root, path))
    }

    fn knows_sharers(&self) -> bool {
        self.dir().is_ok_and(|root| root.knows_sharers)
    }
}

struct DiskFile(OwnedFd);

impl FileIo for DiskFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match rustix::io::pread(&self.0, &mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < data.len() {
            match rustix::io::pwrite(&self.0, &data[done..], offset + done as u64) {
                Ok(0) => return Err(Errno::NOSPC.into()),
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Ok(fs::ftruncate(&self.0, len)?)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        if fs::fstat(&self.0)?.st_nlink > 1 {
            return Err(Errno::BUSY.into());
        }
        Ok(punch(&self.0, offset, len)?)
    }

    fn attribute(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buf = [0u8; ATTRIBUTE_MAX];
        absent(fs::fgetxattr(&self.0, ATTRIBUTE, &mut buf[..]), &buf)
    }

    fn set_attribute(&self, value: &[u8]) -> io::Result<()> {
        Ok(fs::fsetxattr(&self.0, ATTRIBUTE, value, XattrFlags::empty())?)
    }

    fn clear_attribute(&self) -> io::Result<()> {
        match fs::fremovexattr(&self.0, ATTRIBUTE) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fs::fdatasync(&self.0)?)
    }

    fn is_unshared(&self) -> io::Result<bool> {
        sharing::is_unshared(self.0.as_fd())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}
