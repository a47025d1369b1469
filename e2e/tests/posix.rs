//! The mount behaves as a read-only file system should.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use rustix::fs::{SeekFrom, seek};

use crate::support::Site;

#[test]
fn attributes_links_and_directories() {
    let site = Site::new().with_files(&[("a", 10), ("d/one", 1), ("d/two", 2), ("d/e/three", 3)]);
    let agent =
        site.start(&site.manifest("posix", "1Gi").with("owner: {uid: 1234, gid: 77, fileMode: \"0440\", dirMode: \"0550\"}"));
    let root = agent.root();
    let (file, dir) = (fs::metadata(root.join("a")).unwrap(), fs::metadata(root.join("d")).unwrap());
    assert_eq!((file.len(), file.uid(), file.gid(), file.permissions().mode()), (10, 1234, 77, 0o100_440));
    assert_eq!((dir.permissions().mode(), dir.nlink()), (0o040_550, 3), "two and one for each directory in it");
    assert_eq!(file.nlink(), 1);
    assert!(file.modified().unwrap().elapsed().unwrap().as_secs() < 3600);
    assert!(file.blocks() * 512 >= file.len());
    let mut names: Vec<_> =
        fs::read_dir(root.join("d")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["e", "one", "two"]);
    assert_eq!(fs::read(root.join("absent")).unwrap_err().raw_os_error(), Some(2));
    assert_eq!(fs::read(root.join("a/below")).unwrap_err().raw_os_error(), Some(20));
    let stat = rustix::fs::statvfs(&root).unwrap();
    assert!(stat.f_blocks * stat.f_frsize >= 16 && stat.f_files >= 4, "{} {}", stat.f_blocks, stat.f_files);
}

#[test]
fn nothing_can_be_written() {
    let site = Site::new().with_files(&[("a", 10), ("d/b", 1)]);
    let agent = site.start(&site.manifest("posix", "1Gi").with("owner: {fileMode: \"0644\", dirMode: \"0755\"}"));
    let root = agent.root();
    let errno = |outcome: std::io::Result<()>| outcome.unwrap_err().raw_os_error();
    for (what, outcome) in [
        ("create", fs::write(root.join("new"), b"x")),
        ("overwrite", fs::write(root.join("a"), b"x")),
        ("mkdir", fs::create_dir(root.join("new"))),
        ("unlink", fs::remove_file(root.join("a"))),
        ("rmdir", fs::remove_dir(root.join("d"))),
        ("rename", fs::rename(root.join("a"), root.join("c"))),
        ("chmod", fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o600))),
        ("symlink", std::os::unix::fs::symlink("a", root.join("l"))),
        ("link", fs::hard_link(root.join("a"), root.join("l"))),
    ] {
        assert_eq!(errno(outcome), Some(30), "{what} (EROFS)");
    }
}

#[test]
fn seeks_ends_and_memory_maps() {
    let site = Site::new().with_files(&[("a", (2 << 20) + 100), ("empty", 0)]);
    let agent = site.start(&site.manifest("posix", "1Gi"));
    let source = site.bytes("a");
    assert_eq!(fs::read(agent.root().join("empty")).unwrap(), b"");
    let file = fs::File::open(agent.root().join("a")).unwrap();
    let mut buffer = [0; 200];
    assert_eq!(file.read_at(&mut buffer, (2 << 20) + 50).unwrap(), 50, "a read over the end is short");
    assert_eq!(file.read_at(&mut buffer, 5 << 20).unwrap(), 0);
    assert_eq!(seek(&file, SeekFrom::Data(0)).unwrap(), 0, "no false holes");
    assert_eq!(seek(&file, SeekFrom::Hole(0)).unwrap(), source.len() as u64);

    let length = source.len();
    // SAFETY: a fresh private read-only mapping of a file that nobody can truncate: the tree is read-only.
    let mapped = unsafe {
        rustix::mm::mmap(std::ptr::null_mut(), length, rustix::mm::ProtFlags::READ, rustix::mm::MapFlags::PRIVATE, &file, 0)
    }
    .unwrap();
    // SAFETY: the mapping is `length` bytes long and lives until the munmap below.
    let equal = unsafe { std::slice::from_raw_parts(mapped.cast::<u8>(), length) } == source;
    // SAFETY: exactly the mapping made above, to which no reference is left.
    unsafe { rustix::mm::munmap(mapped, length) }.unwrap();
    assert!(equal);
}

#[test]
fn a_directory_of_five_thousand_files_lists_whole() {
    let site = Site::new();
    let names: Vec<String> = (0..5_000).map(|n| format!("big/file-{n:05}")).collect();
    let site = site.with_files(&names.iter().map(|n| (n.as_str(), 0)).collect::<Vec<_>>());
    let agent = site.start(&site.manifest("posix", "1Gi"));
    let mut found: Vec<_> =
        fs::read_dir(agent.root().join("big")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found.len(), names.len());
    assert!(found.iter().zip(&names).all(|(f, n)| n.ends_with(f.as_str())));
}
