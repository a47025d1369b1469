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
fn type_and_source_make_a_mount_ours() {
    let mounts = Mounts::parse(TEXT);
    let shown: Vec<_> = mounts.iter().map(|m| (m.device.as_str(), is_ours(m))).collect();
    assert_eq!(shown, [("0:21", false), ("0:90", true), ("0:91", false), ("0:92", false), ("0:93", false)]);
    assert_eq!(mounts.iter().nth(1).map(describe).as_deref(), Some("type fuse.forebay from forebay:ml/imagenet"));
}
