#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ROOT_INO;
use crate::failing::{FailingTree, Fault, Operation};
use crate::memory::{Contents, MemoryTree};

const LONG: Duration = Duration::from_secs(3600);

fn sample() -> FileSystem<MemoryTree> {
    let contents = Contents::new().file("a.txt", "hello", 1_500).file("d/b", vec![7; 5000], -1).file("d/e/c", "", 0).dir("empty");
    FileSystem::new(Arc::new(MemoryTree::new(&contents, LONG)), Owner::default())
}

fn ino<T: Tree>(fs: &FileSystem<T>, path: &str) -> u64 {
    path.split('/').filter(|part| !part.is_empty()).fold(ROOT_INO, |at, name| match fs.lookup(at, name.as_bytes()).unwrap() {
        Entry::Present { attributes, .. } => attributes.ino,
        Entry::Absent { .. } => panic!("{path}: no {name}"),
    })
}

fn open<T: Tree>(fs: &FileSystem<T>, path: &str) -> Handle {
    fs.try_open(ino(fs, path), libc::O_RDONLY).unwrap().unwrap().handle
}

fn names<T: Tree>(fs: &FileSystem<T>, dir: u64, offset: u64) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    fs.read_dir(dir, offset, &mut |line| {
        found.push((String::from_utf8_lossy(line.name).into_owned(), line.next));
        true
    })
    .unwrap();
    found
}

#[test]
fn nodes_are_shown_by_path() {
    let fs = sample();
    for (path, kind, size, links) in [
        ("", NodeKind::Dir, 0, 4),
        ("a.txt", NodeKind::File, 5, 1),
        ("d", NodeKind::Dir, 0, 3),
        ("d/b", NodeKind::File, 5000, 1),
        ("d/e", NodeKind::Dir, 0, 2),
        ("d/e/c", NodeKind::File, 0, 1),
        ("empty", NodeKind::Dir, 0, 2),
    ] {
        let shown = fs.getattr(ino(&fs, path), None).unwrap();
        assert_eq!((shown.kind, shown.size, shown.links), (kind, size, links), "{path}");
    }
    assert_eq!(fs.getattr(ino(&fs, "a.txt"), None).unwrap().mtime_ns, 1_500);
}

#[test]
fn looking_up_tells_absent_from_failed() {
    let fs = sample();
    let (root, file, dir) = (ROOT_INO, ino(&fs, "a.txt"), ino(&fs, "d/e"));
    assert_eq!(fs.lookup(root, b"nothing"), Ok(Entry::Absent { validity: LONG }));
    assert_eq!(fs.lookup(file, b"x"), Err(FsError::NotADirectory));
    assert_eq!(fs.lookup(999, b"x"), Err(FsError::NotFound));
    assert_eq!(fs.lookup(root, &[b'n'; 255]), Ok(Entry::Absent { validity: LONG }));
    assert_eq!(fs.lookup(root, &[b'n'; 256]), Err(FsError::NameTooLong));
    for (at, name, expect) in
        [(root, ".", root), (root, "..", root), (dir, ".", dir), (dir, "..", ino(&fs, "d")), (file, ".", file)]
    {
        match fs.lookup(at, name.as_bytes()) {
            Ok(Entry::Present { attributes, validity }) => assert_eq!((attributes.ino, validity), (expect, LONG)),
            other => panic!("{name} in {at}: {other:?}"),
        }
    }
}

#[test]
fn validity_is_capped() {
    let fs = FileSystem::new(Arc::new(MemoryTree::new(&Contents::new(), Duration::MAX)), Owner::default());
    assert_eq!(fs.lookup(ROOT_INO, b"x"), Ok(Entry::Absent { validity: MAX_VALIDITY }));
}

#[test]
fn open_refuses_whatever_could_write() {
    let fs = sample();
    let file = ino(&fs, "a.txt");
    for (flags, may) in [
        (libc::O_RDONLY, true),
        (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_DIRECT | libc::O_APPEND | libc::O_CREAT, true),
        (libc::O_WRONLY, false),
        (libc::O_RDWR, false),
        (libc::O_ACCMODE, false),
        (libc::O_RDONLY | libc::O_TRUNC, false),
        (libc::O_WRONLY | libc::O_APPEND, false),
    ] {
        let answer = fs.try_open(file, flags).unwrap();
        assert_eq!(answer.is_ok(), may, "{flags:#x}");
        if let Err(error) = answer {
            assert_eq!(error, FsError::ReadOnly);
        }
    }
    assert_eq!(fs.try_open(ino(&fs, "d"), libc::O_RDONLY), Some(Err(FsError::IsADirectory)));
    assert_eq!(fs.try_open(12345, libc::O_RDONLY), Some(Err(FsError::NotFound)));
    assert_eq!(fs.open_dir(file), Err(FsError::NotADirectory));
    assert_eq!(fs.open_dir(ROOT_INO), Ok(()));
}

#[test]
fn seeks_know_one_piece_of_data_and_the_hole_at_its_end() {
    let fs = sample();
    let (file, empty) = (open(&fs, "d/b"), open(&fs, "d/e/c"));
    for (handle, offset, whence, expect) in [
        (file, 0, libc::SEEK_DATA, Ok(0)),
        (file, 4999, libc::SEEK_DATA, Ok(4999)),
        (file, 5000, libc::SEEK_DATA, Err(FsError::NoSuchOffset)),
        (file, 0, libc::SEEK_HOLE, Ok(5000)),
        (file, 4999, libc::SEEK_HOLE, Ok(5000)),
        (file, 5000, libc::SEEK_HOLE, Err(FsError::NoSuchOffset)),
        (file, -1, libc::SEEK_DATA, Err(FsError::NoSuchOffset)),
        (file, i64::MAX, libc::SEEK_HOLE, Err(FsError::NoSuchOffset)),
        (empty, 0, libc::SEEK_DATA, Err(FsError::NoSuchOffset)),
        (empty, 0, libc::SEEK_HOLE, Err(FsError::NoSuchOffset)),
        (file, 0, libc::SEEK_SET, Err(FsError::InvalidArgument)),
        (Handle(u64::MAX), 0, libc::SEEK_DATA, Err(FsError::InvalidHandle)),
    ] {
        assert_eq!(fs.seek(handle, offset, whence), expect, "{handle:?} {offset} {whence}");
    }
}

#[test]
fn extended_attributes_fit_or_say_so() {
    let fs = sample();
    let file = ino(&fs, "a.txt");
    assert_eq!(fs.xattr_names(file).unwrap(), b"user.forebay.ino\0");
    assert_eq!(fs.xattr(file, b"user.forebay.ino").unwrap(), file.to_string().into_bytes());
    assert_eq!(fs.xattr(file, b"security.selinux"), Err(FsError::NoAttribute));
    assert_eq!(fs.xattr(4711, b"user.forebay.ino"), Err(FsError::NotFound));
    for (room, expect) in [
        (0, Ok((3, None))),
        (2, Err(FsError::BufferTooSmall)),
        (3, Ok((3, Some(b"abc".to_vec())))),
        (100, Ok((3, Some(b"abc".to_vec())))),
    ] {
        assert_eq!(fit_xattr(b"abc".to_vec(), room), expect);
    }
}

#[test]
fn an_open_file_keeps_its_version() {
    let fs = sample();
    let before = ino(&fs, "a.txt");
    let handle = open(&fs, "a.txt");
    fs.tree().replace(&Contents::new().file("a.txt", "changed!", 9_000));
    let after = ino(&fs, "a.txt");
    assert_ne!(before, after);
    let mut buf = [0; 16];
    assert_eq!(fs.try_read(handle, 0, &mut buf), Some(Ok(5)));
    assert_eq!(&buf[..5], b"hello");
    assert_eq!(fs.getattr(after, Some(handle)).unwrap().size, 5);
    assert_eq!(fs.getattr(before, None).unwrap().size, 5);
    assert_eq!(fs.getattr(after, None).unwrap().size, 8);
    assert_eq!(fs.statfs().files, 1);
    assert_eq!(ino(&fs, ""), ROOT_INO);
}

#[test]
fn a_failing_tree_is_never_taken_for_an_empty_one() {
    let inner = Arc::new(MemoryTree::new(&Contents::new().file("a", "x", 0), LONG));
    let fs = FileSystem::new(Arc::new(FailingTree::new(inner)), Owner::default());
    let io = FsError::Io { message: "Dataset t, mount /, object a: connection refused".to_owned() };
    let file = ino(&fs, "a");
    let handle = open(&fs, "a");
    for operation in [Operation::Node, Operation::Lookup, Operation::ReadDir, Operation::Open, Operation::Read] {
        fs.tree().inject(operation, None, Fault::Error(io.clone()));
    }
    assert_eq!(fs.getattr(file, None), Err(io.clone()));
    assert_eq!(fs.lookup(ROOT_INO, b"a"), Err(io.clone()));
    assert_eq!(fs.lookup(ROOT_INO, b"missing"), Err(io.clone()));
    assert_eq!(fs.read_dir(ROOT_INO, 2, &mut |_| true), Err(io.clone()));
    assert_eq!(fs.try_open(file, libc::O_RDONLY), Some(Err(io.clone())));
    assert_eq!(fs.try_read(handle, 0, &mut [0; 4]), Some(Err(io)));
    fs.tree().heal();
    assert_eq!(fs.lookup(ROOT_INO, b"missing"), Ok(Entry::Absent { validity: LONG }));
}

#[test]
fn dot_and_dot_dot_come_first() {
    let fs = sample();
    let listed: Vec<_> = names(&fs, ino(&fs, "d"), 0).into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed, [".", "..", "b", "e"]);
    assert_eq!(fs.read_dir(ino(&fs, "a.txt"), 0, &mut |_| true), Err(FsError::NotADirectory));
    assert_eq!(fs.read_dir(ino(&fs, "a.txt"), 1, &mut |_| true), Err(FsError::NotADirectory));
    assert_eq!(fs.read_dir(ino(&fs, "a.txt"), 2, &mut |_| true), Err(FsError::NotADirectory));
    for past in [7, 1 << 40, u64::MAX] {
        assert_eq!(names(&fs, ino(&fs, "d"), past), [], "{past}");
    }
}

proptest! {
    /// However a listing is cut into pieces - by buffers of any size, or resumed at any line - it is the same listing.
    #[test]
    fn a_listing_in_pieces_is_the_listing(
        files in proptest::collection::btree_set("[a-e]{1,3}", 0..60),
        rooms in proptest::collection::vec(1usize..9, 1..20),
    ) {
        let contents = files.iter().fold(Contents::new(), |all, name| all.file(name, name.clone(), 0));
        let fs = FileSystem::new(Arc::new(MemoryTree::new(&contents, LONG)), Owner::default());
        let whole = names(&fs, ROOT_INO, 0);
        let expect: Vec<_> = [".", ".."].into_iter().map(str::to_owned).chain(files).collect();
        prop_assert_eq!(whole.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), expect);
        for (at, (_, next)) in whole.iter().enumerate() {
            prop_assert_eq!(&names(&fs, ROOT_INO, *next), &whole[at + 1..]);
            prop_assert!(*next > 0 && *next <= i64::MAX as u64);
        }
        let (mut pieces, mut offset, mut turn) = (Vec::new(), 0, 0);
        loop {
            let room = rooms[turn % rooms.len()];
            let mut taken = 0;
            fs.read_dir(ROOT_INO, offset, &mut |line| {
                if taken == room {
                    return false;
                }
                taken += 1;
                pieces.push((String::from_utf8_lossy(line.name).into_owned(), line.next));
                true
            }).unwrap();
            if taken == 0 {
                break;
            }
            offset = pieces.last().unwrap().1;
            turn += 1;
        }
        prop_assert_eq!(pieces, whole);
    }

    /// The file system against a plain map: every path, size and byte range, and nothing else.
    #[test]
    fn the_tree_is_the_map(
        files in proptest::collection::btree_map("[ab]{1,2}(/[cd]{1,2}){0,2}", proptest::collection::vec(any::<u8>(), 0..40), 0..20),
        probes in proptest::collection::vec(("[ab]{1,2}(/[cd]{1,2}){0,2}", 0u64..50, 0usize..50), 20),
    ) {
        // A path that is both a file and a directory on the way to another is the catalog's business, not the tree's.
        let model: BTreeMap<_, _> = files.iter()
            .filter(|(path, _)| !files.keys().any(|other| other.starts_with(&format!("{path}/"))))
            .map(|(path, content)| (path.clone(), content.clone())).collect();
        let contents = model.iter().fold(Contents::new(), |all, (path, content)| all.file(path, content.clone(), 0));
        let fs = FileSystem::new(Arc::new(MemoryTree::new(&contents, LONG)), Owner::default());
        let walk = |path: &str| path.split('/').try_fold(ROOT_INO, |at, name| match fs.lookup(at, name.as_bytes()) {
            Ok(Entry::Present { attributes, .. }) => Some(attributes.ino),
            Ok(Entry::Absent { .. }) | Err(_) => None,
        });
        for (path, offset, len) in probes {
            let is_dir = model.keys().any(|other| other.starts_with(&format!("{path}/")));
            match (walk(&path), model.get(&path)) {
                (Some(ino), Some(content)) => {
                    let handle = fs.try_open(ino, 0).unwrap().unwrap().handle;
                    let mut buf = vec![0; len];
                    let got = fs.try_read(handle, offset, &mut buf).unwrap().unwrap();
                    let start = content.len().min(usize::try_from(offset).unwrap());
                    prop_assert_eq!(&buf[..got], &content[start..content.len().min(start + len)]);
                    prop_assert_eq!(fs.getattr(ino, None).unwrap().size, content.len() as u64);
                }
                (Some(ino), None) => prop_assert!(is_dir && fs.open_dir(ino).is_ok(), "{}", path),
                (None, known) => prop_assert!(known.is_none() && !is_dir, "{}", path),
            }
        }
        prop_assert_eq!(fs.statfs().files, model.len() as u64);
    }
}
