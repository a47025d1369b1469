use super::*;

fn node(kind: NodeKind, size: u64, subdirectories: u32) -> Node {
    Node { ino: 7, kind, size, mtime_ns: -1, subdirectories }
}

#[test]
fn attributes_follow_the_node_and_the_owner() {
    let owner = Owner { uid: 5, gid: 6, file_mode: 0o640, dir_mode: 0o750 };
    for (node, mode, links, size, blocks) in [
        (node(NodeKind::File, 0, 0), 0o640, 1, 0, 0),
        (node(NodeKind::File, 1, 0), 0o640, 1, 1, 1),
        (node(NodeKind::File, 512, 0), 0o640, 1, 512, 1),
        (node(NodeKind::File, 513, 0), 0o640, 1, 513, 2),
        (node(NodeKind::Dir, 0, 0), 0o750, 2, 0, 0),
        (node(NodeKind::Dir, 0, 3), 0o750, 5, 0, 0),
        (node(NodeKind::Dir, 0, u32::MAX), 0o750, u32::MAX, 0, 0),
    ] {
        let shown = Attributes::of(&node, &owner);
        assert_eq!((shown.mode, shown.links, shown.size, shown.blocks), (mode, links, size, blocks), "{node:?}");
        assert_eq!((shown.ino, shown.uid, shown.gid, shown.mtime_ns), (7, 5, 6, -1));
    }
}

#[test]
fn bits_beyond_permissions_are_dropped() {
    let owner = Owner { file_mode: 0o7644, ..Owner::default() };
    assert_eq!(Attributes::of(&node(NodeKind::File, 0, 0), &owner).mode, 0o644);
}

#[test]
fn statfs_rounds_up_to_blocks() {
    for (bytes, blocks) in [(0, 0), (1, 1), (4096, 1), (4097, 2)] {
        let shown = Statfs::of(&Totals { files: 3, bytes, cached_bytes: 0 });
        assert_eq!((shown.blocks, shown.files, shown.block_size, shown.name_max), (blocks, 3, 4096, 255));
    }
}

#[test]
fn access_is_decided_by_the_first_class_that_matches() {
    let allowed = Ok(());
    let (root, user, group, other) =
        (Caller { uid: 0, gid: 0 }, Caller { uid: 5, gid: 9 }, Caller { uid: 8, gid: 6 }, Caller { uid: 8, gid: 9 });
    let table = [
        (NodeKind::File, 0o640, root, libc::R_OK, true),
        (NodeKind::File, 0o640, root, libc::X_OK, false),
        (NodeKind::File, 0o001, root, libc::X_OK, true),
        (NodeKind::Dir, 0o000, root, libc::X_OK | libc::R_OK, true),
        (NodeKind::File, 0o640, user, libc::R_OK, true),
        (NodeKind::File, 0o640, user, libc::X_OK, false),
        (NodeKind::File, 0o640, group, libc::R_OK, true),
        (NodeKind::File, 0o640, other, libc::R_OK, false),
        (NodeKind::File, 0o640, other, libc::F_OK, true),
        (NodeKind::File, 0o044, user, libc::R_OK, false),
        (NodeKind::File, 0o404, group, libc::R_OK, false),
        (NodeKind::Dir, 0o711, other, libc::X_OK, true),
        (NodeKind::Dir, 0o711, other, libc::X_OK | libc::R_OK, false),
    ];
    for (kind, mode, caller, mask, may) in table {
        let owner = Owner { uid: 5, gid: 6, file_mode: mode, dir_mode: mode };
        let answer = access(&Attributes::of(&node(kind, 0, 0), &owner), caller, mask);
        if may {
            assert_eq!(answer, allowed, "{kind:?} {mode:o} {caller:?} {mask}");
        } else {
            assert_eq!(answer.map_err(|error| error.errno()), Err(libc::EACCES), "{kind:?} {mode:o} {caller:?} {mask}");
        }
    }
}

#[test]
fn nobody_may_write_and_unknown_bits_are_refused() {
    let shown = Attributes::of(&node(NodeKind::File, 0, 0), &Owner { file_mode: 0o777, ..Owner::default() });
    let root = Caller { uid: 0, gid: 0 };
    assert_eq!(access(&shown, root, libc::W_OK), Err(FsError::ReadOnly));
    assert_eq!(access(&shown, root, libc::R_OK | libc::W_OK), Err(FsError::ReadOnly));
    assert_eq!(access(&shown, root, 8), Err(FsError::InvalidArgument));
    assert_eq!(access(&shown, root, -1), Err(FsError::InvalidArgument));
}
