//! JuiceFS shows what was written through it, and nothing else that is in a bucket: its objects are blocks of files, under numbers, and
//! a database knows which block is whose. So the data are brought into a bucket of its own before the first mount. Read cold, its data
//! come from the same store as everybody's; its names do not: they are in the database, a file on this machine.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::peers::{JUICEFS, Seat, with_keys};
use crate::sh;

/// Longer than any run, in seconds.
const RUN: &str = "86400";

/// Brings a tree in, once for all mounts.
pub(crate) fn import(seat: &Seat<'_>, tree: &Path) -> Result<()> {
    seat.store.make_bucket(&bucket(seat))?;
    for mut command in [format(seat), sync(seat, tree)] {
        sh::read(command.env("PATH", seat.path))?;
    }
    Ok(())
}

/// Mounts what [`import`] brought in. It checks no sums of what it has in its cache, as the other peers do not.
pub(super) fn mount(seat: &Seat<'_>, root: &Path, cache: &Path) -> Result<Command> {
    let mut command = with_keys(JUICEFS, seat.store);
    // Else the program that is started only watches another, which does the work, and whose time and memory nobody would count.
    command.env("JFS_SUPERVISOR", "1");
    // The store may be one that is far, behind another address than that of the import.
    command.args(["mount", "--read-only", "--no-usage-report", "--bucket", &url(seat)]);
    command.args(["--attr-cache", RUN, "--entry-cache", RUN, "--dir-entry-cache", RUN]);
    command.args(["--open-cache", RUN, "--open-cache-limit", "0"]);
    // Of a disk that is nearly full it would use nothing, and say so nowhere.
    command.args(["--free-space-ratio", "0.01", "--verify-cache-checksum", "none"]);
    command.args(["--cache-size", &seat.cache_mib.to_string(), "--cache-dir"]).arg(cache).arg(database(seat)).arg(root);
    Ok(command)
}

/// Makes the volume. Here it takes keys by names of its own, and keeps them in the database.
fn format(seat: &Seat<'_>) -> Command {
    let (id, secret) = seat.store.keys();
    let mut command = with_keys(JUICEFS, seat.store);
    command.env("ACCESS_KEY", id).env("SECRET_KEY", secret).env_remove("SESSION_TOKEN");
    command.args(["--quiet", "format", "--storage", "s3", "--bucket", &url(seat), "--trash-days", "0"]);
    command.arg(database(seat)).arg(seat.bucket);
    command
}

/// Copies without a mount: the host of the address is a variable with the database's address.
fn sync(seat: &Seat<'_>, tree: &Path) -> Command {
    let mut command = with_keys(JUICEFS, seat.store);
    command.env("volume", database(seat));
    command.args(["--quiet", "sync", "--threads", "16"]).arg(format!("{}/", tree.display())).arg("jfs://volume/");
    command
}

fn bucket(seat: &Seat<'_>) -> String {
    format!("{}-{JUICEFS}", seat.bucket)
}

fn url(seat: &Seat<'_>) -> String {
    format!("{}/{}", seat.store.endpoint(), bucket(seat))
}

fn database(seat: &Seat<'_>) -> String {
    format!("sqlite3://{}", seat.home.join("juicefs.db").display())
}

#[cfg(test)]
mod tests {
    use super::super::peers::tests::{KEYS, seat, store, told, words};
    use super::*;

    #[test]
    fn a_mount_shows_what_was_brought_in() -> Result<()> {
        let store = store();
        let seat = seat(&store, Path::new("/run"));
        let format = format(&seat);
        assert_eq!(
            words(&format).join(" "),
            "--quiet format --storage s3 --bucket http://127.0.0.1:9/bench-juicefs --trash-days 0 sqlite3:///run/juicefs.db bench"
        );
        assert_eq!((told(&format, "ACCESS_KEY"), told(&format, "SECRET_KEY")), (Some(KEYS.0), Some(KEYS.1)));

        let sync = sync(&seat, Path::new("/tree"));
        assert_eq!(words(&sync).join(" "), "--quiet sync --threads 16 /tree/ jfs://volume/");
        assert_eq!(told(&sync, "volume"), Some("sqlite3:///run/juicefs.db"));

        let mount = mount(&seat, Path::new("/mnt"), Path::new("/cache"))?;
        assert_eq!(
            words(&mount).join(" "),
            "mount --read-only --no-usage-report --bucket http://127.0.0.1:9/bench-juicefs --attr-cache 86400 \
             --entry-cache 86400 --dir-entry-cache 86400 --open-cache 86400 --open-cache-limit 0 \
             --free-space-ratio 0.01 --verify-cache-checksum none --cache-size 300 --cache-dir /cache \
             sqlite3:///run/juicefs.db /mnt"
        );
        assert_eq!(told(&mount, "JFS_SUPERVISOR"), Some("1"));
        Ok(())
    }
}
