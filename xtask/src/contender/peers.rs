//! Other caches before the same store. Each is started read-only, with its cache on the disk, empty, and with the options that make
//! it quick: names and attributes are kept for the whole run, in which nobody changes the bucket.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use forebay_e2e::S3Client;

use super::{Contender, juicefs, make};

pub(crate) const RCLONE: &str = "rclone";
pub(crate) const S3FS: &str = "s3fs";
pub(crate) const MOUNT_S3: &str = "mount-s3";
pub(crate) const GEESEFS: &str = "geesefs";
pub(crate) const JUICEFS: &str = "juicefs";

/// All of them, in the order of the table.
pub(crate) static PEERS: [Peer; 5] = [
    Peer { name: RCLONE, in_debian: true, command: rclone },
    Peer { name: S3FS, in_debian: true, command: s3fs },
    Peer { name: MOUNT_S3, in_debian: false, command: mount_s3 },
    Peer { name: GEESEFS, in_debian: false, command: geesefs },
    Peer { name: JUICEFS, in_debian: false, command: juicefs::mount },
];

/// The region that the store says it is in.
const REGION: &str = "us-east-1";

/// One of them.
#[derive(Debug)]
pub(crate) struct Peer {
    /// What people call it, and what its program is called.
    pub(crate) name: &'static str,
    /// Whether Debian has it, from where it is installed. Any other takes part where a person has it.
    pub(crate) in_debian: bool,
    /// What mounts, given the directories of its mount and of its cache.
    command: fn(&Seat<'_>, &Path, &Path) -> Result<Command>,
}

/// Where one is started, and with how much room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat<'a> {
    pub(crate) store: &'a S3Client,
    pub(crate) bucket: &'a str,
    /// Its mount, its cache and its log go below.
    pub(crate) work: &'a Path,
    /// What is there for every start: JuiceFS's database.
    pub(crate) home: &'a Path,
    /// Room of its cache, for those that take a limit. Else it has what the disk has.
    pub(crate) cache_mib: u64,
    /// Where its program is looked for, as in PATH.
    pub(crate) path: &'a OsStr,
}

/// The peer of this name.
pub(crate) fn named(name: &str) -> Option<&'static Peer> {
    PEERS.iter().find(|peer| peer.name == name)
}

impl Peer {
    /// Starts it with an empty cache and waits for its mount.
    pub(crate) fn start(&self, seat: &Seat<'_>) -> Result<Contender> {
        let root = make(seat.work, "mnt")?;
        let mut command = (self.command)(seat, &root, &make(seat.work, "cache")?)?;
        command.env("PATH", seat.path);
        Contender::peer(self.name, command, root, seat.work)
    }
}

/// A program that takes the store's keys as the libraries of AWS do: by its environment, where no other user sees them. What else they
/// find there is for other stores, and is taken away.
pub(super) fn with_keys(program: &str, store: &S3Client) -> Command {
    let (id, secret) = store.keys();
    let mut command = Command::new(program);
    command.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret).env("AWS_REGION", REGION);
    command.env_remove("AWS_SESSION_TOKEN").env_remove("AWS_PROFILE").env_remove("AWS_CA_BUNDLE");
    // Else each start asks for a machine of Amazon's, and waits where there is none.
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// `rclone mount` with its full cache: server times, else it makes one request a file for its time.
fn rclone(seat: &Seat<'_>, root: &Path, cache: &Path) -> Result<Command> {
    let mut command = seat.store.rclone();
    command.args(["mount", "--read-only", "--vfs-cache-mode", "full", "--use-server-modtime", "--no-checksum"]);
    command.args(["--dir-cache-time", "24h", "--attr-timeout", "1h", "--vfs-cache-max-age", "24h"]);
    command.arg("--cache-dir").arg(cache).arg(format!(":s3:{}", seat.bucket)).arg(root);
    Ok(command)
}

/// s3fs with its caches of attributes and of absent names on.
fn s3fs(seat: &Seat<'_>, root: &Path, cache: &Path) -> Result<Command> {
    let passwords = seat.work.join("passwd");
    let (access, secret) = seat.store.keys();
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&passwords)?;
    file.write_all(format!("{access}:{secret}\n").as_bytes())?;
    let mut command = Command::new(S3FS);
    command.arg(seat.bucket).arg(root).args(["-f", "-o", "ro,use_path_request_style,enable_noobj_cache,stat_cache_expire=86400"]);
    command.arg("-o").arg(format!("url={},endpoint={REGION}", seat.store.endpoint()));
    command.arg("-o").arg(format!("passwd_file={},use_cache={}", passwords.display(), cache.display()));
    Ok(command)
}

/// Mountpoint for Amazon S3. It opens connections for 10 Gbit/s where nobody says more, and a store on this machine gives more.
fn mount_s3(seat: &Seat<'_>, root: &Path, cache: &Path) -> Result<Command> {
    let mut command = with_keys(MOUNT_S3, seat.store);
    // Else it deletes its cache when it ends, and after thousands of deleted files the next contender's new ones are slow.
    command.env("UNSTABLE_MOUNTPOINT_DISABLE_CACHE_CLEANUP", "true");
    command.arg(seat.bucket).arg(root).args(["--foreground", "--read-only", "--metadata-ttl", "indefinite"]);
    command.args(["--endpoint-url", seat.store.endpoint(), "--force-path-style", "--region", REGION]);
    command.args(["--maximum-throughput-gbps", "20", "--max-cache-size", &seat.cache_mib.to_string()]).arg("--cache").arg(cache);
    Ok(command)
}

/// GeeseFS, which addresses by path unless told otherwise. Its cache on the disk takes no limit and never evicts; what it read last it
/// keeps in memory too, as much as is its default. It forgets names beyond 100,000 where nobody says more.
fn geesefs(seat: &Seat<'_>, root: &Path, cache: &Path) -> Result<Command> {
    let mut command = with_keys(GEESEFS, seat.store);
    command.args(["-f", "-o", "ro", "--endpoint", seat.store.endpoint(), "--region", REGION]);
    command.args(["--stat-cache-ttl", "24h", "--entry-limit", "2000000", "--cache"]).arg(cache).arg(seat.bucket).arg(root);
    Ok(command)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::contender) const KEYS: (&str, &str) = ("the-id", "the-secret");

    pub(in crate::contender) fn store() -> S3Client {
        S3Client::new("http://127.0.0.1:9", KEYS.0, KEYS.1)
    }

    pub(in crate::contender) fn seat<'a>(store: &'a S3Client, dir: &'a Path) -> Seat<'a> {
        Seat { store, bucket: "bench", work: dir, home: dir, cache_mib: 300, path: OsStr::new("/usr/bin") }
    }

    /// Its arguments, none of which may be a key.
    pub(in crate::contender) fn words(command: &Command) -> Vec<String> {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let told = words.iter().any(|word| word.contains(KEYS.0) || word.contains(KEYS.1));
        assert!(!told, "a key among the arguments, which every user of the machine can read: {words:?}");
        words
    }

    /// What a command is told by a variable of its environment.
    pub(in crate::contender) fn told<'a>(command: &'a Command, name: &str) -> Option<&'a str> {
        let (_, value) = command.get_envs().find(|(variable, _)| *variable == name)?;
        value?.to_str()
    }

    #[test]
    fn no_key_is_on_a_command_line() -> Result<()> {
        let (dir, store) = (tempfile::tempdir()?, store());
        for peer in &PEERS {
            let command = (peer.command)(&seat(&store, dir.path()), Path::new("/mnt"), Path::new("/cache"))?;
            assert_eq!(command.get_program(), peer.name);
            let words = words(&command).join(" ");
            assert!(words.contains("/mnt") && words.contains("/cache"), "{}: {words}", peer.name);
            if !peer.in_debian {
                assert_eq!(told(&command, "AWS_ACCESS_KEY_ID"), Some(KEYS.0), "{}", peer.name);
                assert_eq!(told(&command, "AWS_SECRET_ACCESS_KEY"), Some(KEYS.1), "{}", peer.name);
            }
        }
        Ok(())
    }

    #[test]
    fn mountpoint_and_geesefs_are_told_all_that_makes_them_quick() -> Result<()> {
        let (dir, store) = (tempfile::tempdir()?, store());
        let seat = seat(&store, dir.path());
        let mountpoint = words(&mount_s3(&seat, Path::new("/mnt"), Path::new("/cache"))?).join(" ");
        assert_eq!(
            mountpoint,
            "bench /mnt --foreground --read-only --metadata-ttl indefinite --endpoint-url http://127.0.0.1:9 --force-path-style \
             --region us-east-1 --maximum-throughput-gbps 20 --max-cache-size 300 --cache /cache"
        );
        let geesefs = words(&geesefs(&seat, Path::new("/mnt"), Path::new("/cache"))?).join(" ");
        assert_eq!(
            geesefs,
            "-f -o ro --endpoint http://127.0.0.1:9 --region us-east-1 --stat-cache-ttl 24h --entry-limit 2000000 \
             --cache /cache bench /mnt"
        );
        Ok(())
    }
}
