use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Store;

/// What stands in the query of each page of a listing.
const LISTING: &str = "list-type=2";
/// How often what is held back looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);

/// Stands before a store and counts what is asked of it and the bytes that leave it, as the network would.
#[derive(Debug)]
pub struct Counting {
    address: SocketAddr,
    out: Arc<AtomicU64>,
    /// The first line of each GET.
    asked: Arc<Mutex<Vec<String>>>,
    /// GETs of objects wait.
    held: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Counting {
    /// Before `store`, at the same address of the machine and another port.
    pub fn before(store: &Store) -> Result<Self> {
        let endpoint = store.endpoint();
        let store: SocketAddr =
            endpoint.trim_start_matches("http://").parse().with_context(|| format!("the endpoint {endpoint}"))?;
        let listener = TcpListener::bind((store.ip(), 0))?;
        let address = listener.local_addr()?;
        let (out, ended, held) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (counted, noted, end, wait) = (out.clone(), asked.clone(), ended.clone(), held.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Acquire) {
                    return;
                }
                let Ok(server) = TcpStream::connect(store) else { continue };
                let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { continue };
                let (counted, noted, end, wait) = (counted.clone(), noted.clone(), end.clone(), wait.clone());
                thread::spawn(move || {
                    pump(from_client, to_server, |asked| {
                        // Each request is written at once, and none of ours has a body.
                        let text = String::from_utf8_lossy(asked);
                        let gets: Vec<&str> = text.lines().filter(|line| line.starts_with("GET ")).collect();
                        let of_objects = gets.iter().any(|line| !line.contains(LISTING));
                        noted.lock().unwrap_or_else(PoisonError::into_inner).extend(gets.into_iter().map(str::to_owned));
                        while of_objects && wait.load(Ordering::Acquire) && !end.load(Ordering::Acquire) {
                            thread::sleep(LOOK);
                        }
                    })
                });
                thread::spawn(move || {
                    pump(server, client, |bytes| {
                        counted.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    })
                });
            }
        });
        Ok(Self { address, out, asked, held, ended })
    }

    /// Where it is, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on listings are answered and GETs of objects wait.
    pub fn hold(&self) {
        self.held.store(true, Ordering::Release);
    }

    /// Lets go on what waits.
    pub fn release(&self) {
        self.held.store(false, Ordering::Release);
    }

    /// Bytes that have left the store by this way.
    pub fn bytes(&self) -> u64 {
        self.out.load(Ordering::Relaxed)
    }

    /// Pages of listings that were asked for by this way.
    pub fn listings(&self) -> u64 {
        self.asked_with(LISTING)
    }

    /// GETs of what is below a directory of the top.
    pub fn gets_below(&self, dir: &str) -> u64 {
        self.asked_with(&format!("/{dir}/"))
    }

    fn asked_with(&self, words: &str) -> u64 {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|line| line.contains(words)).count() as u64
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, look: impl Fn(&[u8])) {
    let mut buf = vec![0; 256 << 10];
    while let Ok(len @ 1..) = from.read(&mut buf) {
        look(&buf[..len]);
        if to.write_all(&buf[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
