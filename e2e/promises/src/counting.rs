use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result};

use crate::Store;

/// Stands before a store and counts the bytes that leave it, as the network would.
#[derive(Debug)]
pub struct Counting {
    address: SocketAddr,
    out: Arc<AtomicU64>,
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
        let (out, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, end) = (out.clone(), ended.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Acquire) {
                    return;
                }
                let Ok(server) = TcpStream::connect(store) else { continue };
                let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { continue };
                let counted = counted.clone();
                thread::spawn(move || pump(from_client, to_server, &AtomicU64::new(0)));
                thread::spawn(move || pump(server, client, &counted));
            }
        });
        Ok(Self { address, out, ended })
    }

    /// Where it is, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes that have left the store by this way.
    pub fn bytes(&self) -> u64 {
        self.out.load(Ordering::Relaxed)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let mut buf = vec![0; 256 << 10];
    while let Ok(len @ 1..) = from.read(&mut buf) {
        count.fetch_add(len as u64, Ordering::Relaxed);
        if to.write_all(&buf[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
