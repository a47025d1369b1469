//! A link with a delay, for kernels that have none (`netem`).

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Pieces under way in one direction: a window that no sender here fills.
const UNDER_WAY: usize = 4096;

/// An address by which `to` is reached; each byte takes `each_way` longer. Lives as long as the process.
pub(crate) fn through(to: SocketAddr, each_way: Duration) -> Result<SocketAddr> {
    if each_way.is_zero() {
        return Ok(to);
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(to) else { continue };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            if let (Ok(from), Ok(back)) = (near.try_clone(), far.try_clone()) {
                delay(from, far, each_way);
                delay(back, near, each_way);
            }
        }
    });
    Ok(address)
}

fn delay(from: TcpStream, to: TcpStream, each_way: Duration) {
    let (send, receive) = sync_channel(UNDER_WAY);
    thread::spawn(move || take(from, &send));
    thread::spawn(move || give(to, &receive, each_way));
}

fn take(mut from: TcpStream, send: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buf = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buf) {
        if send.send((Instant::now(), buf[..len].to_vec())).is_err() {
            break;
        }
    }
}

fn give(mut to: TcpStream, receive: &Receiver<(Instant, Vec<u8>)>, each_way: Duration) {
    while let Ok((came, piece)) = receive.recv() {
        thread::sleep(each_way.saturating_sub(came.elapsed()));
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
