//! A server that says exactly what a test wants it to say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Answers requests with what a function makes of their heads.
pub(crate) struct Server {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// One request a connection.
    pub(crate) fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::listen(move |mut stream| {
            let Some(head) = head(&mut stream) else { return };
            let text = answer(&head);
            // A HEAD has no body, and closing tells that there is no other answer.
            let text =
                if head.starts_with("HEAD ") { &text[..text.find("\r\n\r\n").map_or(text.len(), |end| end + 4)] } else { &text };
            let text = text.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            let _ = stream.write_all(text.as_bytes());
        })
    }

    /// Many requests a connection, numbered from 0 in each; without an answer, the connection is closed.
    pub(crate) fn keeping(answer: impl Fn(&str, usize) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::listen(move |mut stream| {
            for number in 0.. {
                let text = head(&mut stream).and_then(|head| answer(&head, number));
                if text.is_none_or(|text| stream.write_all(text.as_bytes()).is_err()) {
                    return;
                }
            }
        })
    }

    fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, over) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let connections = Arc::new(AtomicUsize::new(0));
        let (ended, serve, counted) = (over.clone(), Arc::new(serve), connections.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                counted.fetch_add(1, Ordering::AcqRel);
                let serve = serve.clone();
                std::thread::spawn(move || serve(stream));
            }
        });
        Self { address, over, connections, thread: Some(thread) }
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A request's head; `None` when the client went away, which is its right.
fn head(stream: &mut TcpStream) -> Option<String> {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    let (mut head, mut byte) = (Vec::new(), [0; 1]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) if head.len() < 65536 => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}
