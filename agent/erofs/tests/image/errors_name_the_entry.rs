use std::io;

use forebay_erofs::{Entry, Kind, Source, WriteError, write};

use crate::image::OPTIONS;

/// A source that says what it is told, however wrong.
struct Told(Vec<(&'static [u8], Kind)>);

impl Source for Told {
    fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap()
    }
    fn entry(&self, index: u32) -> Option<Entry<'_>> {
        let (name, kind) = self.0[index as usize];
        (name != b"missing").then_some(Entry { name, mtime_ns: 0, kind })
    }
    fn object(&self, index: u32) -> Option<[u8; 32]> {
        (self.0[index as usize].0 != b"nameless").then_some([0; 32])
    }
}

const FILE: Kind = Kind::File { size: 1 };

fn root_of(names: &[&'static [u8]]) -> Told {
    let root = (b"".as_slice(), Kind::Directory { children: u32::try_from(names.len()).unwrap() });
    Told([root].into_iter().chain(names.iter().map(|name| (*name, FILE))).collect())
}

fn error(source: &Told) -> WriteError {
    write(source, &OPTIONS, &mut io::sink()).expect_err("this is no tree")
}

#[test]
fn names_that_no_directory_can_hold() {
    let long: &'static [u8] = Box::leak(vec![b'x'; 256].into_boxed_slice());
    let bad: [&[u8]; 6] = [b"", b".", b"..", b"a/b", b"a\0", long];
    for name in bad {
        assert!(matches!(error(&root_of(&[name])), WriteError::Name { index: 1, .. }), "{name:?}");
    }
    assert!(matches!(error(&root_of(&[b"a", b"c", b"b"])), WriteError::Name { index: 3, .. }));
    assert!(matches!(error(&root_of(&[b"a", b"a"])), WriteError::Name { index: 2, .. }));
}

#[test]
fn a_source_that_is_damaged() {
    assert!(matches!(error(&root_of(&[b"a", b"missing"])), WriteError::Missing { index: 2 }));
    assert!(matches!(error(&root_of(&[b"nameless"])), WriteError::Missing { index: 1 }));
    let mut few = root_of(&[b"a"]);
    few.0[0].1 = Kind::Directory { children: 2 };
    assert!(matches!(error(&few), WriteError::Count { counted: 3, given: 2 }));
    few.0[0].1 = Kind::Directory { children: 0 };
    assert!(matches!(error(&few), WriteError::Count { counted: 1, given: 2 }));
    few.0[0].1 = Kind::Directory { children: u32::MAX };
    assert!(matches!(error(&few), WriteError::Count { .. }));
    assert!(matches!(error(&Told(Vec::new())), WriteError::Count { counted: 1, given: 0 }));
}

#[test]
fn a_file_that_no_file_system_can_hold() {
    let mut source = root_of(&[b"a"]);
    source.0[1].1 = Kind::File { size: 1 << 63 };
    assert!(matches!(error(&source), WriteError::Size { index: 1, .. }));
}

#[test]
fn a_sink_that_is_full() {
    let mut small = [0; 5_000];
    let mut sink = small.as_mut_slice();
    let error = write(&root_of(&[b"a"]), &OPTIONS, &mut sink).expect_err("it does not fit");
    assert!(matches!(error, WriteError::Io(_)));
}
