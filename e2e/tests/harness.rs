//! The tests' own tools do what they say: a fault that injects nothing would make every test of faults pass.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use forebay_e2e::{Fault, FaultProxy, HttpServer, RequestKind, Rule, S3Server, TreeSum, wait_until};

/// Status and body of one GET; the body is what came before the connection ended.
/// Bodies are compared by `==` only: `assert_eq` would print them.
fn get(address: &str, path: &str) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut all = Vec::new();
    // A connection that is cut is an end as well.
    let _ = stream.read_to_end(&mut all);
    let head = all.windows(4).position(|w| w == b"\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = std::str::from_utf8(&all[9..12]).ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    Ok((status, all[head + 4..].to_vec()))
}

#[test]
fn the_proxy_passes_everything_and_breaks_what_it_is_told_to() {
    let work = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    fs::create_dir_all(work.path().join("www/dir")).unwrap();
    fs::write(work.path().join("www/dir/file"), &content).unwrap();
    let server = HttpServer::start(&work.path().join("www"), work.path()).unwrap();
    let mut proxy = FaultProxy::start(&server.address).unwrap();
    let address = proxy.endpoint().trim_start_matches("http://").to_owned();
    let fetch = || get(&address, "/dir/file");

    assert!(fetch().unwrap() == (200, content.clone()));
    assert_eq!((proxy.count(RequestKind::Get), proxy.bytes()), (1, 300_000));

    proxy.add(Rule::gets(Fault::Answer(503, "SlowDown")).of("file").times(1));
    let (status, body) = fetch().unwrap();
    assert_eq!(status, 503);
    assert!(String::from_utf8(body).unwrap().contains("<Code>SlowDown</Code>"));
    assert_eq!(fetch().unwrap().0, 200, "the rule was for one request");

    proxy.add(Rule::gets(Fault::Truncate(1000)).times(1));
    assert!(fetch().unwrap() == (200, content[..1000].to_vec()));

    proxy.add(Rule::gets(Fault::Flip(70_000)).times(1));
    let (_, flipped) = fetch().unwrap();
    assert_eq!(flipped.len(), content.len());
    let wrong: Vec<_> = (0..content.len()).filter(|&i| flipped[i] != content[i]).collect();
    assert_eq!(wrong, [70_000]);

    let start = Instant::now();
    proxy.add(Rule::gets(Fault::Slow(600_000)).times(1));
    assert!(fetch().unwrap().1 == content);
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());

    let stall = proxy.add(Rule::gets(Fault::Stall(5000)));
    let waiting = std::thread::spawn({
        let address = address.clone();
        move || get(&address, "/dir/file")
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!waiting.is_finished(), "it stalls until the rule ends");
    proxy.remove(stall);
    assert!(waiting.join().unwrap().unwrap() == (200, content.clone()));

    proxy.down();
    assert_eq!(fetch().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    proxy.up().unwrap();
    assert!(fetch().unwrap().1 == content);
}

#[test]
fn a_tree_goes_through_each_server_and_comes_back_equal() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/empty"), b"").unwrap();
    fs::write(source.join("a/b/text with space"), b"text").unwrap();
    fs::write(source.join("large"), vec![7; 40 << 20]).unwrap();
    let expected = TreeSum::of(&source, 2).unwrap();
    assert_eq!((expected.files.len(), expected.bytes()), (3, (40 << 20) + 4));

    for name in ["versitygw", "minio"] {
        let dir = work.path().join(name);
        fs::create_dir(&dir).unwrap();
        let server = if name == "minio" { S3Server::minio(&dir) } else { S3Server::versitygw(&dir) }.unwrap();
        let client = server.client();
        client.make_bucket("tree").unwrap();
        client.upload(&source, "tree/below").unwrap();
        client.put("tree", "below/late", b"late").unwrap();
        let back = dir.join("back");
        let status = client.rclone().args(["copy", ":s3:tree"]).arg(&back).status().unwrap();
        assert!(status.success());
        let found = TreeSum::of(&back.join("below"), 2).unwrap();
        assert_eq!(expected.differences(&found), ["extra: late"], "{name}");
        client.delete("tree", "below/late").unwrap();
        wait_until("the object to be gone", Duration::from_secs(60), || {
            let listed = client.rclone().args(["lsf", ":s3:tree/below"]).output()?;
            Ok((!String::from_utf8_lossy(&listed.stdout).contains("late")).then_some(()))
        })
        .unwrap();
    }
}

#[test]
fn a_changed_byte_a_missing_and_an_extra_file_are_differences() {
    let work = tempfile::tempdir().unwrap();
    let (one, two) = (work.path().join("one"), work.path().join("two"));
    for dir in [&one, &two] {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("same"), b"same").unwrap();
        fs::write(dir.join("other"), b"aaaa").unwrap();
    }
    assert_eq!(TreeSum::of(&one, 3).unwrap().digest(), TreeSum::of(&two, 1).unwrap().digest());
    fs::write(two.join("other"), b"aaab").unwrap();
    fs::write(one.join("mine"), b"").unwrap();
    fs::write(two.join("theirs"), b"").unwrap();
    let (a, b) = (TreeSum::of(&one, 2).unwrap(), TreeSum::of(&two, 2).unwrap());
    assert_eq!(a.differences(&b), ["missing: mine", "extra: theirs", "differs: other (4 bytes, 4 there)"]);
    assert_ne!(a.digest(), b.digest());
}
