use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, OFlags, RawDir, SeekFrom, Stat};
use rustix::io::Errno;

use super::Shared;
use super::beneath::{self, failed, file_type, identity};
use super::error::{kind, reason};
use super::get::meta;
use super::path::{Place, directory, join, places, token};
use crate::{ListPage, ListRequest, StoreErrorKind, StoreResult, Unrepresentable};

/// Bytes of directory entries read at once, kept for each directory on the way down.
const BATCH: usize = 8 << 10;

/// A directory on the way down.
struct Frame {
    place: Place,
    path: String,
    fd: OwnedFd,
    identity: (u64, u64),
    batch: VecDeque<Entry>,
    /// Whether any entry has been seen, in this page or an earlier one.
    used: bool,
}

struct Entry {
    name: Vec<u8>,
    cookie: u64,
}

struct Listing<'a> {
    shared: &'a Shared,
    root: OwnedFd,
    request: &'a ListRequest,
    /// Directories above the first frame; a link to one of them would be a circle.
    above: Vec<(u64, u64)>,
    frames: Vec<Frame>,
    page: ListPage,
}

pub(super) fn list(shared: &Shared, request: &ListRequest) -> StoreResult<ListPage> {
    let root = beneath::root(shared, "list", &request.prefix)?;
    if request.prefix.is_empty() && request.page.is_none() {
        beneath::check_mounted(shared, root.as_fd(), "list", "")?;
    }
    let Some(base) = directory(&request.prefix) else {
        return Ok(ListPage::default());
    };
    let start = match &request.page {
        None => vec![Place { name: String::new(), cookie: 0 }],
        Some(page) => places(page)
            .ok_or_else(|| shared.error("list", &request.prefix, StoreErrorKind::Protocol(format!("page token {:?}", page.0))))?,
    };
    let mut listing = Listing { shared, root, request, above: Vec::new(), frames: Vec::new(), page: ListPage::default() };
    listing.climb(base)?;
    listing.resume(base, start)?;
    listing.run()?;
    Ok(listing.page)
}

impl Listing<'_> {
    fn failed(&self, errno: Errno) -> crate::StoreError {
        failed(self.shared, "list", &self.request.prefix, errno)
    }

    fn report(&mut self, lossy: String, reason: &str) {
        self.page.unrepresentable.push(Unrepresentable { lossy, reason: reason.to_owned() });
    }

    /// Notes which directories lie above the listing's own.
    fn climb(&mut self, base: &str) -> StoreResult<()> {
        let mut ends: Vec<usize> = base.match_indices('/').map(|(index, _)| index).collect();
        if !base.is_empty() {
            ends.insert(0, 0);
        }
        for end in ends {
            match beneath::stat(self.root.as_fd(), &base[..end]) {
                Ok(stat) => self.above.push(identity(&stat)),
                // Opening the directory itself will tell.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Opens the directories where the last page ended; the listing goes on at the deepest that still exists.
    fn resume(&mut self, base: &str, start: Vec<Place>) -> StoreResult<()> {
        let mut path = base.to_owned();
        for (index, place) in start.into_iter().enumerate() {
            if index > 0 {
                path = join(&path, &place.name);
            }
            match self.open(&path, place.clone()) {
                Ok(frame) => self.frames.push(frame),
                Err(errno) => match (kind(errno), reason(errno, false)) {
                    (StoreErrorKind::NotFound, _) => return Ok(()),
                    (_, Some(reason)) if !path.is_empty() => {
                        self.report(format!("{path}/"), reason);
                        return Ok(());
                    }
                    _ => return Err(self.failed(errno)),
                },
            }
        }
        Ok(())
    }

    fn open(&self, path: &str, place: Place) -> Result<Frame, Errno> {
        let fd = beneath::open(self.root.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let identity = identity(&fs::fstat(&fd)?);
        if place.cookie > 0 {
            fs::seek(&fd, SeekFrom::Start(place.cookie))?;
        }
        let used = place.cookie > 0;
        Ok(Frame { place, path: path.to_owned(), fd, identity, batch: VecDeque::new(), used })
    }

    fn run(&mut self) -> StoreResult<()> {
        let mut left = self.shared.config.page_size.max(1);
        while let Some(frame) = self.frames.last_mut() {
            if frame.batch.is_empty() {
                match read_batch(&frame.fd) {
                    Ok(batch) => frame.batch = batch,
                    // Removed while it was listed.
                    Err(Errno::NOENT | Errno::STALE) if !frame.path.is_empty() => frame.used = true,
                    Err(errno) => return Err(self.failed(errno)),
                }
            }
            let Some(entry) = frame.batch.front() else {
                self.leave()?;
                continue;
            };
            if left == 0 {
                let places: Vec<Place> = self.frames.iter().map(|frame| frame.place.clone()).collect();
                self.page.next = Some(token(&places));
                break;
            }
            let (name, cookie) = (entry.name.clone(), entry.cookie);
            frame.batch.pop_front();
            frame.place.cookie = cookie;
            frame.used = true;
            left -= 1;
            self.entry(name)?;
        }
        Ok(())
    }

    /// The end of a directory: an empty one is listed as a marker.
    fn leave(&mut self) -> StoreResult<()> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        if !frame.used && !frame.path.is_empty() {
            let stat = fs::fstat(&frame.fd).map_err(|errno| self.failed(errno))?;
            self.page.objects.push(meta(&format!("{}/", frame.path), &stat));
        }
        Ok(())
    }

    fn entry(&mut self, name: Vec<u8>) -> StoreResult<()> {
        let Some(frame) = self.frames.last() else { return Ok(()) };
        let name = match String::from_utf8(name) {
            Ok(name) => name,
            Err(error) => {
                let lossy = join(&frame.path, &String::from_utf8_lossy(error.as_bytes()));
                self.report(lossy, "the name is not UTF-8");
                return Ok(());
            }
        };
        let path = join(&frame.path, &name);
        let own = match fs::statat(&frame.fd, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(errno) => return self.unreachable(path, errno, false),
        };
        let is_link = file_type(&own) == FileType::Symlink;
        let stat = if is_link { beneath::stat(self.root.as_fd(), &path) } else { Ok(own) };
        match stat {
            Ok(stat) => self.found(name, path, &stat, is_link),
            Err(errno) => self.unreachable(path, errno, is_link),
        }
    }

    fn found(&mut self, name: String, path: String, stat: &Stat, is_link: bool) -> StoreResult<()> {
        match file_type(stat) {
            FileType::RegularFile => self.page.objects.push(meta(&path, stat)),
            FileType::Directory if self.circle(stat) => {
                self.report(path, "a link to a directory that holds it");
            }
            FileType::Directory if !self.request.recursive => self.page.prefixes.push(format!("{path}/")),
            FileType::Directory => match self.open(&path, Place { name, cookie: 0 }) {
                Ok(frame) => self.frames.push(frame),
                Err(errno) => return self.unreachable(path, errno, is_link),
            },
            _ => self.report(path, "a fifo, socket or device"),
        }
        Ok(())
    }

    fn circle(&self, stat: &Stat) -> bool {
        let identity = identity(stat);
        self.above.contains(&identity) || self.frames.iter().any(|frame| frame.identity == identity)
    }

    /// A name that cannot be followed: reported, ignored when it is gone, or the end when the file system fails.
    fn unreachable(&mut self, path: String, errno: Errno, is_link: bool) -> StoreResult<()> {
        match reason(errno, is_link) {
            Some(reason) => self.report(path, reason),
            None if kind(errno) == StoreErrorKind::NotFound => {}
            None => return Err(self.failed(errno)),
        }
        Ok(())
    }
}

/// The next entries of a directory, empty at its end.
fn read_batch(fd: &OwnedFd) -> Result<VecDeque<Entry>, Errno> {
    let mut space = [MaybeUninit::<u8>::uninit(); BATCH];
    let mut raw = RawDir::new(fd, &mut space);
    let mut batch = VecDeque::new();
    while let Some(entry) = raw.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            batch.push_back(Entry { name: entry.file_name().to_bytes().to_vec(), cookie: entry.next_entry_cookie() });
        }
        // The next call would read on from the kernel. An answer of `.` and `..` alone is no end.
        if raw.is_buffer_empty() && !batch.is_empty() {
            break;
        }
    }
    Ok(batch)
}
