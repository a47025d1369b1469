#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::task::{Context, Waker};

use forebay_backing::TABLE_BYTES;
use proptest::prelude::*;

use super::*;

const MOST_KEPT: usize = 2;
const SERVERS: usize = 2;
/// The mark of a request that is sent again.
const AGAIN: u64 = 1 << 63;

/// What happens to a mount with two servers, of which either may die and be followed by another one.
#[derive(Clone, Debug)]
enum Step {
    /// An open, answered at once.
    Open(usize, usize),
    /// An open that waits for its id while the other server answers one of the same inode, natively if it can.
    Overtaken(usize, usize),
    /// An open that waits for its id while one of the same inode is answered without a file.
    Served(usize, usize),
    Release(usize, usize),
    /// A release that another server had heard before, and had counted or not.
    ReleaseAgain(usize, usize, bool),
    /// The file is all there, or is evicted.
    Complete(usize),
    Evict(usize),
    /// A server is killed, and the next one takes over.
    Die(usize),
    /// It is killed with an open that it has counted and not answered, or only heard of; the next one is asked again.
    DieOpening(usize, usize, bool),
    /// It is killed while it waits for an id.
    DieWaiting(usize, usize),
    /// Who registers is away, or back.
    Away(bool),
    Sweep(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (ino, server) = (|| 0..inodes().len(), || 0..SERVERS);
    prop_oneof![
        8 => (server(), ino()).prop_map(|(by, ino)| Step::Open(by, ino)),
        2 => (server(), ino()).prop_map(|(by, ino)| Step::Overtaken(by, ino)),
        2 => (server(), ino()).prop_map(|(by, ino)| Step::Served(by, ino)),
        10 => (server(), ino()).prop_map(|(by, ino)| Step::Release(by, ino)),
        2 => (server(), ino(), any::<bool>()).prop_map(|(by, ino, counted)| Step::ReleaseAgain(by, ino, counted)),
        6 => ino().prop_map(Step::Complete),
        2 => ino().prop_map(Step::Evict),
        1 => server().prop_map(Step::Die),
        1 => (server(), ino(), any::<bool>()).prop_map(|(by, ino, counted)| Step::DieOpening(by, ino, counted)),
        1 => (server(), ino()).prop_map(|(by, ino)| Step::DieWaiting(by, ino)),
        1 => any::<bool>().prop_map(Step::Away),
        1 => server().prop_map(Step::Sweep),
    ]
}

/// Some inodes, the first two and the next two of which share a slot each.
fn inodes() -> &'static [u64; 5] {
    static INODES: OnceLock<[u64; 5]> = OnceLock::new();
    INODES.get_or_init(|| {
        let neighbour = |ino| {
            let table = Table::private().unwrap();
            let Begun::Free(claim) = table.begin(ino) else { panic!("it is empty") };
            assert!(claim.native(1));
            let in_the_way = |other: &u64| matches!(table.begin(*other), Begun::Served { .. });
            (1 << 20..).find(in_the_way).unwrap()
        };
        [1, neighbour(1), 2, neighbour(2), 3]
    })
}

/// The kernel's side, which refuses what it would refuse.
#[derive(Debug, Default)]
struct Kernel {
    ids: BTreeMap<u32, u64>,
    next: u32,
    open: BTreeMap<u64, Vec<Way>>,
    away: bool,
    /// Who registers is there and answers nothing: how often it was asked to close an id since.
    silent: Option<usize>,
    requests: u64,
    /// Whose file is being registered.
    opening: u64,
    /// What happens while it is.
    meanwhile: Option<Meanwhile>,
}

struct Meanwhile(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl Kernel {
    /// The next request's number.
    fn request(&mut self) -> u64 {
        self.requests += 2;
        self.requests
    }

    fn opened(&mut self, ino: u64, way: Way) {
        if let Way::Native(id) = way {
            assert_eq!(self.ids.get(&id), Some(&ino), "inode {ino} is opened with a dead id or another file's");
        }
        let handles = self.open.entry(ino).or_default();
        assert!(handles.iter().all(|other| *other == way), "EIO: inode {ino} is open as {handles:?}, now {way:?}");
        handles.push(way);
    }

    fn is_native(&self, ino: u64) -> bool {
        self.open.get(&ino).is_some_and(|handles| matches!(handles.first(), Some(Way::Native(_))))
    }
}

#[derive(Debug, Clone, Default)]
struct Shares(Arc<Mutex<Kernel>>);

impl Registrar for Shares {
    fn register(&self, _: BorrowedFd<'_>) -> io::Result<u32> {
        let meanwhile = lock(&self.0).meanwhile.take();
        let ino = lock(&self.0).opening;
        if let Some(Meanwhile(meanwhile)) = meanwhile {
            meanwhile();
        }
        let mut kernel = lock(&self.0);
        if kernel.away {
            return Err(io::ErrorKind::NotConnected.into());
        }
        kernel.next += 1;
        let id = kernel.next;
        kernel.ids.insert(id, ino);
        Ok(id)
    }

    fn close(&self, id: u32) -> io::Result<()> {
        let mut kernel = lock(&self.0);
        if kernel.away {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if let Some(asked) = &mut kernel.silent {
            *asked += 1;
            return Err(io::ErrorKind::TimedOut.into());
        }
        let ino = kernel.ids.remove(&id).unwrap_or_else(|| panic!("id {id} is closed twice"));
        assert!(!kernel.is_native(ino), "inode {ino} is open by it");
        Ok(())
    }
}

type Wanted = Arc<dyn Fn() + Send + Sync>;

/// The files of one server's cache that it keeps ready.
#[derive(Clone, Default)]
struct Ready(Arc<Mutex<BTreeMap<u64, (u64, Wanted)>>>);

#[derive(Debug)]
struct Lent(u64, Ready);

#[derive(Debug)]
struct KeptReady {
    ino: u64,
    number: u64,
    ready: Ready,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ready")
    }
}

impl Backing for Lent {
    fn open(&self) -> io::Result<OwnedFd> {
        Ok(File::open("/dev/null")?.into())
    }

    fn place(&self) -> &'static str {
        "memory"
    }

    fn keep(self: Box<Self>, wanted: Box<dyn Fn() + Send + Sync>) -> Box<dyn Kept> {
        let mut ready = lock(&self.1.0);
        let number = ready.get(&self.0).map_or(0, |(number, _)| number + 1);
        ready.insert(self.0, (number, wanted.into()));
        drop(ready);
        Box::new(KeptReady { ino: self.0, number, ready: self.1.clone() })
    }
}

impl Kept for KeptReady {}

impl Drop for KeptReady {
    fn drop(&mut self) {
        let mut ready = lock(&self.ready.0);
        if ready.get(&self.ino).is_some_and(|(number, _)| *number == self.number) {
            ready.remove(&self.ino);
        }
    }
}

#[derive(Debug)]
struct Server {
    passthrough: Arc<Passthrough>,
    ready: Ready,
}

struct Model {
    table: tempfile::NamedTempFile,
    shares: Shares,
    servers: Vec<Server>,
    complete: BTreeSet<u64>,
    /// Something could not be closed when it should have been.
    left: bool,
}

fn open(server: &Passthrough, ready: &Ready, shares: &Shares, request: u64, ino: u64, complete: bool) -> Way {
    lock(&shares.0).opening = ino;
    server.open(ino, Unique(request), || complete.then(|| Box::new(Lent(ino, ready.clone())) as Box<dyn Backing>))
}

impl Model {
    fn new() -> Self {
        let (table, shares) = (tempfile::NamedTempFile::new().unwrap(), Shares::default());
        table.as_file().set_len(TABLE_BYTES).unwrap();
        let servers = (0..SERVERS).map(|_| Self::server(&table, &shares)).collect();
        Self { table, shares, servers, complete: BTreeSet::new(), left: false }
    }

    fn server(table: &tempfile::NamedTempFile, shares: &Shares) -> Server {
        let table = Table::shared(table.reopen().unwrap()).unwrap();
        let passthrough = Passthrough::new("ns/name".into(), Some(Box::new(shares.clone())), table, MOST_KEPT);
        passthrough.sweep();
        Server { passthrough: Arc::new(passthrough), ready: Ready::default() }
    }

    fn kernel(&self) -> MutexGuard<'_, Kernel> {
        lock(&self.shares.0)
    }

    fn open(&self, by: usize, ino: u64) -> Way {
        let request = self.kernel().request();
        self.open_as(by, request, ino)
    }

    fn open_as(&self, by: usize, request: u64, ino: u64) -> Way {
        let Server { passthrough, ready } = &self.servers[by];
        open(passthrough, ready, &self.shares, request, ino, self.complete.contains(&ino))
    }

    fn release(&self, by: usize, ino: u64) {
        let request = self.kernel().request();
        self.servers[by].passthrough.release(ino, Unique(request));
    }

    fn meanwhile(&mut self, by: usize, ino: u64, complete: bool) {
        let Server { passthrough, ready } = &self.servers[by];
        let (passthrough, ready, shares) = (passthrough.clone(), ready.clone(), self.shares.clone());
        let then = move || {
            let request = lock(&shares.0).request();
            let way = open(&passthrough, &ready, &shares, request, ino, complete);
            lock(&shares.0).opened(ino, way);
        };
        self.kernel().meanwhile = Some(Meanwhile(Box::new(then)));
        let way = self.open(1 - by, ino);
        // It had an id already, or is not complete.
        self.kernel().meanwhile = None;
        self.kernel().opened(ino, way);
    }

    fn note_away(&mut self) {
        let away = self.kernel().away;
        self.left |= away;
    }

    fn die(&mut self, who: usize) {
        self.note_away();
        self.servers.remove(who);
        self.servers.insert(who, Self::server(&self.table, &self.shares));
    }

    fn apply(&mut self, step: &Step) {
        let at = |at: usize| inodes()[at];
        match *step {
            Step::Open(by, ino) => {
                let way = self.open(by, at(ino));
                self.kernel().opened(at(ino), way);
            }
            Step::Overtaken(by, ino) => self.meanwhile(by, at(ino), self.complete.contains(&at(ino))),
            Step::Served(by, ino) => self.meanwhile(by, at(ino), false),
            Step::Release(by, ino) => {
                if self.close(at(ino)) {
                    self.release(by, at(ino));
                }
            }
            Step::ReleaseAgain(by, ino, counted) => {
                if self.close(at(ino)) {
                    let request = self.kernel().request();
                    if counted {
                        self.servers[by].passthrough.release(at(ino), Unique(request));
                    }
                    self.servers[1 - by].passthrough.release(at(ino), Unique(request | AGAIN));
                }
            }
            Step::Complete(ino) => drop(self.complete.insert(at(ino))),
            Step::Evict(ino) => {
                self.note_away();
                self.evict(at(ino));
            }
            Step::Die(who) => self.die(who),
            Step::DieOpening(who, ino, counted) => {
                let request = self.kernel().request();
                if counted {
                    self.open_as(who, request, at(ino));
                }
                self.die(who);
                let way = self.open_as(who, request | AGAIN, at(ino));
                self.kernel().opened(at(ino), way);
            }
            Step::DieWaiting(who, ino) => {
                let table = &self.servers[who].passthrough.table;
                let request = self.kernel().request();
                table.hear(request);
                match table.begin(at(ino)) {
                    Begun::Free(claim) => std::mem::forget(claim),
                    Begun::Native(_) => table.counted(request, true),
                    Begun::Served { .. } => table.counted(request, false),
                }
                self.die(who);
                let way = self.open_as(who, request | AGAIN, at(ino));
                self.kernel().opened(at(ino), way);
            }
            Step::Away(away) => self.kernel().away = away,
            Step::Sweep(by) => self.servers[by].passthrough.sweep(),
        }
    }

    /// Whether a handle was there to be closed.
    fn close(&mut self, ino: u64) -> bool {
        let popped = self.kernel().open.get_mut(&ino).and_then(Vec::pop);
        self.note_away();
        popped.is_some()
    }

    /// As each server does soon when it has left something.
    fn sweep_what_was_left(&self) {
        for Server { passthrough, .. } in &self.servers {
            let left = std::pin::pin!(passthrough.left.notified());
            if left.poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                passthrough.sweep();
            }
        }
    }

    fn evict(&mut self, ino: u64) {
        self.sweep_what_was_left();
        for Server { ready, .. } in &self.servers {
            let wanted = lock(&ready.0).get(&ino).map(|(_, wanted)| wanted.clone());
            if let Some(wanted) = wanted {
                wanted();
            }
        }
        self.complete.remove(&ino);
        let kernel = self.kernel();
        if !self.left {
            assert_eq!(kernel.ids.values().any(|of| *of == ino), kernel.is_native(ino), "an id outlives the file");
        }
    }

    /// Everything is closed, and nothing is left.
    fn end(&mut self) {
        self.kernel().away = false;
        for ino in *inodes() {
            while self.close(ino) {
                self.release(0, ino);
            }
        }
        for by in 0..SERVERS {
            self.die(by);
        }
        assert_eq!(self.kernel().ids, BTreeMap::new());
        for ino in *inodes() {
            self.complete.insert(ino);
            let way = self.open(1, ino);
            assert!(matches!(way, Way::Native(_)), "inode {ino} is never native again");
            self.release(0, ino);
            self.servers[0].passthrough.sweep();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn the_kernel_is_never_told_what_it_refuses_whoever_serves(steps in prop::collection::vec(step(), 0..120)) {
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
            let kernel = model.kernel();
            let one_each: BTreeSet<_> = kernel.ids.values().collect();
            prop_assert!(one_each.len() == kernel.ids.len(), "two ids for one inode");
        }
        model.end();
    }
}

#[test]
fn a_file_that_completes_while_it_is_open_is_read_natively_from_the_next_open_of_whichever_server() {
    let mut model = Model::new();
    let ino = inodes()[0];
    assert_eq!(model.open(0, ino), Way::Served);
    model.complete.insert(ino);
    model.die(0);
    assert_eq!((model.open(0, ino), model.open(1, ino)), (Way::Served, Way::Served), "as long as it is open that way");
    (0..3).for_each(|_| model.release(0, ino));
    assert_eq!(model.open(0, ino), Way::Native(1));
    model.complete.remove(&ino);
    model.die(0);
    assert_eq!((model.open(0, ino), model.open(1, ino)), (Way::Native(1), Way::Native(1)), "and the other way round");
    assert_eq!(model.servers[0].passthrough.counts().native, 1);
}

/// What is evicted waits for it under a lock.
#[test]
fn one_who_answers_nothing_is_not_waited_for_again_and_again() {
    let mut model = Model::new();
    let some = [inodes()[0], inodes()[2]];
    model.complete.extend(some);
    for ino in some {
        assert!(matches!(model.open(0, ino), Way::Native(_)));
        model.release(0, ino);
    }
    model.left = true;
    model.kernel().silent = Some(0);
    some.iter().for_each(|ino| model.evict(*ino));
    assert_eq!(model.kernel().silent, Some(2), "asked for the first, and by the sweep after it");
    model.kernel().silent = None;
    model.servers[0].passthrough.sweep();
    assert_eq!(model.kernel().ids, BTreeMap::new(), "what was left is closed when somebody answers");
    model.complete.insert(some[0]);
    assert!(matches!(model.open(0, some[0]), Way::Native(_)));
    model.release(0, some[0]);
    model.evict(some[0]);
    assert_eq!(model.kernel().ids, BTreeMap::new(), "and is waited for again");
}
