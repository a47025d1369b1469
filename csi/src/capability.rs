//! What kinds of volumes there are: file systems, always read-only.

use rustix::mount::MountFlags;

use crate::proto::csi::VolumeCapability;
use crate::proto::csi::volume_capability::AccessType;

/// Why a capability cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CapabilityError {
    #[error("no volume capability is given")]
    Missing,
    #[error("a Dataset is a file system, not a block device: set volumeMode: Filesystem")]
    Block,
    #[error("no access type is given: only mounted volumes can be had")]
    NoAccessType,
    #[error("mount option {0:?} is not for a Dataset: known are ro, noexec, nosuid, nodev, noatime, nodiratime, relatime")]
    Option(String),
}

/// Checks one capability; answers the flags that its mount options add. Whatever access mode is asked for, the mount is
/// read-only: inline volumes always ask for one that writes.
pub(crate) fn check(capability: Option<&VolumeCapability>) -> Result<MountFlags, CapabilityError> {
    let capability = capability.ok_or(CapabilityError::Missing)?;
    let mount = match &capability.access_type {
        Some(AccessType::Mount(mount)) => mount,
        Some(AccessType::Block(_)) => return Err(CapabilityError::Block),
        None => return Err(CapabilityError::NoAccessType),
    };
    let options = mount.mount_flags.iter().flat_map(|flags| options(flags));
    options.map(flag).try_fold(MountFlags::empty(), |all, one| Ok(all | one?))
}

/// Splits at commas, but for those of an SELinux label.
fn options(flags: &str) -> Vec<&str> {
    if flags.starts_with("context=") { vec![flags] } else { flags.split(',').collect() }
}

fn flag(option: &str) -> Result<MountFlags, CapabilityError> {
    Ok(match option.trim() {
        // What every mount here is anyway.
        "" | "ro" | "nosuid" | "nodev" | "noatime" | "relatime" => MountFlags::empty(),
        // All pods share one mount, whose label each of them may read.
        context if context.starts_with("context=") => MountFlags::empty(),
        "noexec" => MountFlags::NOEXEC,
        "nodiratime" => MountFlags::NODIRATIME,
        other => return Err(CapabilityError::Option(other.into())),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;
    use crate::proto::csi::volume_capability::{BlockVolume, MountVolume};

    fn mount(flags: &[&str]) -> VolumeCapability {
        let mount_flags = flags.iter().map(|flag| (*flag).into()).collect();
        VolumeCapability {
            access_type: Some(AccessType::Mount(MountVolume { mount_flags, ..MountVolume::default() })),
            access_mode: None,
        }
    }

    #[test]
    fn options_that_would_loosen_the_mount_are_refused() {
        assert_eq!(check(Some(&mount(&[]))).unwrap(), MountFlags::empty());
        assert_eq!(check(Some(&mount(&["ro,noexec", "nodiratime"]))).unwrap(), MountFlags::NOEXEC | MountFlags::NODIRATIME);
        assert_eq!(check(Some(&mount(&["context=\"a:b:c:s0:c1,c2\""]))).unwrap(), MountFlags::empty());
        for option in ["rw", "suid", "dev", "size=1", "noexec,rw", "fscontext=x"] {
            assert!(matches!(check(Some(&mount(&[option]))), Err(CapabilityError::Option(_))), "{option}");
        }
        assert_eq!(check(None), Err(CapabilityError::Missing));
        assert_eq!(check(Some(&VolumeCapability::default())), Err(CapabilityError::NoAccessType));
        let block = VolumeCapability { access_type: Some(AccessType::Block(BlockVolume {})), access_mode: None };
        assert_eq!(check(Some(&block)), Err(CapabilityError::Block));
    }
}
