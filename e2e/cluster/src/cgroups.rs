use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use forebay_e2e::wait_until;

/// Makes the control group `/NAME` in every hierarchy, version 1 or 2, for a kubelet to put its pods under.
pub(crate) fn create(name: &str) -> Result<()> {
    for root in hierarchies()? {
        let group = root.join(name);
        // A root that lends no controllers to its children (version 2) says so here, where the kubelet would only not start.
        if let Ok(controllers) = fs::read_to_string(root.join("cgroup.controllers")) {
            let wanted: Vec<_> = controllers.split_whitespace().map(|c| format!("+{c}")).collect();
            fs::write(root.join("cgroup.subtree_control"), wanted.join(" "))
                .with_context(|| format!("let {} lend its controllers", root.display()))?;
        }
        fs::create_dir_all(&group).with_context(|| format!("create {}", group.display()))?;
        // A new cpuset (version 1) has no processors and no memory until it is told.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(all) = fs::read(root.join(file)) {
                fs::write(group.join(file), all).with_context(|| format!("set {file} of {}", group.display()))?;
            }
        }
    }
    Ok(())
}

/// Removes the groups with all below them. Their processes have ended by now, but the kernel may need a moment.
pub(crate) fn remove(name: &str) -> Result<()> {
    for root in hierarchies()? {
        let group = root.join(name);
        let what = format!("{} to be empty", group.display());
        wait_until(&what, Duration::from_secs(120), || {
            let done = remove_tree(&group);
            done.with_context(|| format!("remove {}", group.display())).map(Some)
        })?;
    }
    Ok(())
}

fn remove_tree(group: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// Where control groups are mounted.
fn hierarchies() -> Result<Vec<PathBuf>> {
    Ok(mounted(&fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?))
}

fn mounted(mountinfo: &str) -> Vec<PathBuf> {
    let cgroups = mountinfo.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup").then(|| mount.split(' ').nth(4).map(PathBuf::from)).flatten()
    });
    let mut paths: Vec<_> = cgroups.collect();
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found_and_nothing_else() {
        let text = "\
24 30 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw
31 24 0:27 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
32 31 0:28 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw
33 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";
        assert_eq!(mounted(text), ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"].map(PathBuf::from));
    }
}
