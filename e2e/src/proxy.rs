//! An HTTP/1.1 proxy that passes every byte through, counts, and breaks things on request.

mod http;
mod relay;
mod rule;

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use rule::Rules;
pub use rule::{Fault, RequestKind, Rule, RuleId, Seen};

/// What connection threads share.
#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    rules: Mutex<Rules>,
    seen: Mutex<Log>,
    connections: Mutex<Vec<TcpStream>>,
    closing: AtomicBool,
}

/// What was seen since it was last cleared.
#[derive(Debug, Default)]
struct Log {
    all: Vec<Seen>,
    cleared: u64,
}

/// Where a request stands in the log.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    cleared: u64,
}

impl Log {
    /// Notes a request before anything of it is passed on, so that whoever has its answer finds it here.
    fn begin(&mut self, seen: Seen) -> Place {
        let place = Place { at: self.all.len(), cleared: self.cleared };
        if self.all.len() < MAX_SEEN {
            self.all.push(seen);
        }
        place
    }

    fn end(&mut self, place: Place, status: u16, bytes: u64) {
        if let Some(seen) = self.all.get_mut(place.at).filter(|_| place.cleared == self.cleared) {
            (seen.status, seen.bytes) = (status, bytes);
        }
    }

    fn clear(&mut self) {
        self.all.clear();
        self.cleared += 1;
    }
}

/// Most requests that are remembered; later ones are passed on and not counted.
const MAX_SEEN: usize = 1_000_000;

/// A proxy on a loopback port before one S3 server.
///
/// The `Host` header passes unchanged, so signatures made for the proxy's address hold.
#[derive(Debug)]
pub struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Starts before `upstream` (`IP:PORT`), with no faults.
    pub fn start(upstream: &str) -> Result<Self> {
        let upstream = upstream.parse().with_context(|| format!("{upstream} is no IP:PORT"))?;
        let listener = TcpListener::bind("127.0.0.1:0").context("bind the proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            rules: Mutex::default(),
            seen: Mutex::default(),
            connections: Mutex::default(),
            closing: AtomicBool::new(false),
        });
        let acceptor = Some(accept(listener, shared.clone())?);
        Ok(Self { shared, address, acceptor })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a fault; the first rule that matches a request decides.
    pub fn add(&self, rule: Rule) -> RuleId {
        lock(&self.shared.rules).add(rule)
    }

    /// Ends one fault. Requests that it holds up are let go.
    pub fn remove(&self, id: RuleId) {
        lock(&self.shared.rules).remove(id);
    }

    /// Ends all faults.
    pub fn clear(&self) {
        lock(&self.shared.rules).clear();
    }

    /// Closes the port and every connection: new ones are refused by the kernel until [`FaultProxy::up`].
    pub fn down(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        for stream in lock(&self.shared.connections).drain(..) {
            // The other side may have closed it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.acceptor.take() {
            let _ = thread.join();
        }
    }

    /// Listens again, on the same port.
    pub fn up(&mut self) -> Result<()> {
        if self.acceptor.is_none() {
            let listener = TcpListener::bind(self.address).context("bind the proxy again")?;
            self.shared.closing.store(false, Ordering::Release);
            self.acceptor = Some(accept(listener, self.shared.clone())?);
        }
        Ok(())
    }

    /// Every request seen so far, in the order of their beginnings; how it ended is told when it has.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).all.clone()
    }

    /// How many requests of one kind were seen.
    pub fn count(&self, kind: RequestKind) -> usize {
        lock(&self.shared.seen).all.iter().filter(|s| s.kind == kind).count()
    }

    /// Body bytes that were passed to clients.
    pub fn bytes(&self) -> u64 {
        lock(&self.shared.seen).all.iter().map(|s| s.bytes).sum()
    }

    /// Forgets what was seen.
    pub fn reset_counts(&self) {
        lock(&self.shared.seen).clear();
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.clear();
        self.down();
    }
}

/// A poisoned lock only means that a test thread failed while it held it; the data are whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: TcpListener, shared: Arc<Shared>) -> Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    Ok(std::thread::spawn(move || {
        while !shared.closing.load(Ordering::Acquire) {
            match listener.accept() {
                Ok((client, _)) => serve(client, &shared),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }))
}

fn serve(client: TcpStream, shared: &Arc<Shared>) {
    let usable = client.set_nonblocking(false).and_then(|()| client.set_nodelay(true)).and_then(|()| client.try_clone());
    let Ok(handle) = usable else { return };
    {
        let mut connections = lock(&shared.connections);
        connections.retain(|c| c.peer_addr().is_ok());
        connections.push(handle);
    }
    let shared = shared.clone();
    std::thread::spawn(move || {
        // A broken connection is an ordinary end here: it is what the proxy is for.
        let _ = relay::run(&client, &shared);
        let _ = client.shutdown(Shutdown::Both);
    });
}
