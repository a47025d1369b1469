use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sh::{self, say};
use crate::workspace;

/// Programs from Debian, by name or by path, and the package of each.
const DEBIAN: &[(&str, &str)] = &[
    ("fusermount3", "fuse3"),
    ("rclone", "rclone"),
    ("s3fs", "s3fs"),
    ("curl", "curl"),
    ("cc", "gcc"),
    ("ld", "binutils"),
    ("musl-gcc", "musl-tools"),
    ("/etc/ssl/certs/ca-certificates.crt", "ca-certificates"),
    ("runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("busybox", "busybox-static"),
    ("nsenter", "util-linux"),
    ("/usr/bin/python3", "python3"),
    ("pkill", "procps"),
    // The wheels of the Python index for this platform bring several GB for accelerators; Debian's build is for processors.
    ("/usr/lib/python3/dist-packages/torch/__init__.py", "python3-torch"),
    ("/usr/lib/python3/dist-packages/torchvision/__init__.py", "python3-torchvision"),
    ("/usr/share/icons/oxygen/index.theme", "oxygen-icon-theme"),
    ("fsck.erofs", "erofs-utils"),
];

/// The release of cargo-deny in use.
const DENY: &str = "0.20.2";

/// Installs the Debian packages of those `programs` that are missing. Needs root for that; says so otherwise.
pub(crate) fn debian(programs: &[&str]) -> Result<()> {
    let mut missing: Vec<&str> = Vec::new();
    for (program, package) in DEBIAN {
        if programs.contains(program) && !sh::has(program) {
            missing.push(package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !rustix::process::geteuid().is_root() || !sh::has("apt-get") {
        bail!(
            "missing programs: install them with `sudo apt-get install {list}` (or what your system calls them) and run this again"
        );
    }
    say(&format!("installing {list}"));
    sh::run(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing).env("DEBIAN_FRONTEND", "noninteractive");
    sh::run(&mut install)?;
    Ok(())
}

/// cargo-deny, built once into the cache and kept there by its version.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let dir = workspace::cache()?.join(format!("cargo-deny-{DENY}"));
    let program = dir.join("bin/cargo-deny");
    let _lock = lock("cargo-deny")?;
    if !program.is_file() {
        say(&format!("building cargo-deny {DENY} (once)"));
        let mut build = workspace::cargo()?;
        build
            .args(["install", "--quiet", "--locked", "--no-default-features", "--version", DENY, "--root"])
            .arg(&dir)
            .arg("cargo-deny");
        // Its build has nothing in common with this workspace's target directory.
        sh::run(build.env_remove("CARGO_TARGET_DIR"))?;
    }
    Ok(program)
}

/// Keeps two task runners from building the same thing at once; held until the file is dropped.
pub(crate) fn lock(name: &str) -> Result<File> {
    let dir = workspace::cache()?;
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let path = dir.join(format!("{name}.lock"));
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}
