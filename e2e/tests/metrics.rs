//! What monitoring sees is what is so.

use std::io::{Read, Write};
use std::net::TcpStream;

use forebay_e2e::{Agent, Fault, RequestKind, Rule, wait_until};

use crate::support::{SOON, Site, is_cached, read};

/// Status and body of one GET from the agent.
pub(crate) fn get(agent: &Agent, path: &str) -> (u16, String) {
    let address = wait_until("the agent to serve metrics", SOON, || agent.metrics_address().map(Some)).unwrap();
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// The value of the one sample whose line starts with `start`.
pub(crate) fn sample(page: &str, start: &str) -> f64 {
    let line = page.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn numbers_are_those_of_the_tree_and_of_what_was_read() {
    let site = Site::new().with_files(&[("a", 3 << 20), ("b", 1 << 20)]);
    let agent = site.start(&site.manifest("watched", "1Gi").with("prefetch: {policy: Eager}"));
    agent.wait_status("everything to be cached", SOON, is_cached).unwrap();
    for name in ["a", "b"] {
        assert!(read(&agent.root().join(name)).unwrap() == site.bytes(name));
    }
    let (status, page) = get(&agent, "/metrics");
    assert_eq!(status, 200);
    let labels = "{namespace=\"default\",dataset=\"watched\"";
    assert_eq!(sample(&page, &format!("forebay_dataset_files{labels}")), 2.0);
    assert_eq!(sample(&page, &format!("forebay_dataset_size_bytes{labels}")), f64::from(4 << 20));
    assert_eq!(sample(&page, &format!("forebay_dataset_cached_bytes{labels}")), f64::from(4 << 20));
    assert_eq!(sample(&page, &format!("forebay_dataset_mounted{labels}")), 1.0);
    assert_eq!(sample(&page, &format!("forebay_dataset_phase{labels},phase=\"Ready\"}}")), 1.0);
    assert_eq!(sample(&page, &format!("forebay_prefetch_done_files{labels}")), 2.0);
}

#[test]
fn health_and_readiness_are_told_apart() {
    let site = Site::new().with_files(&[("a", 10)]);
    let hold = site.proxy.add(Rule { kind: Some(RequestKind::List), ..Rule::all(Fault::Hang) });
    let mut agent = Agent::spawn(&site.files(), &site.manifest("slow", "1Gi")).unwrap();
    assert_eq!(get(&agent, "/healthz").0, 200);
    let (status, why) = get(&agent, "/readyz");
    assert_eq!(status, 503);
    assert!(why.contains("default/slow"), "{why}");
    site.proxy.remove(hold);
    agent.wait_mounted().unwrap();
    wait_until("the agent to be ready", SOON, || Ok((get(&agent, "/readyz").0 == 200).then_some(()))).unwrap();
}
