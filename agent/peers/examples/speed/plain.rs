use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::link;

/// So many bytes through a connection of TCP, and nothing done with them.
pub(crate) fn tcp(bytes: u64, each_way: Duration) -> Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = link::through(listener.local_addr()?, each_way)?;
    let sending = std::thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        let piece = vec![7_u8; 256 << 10];
        for at in (0..bytes).step_by(piece.len()) {
            let len = piece.len().min(usize::try_from(bytes - at)?);
            stream.write_all(&piece[..len])?;
        }
        Ok(())
    });
    let start = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    let (mut buf, mut got) = (vec![0; 256 << 10], 0);
    while got < bytes {
        let len = stream.read(&mut buf)?;
        ensure!(len > 0, "the sender ended early");
        got += len as u64;
    }
    let time = start.elapsed();
    sending.join().map_err(|_| anyhow::anyhow!("the sender died"))??;
    Ok(time)
}
