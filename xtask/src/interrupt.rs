//! Ctrl-C in the middle of a demo or a benchmark leaves neither mounts nor gigabytes behind.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};
use std::time::Duration;

use forebay_e2e::unmount_below;
use rustix::process::{Pid, Signal, kill_process};

use crate::sh::say;

static DIRECTORIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static EXPECTED: AtomicBool = AtomicBool::new(false);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Takes SIGINT and SIGTERM over, once. Call it in the main thread before there are others: a thread's mask is its maker's.
pub(crate) fn take_over() {
    static ONCE: Once = Once::new();
    ONCE.call_once(start);
}

fn start() {
    // SAFETY: sigemptyset initialises the set before anything reads it, and all pointers are to it alone. Programs
    // started later do not inherit the mask: std resets it in every child.
    let set = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGINT);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        set
    };
    std::thread::spawn(move || {
        loop {
            let mut signal = 0;
            // SAFETY: both pointers are to live values of this thread; the set was initialised above.
            let failed = unsafe { libc::sigwait(&set, &mut signal) };
            if failed == 0 && !EXPECTED.swap(false, Ordering::Relaxed) {
                INTERRUPTED.store(true, Ordering::Release);
                say("interrupted: cleaning up");
                clean_up();
                std::process::exit(128 + signal);
            }
        }
    });
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
