//! The passes: measure, write inodes, write the blocks of directories. Each goes through the tree from the root on.

use std::io::Write;

use crate::directory::{Dots, Page};
use crate::format::{BLOCK, CHUNK_BITS, Dirent, HOLE, Inode, Layout, META_BLOCK, Superblock, holes_len, redirect};
use crate::layout::{Cursor, Placed};
use crate::{Kind, Source, WriteError};

const DIRECTORY: u16 = 0o040_000;
const REGULAR: u16 = 0o100_000;

/// What an image says of all its entries and of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// User id of every entry.
    pub uid: u32,
    /// Group id of every entry.
    pub gid: u32,
    /// Permission bits of files.
    pub file_mode: u16,
    /// Permission bits of directories.
    pub dir_mode: u16,
    /// Bytes that `df` shows, in steps of [`BLOCK`]; the format ends at 16 TiB, where more is shown as that.
    pub total_bytes: u64,
    /// The file system's id, to tell two images from each other.
    pub uuid: [u8; 16],
}

/// An image that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its length in bytes.
    pub bytes: u64,
    /// Number of its inodes.
    pub inodes: u32,
}

/// Writes the image of `source` to `out`, from its first byte to its last.
///
/// Memory does not grow with the tree. Reads each entry about a dozen times.
///
/// # Errors
/// [`WriteError`]; `out` then holds the beginning of an image at most.
pub fn write<S: Source>(source: &S, options: &Options, out: &mut impl Write) -> Result<Written, WriteError> {
    let mut measure = Cursor::new(source);
    while measure.next()?.is_some() {}
    let inode_area = measure.end().next_multiple_of(BLOCK as u64);
    let first_block = u64::from(META_BLOCK) + inode_area / BLOCK as u64;
    let end = first_block + measure.blocks();
    u32::try_from(end).map_err(|_| WriteError::TooLarge)?;

    let blocks = u32::try_from(options.total_bytes.div_ceil(BLOCK as u64)).unwrap_or(u32::MAX);
    let superblock = Superblock { inodes: u64::from(source.len()), blocks, uuid: options.uuid };
    out.write_all(&superblock.encode())?;

    let mut inodes = Inodes { source, options, first_block, out, at: 0 };
    let mut names = Names::new(source);
    let mut tail = Vec::new();
    while let Some(placed) = names.next()? {
        let subdirectories = match placed.is_directory() {
            true => names.of(&placed, &mut tail, |_| Ok(()))?,
            false => 0,
        };
        inodes.write(&placed, subdirectories, &tail)?;
    }
    inodes.pad_to(inode_area)?;

    let mut names = Names::new(source);
    while let Some(placed) = names.next()? {
        if placed.is_directory() {
            names.of(&placed, &mut tail, |block| write_block(out, block))?;
            if !placed.packing.is_inline() {
                write_block(out, &tail)?;
            }
        }
    }
    out.flush()?;
    Ok(Written { bytes: end * BLOCK as u64, inodes: source.len() })
}

fn write_block(out: &mut impl Write, block: &[u8]) -> Result<(), WriteError> {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    out.write_all(block)?;
    Ok(out.write_all(&ZEROS[block.len()..])?)
}

/// The inode area while it is written.
struct Inodes<'a, S, W> {
    source: &'a S,
    options: &'a Options,
    /// The first block behind the area.
    first_block: u64,
    out: &'a mut W,
    /// Bytes of the area written so far.
    at: u64,
}

impl<S: Source, W: Write> Inodes<'_, S, W> {
    fn write(&mut self, placed: &Placed<'_>, subdirectories: u32, tail: &[u8]) -> Result<(), WriteError> {
        self.pad_to(placed.at)?;
        let options = self.options;
        #[expect(clippy::cast_possible_truncation, reason = "the field has 32 bits and no reader")]
        let number = placed.nid() as u32;
        let mut inode = Inode {
            layout: Layout::Plain { block: 0 },
            mode: REGULAR | options.file_mode & 0o777,
            size: 0,
            xattr_len: 0,
            number,
            uid: options.uid,
            gid: options.gid,
            mtime_ns: placed.entry.mtime_ns,
            links: 1,
        };
        match placed.entry.kind {
            Kind::Directory { .. } => {
                let block = u32::try_from(self.first_block + placed.block).map_err(|_| WriteError::TooLarge)?;
                let inline = placed.packing.is_inline();
                inode.layout = if inline { Layout::Inline { block } } else { Layout::Plain { block } };
                inode.mode = DIRECTORY | options.dir_mode & 0o777;
                inode.size = placed.packing.size();
                inode.links = subdirectories.saturating_add(2);
                self.put(&inode.encode())?;
                if inline { self.put(tail) } else { Ok(()) }
            }
            Kind::File { size: 0 } => self.put(&inode.encode()),
            Kind::File { size } => {
                let index = placed.index;
                let xattrs = redirect(&self.source.object(index).ok_or(WriteError::Missing { index })?);
                inode.layout = Layout::Chunks { bits: CHUNK_BITS };
                inode.size = size;
                inode.xattr_len = xattrs.len();
                self.put(&inode.encode())?;
                self.put(&xattrs)?;
                self.repeat(HOLE, holes_len(size) as u64)
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn pad_to(&mut self, at: u64) -> Result<(), WriteError> {
        self.repeat(0, at.saturating_sub(self.at))
    }

    fn repeat(&mut self, byte: u8, times: u64) -> Result<(), WriteError> {
        let some = [byte; 256];
        let mut left = times;
        while left > 0 {
            let part = left.min(some.len() as u64);
            #[expect(clippy::cast_possible_truncation, reason = "at most the length of a small array")]
            self.put(&some[..part as usize])?;
            left -= part;
        }
        Ok(())
    }
}

/// Goes through the tree with three cursors: at an entry, at its children, which lie ahead, and at its parent, which lies behind.
/// In breadth-first order each of them only ever moves forward.
struct Names<'a, S> {
    entry: Cursor<'a, S>,
    child: Cursor<'a, S>,
    above: Cursor<'a, S>,
    parent: Option<Placed<'a>>,
    page: Page,
    block: Vec<u8>,
}

impl<'a, S: Source> Names<'a, S> {
    fn new(source: &'a S) -> Self {
        let cursor = || Cursor::new(source);
        let mut child = cursor();
        // The root is nobody's child; whether it is readable the entry cursor finds out.
        let _ = child.next();
        Self { entry: cursor(), child, above: cursor(), parent: None, page: Page::default(), block: Vec::new() }
    }

    fn next(&mut self) -> Result<Option<Placed<'a>>, WriteError> {
        self.entry.next()
    }

    /// Packs the names of `directory`, calls `full` with each block but the last, and leaves that in `tail`. Answers the number of
    /// directories inside.
    fn of(
        &mut self,
        directory: &Placed<'a>,
        tail: &mut Vec<u8>,
        mut full: impl FnMut(&[u8]) -> Result<(), WriteError>,
    ) -> Result<u32, WriteError> {
        let own = directory.nid();
        let parent = self.parent_of(directory.index, own)?;
        let dot = |name: &[u8]| Dirent { nid: if name == b"." { own } else { parent }, directory: true };
        let (mut packing, mut dots, mut subdirectories) = (crate::directory::Packing::default(), Dots::default(), 0);
        let (page, block) = (&mut self.page, &mut self.block);
        let mut add = |name: &[u8], dirent| {
            if packing.add(name) {
                page.take(block);
                full(block)?;
            }
            page.add(name, dirent);
            Ok::<(), WriteError>(())
        };
        for index in directory.children.clone() {
            let child = self.child.next()?.ok_or(WriteError::Missing { index })?;
            while let Some(name) = dots.before(Some(child.entry.name)) {
                add(name, dot(name))?;
            }
            subdirectories += u32::from(child.is_directory());
            add(child.entry.name, Dirent { nid: child.nid(), directory: child.is_directory() })?;
        }
        while let Some(name) = dots.before(None) {
            add(name, dot(name))?;
        }
        self.page.take(tail);
        Ok(subdirectories)
    }

    /// Inode number of the directory that holds `index`; the root's is its own.
    fn parent_of(&mut self, index: u32, own: u64) -> Result<u64, WriteError> {
        if index == 0 {
            return Ok(own);
        }
        loop {
            if let Some(parent) = self.parent.as_ref().filter(|parent| parent.children.contains(&index)) {
                return Ok(parent.nid());
            }
            self.parent = Some(self.above.next()?.ok_or(WriteError::Missing { index })?);
        }
    }
}
