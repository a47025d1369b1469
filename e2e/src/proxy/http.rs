use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::rule::RequestKind;

/// Longest head that is passed on, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// A request's head, as it came.
#[derive(Clone, Debug)]
pub(super) struct RequestHead {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) raw: Vec<u8>,
}

impl RequestHead {
    /// What it asks of S3. A path with one segment names a bucket.
    pub(super) fn kind(&self) -> RequestKind {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let bucket = !path.trim_matches('/').contains('/');
        match self.method.as_str() {
            "GET" if bucket || query.contains("list-type=") => RequestKind::List,
            "GET" => RequestKind::Get,
            "HEAD" => RequestKind::Head,
            _ => RequestKind::Other,
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked,
    UntilClose,
}

/// An answer's head, as it came.
#[derive(Clone, Debug)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) raw: Vec<u8>,
}

impl ResponseHead {
    /// The length of the body that follows, RFC 9112 section 6.3.
    pub(super) fn body(&self, request: &RequestHead) -> Body {
        if request.method == "HEAD" || self.status < 200 || self.status == 204 || self.status == 304 {
            return Body::Length(0);
        }
        if find(&self.headers, "transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked")) {
            return Body::Chunked;
        }
        match find(&self.headers, "content-length").and_then(|v| v.parse().ok()) {
            Some(length) => Body::Length(length),
            None => Body::UntilClose,
        }
    }

    pub(super) fn closes(&self) -> bool {
        find(&self.headers, "connection").is_some_and(|v| v.eq_ignore_ascii_case("close"))
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}

/// A connection with what was read beyond the last head.
pub(super) struct Wire<'a> {
    stream: &'a TcpStream,
    buffer: Vec<u8>,
}

impl<'a> Wire<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(super) fn stream(&self) -> &TcpStream {
        self.stream
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// At most `max` bytes; empty at the end of the stream.
    pub(super) fn some(&mut self, max: u64) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() && self.fill(256 * 1024)? == 0 {
            return Ok(Vec::new());
        }
        let n = self.buffer.len().min(usize::try_from(max).unwrap_or(usize::MAX));
        Ok(self.buffer.drain(..n).collect())
    }

    /// One line with its end, as in a chunk's size.
    pub(super) fn line(&mut self) -> io::Result<Vec<u8>> {
        self.until(b"\n")
    }

    /// The next request; `None` when the client closed between two.
    pub(super) fn request(&mut self) -> io::Result<Option<RequestHead>> {
        if self.buffer.is_empty() && self.fill(16 * 1024)? == 0 {
            return Ok(None);
        }
        let raw = self.until(b"\r\n\r\n")?;
        let (first, headers) = split(&raw)?;
        let mut words = first.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(bad("no request line")) };
        Ok(Some(RequestHead { method: method.into(), target: target.into(), headers, raw }))
    }

    /// The next answer.
    pub(super) fn response(&mut self) -> io::Result<ResponseHead> {
        let raw = self.until(b"\r\n\r\n")?;
        let (first, headers) = split(&raw)?;
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| bad("no status line"))?;
        Ok(ResponseHead { status, headers, raw })
    }

    fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|w| w == end) {
                return Ok(self.buffer.drain(..at + end.len()).collect());
            }
            if self.buffer.len() > MAX_HEAD || self.fill(16 * 1024)? == 0 {
                return Err(bad("the head does not end"));
            }
        }
    }

    fn fill(&mut self, max: usize) -> io::Result<usize> {
        let old = self.buffer.len();
        self.buffer.resize(old + max, 0);
        let n = self.stream.read(&mut self.buffer[old..]).inspect_err(|_| self.buffer.truncate(old))?;
        self.buffer.truncate(old + n);
        Ok(n)
    }
}

fn split(raw: &[u8]) -> io::Result<(String, Vec<(String, String)>)> {
    let text = std::str::from_utf8(raw).map_err(|_| bad("the head is not UTF-8"))?;
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    let headers = lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.trim().to_owned(), v.trim().to_owned())).collect();
    Ok((first, headers))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&str, &str)]) -> ResponseHead {
        let headers = headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        ResponseHead { status, headers, raw: Vec::new() }
    }

    fn request(method: &str) -> RequestHead {
        RequestHead { method: method.into(), target: "/b/k".into(), headers: Vec::new(), raw: Vec::new() }
    }

    #[test]
    fn a_body_is_as_long_as_the_rfc_says() {
        let length = [("Content-Length", "5")];
        let chunked = [("transfer-encoding", "chunked"), ("content-length", "5")];
        for (method, answer, body) in [
            ("GET", response(200, &length), Body::Length(5)),
            ("HEAD", response(200, &length), Body::Length(0)),
            ("GET", response(304, &length), Body::Length(0)),
            ("GET", response(200, &chunked), Body::Chunked),
            ("GET", response(200, &[]), Body::UntilClose),
        ] {
            assert_eq!(answer.body(&request(method)), body, "{method} {answer:?}");
        }
    }
}
