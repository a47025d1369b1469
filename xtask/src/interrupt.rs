//! Ctrl-C in the middle of a demo or a benchmark leaves neither mounts nor gigabytes behind.

use std::fs;
use std::io::Read;
use std::os::fd::IntoRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, Once};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use forebay_e2e::unmount_below;
use rustix::process::{Pid, Signal, kill_process};

use crate::sh::say;

static DIRECTORIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static EXPECTED: AtomicBool = AtomicBool::new(false);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The end of the pipe that the handler writes to.
static TELL: AtomicI32 = AtomicI32::new(-1);

/// Takes SIGINT and SIGTERM over, once. Programs started later have their own default: a handler does not survive exec,
/// where a blocked signal would.
pub(crate) fn take_over() -> Result<()> {
    static ONCE: Once = Once::new();
    let mut outcome = Ok(());
    ONCE.call_once(|| outcome = start());
    outcome
}

fn start() -> Result<()> {
    let (mut told, tell) = std::io::pipe().context("make a pipe")?;
    TELL.store(tell.into_raw_fd(), Ordering::Release);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only calls write(2), which is safe in a handler, on a descriptor that is never closed.
        let old = unsafe { libc::signal(signal, handler as *const () as libc::sighandler_t) };
        ensure!(old != libc::SIG_ERR, "cannot handle signal {signal}");
    }
    std::thread::spawn(move || {
        let mut signal = [0];
        while told.read_exact(&mut signal).is_ok() {
            if EXPECTED.swap(false, Ordering::Relaxed) {
                continue;
            }
            INTERRUPTED.store(true, Ordering::Release);
            say("interrupted: cleaning up");
            clean_up();
            std::process::exit(128 + i32::from(signal[0]));
        }
    });
    Ok(())
}

extern "C" fn handler(signal: libc::c_int) {
    let byte = signal as u8;
    // SAFETY: one byte from a live local, to a descriptor that stays open. A failed write has nobody to be told to.
    unsafe { libc::write(TELL.load(Ordering::Acquire), std::ptr::from_ref(&byte).cast(), 1) };
}

/// This directory, with all mounts in it, is removed on an interrupt. It may be gone by then.
pub(crate) fn also_remove(dir: PathBuf) {
    if let Ok(mut directories) = DIRECTORIES.lock() {
        directories.push(dir);
    }
}

/// The next signal is for a program in the foreground, whose end the caller waits for and then goes on.
pub(crate) fn expect_one() {
    EXPECTED.store(true, Ordering::Relaxed);
}

/// To be called before the program ends: after an interrupt it is the cleaning that ends it, whatever failed meanwhile.
pub(crate) fn finish() {
    while INTERRUPTED.load(Ordering::Acquire) {
        std::thread::park();
    }
}

fn clean_up() {
    // The terminal's signal reached them as well; one that was sent to this process alone did not.
    for child in children() {
        let _ = kill_process(child, Signal::TERM);
    }
    let Ok(directories) = DIRECTORIES.lock() else { return };
    for dir in directories.iter() {
        // The programs need a moment to end, and the main thread may still be writing.
        for _ in 0..100 {
            if unmount_below(dir).is_ok() && (!dir.exists() || fs::remove_dir_all(dir).is_ok()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The programs that this process started and that still run.
fn children() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|n| Pid::from_raw(n.parse().ok()?)).collect::<Vec<_>>()).collect()
}
