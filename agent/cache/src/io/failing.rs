use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FileIo, FileStat, Mode, TierIo};

/// A kind of operation that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Reading data or attributes, `stat` and listing.
    Read,
    /// Writing data, making files, setting lengths and attributes, renaming.
    Write,
    /// Setting attributes only.
    Attribute,
    /// Removing files and punching holes.
    Free,
}

/// What is broken now; shared by a [`FailingIo`], its files and the test.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

/// What a test does in the middle of an operation.
type Interruption = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Plan {
    errors: Vec<(Op, i32)>,
    /// Runs once, before the next read of data.
    before_read: Option<Interruption>,
    /// What the disk says that it has free.
    free: Option<u64>,
    /// Changes left until the power fails.
    changes: Option<u32>,
    dead: bool,
}

impl Faults {
    /// Makes every operation of a kind fail with an error number, from now on. A failing data write first writes half.
    pub fn fail(&self, op: Op, errno: i32) {
        self.plan().errors.push((op, errno));
    }

    /// After `changes` further changes to files every operation fails with EIO and changes nothing; the last one is torn: of a data
    /// write only half arrives. What the process dies of at that point is all the same to the disk.
    pub fn die_after(&self, changes: u32) {
        self.plan().changes = Some(changes);
    }

    /// Runs `interrupt` once, just before the next read of a file's data: what another thread may do at that moment.
    pub fn before_read(&self, interrupt: impl FnOnce() + Send + 'static) {
        self.plan().before_read = Some(Box::new(interrupt));
    }

    /// The disk has so much free from now on, whatever is removed from it.
    pub fn report_free(&self, bytes: u64) {
        self.plan().free = Some(bytes);
    }

    /// Mends everything.
    pub fn mend(&self) {
        *self.plan() = Plan::default();
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, op: Op) -> io::Result<()> {
        let mut plan = self.plan();
        if plan.dead {
            return Err(io::Error::from_raw_os_error(5));
        }
        let hit = plan.errors.iter().find(|(kind, _)| *kind == op || (*kind == Op::Write && op == Op::Attribute));
        if let Some((_, errno)) = hit {
            return Err(io::Error::from_raw_os_error(*errno));
        }
        if op != Op::Read
            && let Some(left) = &mut plan.changes
        {
            if *left == 0 {
                plan.dead = true;
                return Err(io::Error::from_raw_os_error(5));
            }
            *left -= 1;
        }
        Ok(())
    }
}

/// Any tier, with faults.
pub struct FailingIo {
    inner: Arc<dyn TierIo>,
    faults: Faults,
}

impl FailingIo {
    /// Wraps a tier.
    pub fn new(inner: Arc<dyn TierIo>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

impl TierIo for FailingIo {
    fn prepare(&self) -> io::Result<()> {
        self.faults.check(Op::Write)?;
        self.inner.prepare()
    }
    fn release(&self) {
        self.inner.release();
    }
    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn FileIo>> {
        self.faults.check(if matches!(mode, Mode::Read | Mode::Existing) { Op::Read } else { Op::Write })?;
        Ok(Arc::new(FailingFile { inner: self.inner.open(path, mode)?, faults: self.faults.clone() }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.faults.check(Op::Write)?;
        self.inner.rename(from, to)
    }
    fn unlink(&self, path: &str) -> io::Result<()> {
        self.faults.check(Op::Free)?;
        self.inner.unlink(path)
    }
    fn stat(&self, path: &str) -> io::Result<Option<FileStat>> {
        self.faults.check(Op::Read)?;
        self.inner.stat(path)
    }
    fn attribute(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.faults.check(Op::Read)?;
        self.inner.attribute(path)
    }
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.faults.check(Op::Read)?;
        self.inner.list(path)
    }
    fn free(&self) -> io::Result<u64> {
        self.faults.check(Op::Read)?;
        let told = self.faults.plan().free;
        told.map_or_else(|| self.inner.free(), Ok)
    }
    fn published(&self) -> io::Result<Option<PathBuf>> {
        self.faults.check(Op::Write)?;
        self.inner.published()
    }
    fn publish(&self, path: &str) -> io::Result<()> {
        self.faults.check(Op::Write)?;
        self.inner.publish(path)
    }
    fn is_published(&self, path: &str) -> io::Result<bool> {
        self.faults.check(Op::Read)?;
        self.inner.is_published(path)
    }
    fn is_linked(&self, path: &str) -> io::Result<bool> {
        self.faults.check(Op::Read)?;
        self.inner.is_linked(path)
    }
    fn conceal(&self, path: &str) -> io::Result<()> {
        self.faults.check(Op::Free)?;
        self.inner.conceal(path)
    }
    fn tidy_published(&self) -> io::Result<()> {
        self.faults.check(Op::Free)?;
        self.inner.tidy_published()
    }
    fn knows_sharers(&self) -> bool {
        self.inner.knows_sharers()
    }
}

struct FailingFile {
    inner: Arc<dyn FileIo>,
    faults: Faults,
}

impl FileIo for FailingFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.faults.check(Op::Read)?;
        let interrupt = self.faults.plan().before_read.take();
        if let Some(interrupt) = interrupt {
            interrupt();
        }
        self.inner.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let was_dead = self.faults.plan().dead;
        match self.faults.check(Op::Write) {
            Ok(()) => self.inner.write_at(offset, data),
            Err(e) => {
                if !was_dead {
                    self.inner.write_at(offset, &data[..data.len() / 2])?;
                }
                Err(e)
            }
        }
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.check(Op::Write)?;
        self.inner.set_len(len)
    }
    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.faults.check(Op::Free)?;
        self.inner.punch(offset, len)
    }
    fn attribute(&self) -> io::Result<Option<Vec<u8>>> {
        self.faults.check(Op::Read)?;
        self.inner.attribute()
    }
    fn set_attribute(&self, value: &[u8]) -> io::Result<()> {
        self.faults.check(Op::Attribute)?;
        self.inner.set_attribute(value)
    }
    fn clear_attribute(&self) -> io::Result<()> {
        self.faults.check(Op::Attribute)?;
        self.inner.clear_attribute()
    }
    fn sync(&self) -> io::Result<()> {
        self.faults.check(Op::Write)?;
        self.inner.sync()
    }
    fn is_unshared(&self) -> io::Result<bool> {
        self.faults.check(Op::Read)?;
        self.inner.is_unshared()
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.fd()
    }
}
