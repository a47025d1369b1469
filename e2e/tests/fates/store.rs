//! An S3 server that has exactly the keys that a test gives it, those included that no real server takes.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Names of a page: few, so that listings have several pages.
const PAGE: usize = 3;

/// An object as it is listed. Two with one key are one that was written while it was listed.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) bucket: &'static str,
    pub(super) key: Vec<u8>,
    pub(super) content: Vec<u8>,
    /// Its entity tag, without quotes. None is an MD5, which would be taken for a checksum.
    pub(super) tag: String,
    /// Written a year after the others.
    pub(super) newer: bool,
}

impl Object {
    /// The time as listings and as headers have it.
    fn time(&self) -> (&'static str, &'static str) {
        match self.newer {
            false => ("2020-01-01T00:00:00.000Z", "Wed, 01 Jan 2020 00:00:00 GMT"),
            true => ("2021-01-01T00:00:00.000Z", "Fri, 01 Jan 2021 00:00:00 GMT"),
        }
    }

    fn listed(&self) -> String {
        let (key, size, tag, time) = (encoded(&self.key), self.content.len(), &self.tag, self.time().0);
        format!(
            "<Contents><Key>{key}</Key><LastModified>{time}</LastModified><ETag>&quot;{tag}&quot;</ETag><Size>{size}</Size></Contents>"
        )
    }
}

/// The server, on a loopback port. Its threads end with their connections.
pub(super) struct Store {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    pub(super) fn start(mut objects: Vec<Object>) -> Self {
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, over) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let (ended, objects) = (over.clone(), Arc::new(objects));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                let objects = objects.clone();
                std::thread::spawn(move || serve(&stream, &objects));
            }
        });
        Self { address, over, thread: Some(thread) }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: &TcpStream, objects: &[Object]) {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    while let Some(request) = Request::read(&mut reader) {
        if writer.write_all(&answer(&request, objects)).is_err() {
            return;
        }
    }
}

/// A request without a body, addressed by path.
struct Request {
    method: String,
    bucket: String,
    key: Vec<u8>,
    query: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// `None` when the client went away.
    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head).ok()? == 0 {
                return None;
            }
        }
        let head = String::from_utf8(head).ok()?;
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?, first.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.strip_prefix('/')?;
        // A key may begin with a slash too.
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(Self {
            method: method.to_owned(),
            bucket: bucket.to_owned(),
            key: decoded(key),
            query: query.to_owned(),
            headers: headers.collect(),
        })
    }

    /// A parameter of the query; empty where it has none of the name.
    fn parameter(&self, name: &str) -> Vec<u8> {
        let mut parameters = self.query.split('&').filter_map(|part| part.split_once('='));
        parameters.find(|(found, _)| *found == name).map(|(_, value)| decoded(value)).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn respond(&self, status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        let body: &[u8] = if self.method == "HEAD" { &[] } else { body };
        [head.as_bytes(), body].concat()
    }

    fn refuse(&self, status: &str, code: &str) -> Vec<u8> {
        let xml = format!("<Error><Code>{code}</Code><Message>said by the test</Message></Error>");
        self.respond(status, "Content-Type: application/xml\r\n", xml.as_bytes())
    }
}

fn answer(request: &Request, objects: &[Object]) -> Vec<u8> {
    if request.key.is_empty() {
        // XML has no word for most of these keys.
        return match request.parameter("encoding-type") == b"url" {
            true => request.respond("200 OK", "Content-Type: application/xml\r\n", list(request, objects).as_bytes()),
            false => request.refuse("400 Bad Request", "InvalidArgument"),
        };
    }
    let named = objects.iter().filter(|object| object.bucket == request.bucket && object.key == request.key);
    let Some(object) = named.max_by_key(|object| object.newer) else { return request.refuse("404 Not Found", "NoSuchKey") };
    let tag = format!("\"{}\"", object.tag);
    if request.header("if-match").is_some_and(|wanted| wanted != tag) {
        return request.refuse("412 Precondition Failed", "PreconditionFailed");
    }
    let (content, time) = (&object.content, object.time().1);
    let headers = format!("ETag: {tag}\r\nLast-Modified: {time}\r\nAccept-Ranges: bytes\r\n");
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else { return request.respond("200 OK", &headers, content) };
    let (first, end) = (first.parse::<usize>().unwrap(), content.len().min(last.parse::<usize>().unwrap() + 1));
    if first >= end {
        return request.refuse("416 Range Not Satisfiable", "InvalidRange");
    }
    let headers = format!("{headers}Content-Range: bytes {first}-{}/{}\r\n", end - 1, content.len());
    request.respond("206 Partial Content", &headers, &content[first..end])
}

/// A page of the bucket's listing, version 2. Its token is the number of names before it.
fn list(request: &Request, objects: &[Object]) -> String {
    let (prefix, folds) = (request.parameter("prefix"), !request.parameter("delimiter").is_empty());
    let mut entries: Vec<String> = Vec::new();
    for object in objects.iter().filter(|object| object.bucket == request.bucket && object.key.starts_with(&prefix)) {
        match object.key[prefix.len()..].iter().position(|byte| *byte == b'/').filter(|_| folds) {
            None => entries.push(object.listed()),
            Some(at) => {
                let folded = encoded(&object.key[..=prefix.len() + at]);
                let entry = format!("<CommonPrefixes><Prefix>{folded}</Prefix></CommonPrefixes>");
                if entries.last() != Some(&entry) {
                    entries.push(entry);
                }
            }
        }
    }
    let token = String::from_utf8(request.parameter("continuation-token")).unwrap();
    let from = token.parse::<usize>().unwrap_or(0).min(entries.len());
    let until = (from + PAGE).min(entries.len());
    let next = match until < entries.len() {
        true => format!("<NextContinuationToken>{until}</NextContinuationToken>"),
        false => String::new(),
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{}</IsTruncated>{next}{}</ListBucketResult>",
        until < entries.len(),
        entries[from..until].concat(),
    )
}

/// As AWS writes keys in listings: percent escapes, and `+` for a space.
fn encoded(key: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => char::from(*byte).to_string(),
        b' ' => "+".to_owned(),
        byte => format!("%{byte:02X}"),
    };
    key.iter().map(escape).collect()
}

fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut out) = (text.bytes(), Vec::new());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits: String = bytes.by_ref().take(2).map(char::from).collect();
            out.push(u8::from_str_radix(&digits, 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    out
}
