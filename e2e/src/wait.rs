use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Asks `probe` every 20 ms until it gives a value. Fails after `limit`, naming `what` and the probe's last words.
///
/// `probe` returns `Ok(None)` for "not yet"; its errors count as "not yet" too and are shown when time is up.
pub fn wait_until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    let mut last = None;
    loop {
        match probe() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => {}
            Err(error) => last = Some(error),
        }
        if start.elapsed() >= limit {
            match last {
                Some(error) => return Err(error.context(format!("waited {limit:?} for {what}"))),
                None => bail!("waited {limit:?} for {what}"),
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A loopback port that was free a moment ago. Whoever uses it must cope with losing it to another process.
pub fn free_port() -> Result<u16> {
    free_port_on(Ipv4Addr::LOCALHOST)
}

/// The same on another address of the machine.
pub fn free_port_on(host: Ipv4Addr) -> Result<u16> {
    let listener = TcpListener::bind((host, 0)).with_context(|| format!("bind a port of {host}"))?;
    Ok(listener.local_addr()?.port())
}
