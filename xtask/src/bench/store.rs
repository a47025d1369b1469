//! What the S3 server gives a bare client on loopback: plain GETs without a signature, connections kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use forebay_e2e::S3Client;

use super::results::Results;
use super::rows::*;
use super::{BUCKET, Lab};
use crate::speed::in_threads;

/// Requests in flight.
const PARALLEL: usize = 16;
/// Bytes of each range of a large object.
const RANGE: u64 = 8 << 20;

/// One large object by sixteen parallel ranges, small objects by sixteen parallel GETs, the first bytes of one.
pub(super) fn measure(lab: &Lab, results: &mut Results) -> Result<()> {
    let address = address(&lab.client);
    let big = key(lab, &lab.data.big[1]);
    let size = lab.args.big_mib << 20;

    let start = Instant::now();
    let ranges: Vec<_> =
        (0..size).step_by(RANGE as usize).map(|from| (big.clone(), Some((from, (from + RANGE).min(size))))).collect();
    let bytes = get_all(address, &ranges)?;
    ensure!(bytes == size, "the store gave {bytes} of {size} bytes");
    results.add(COLD_SEQ, "store", size as f64 / f64::from(1 << 20) / start.elapsed().as_secs_f64());

    results.add(COLD_SMALL, "store", small(lab, &lab.client, &lab.data.some_small(1_000))?);

    let start = Instant::now();
    get_all(address, &[(key(lab, &lab.data.big[0]), Some((0, 4096)))])?;
    results.add(FIRST_BYTE, "store", start.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// Files a second that sixteen parallel GETs bring.
pub(super) fn small(lab: &Lab, client: &S3Client, files: &[PathBuf]) -> Result<f64> {
    let requests: Vec<_> = files.iter().map(|path| (key(lab, path), None)).collect();
    let start = Instant::now();
    get_all(address(client), &requests)?;
    Ok(files.len() as f64 / start.elapsed().as_secs_f64())
}

fn key(lab: &Lab, path: &Path) -> String {
    format!("/{BUCKET}/{}", path.strip_prefix(&lab.data.root).unwrap_or(path).display())
}

fn address(client: &S3Client) -> &str {
    client.endpoint().trim_start_matches("http://")
}

/// Lists all keys below each of `prefixes` of a bucket, sixteen prefixes at a time, by whole pages. Gives how many there are.
pub(super) fn list(client: &S3Client, bucket: &str, prefixes: &[String]) -> Result<usize> {
    let (next, keys, address) = (AtomicUsize::new(0), AtomicUsize::new(0), address(client));
    in_threads(PARALLEL, |_| {
        let mut connection = BufReader::with_capacity(256 << 10, TcpStream::connect(address)?);
        while let Some(prefix) = prefixes.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut from = String::new();
            loop {
                let path = format!("/{bucket}?list-type=2&delimiter=%2F&prefix={prefix}{from}");
                let mut page = Vec::new();
                get(&mut connection, address, &(path, None), &mut vec![0; 1 << 20], &mut |bytes| page.extend_from_slice(bytes))?;
                let page = String::from_utf8_lossy(&page);
                keys.fetch_add(page.matches("<Key>").count(), Ordering::Relaxed);
                let token = page.split_once("<NextContinuationToken>").and_then(|(_, rest)| rest.split_once('<'));
                let Some((token, _)) = token.filter(|(token, _)| !token.is_empty()) else { break };
                from = format!("&continuation-token={}", escaped(token));
            }
        }
        Ok(())
    })?;
    Ok(keys.into_inner())
}

/// As a value of a query.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

type Request = (String, Option<(u64, u64)>);

/// Gets everything and gives the number of bytes.
fn get_all(address: &str, requests: &[Request]) -> Result<u64> {
    let next = AtomicUsize::new(0);
    let total = std::sync::atomic::AtomicU64::new(0);
    in_threads(PARALLEL.min(requests.len()), |_| {
        let mut connection = BufReader::with_capacity(256 << 10, TcpStream::connect(address)?);
        let mut buffer = vec![0; 1 << 20];
        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            total.fetch_add(get(&mut connection, address, request, &mut buffer, &mut |_| ())?, Ordering::Relaxed);
        }
        Ok(())
    })?;
    Ok(total.into_inner())
}

fn get(
    connection: &mut BufReader<TcpStream>,
    address: &str,
    (path, range): &Request,
    buffer: &mut [u8],
    take: &mut dyn FnMut(&[u8]),
) -> Result<u64> {
    let range = range.map_or(String::new(), |(from, to)| format!("Range: bytes={from}-{}\r\n", to - 1));
    connection.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{range}\r\n").as_bytes())?;
    let (mut status, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        ensure!(connection.read_line(&mut line)? > 0, "GET {path}: the server closed");
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if status.is_empty() {
            status = line.to_owned();
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().context("Content-Length")?;
        }
    }
    ensure!(status.contains(" 200 ") || status.contains(" 206 "), "GET {path}: {status}");
    let mut left: u64 = length;
    while left > 0 {
        let want = buffer.len().min(left as usize);
        let n = connection.read(&mut buffer[..want])?;
        ensure!(n > 0, "GET {path}: the body ended early");
        take(&buffer[..n]);
        left -= n as u64;
    }
    Ok(length)
}
