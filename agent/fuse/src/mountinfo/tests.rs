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
    let mounts = parse(TEXT);
    let shown: Vec<_> = mounts.iter().map(|m| (m.device.as_str(), m.at.to_str(), m.is_ours())).collect();
    assert_eq!(
        shown,
        [
            ("0:21", Some("/proc"), false),
            ("0:90", Some("/mnt/a b"), true),
            ("0:91", Some("/mnt/x"), false),
            ("0:92", Some("/mnt/x"), false),
            ("0:93", Some("/mnt/back\\slash\ttab"), false),
        ]
    );
    assert_eq!(mounts[1].describe(), "type fuse.forebay from forebay:ml/imagenet");
}

#[test]
fn the_last_mount_at_a_place_is_the_visible_one() {
    let mounts = parse(TEXT);
    assert_eq!(visible(&mounts, Path::new("/mnt/x")).map(|m| m.device.as_str()), Some("0:92"));
    assert_eq!(visible(&mounts, Path::new("/mnt")), None);
}

#[test]
fn broken_escapes_stay_as_they_are() {
    for (field, plain) in [(r"a\", r"a\"), (r"\04", r"\04"), (r"\999", r"\999"), (r"\040\040", "  "), ("", "")] {
        assert_eq!(unescape(field.as_bytes()), plain.as_bytes(), "{field}");
    }
}
