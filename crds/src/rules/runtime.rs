use super::{Rule, Ruled, Transition};
use crate::runtime::{CacheRuntimeSpec, Medium, Peers, Tier, WarmUp};
use crate::values::HostPath;

impl Ruled for CacheRuntimeSpec {
    const RULES: &'static [Rule<Self>] = &[Rule {
        field: "tiers",
        cel: "self.tiers.all(a, !has(a.path) || self.tiers.all(b, a.name == b.name || !has(b.path) \
              || !(a.path + '/').startsWith(b.path + '/')))",
        problem: "the path of a tier lies in the path of another, so that each would count and evict the other's files",
        remedy: "give each tier a directory of its own",
        holds: |spec| {
            spec.tiers.iter().all(|a| {
                spec.tiers.iter().all(|b| match (&a.path, &b.path) {
                    (Some(inner), Some(outer)) => a.name == b.name || !inner.is_within(outer),
                    _ => true,
                })
            })
        },
    }];
}

impl Ruled for WarmUp {
    const RULES: &'static [Rule<Self>] = &[Rule {
        field: "timeout",
        cel: "self.timeout.matches('[1-9][0-9]*(d|h|m|s)$|[1-9][0-9]*(d|h|m|s)[0-9]|[1-9][0-9]{3,}ms')",
        problem: "timeout is below one second, so that no node would be waited for",
        remedy: "set how long a new node may take to become warm, such as 10m, or leave the taint away",
        holds: |warm_up| warm_up.timeout.duration().as_secs() >= 1,
    }];
}

impl Ruled for Peers {
    const RULES: &'static [Rule<Self>] = &[Rule {
        field: "bandwidth",
        cel: "!has(self.bandwidth) || quantity(string(self.bandwidth)).compareTo(quantity('8Mi')) >= 0",
        problem: "bandwidth is below 8Mi a second, so that an agent would take too long to answer several others",
        remedy: "write bytes a second with a unit, such as 2Gi, or remove it for no bound",
        holds: |peers| peers.bandwidth.as_ref().is_none_or(|bandwidth| bandwidth.bytes() >= 8 << 20),
    }];
}

/// Directories that the system itself lives in. A cache that fills one of them breaks the node.
const SYSTEM: [&str; 13] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr", "/var/lib/kubelet"];

/// Directories below a system directory that are made for data of programs.
const EXEMPT: [&str; 1] = ["/dev/shm"];

impl Ruled for Tier {
    const RULES: &'static [Rule<Self>] = &[
        Rule {
            field: "path",
            cel: "self.medium != 'Disk' || has(self.path)",
            problem: "a tier with medium: Disk needs a path",
            remedy: "set path to a directory of the node's disk, such as /var/lib/forebay",
            holds: |tier| tier.medium != Medium::Disk || tier.path.is_some(),
        },
        Rule {
            field: "path",
            cel: "self.medium != 'Memory' || !has(self.path)",
            problem: "a tier with medium: Memory takes no path, since it is mounted where the agent needs it",
            remedy: "remove path, or set medium: Disk",
            holds: |tier| tier.medium != Medium::Memory || tier.path.is_none(),
        },
        Rule {
            field: "path",
            cel: "!has(self.path) || (self.path + '/').startsWith('/dev/shm/') || !['/bin/', '/boot/', '/dev/', '/etc/', '/lib/', \
                  '/lib64/', '/proc/', '/root/', '/run/', '/sbin/', '/sys/', '/usr/', '/var/lib/kubelet/']\
                  .exists(d, (self.path + '/').startsWith(d))",
            problem: "path lies in a directory of the operating system, which a full cache would break",
            remedy: "use a directory that is made for data, such as /var/lib/forebay or a disk of its own",
            holds: |tier| {
                let within = |path: &HostPath, directory: &&str| crate::values::is_within(path.as_str(), directory);
                tier.path
                    .as_ref()
                    .is_none_or(|path| EXEMPT.iter().any(|d| within(path, d)) || !SYSTEM.iter().any(|d| within(path, d)))
            },
        },
        Rule {
            field: "capacity",
            cel: "quantity(string(self.capacity)).compareTo(quantity('16Mi')) >= 0",
            problem: "capacity is below 16Mi, less than a reader has in flight",
            remedy: "write how much space the tier may take, with a unit, such as 64Gi",
            holds: |tier| tier.capacity.bytes() >= 16 << 20,
        },
    ];

    const TRANSITIONS: &'static [Transition<Self>] = &[
        Transition {
            field: "medium",
            cel: "self.medium == oldSelf.medium",
            problem: "the medium of a tier does not change",
            remedy: "add a tier under another name and remove this one, which gives its space back",
            holds: |old, new| old.medium == new.medium,
        },
        Transition {
            field: "path",
            cel: "has(self.path) == has(oldSelf.path) && (!has(self.path) || self.path == oldSelf.path)",
            problem: "the path of a tier does not change",
            remedy: "add a tier under another name and remove this one, which gives its space back",
            holds: |old, new| old.path == new.path,
        },
    ];
}
