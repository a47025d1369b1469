use std::ops::Range;

use crate::{Catalog, Entry};

/// Entries of one directory; see [`Catalog::children`].
#[derive(Clone, Debug)]
pub struct Children<'a> {
    catalog: &'a Catalog,
    directory: u32,
    left: Range<u32>,
}

impl<'a> Children<'a> {
    pub(crate) fn new(catalog: &'a Catalog, directory: u32, from: u32) -> Self {
        let all = catalog.entry(directory).map_or(0..0, |entry| entry.child_range());
        Self { catalog, directory, left: all.start.saturating_add(from).min(all.end)..all.end }
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let child = self.catalog.entry(self.left.next()?).filter(|child| child.parent() == self.directory);
        if child.is_none() {
            self.left = 0..0;
        }
        child
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left.len()))
    }
}

/// Files of a subtree in tree order; see [`Catalog::walk`].
///
/// Goes from entry to entry by their indexes alone. An entry is entered only from the directory that it names as its
/// parent, so that even in a file made to deceive each is visited at most once.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    catalog: &'a Catalog,
    top: u32,
    next: Option<Entry<'a>>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(catalog: &'a Catalog, top: Option<Entry<'a>>) -> Self {
        Self { catalog, top: top.map_or(0, |entry| entry.index()), next: top }
    }

    fn child(&self, index: u32, directory: u32) -> Option<Entry<'a>> {
        self.catalog.entry(index).filter(|child| child.parent() == directory)
    }

    fn after(&self, entry: Entry<'a>) -> Option<Entry<'a>> {
        let below = entry.child_range();
        if let Some(first) = below.clone().next()
            && let Some(child) = self.child(first, entry.index())
        {
            return Some(child);
        }
        let mut at = entry;
        while at.index() != self.top {
            let parent = self.catalog.entry(at.parent())?;
            let siblings = parent.child_range();
            let next = at.index() + 1;
            if siblings.contains(&next)
                && let Some(sibling) = self.child(next, parent.index())
            {
                return Some(sibling);
            }
            at = parent;
        }
        None
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let entry = self.next.take()?;
            self.next = self.after(entry);
            if !entry.is_dir() {
                return Some(entry);
            }
        }
    }
}
