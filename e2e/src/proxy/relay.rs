use std::io;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::http::{Body, RequestHead, Wire};
use super::rule::{Fault, RuleId, Seen};
use super::{Shared, lock};

/// Serves one client until either side closes.
pub(super) fn run(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    let upstream = TcpStream::connect(shared.upstream)?;
    upstream.set_nodelay(true)?;
    let (mut client, mut server) = (Wire::new(client), Wire::new(&upstream));
    while let Some(request) = client.request()? {
        let fault = lock(&shared.rules).take(&request);
        let place = lock(&shared.seen).begin(Seen {
            kind: request.kind(),
            method: request.method.clone(),
            target: request.target.clone(),
            range: request.header("range").map(str::to_owned),
            status: 0,
            bytes: 0,
        });
        let mut answer = Answer { shared, status: 0, bytes: 0 };
        let outcome = answer.pass(&request, fault, &mut client, &mut server);
        lock(&shared.seen).end(place, answer.status, answer.bytes);
        if !outcome? {
            break;
        }
    }
    Ok(())
}

/// One answer on its way to the client.
struct Answer<'a> {
    shared: &'a Shared,
    status: u16,
    bytes: u64,
}

impl Answer<'_> {
    /// Whether the connections can take another request.
    fn pass(
        &mut self,
        request: &RequestHead,
        fault: Option<(RuleId, Fault)>,
        client: &mut Wire,
        server: &mut Wire,
    ) -> io::Result<bool> {
        match &fault {
            Some((_, Fault::Answer(status, code))) => return self.refuse(request, *status, code, client).map(|()| true),
            Some((id, Fault::Hang)) => self.hold(*id, client)?,
            Some((_, Fault::Delay(time))) => std::thread::sleep(*time),
            _ => {}
        }
        server.write(&request.raw)?;
        let length = request.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
        self.copy(length, None, client, server)?;
        self.bytes = 0;
        let mut head = server.response()?;
        while head.status == 100 {
            client.write(&head.raw)?;
            head = server.response()?;
        }
        self.status = head.status;
        client.write(&head.raw)?;
        match head.body(request) {
            Body::Length(length) => self.copy(length, fault, server, client)?,
            Body::UntilClose => self.copy(u64::MAX, fault, server, client)?,
            Body::Chunked => self.chunks(server, client)?,
        }
        Ok(!head.closes() && head.body(request) != Body::UntilClose)
    }

    /// Answers as S3 does, without the server.
    fn refuse(&mut self, request: &RequestHead, status: u16, code: &str, client: &mut Wire) -> io::Result<()> {
        let body = match request.method.as_str() {
            "HEAD" => String::new(),
            _ => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>injected by the test</Message><RequestId>0</RequestId></Error>"
            ),
        };
        self.status = status;
        self.bytes = body.len() as u64;
        let length = body.len();
        client.write(
            format!("HTTP/1.1 {status} Injected\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}")
                .as_bytes(),
        )
    }

    /// Copies a body of `length` bytes, with the faults that belong to bodies.
    fn copy(&mut self, length: u64, fault: Option<(RuleId, Fault)>, from: &mut Wire, to: &mut Wire) -> io::Result<()> {
        let start = Instant::now();
        self.bytes = 0;
        let mut stop = match &fault {
            Some((_, Fault::Truncate(at) | Fault::Stall(at))) => (*at).min(length),
            _ => length,
        };
        while self.bytes < length {
            if self.bytes == stop {
                match &fault {
                    Some((id, Fault::Stall(_))) => self.hold(*id, to)?,
                    _ => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "truncated by the test")),
                }
                stop = length;
            }
            let mut data = from.some(stop - self.bytes)?;
            if data.is_empty() {
                return if length == u64::MAX { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            match &fault {
                Some((_, Fault::Flip(at))) => {
                    if let Some(byte) = at.checked_sub(self.bytes).and_then(|i| data.get_mut(usize::try_from(i).ok()?)) {
                        *byte ^= 1;
                    }
                }
                Some((_, Fault::Slow(rate))) => self.pace(*rate, data.len(), start),
                _ => {}
            }
            to.write(&data)?;
            self.bytes += data.len() as u64;
        }
        Ok(())
    }

    /// Waits until `more` bytes may pass at `rate` bytes a second since `start`; at most a second at a time, so that a removed rule ends soon.
    fn pace(&self, rate: u64, more: usize, start: Instant) {
        let due = Duration::from_secs_f64((self.bytes + more as u64) as f64 / rate.max(1) as f64);
        std::thread::sleep(due.saturating_sub(start.elapsed()).min(Duration::from_secs(1)));
    }

    fn chunks(&mut self, from: &mut Wire, to: &mut Wire) -> io::Result<()> {
        loop {
            let line = from.line()?;
            to.write(&line)?;
            let text = String::from_utf8_lossy(&line);
            let size = u64::from_str_radix(text.trim().split(';').next().unwrap_or_default(), 16);
            let mut left = size.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            self.bytes += left;
            let last = left == 0;
            while left > 0 {
                let data = from.some(left)?;
                if data.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                left -= data.len() as u64;
                to.write(&data)?;
            }
            // The line end behind the chunk; behind the last one: trailers (which no S3 server here sends) and the empty line.
            let end = from.line()?;
            to.write(&end)?;
            if last {
                return Ok(());
            }
        }
    }

    /// Waits until the rule is gone, the proxy closes or the waiting side hangs up.
    fn hold(&self, id: RuleId, waiting: &Wire) -> io::Result<()> {
        let stream = waiting.stream();
        stream.set_nonblocking(true)?;
        while lock(&self.shared.rules).holds(id) && !self.shared.closing.load(Ordering::Acquire) {
            match stream.peek(&mut [0]) {
                Ok(0) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        stream.set_nonblocking(false)
    }
}
