use rustix::io::Errno;

use crate::StoreErrorKind;

/// What a failed system call on an object means.
pub(super) fn kind(errno: Errno) -> StoreErrorKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => StoreErrorKind::NotFound,
        Errno::ACCESS | Errno::PERM => StoreErrorKind::Denied,
        // What NFS and FUSE file systems say while their server is away.
        Errno::STALE
        | Errno::IO
        | Errno::NOTCONN
        | Errno::CONNREFUSED
        | Errno::CONNABORTED
        | Errno::CONNRESET
        | Errno::HOSTDOWN
        | Errno::HOSTUNREACH
        | Errno::NETUNREACH
        | Errno::REMOTEIO => StoreErrorKind::Unavailable,
        Errno::TIMEDOUT => StoreErrorKind::Timeout,
        Errno::XDEV => StoreErrorKind::Unsupported("a symbolic link that leads out of the mount's root".to_owned()),
        Errno::LOOP => StoreErrorKind::Unsupported("symbolic links in a circle".to_owned()),
        Errno::NOSYS => StoreErrorKind::Unsupported("a kernel without openat2 (Linux 5.6)".to_owned()),
        errno => StoreErrorKind::Io(errno.to_string()),
    }
}

/// Why a name of a directory cannot be listed; `None` when it is simply gone by now, or when the file system itself fails.
pub(super) fn reason(errno: Errno, is_link: bool) -> Option<&'static str> {
    match errno {
        Errno::NOENT if is_link => Some("a symbolic link that leads nowhere"),
        Errno::XDEV => Some("a symbolic link that leads out of the mount's root"),
        Errno::LOOP => Some("symbolic links in a circle"),
        Errno::ACCESS | Errno::PERM => Some("access denied"),
        Errno::NAMETOOLONG => Some("the path is longer than 4095 bytes"),
        Errno::NOTDIR if is_link => Some("a symbolic link that leads nowhere"),
        _ => None,
    }
}
