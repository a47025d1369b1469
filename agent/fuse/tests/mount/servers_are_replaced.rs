//! A mount that this process keeps is served by one process after another, while readers here check every byte.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forebay_fs::Tree;
use forebay_fs::failing::{FailingTree, Fault, Operation};
use forebay_fs::memory::{Contents, MemoryTree};
use forebay_fuse::{MountOptions, Negotiated, Registrar, Shared, serve_descriptor};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::harness::{FOREVER, directory, pattern, runtime, show, wait_until};

const DEVICE: &str = "FOREBAY_TEST_SERVE_DEVICE";
const EARLIER: &str = "FOREBAY_TEST_SERVE_EARLIER";
/// The file of the table that all servers share.
const TABLE: &str = "FOREBAY_TEST_SERVE_TABLE";
/// The server has these files: some of them, by the remainder of their number.
const COMPLETE: &str = "FOREBAY_TEST_SERVE_COMPLETE";
/// The server reads nothing natively, whatever it has.
const NOT_NATIVE: &str = "FOREBAY_TEST_SERVE_NOT_NATIVE";
const BIG: usize = (6 << 20) + 77;
const SMALL: u64 = 40;
const ROUNDS: u64 = 20;

fn contents() -> Contents {
    let all =
        Contents::new().file("big", pattern(1, BIG), 0).file("mapped", pattern(2, BIG), 0).file("direct", pattern(3, BIG), 0);
    (0..SMALL).fold(all, |all, at| all.file(format!("d{}/s{at}", at % 4), small(at), 0))
}

fn small(at: u64) -> Vec<u8> {
    pattern(100 + at, 3000 + 900 * at as usize).to_vec()
}

/// What a server process does; by itself, as a test, nothing. Says on its standard output what it agreed on with the kernel,
/// and does each line of its standard input: `resend`.
#[test]
#[allow(clippy::print_stdout, reason = "how this process answers the test")]
fn server() {
    let Ok(device) = std::env::var(DEVICE) else { return };
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    // SAFETY: the parent left this descriptor open for this process, and nothing else here knows its number.
    let device = unsafe { OwnedFd::from_raw_fd(device.parse().unwrap()) };
    let earlier = std::env::var(EARLIER).ok().map(|line| parse(&line));
    // With nothing agreed on yet, names are believed for ever; later they are asked for each time. Every read waits a little,
    // so that each kill meets requests under way.
    let validity = if earlier.is_none() { FOREVER } else { Duration::ZERO };
    let tree = Arc::new(FailingTree::new(Arc::new(MemoryTree::new(&contents(), validity))));
    tree.inject(Operation::Read, None, Fault::Delay(Duration::from_millis(2)));
    let which: u64 = std::env::var(COMPLETE).unwrap().parse().unwrap();
    complete_some(&tree, which);
    let registrar = Box::new(Rights(device.try_clone().unwrap()));
    let table = OpenOptions::new().read(true).write(true).open(std::env::var(TABLE).unwrap()).unwrap();
    let not_native = std::env::var_os(NOT_NATIVE).map(|_| "nobody wants it");
    let options = MountOptions { kept_ids: 10, not_native, ..MountOptions::new("tests/kept", "kept") };
    let shared = Some(Shared { registrar, table });
    let served = serve_descriptor(tree.clone(), &options, runtime().handle().clone(), device, earlier, shared).unwrap();
    // Small files come and go all the time.
    thread::spawn(move || {
        for at in (0..SMALL).cycle() {
            thread::sleep(Duration::from_millis(1));
            if tree.inner().take_back(small_ino(&tree, at)) {
                complete(&tree, small_ino(&tree, (at + SMALL / 2) % SMALL), &small((at + SMALL / 2) % SMALL));
            }
        }
    });
    let agreed = served.negotiated();
    println!("\nserving {} {} {}", agreed.minor, agreed.flags, agreed.max_readahead);
    for line in std::io::stdin().lines() {
        assert_eq!(line.unwrap(), "resend");
        served.notifier().resend().unwrap();
        println!("resent");
    }
    wait_until("the mount has ended", || served.has_ended());
}

/// Every third file is all there from now on.
fn complete_some(tree: &FailingTree<MemoryTree>, which: u64) {
    for (at, name) in (0..).zip(["big", "mapped", "direct"]).filter(|(at, _)| at % 3 == which % 3) {
        complete(tree, tree.lookup(1, name.as_bytes()).unwrap().ino, &pattern(at + 1, BIG));
    }
    for at in (0..SMALL).filter(|at| at % 3 == which % 3) {
        complete(tree, small_ino(tree, at), &small(at));
    }
}

fn complete(tree: &FailingTree<MemoryTree>, ino: u64, bytes: &[u8]) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    tree.inner().complete(ino, file);
}

fn small_ino(tree: &FailingTree<MemoryTree>, at: u64) -> u64 {
    let dir = tree.lookup(1, format!("d{}", at % 4).as_bytes()).unwrap().ino;
    tree.lookup(dir, format!("s{at}").as_bytes()).unwrap().ino
}

/// A server that may register files, as csi does for agents that may not.
#[derive(Debug)]
struct Rights(OwnedFd);

impl Registrar for Rights {
    fn register(&self, file: BorrowedFd<'_>) -> std::io::Result<u32> {
        forebay_backing::register(&self.0, file)
    }

    fn close(&self, id: u32) -> std::io::Result<()> {
        forebay_backing::close(&self.0, id)
    }
}

fn parse(line: &str) -> Negotiated {
    let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
    Negotiated { minor: numbers[0] as u32, flags: numbers[1], max_readahead: numbers[2] as u32 }
}

struct Server {
    child: Child,
    orders: Option<ChildStdin>,
    says: BufReader<std::process::ChildStdout>,
    agreed: Negotiated,
}

impl Server {
    fn start(kept: &Kept, earlier: Option<Negotiated>) -> Self {
        Self::start_with(kept, earlier, |_| {})
    }

    fn start_with(kept: &Kept, earlier: Option<Negotiated>, choose: impl FnOnce(&mut Command)) -> Self {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "servers_are_replaced::server", "--nocapture"]);
        let number = kept.device.as_raw_fd();
        command.env(TABLE, kept.dir.path().join("table"));
        command.env(COMPLETE, STARTED.fetch_add(1, Ordering::SeqCst).to_string());
        command.env(DEVICE, number.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(agreed) = earlier {
            command.env(EARLIER, format!("{} {} {}", agreed.minor, agreed.flags, agreed.max_readahead));
        }
        choose(&mut command);
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                let device = std::os::fd::BorrowedFd::borrow_raw(number);
                Ok(rustix::io::fcntl_setfd(device, rustix::io::FdFlags::empty())?)
            });
        }
        let mut child = command.spawn().unwrap();
        let (orders, mut says) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let line = wait_for(&mut says, "serving ");
        Self { child, orders, says, agreed: parse(&line) }
    }

    fn resend(&mut self) {
        self.orders.as_mut().unwrap().write_all(b"resend\n").unwrap();
        wait_for(&mut self.says, "resent");
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn wait_for(says: &mut impl BufRead, start: &str) -> String {
    says.lines().map(Result::unwrap).find_map(|line| line.strip_prefix(start).map(str::to_owned)).expect("the server ended")
}

struct Kept {
    device: OwnedFd,
    root: PathBuf,
    dir: tempfile::TempDir,
}

impl Kept {
    /// Mounts as a keeper does, or answers `None` without the right to.
    fn mount() -> Option<Self> {
        let dir = directory();
        let root = dir.path().join("m");
        fs::create_dir(&root).unwrap();
        File::create(dir.path().join("table")).unwrap().set_len(forebay_backing::TABLE_BYTES).unwrap();
        let device = rustix::fs::open("/dev/fuse", rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC, 0.into()).ok()?;
        let data = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,max_read=1048576,allow_other",
            device.as_raw_fd()
        );
        let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
        rustix::mount::mount("forebay:tests/kept", &root, "fuse.forebay", flags, Some(&*CString::new(data).unwrap())).ok()?;
        Some(Self { device, root, dir })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.root, UnmountFlags::DETACH);
    }
}

/// Drops the file's pages, so that the next read is the server's again.
fn forget_pages(file: &File) {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

type Reader = fn(&Path, &File, u64);

fn buffered(root: &Path, kept: &File, turn: u64) {
    let (fresh, want) = (File::open(root.join("big")).unwrap(), pattern(1, BIG));
    let mut found = vec![0; 300_000];
    let at = (turn * 1_234_567) % (BIG as u64 - 300_000);
    for file in [kept, &fresh] {
        file.read_exact_at(&mut found, at).unwrap();
        assert!(found == want[at as usize..at as usize + 300_000], "at {at}");
        forget_pages(file);
    }
}

fn mapped(root: &Path, kept: &File, turn: u64) {
    let fresh = File::open(root.join("mapped")).unwrap();
    for file in [kept, &fresh] {
        // SAFETY: the file is served read-only and never changes.
        let map = unsafe { memmap2::Mmap::map(file) }.unwrap();
        let want = pattern(2, BIG);
        for page in (turn as usize % 7..BIG / 4096).step_by(41) {
            assert!(map[page * 4096..(page + 1) * 4096] == want[page * 4096..(page + 1) * 4096], "page {page}");
        }
        drop(map);
        forget_pages(file);
    }
}

fn direct(root: &Path, _kept: &File, turn: u64) {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(root.join("direct")).unwrap();
    let want = pattern(3, BIG);
    let mut space = vec![0; (256 << 10) + 4096];
    let skip = space.as_ptr().align_offset(4096);
    let buf = &mut space[skip..skip + (256 << 10)];
    let at = (turn * 97 % 22) << 18;
    file.read_exact_at(buf, at).unwrap();
    assert!(*buf == want[at as usize..at as usize + buf.len()], "at {at}");
}

fn files(root: &Path, _kept: &File, turn: u64) {
    let dir = root.join(format!("d{}", turn % 4));
    let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names.len(), 10, "{names:?}");
    let at = (turn * 13) % SMALL;
    let file = File::open(root.join(format!("d{}/s{at}", at % 4))).unwrap();
    assert_eq!(file.metadata().unwrap().len(), small(at).len() as u64);
    let mut found = vec![0; small(at).len()];
    file.read_exact_at(&mut found, 0).unwrap();
    assert!(found == small(at), "s{at}");
    forget_pages(&file);
}

const READERS: [(&str, Reader); 5] =
    [("big", buffered), ("mapped", mapped), ("direct", direct), ("direct", files), ("big", buffered)];

/// Servers die at any moment, or hand over while they still serve: nobody who reads notices, but by a pause.
#[test]
fn no_read_fails_whatever_becomes_of_the_server() {
    let Some(kept) = Kept::mount() else { return assert!(!rustix::process::geteuid().is_root(), "root may mount") };
    let mut server = Server::start(&kept, None);
    let agreed = server.agreed;
    let (stop, turns) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; READERS.len()]);
    let longest = AtomicU64::new(0);
    // A reader's panic must not leave the others running, nor a failure here the readers.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    thread::scope(|scope| {
        for ((name, read), turns) in READERS.iter().zip(&turns) {
            let (root, stop, longest) = (&kept.root, &stop, &longest);
            scope.spawn(move || {
                let _stop = Stop(stop);
                let open = File::open(root.join(name)).unwrap();
                while !stop.load(Ordering::SeqCst) {
                    let begun = Instant::now();
                    read(root, &open, turns.fetch_add(1, Ordering::SeqCst));
                    longest.fetch_max(begun.elapsed().as_millis() as u64, Ordering::SeqCst);
                }
            });
        }
        let _stop = Stop(&stop);
        for round in 0..ROUNDS {
            thread::sleep(Duration::from_millis(7 + round * 13 % 60));
            if round % 4 == 3 {
                // Both serve for a while; then the former goes, and what it was working on is asked for again.
                let mut next = Server::start(&kept, Some(agreed));
                thread::sleep(Duration::from_millis(20));
                server.kill();
                next.resend();
                server = next;
            } else {
                server.kill();
                server = Server::start(&kept, Some(agreed));
            }
            assert_eq!(server.agreed, agreed);
            let before: Vec<_> = turns.iter().map(|turns| turns.load(Ordering::SeqCst)).collect();
            wait_until("each reader goes on", || {
                assert!(!stop.load(Ordering::SeqCst), "a reader failed in round {round}");
                turns.iter().zip(&before).all(|(now, before)| now.load(Ordering::SeqCst) >= before + 2)
            });
        }
    });
    eprintln!("{ROUNDS} servers replaced; longest turn of a reader {} ms", longest.load(Ordering::SeqCst));
    wait_until("the mount is not in use", || rustix::mount::unmount(&kept.root, UnmountFlags::empty()).is_ok());
    drop(server.orders.take());
    assert!(server.child.wait().unwrap().success());
}

/// An open that the kernel sends again while it is being answered succeeds as one.
#[test]
fn an_open_may_come_again_while_it_waits() {
    let shown = show(&Contents::new().file("slow", pattern(1, 5000), 0));
    shown.tree.set_cold(true);
    shown.tree.inject(Operation::Open, None, Fault::Stall);
    let path = shown.path("slow");
    let reader = thread::spawn(move || fs::read(path));
    for attempts in 1..=3 {
        wait_until("it waits once more", || shown.tree.waiting() == attempts);
        if attempts < 3 {
            shown.mounted().notifier().resend().unwrap();
        }
    }
    shown.tree.heal();
    assert!(reader.join().unwrap().unwrap() == pattern(1, 5000));
    wait_until("nothing waits", || shown.tree.waiting() == 0);
}

/// A descriptor that was served before is refused without what was agreed on, and at once rather than after a wait for ever.
#[test]
fn a_server_that_knows_nothing_of_the_former_is_refused() {
    let Some(kept) = Kept::mount() else { return assert!(!rustix::process::geteuid().is_root(), "root may mount") };
    let tree = || Arc::new(MemoryTree::new(&contents(), Duration::ZERO));
    let options = MountOptions::new("tests/kept", &kept.root);
    let twin = kept.device.as_fd().try_clone_to_owned().unwrap();
    let mut server = Server::start(&kept, None);
    server.kill();
    let root = kept.root.clone();
    let reader = thread::spawn(move || fs::read(root.join("d0/s0")));
    thread::sleep(Duration::from_millis(50));
    let refused = serve_descriptor(tree(), &options, runtime().handle().clone(), twin, None, None).unwrap_err();
    assert!(refused.to_string().contains("mount anew"), "{refused}");
    // Nothing was taken from the one that knows.
    let device = kept.device.as_fd().try_clone_to_owned().unwrap();
    let served = serve_descriptor(tree(), &options, runtime().handle().clone(), device, Some(server.agreed), None).unwrap();
    assert!(reader.join().unwrap().unwrap() == small(0));
    // The kernel lets go of a closed file a moment later.
    wait_until("the mount is not in use", || rustix::mount::unmount(&kept.root, UnmountFlags::empty()).is_ok());
    wait_until("serving has ended", || served.has_ended());
}

/// A mount outlives its first server's choice to read nothing natively.
#[test]
fn what_the_first_server_did_not_want_the_next_one_may() {
    let Some(kept) = Kept::mount() else { return assert!(!rustix::process::geteuid().is_root(), "root may mount") };
    let mut first = Server::start_with(&kept, None, |command| {
        command.env(NOT_NATIVE, "1");
    });
    assert!(fs::read(kept.root.join("d1/s1")).unwrap() == small(1));
    first.kill();
    let tree = Arc::new(MemoryTree::new(&contents(), FOREVER));
    let dir = tree.lookup(1, b"d0").unwrap().ino;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&small(0)).unwrap();
    tree.complete(tree.lookup(dir, b"s0").unwrap().ino, file);
    let device = || kept.device.as_fd().try_clone_to_owned().unwrap();
    let table = OpenOptions::new().read(true).write(true).open(kept.dir.path().join("table")).unwrap();
    let shared = Some(Shared { registrar: Box::new(Rights(device())), table });
    let options = MountOptions::new("tests/kept", &kept.root);
    let served = serve_descriptor(tree, &options, runtime().handle().clone(), device(), Some(first.agreed), shared).unwrap();
    assert!(fs::read(kept.root.join("d0/s0")).unwrap() == small(0));
    let opens = served.opens();
    assert_eq!((opens.native, opens.why_not), (1, None));
}

/// A generation that the next server begins with is seen, whatever the kernel remembers of the former one.
#[test]
fn the_next_server_may_show_another_generation() {
    let Some(kept) = Kept::mount() else { return assert!(!rustix::process::geteuid().is_root(), "root may mount") };
    let mut first = Server::start(&kept, None);
    let (old, new) = (kept.root.join("d0/s0"), kept.root.join("d0/new"));
    let working = fs::canonicalize(kept.root.join("d0")).unwrap();
    let open = File::open(&working).unwrap();
    for _ in 0..2 {
        assert_eq!(fs::read_dir(&working).unwrap().count(), 10);
        assert!(fs::read(&old).unwrap() == small(0));
        assert_eq!(fs::metadata(&new).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
    first.kill();
    let next = contents().file("d0/s0", "another", 5).file("d0/new", "new", 0);
    let tree = Arc::new(MemoryTree::new(&next, FOREVER));
    let device = kept.device.as_fd().try_clone_to_owned().unwrap();
    let options = MountOptions::new("tests/kept", &kept.root);
    let _served = serve_descriptor(tree, &options, runtime().handle().clone(), device, Some(first.agreed), None).unwrap();
    assert_eq!(fs::read(&new).unwrap(), b"new");
    assert_eq!(fs::read(&old).unwrap(), b"another");
    assert_eq!(fs::read_dir(&working).unwrap().count(), 11);
    assert!(open.metadata().unwrap().is_dir());
}
