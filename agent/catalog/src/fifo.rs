use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::CatalogError;
use crate::error::IoContext;

/// Bytes buffered on each side.
const BUFFER: usize = 32 << 10;

/// A queue of (index, bytes) through an anonymous file: the directories of one depth wait here for their children.
pub(crate) struct Fifo {
    file: File,
    dir: PathBuf,
    tail: Vec<u8>,
    written: u64,
    head: Vec<u8>,
    at: usize,
    read: u64,
}

impl Fifo {
    pub(crate) fn new(dir: &Path) -> Result<Self, CatalogError> {
        let file = tempfile::tempfile_in(dir).during("create a queue in", dir)?;
        Ok(Self { file, dir: dir.to_owned(), tail: Vec::new(), written: 0, head: Vec::new(), at: 0, read: 0 })
    }

    /// Appends an element; `bytes` has at most 65,535 bytes.
    pub(crate) fn push(&mut self, index: u32, bytes: &[u8]) -> Result<(), CatalogError> {
        self.tail.extend_from_slice(&index.to_le_bytes());
        self.tail.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.tail.extend_from_slice(bytes);
        if self.tail.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Takes the oldest element's bytes into `bytes`; `None` when the queue is empty.
    pub(crate) fn pop(&mut self, bytes: &mut Vec<u8>) -> Result<Option<u32>, CatalogError> {
        if !self.fill(6)? {
            return Ok(None);
        }
        let index = u32::from_le_bytes([0, 1, 2, 3].map(|i| self.head[self.at + i]));
        let len = usize::from(u16::from_le_bytes([4, 5].map(|i| self.head[self.at + i])));
        self.at += 6;
        bytes.clear();
        if !self.fill(len)? {
            return Ok(None);
        }
        bytes.extend_from_slice(&self.head[self.at..self.at + len]);
        self.at += len;
        Ok(Some(index))
    }

    /// Makes `len` unread bytes available in `head`; `false` if nothing is left.
    fn fill(&mut self, len: usize) -> Result<bool, CatalogError> {
        if self.head.len() - self.at >= len {
            return Ok(true);
        }
        self.head.drain(..self.at);
        self.at = 0;
        if self.read == self.written && !self.tail.is_empty() {
            self.flush()?;
        }
        let have = self.head.len();
        let left = usize::try_from(self.written - self.read).unwrap_or(usize::MAX);
        let take = left.min(BUFFER.max(len) - have);
        self.head.resize(have + take, 0);
        self.file.read_exact_at(&mut self.head[have..], self.read).during("read a queue in", &self.dir)?;
        self.read += take as u64;
        // Elements are flushed whole, so a part of one in `head` has its rest in the file.
        Ok(self.head.len() >= len)
    }

    fn flush(&mut self) -> Result<(), CatalogError> {
        self.file.write_all_at(&self.tail, self.written).during("write a queue in", &self.dir)?;
        self.written += self.tail.len() as u64;
        self.tail.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn behaves_as_a_queue_across_its_buffers() {
        let dir = tempfile::tempdir().unwrap();
        let mut fifo = Fifo::new(dir.path()).unwrap();
        let mut model = VecDeque::new();
        let mut out = Vec::new();
        let mut state = 1u64;
        for n in 0..40_000u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bytes = vec![n.to_le_bytes()[0]; usize::try_from(state >> 56).unwrap() % 41];
            // Long phases of mostly filling and mostly draining, so that both ends cross the file.
            if (state >> 40) % 10 < if n / 8000 % 2 == 0 { 8 } else { 2 } {
                fifo.push(n, &bytes).unwrap();
                model.push_back((n, bytes));
            } else {
                let got = fifo.pop(&mut out).unwrap().map(|i| (i, out.clone()));
                assert_eq!(got, model.pop_front());
            }
        }
        while let Some(expected) = model.pop_front() {
            assert_eq!(fifo.pop(&mut out).unwrap().map(|i| (i, out.clone())), Some(expected));
        }
        assert_eq!(fifo.pop(&mut out).unwrap(), None);
    }
}
