use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::{Process, free_port, wait_until};

/// A plain HTTP file server (`rclone serve http`) that shows a directory, with ranges and Last-Modified.
#[derive(Debug)]
pub struct HttpServer {
    /// The process.
    pub process: Process,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl HttpServer {
    /// Serves `dir`; the log goes to `work`.
    pub fn start(dir: &Path, work: &Path) -> Result<Self> {
        for _ in 0..5 {
            let address = format!("127.0.0.1:{}", free_port()?);
            let mut command = Command::new("rclone");
            command.args(["serve", "http", "--addr", &address]).arg(dir).env("RCLONE_CONFIG", "/dev/null");
            let mut process = Process::spawn("rclone serve http", command, &work.join("http.log"))?;
            let up = wait_until("rclone serve http to listen", Duration::from_secs(30), || {
                if process.exited()?.is_some() {
                    return Ok(Some(false));
                }
                Ok(TcpStream::connect(&address).ok().map(|_| true))
            })?;
            if up {
                return Ok(Self { process, address });
            }
        }
        bail!("rclone serve http does not start; see {}", work.join("http.log").display())
    }
}
