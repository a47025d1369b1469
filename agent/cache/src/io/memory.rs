use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{FileIo, FileStat, Mode, TierIo};

const ENOENT: i32 = 2;
const EBUSY: i32 = 16;
const ENOSPC: i32 = 28;
const ENOTSUP: i32 = 95;
const PAGE: u64 = 4096;

/// A tier that lies in this process's memory and outlives the caches opened on it: for models of restarts.
///
/// It counts space as a file system does - pages that were written and not punched - and has an end.
#[derive(Clone)]
pub struct MemoryIo(Arc<Mutex<Files>>);

struct Files {
    names: BTreeMap<String, Arc<Mutex<Node>>>,
    size: u64,
    attributes: bool,
}

#[derive(Default)]
struct Node {
    len: u64,
    /// Pages by number; what is not here is a hole.
    pages: BTreeMap<u64, Box<[u8]>>,
    attribute: Option<Vec<u8>>,
    published: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl MemoryIo {
    /// A file system of `size` bytes; with or without extended attributes.
    pub fn new(size: u64, attributes: bool) -> Self {
        Self(Arc::new(Mutex::new(Files { names: BTreeMap::new(), size, attributes })))
    }

    /// Names of all files.
    pub fn names(&self) -> Vec<String> {
        lock(&self.0).names.keys().cloned().collect()
    }

    /// Bytes allocated by all files that have a name.
    pub fn allocated(&self) -> u64 {
        lock(&self.0).allocated()
    }

    fn get(&self, path: &str) -> Option<Arc<Mutex<Node>>> {
        lock(&self.0).names.get(path).cloned()
    }
}

impl Files {
    fn allocated(&self) -> u64 {
        self.names.values().map(|node| lock(node).pages.len() as u64 * PAGE).sum()
    }
}

impl TierIo for MemoryIo {
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn release(&self) {}

    fn open(&self, path: &str, mode: Mode) -> io::Result<Arc<dyn FileIo>> {
        let mut files = lock(&self.0);
        if mode == Mode::Replace {
            files.names.remove(path);
        }
        let node = match (files.names.get(path), mode) {
            (Some(node), _) => node.clone(),
            (None, Mode::Read | Mode::Existing) => return Err(errno(ENOENT)),
            (None, _) => files.names.entry(path.to_owned()).or_default().clone(),
        };
        drop(files);
        Ok(Arc::new(MemoryFile { files: self.0.clone(), node }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = lock(&self.0);
        let node = files.names.remove(from).ok_or_else(|| errno(ENOENT))?;
        files.names.insert(to.to_owned(), node);
        Ok(())
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        lock(&self.0).names.remove(path);
        Ok(())
    }

    fn stat(&self, path: &str) -> io::Result<Option<FileStat>> {
        Ok(self.get(path).map(|node| {
            let node = lock(&node);
            FileStat {
                len: node.len,
                allocated: node.pages.len() as u64 * PAGE,
                modified: Duration::ZERO,
                linked: node.published,
            }
        }))
    }

    fn attribute(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.get(path).and_then(|node| lock(&node).attribute.clone()))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{path}/");
        let files = lock(&self.0);
        let mut names: Vec<String> = files
            .names
            .range(prefix.clone()..)
            .map_while(|(name, _)| name.strip_prefix(&prefix))
            .filter_map(|rest| rest.split('/').next().map(str::to_owned))
            .collect();
        names.dedup();
        Ok(names)
    }

    fn free(&self) -> io::Result<u64> {
        let files = lock(&self.0);
        Ok(files.size.saturating_sub(files.allocated()))
    }

    fn published(&self) -> io::Result<Option<PathBuf>> {
        Ok(Some(PathBuf::from("/nowhere")))
    }

    fn publish(&self, path: &str) -> io::Result<()> {
        let node = self.get(path).ok_or_else(|| errno(ENOENT))?;
        lock(&node).published = true;
        Ok(())
    }

    fn is_published(&self, path: &str) -> io::Result<bool> {
        Ok(self.get(path).is_some_and(|node| lock(&node).published))
    }

    fn is_linked(&self, path: &str) -> io::Result<bool> {
        self.is_published(path)
    }

    fn conceal(&self, path: &str) -> io::Result<()> {
        if let Some(node) = self.get(path) {
            lock(&node).published = false;
        }
        Ok(())
    }

    fn tidy_published(&self) -> io::Result<()> {
        Ok(())
    }

    fn knows_sharers(&self) -> bool {
        true
    }
}

struct MemoryFile {
    files: Arc<Mutex<Files>>,
    node: Arc<Mutex<Node>>,
}

impl FileIo for MemoryFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let node = lock(&self.node);
        let n = node.len.saturating_sub(offset).min(buf.len() as u64) as usize;
        let mut done = 0;
        while done < n {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let part = (PAGE as usize - within).min(n - done);
            match node.pages.get(&(at / PAGE)) {
                Some(page) => buf[done..done + part].copy_from_slice(&page[within..within + part]),
                None => buf[done..done + part].fill(0),
            }
            done += part;
        }
        Ok(n)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let files = lock(&self.files);
        let room = files.size.saturating_sub(files.allocated()) / PAGE;
        let mut node = lock(&self.node);
        let mut added = 0;
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let part = (PAGE as usize - within).min(data.len() - done);
            if !node.pages.contains_key(&(at / PAGE)) {
                if added == room {
                    return Err(errno(ENOSPC));
                }
                added += 1;
            }
            let page = node.pages.entry(at / PAGE).or_insert_with(|| vec![0; PAGE as usize].into());
            page[within..within + part].copy_from_slice(&data[done..done + part]);
            done += part;
            node.len = node.len.max(offset + done as u64);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut node = lock(&self.node);
        node.pages.split_off(&len.div_ceil(PAGE));
        if let Some(page) = node.pages.get_mut(&(len / PAGE)) {
            page[(len % PAGE) as usize..].fill(0);
        }
        node.len = len;
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut node = lock(&self.node);
        if node.published {
            return Err(errno(EBUSY));
        }
        let end = (offset + len).min(node.len.next_multiple_of(PAGE));
        let mut at = offset;
        while at < end {
            let within = at % PAGE;
            let part = (PAGE - within).min(end - at);
            if part == PAGE {
                node.pages.remove(&(at / PAGE));
            } else if let Some(page) = node.pages.get_mut(&(at / PAGE)) {
                page[within as usize..(within + part) as usize].fill(0);
            }
            at += part;
        }
        Ok(())
    }

    fn attribute(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(lock(&self.node).attribute.clone())
    }

    fn set_attribute(&self, value: &[u8]) -> io::Result<()> {
        if !lock(&self.files).attributes {
            return Err(errno(ENOTSUP));
        }
        lock(&self.node).attribute = Some(value.to_vec());
        Ok(())
    }

    fn clear_attribute(&self) -> io::Result<()> {
        lock(&self.node).attribute = None;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_unshared(&self) -> io::Result<bool> {
        let named = lock(&self.files).names.values().any(|node| Arc::ptr_eq(node, &self.node));
        Ok(Arc::strong_count(&self.node) == 1 + usize::from(named))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
