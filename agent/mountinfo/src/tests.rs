#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;

const TEXT: &[u8] = br"22 27 0:21 / /proc rw,relatime - proc proc rw
41 27 0:90 / /mnt/a\040b ro,nosuid,nodev,noatime shared:4 master:2 - fuse.forebay forebay:ml/imagenet ro,user_id=0
42 27 0:91 / /mnt/x rw - fuse.sshfs forebay:ml/imagenet rw
43 27 0:92 / /mnt/x rw - fuse.forebay someone:else rw
44 27 0:93 / /mnt/back\134slash\011tab rw - ext4 /dev/x rw
not a mount
45 27 0:94 / /mnt/y rw
";

#[test]
fn lines_are_taken_apart() {
    let mounts = Mounts::parse(TEXT);
    let shown: Vec<_> = mounts.iter().map(|m| (m.device.as_str(), m.at.to_str())).collect();
    assert_eq!(
        shown,
        [
            ("0:21", Some("/proc")),
            ("0:90", Some("/mnt/a b")),
            ("0:91", Some("/mnt/x")),
            ("0:92", Some("/mnt/x")),
            ("0:93", Some("/mnt/back\\slash\ttab")),
        ]
    );
}

#[test]
fn the_last_mount_at_a_place_is_the_visible_one() {
    let mounts = Mounts::parse(TEXT);
    assert_eq!(mounts.visible(Path::new("/mnt/x")).map(|m| m.device.as_str()), Some("0:92"));
    assert_eq!(mounts.visible(Path::new("/mnt")), None);
}

#[test]
fn broken_escapes_stay_as_they_are() {
    for (field, plain) in [(r"a\", r"a\"), (r"\04", r"\04"), (r"\999", r"\999"), (r"\040\040", "  "), ("", "")] {
        assert_eq!(unescape(field.as_bytes()), plain.as_bytes(), "{field}");
    }
}

#[test]
fn what_is_covered_is_not_seen_and_options_are_told() {
    let text = b"22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        40 22 0:51 / /a\\040b ro,nodev master:3 propagate_from:2 - fuse.forebay forebay:ml/x ro,user_id=0\n\
        41 40 0:52 / /a\\040b rw - tmpfs tmpfs rw\n\
        nonsense\n42 40 0:53\n";
    let mounts = Mounts::parse(text);
    assert_eq!(mounts.iter().count(), 3);
    let seen = mounts.visible(Path::new("/a b")).unwrap();
    assert_eq!((seen.device.as_str(), seen.fs_type.as_str(), seen.readonly), ("0:52", "tmpfs", false));
    let covered = mounts.iter().nth(1).unwrap();
    assert_eq!((covered.source.as_str(), covered.readonly), ("forebay:ml/x", true));
    assert!(mounts.visible(Path::new("/a")).is_none());
}
