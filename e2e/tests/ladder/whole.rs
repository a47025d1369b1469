//! The checksum of a whole tree, cold and warm, and which way its files were opened.

use forebay_e2e::{Fault, Rule, TreeSum, wait_until};

use super::Step;
use crate::native::opens;
use crate::support::{SOON, Site, is_cached};

/// Nobody reads it cold, and before it has come not all is in the cache.
const HELD: &str = "held/back";
/// The first that is read, and long on its way.
const SLOW: &str = "tree/a-large-one";

/// Files of many sizes, around the ends of pages and blocks too, at several depths.
fn files() -> Vec<(String, usize)> {
    let edges = [0, 1, 4095, 4096, 4097, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20];
    let edges = edges.iter().map(|size| (format!("tree/edges/of {size} bytes"), *size));
    let samples = (0..200).map(|n| (format!("tree/split-{}/größe-{}/sample-{n:03}", n % 7, n % 3), n * 997 % 60_000));
    [(HELD.to_owned(), 1 << 20), (SLOW.to_owned(), (9 << 20) + 77)].into_iter().chain(edges).chain(samples).collect()
}

pub(super) fn cold_and_warm(step: Step) {
    let files = files();
    let mut site = Site::new().with_files(&files.iter().map(|(name, size)| (name.as_str(), *size)).collect::<Vec<_>>());
    let (expected, expected_cold) = (TreeSum::of(&site.source, 4).unwrap(), TreeSum::of(&site.source.join("tree"), 4).unwrap());
    let held = site.proxy.add(Rule::gets(Fault::Hang).of(HELD));
    site.proxy.add(Rule::gets(Fault::Slow(6 << 20)).of(SLOW));
    let manifest = step.manifest(&site, "whole", "1Gi", "/").with("prefetch: {policy: Eager}");
    let mut agent = step.start(&site, &manifest);
    let cold = TreeSum::of(&agent.root().join("tree"), 4).unwrap();
    assert_eq!(expected_cold.differences(&cold), [""; 0], "cold");
    let (native, served) = opens(&agent);
    assert!(native + served > 0.0, "what is not there yet is opened through the agent");

    site.proxy.remove(held);
    agent.wait_status("everything to be cached", SOON, is_cached).unwrap();
    site.proxy.down();
    // How many opens of each kind one reading takes.
    let warm = || {
        let before = opens(&agent);
        let warm = TreeSum::of(&agent.root(), 4).unwrap();
        assert_eq!(expected.differences(&warm), [""; 0], "warm, from the cache alone");
        let after = opens(&agent);
        (after.0 - before.0, after.1 - before.1)
    };
    let all = expected.files.len() as f64;
    match step {
        Step::Plain => {
            assert_eq!(warm(), (0.0, all));
            assert_eq!(native, 0.0);
        }
        // One whose former handle has not been released is served once more, as are two that share a slot of the table of opens.
        Step::Passthrough => {
            wait_until("the kernel to read nearly all", SOON, || Ok((warm().0 > 0.9 * all).then_some(()))).unwrap();
        }
        // The kernel is told of what is complete once all is.
        Step::Composed => {
            wait_until("a reading without the agent", SOON, || Ok((warm() == (0.0, 0.0)).then_some(()))).unwrap();
        }
    }
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}
