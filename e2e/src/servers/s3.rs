use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait::free_port_on;
use crate::{Process, S3Client, part, wait_until};

/// A real S3 server on a free loopback port, with its data below the directory it was given.
#[derive(Debug)]
pub struct S3Server {
    /// The process.
    pub process: Process,
    /// Address and port.
    pub address: String,
    access_key: String,
    secret_key: String,
}

impl S3Server {
    /// Access key id of the root user.
    pub const ACCESS_KEY: &str = "forebay-e2e";
    /// Secret access key of the root user.
    pub const SECRET_KEY: &str = "forebay-e2e-secret";

    /// versitygw: objects are files below `work/data/BUCKET/`.
    pub fn versitygw(work: &Path) -> Result<Self> {
        Self::versitygw_on(work, Ipv4Addr::LOCALHOST)
    }

    /// The same at another address of the machine, such as the one that a cluster's pods reach.
    pub fn versitygw_on(work: &Path, host: Ipv4Addr) -> Result<Self> {
        let data = work.join("data");
        fs::create_dir_all(&data)?;
        let program = part("versitygw")?;
        Self::start("versitygw", work, host, |address| {
            let mut command = Command::new(&program);
            // Without --keep-alive it closes the connection after every answer, which no store in production does.
            command.args(["--keep-alive", "--quiet", "--region", "us-east-1", "--port", address]);
            command.args(["--access", Self::ACCESS_KEY, "--secret", Self::SECRET_KEY, "posix"]).arg(&data);
            command
        })
    }

    /// MinIO: an implementation of S3 that shares no code with the other.
    pub fn minio(work: &Path) -> Result<Self> {
        let data = work.join("data");
        fs::create_dir_all(&data)?;
        let program = part("minio")?;
        Self::start("minio", work, Ipv4Addr::LOCALHOST, |address| {
            let mut command = Command::new(&program);
            command.args(["server", "--quiet", "--anonymous", "--address", address]).arg(&data);
            command.env("MINIO_ROOT_USER", Self::ACCESS_KEY).env("MINIO_ROOT_PASSWORD", Self::SECRET_KEY);
            command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off").env("HOME", work);
            command
        })
    }

    /// As a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client with the root user's keys.
    pub fn client(&self) -> S3Client {
        S3Client::new(&self.endpoint(), &self.access_key, &self.secret_key)
    }

    /// Starts it on a free port; tries other ports when somebody else was quicker.
    fn start(name: &str, work: &Path, host: Ipv4Addr, command: impl Fn(&str) -> Command) -> Result<Self> {
        let log = work.join(format!("{name}.log"));
        let mut last = None;
        for _ in 0..5 {
            let address = format!("{host}:{}", free_port_on(host)?);
            let mut process = Process::spawn(name, command(&address), &log)?;
            match ready(name, &address, &mut process) {
                Ok(()) => {
                    let (access_key, secret_key) = (Self::ACCESS_KEY.into(), Self::SECRET_KEY.into());
                    return Ok(Self { process, address, access_key, secret_key });
                }
                Err(error) => last = Some(error.context(process.tail())),
            }
        }
        bail!("{name} does not start: {:#}", last.context("no attempt was made")?)
    }
}

/// Waits until the server answers an unsigned listing of buckets by refusing it, which shows that S3 itself is up.
fn ready(name: &str, address: &str, process: &mut Process) -> Result<()> {
    let outcome = wait_until(&format!("{name} to answer"), Duration::from_secs(60), || {
        if let Some(status) = process.exited()? {
            return Ok(Some(Err(status)));
        }
        let refuses = http_status(address)?.is_some_and(|code| (400..500).contains(&code));
        // It may be another server that answers there, and this one has ended for it.
        Ok(refuses.then_some(process.exited()?.map_or(Ok(()), Err)))
    })?;
    outcome.or_else(|status| bail!("{name} ended at once with {status}"))
}

fn http_status(address: &str) -> Result<Option<u16>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(std::str::from_utf8(&head[9..]).ok().and_then(|code| code.parse().ok()))
}
