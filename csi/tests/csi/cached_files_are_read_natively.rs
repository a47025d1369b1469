//! Agents may register nothing: csi does it for them, and readers do not notice who of the two dies.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use forebay_backing::Table;

use crate::agent::{BIG, pattern};
use crate::harness::{Node, wait_until};
use crate::mounts_outlive_processes::{Reader, shown};

/// Whether nobody has the file open or mapped, as the cache asks before it takes anything out of it. Not for a file that nobody ever opened.
fn is_unshared(path: &Path) -> bool {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    // SAFETY: the descriptor is open for the length of the call, which touches no memory of ours.
    let lease = |kind: i32| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    let granted = lease(libc::F_WRLCK) == 0;
    if granted {
        assert_eq!(lease(libc::F_UNLCK), 0);
    } else {
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EAGAIN));
    }
    granted
}

fn with_cached() -> Node {
    let node = Node::new();
    std::fs::write(node.cached(), pattern(1, BIG)).unwrap();
    node
}

fn tables(node: &Node) -> usize {
    std::fs::read_dir(node.path("run/opens")).map_or(0, Iterator::count)
}

/// Whether some handle of `big` is counted as open natively.
fn is_counted(node: &Node) -> bool {
    let table = std::fs::read_dir(node.path("run/opens")).unwrap().next().unwrap().unwrap();
    let table = OpenOptions::new().read(true).write(true).open(table.path()).unwrap();
    let ino = std::fs::metadata(node.target("a").join("big")).unwrap().ino();
    Table::shared(table).unwrap().id(ino).is_some()
}

/// Takes the volume from its last pod; nothing of it is left on the node.
async fn gone(node: &Node) {
    node.unpublish("ml/imagenet", "a").await.unwrap();
    node.unstage("ml/imagenet").await.unwrap();
    assert_eq!((node.mounts(), tables(node)), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_reads_by_itself_whoever_is_killed_and_nothing_is_taken_from_under_it() {
    let mut node = with_cached();
    // No agent answers a read here, so whatever is right came from the kernel.
    node.start_cached_agent(true);
    let reader = shown(&node).await;
    for round in 0..9 {
        match round % 3 {
            0 => {
                node.kill_agent();
                node.start_cached_agent(true);
            }
            1 => {
                // Both serve for a while.
                node.start_cached_agent(true);
                reader.goes_on();
                node.kill_agent();
            }
            _ => {
                node.kill_csi();
                reader.goes_on();
                node.start_csi();
                node.publish("ml/imagenet", "b", "ml").await.unwrap();
                node.unpublish("ml/imagenet", "b").await.unwrap();
            }
        }
        reader.goes_on();
        assert!(!is_unshared(&node.cached()), "somebody has it open");
    }
    reader.end();
    // That the file can be evicted now is not promised: an agent killed between hearing of an open or a close and counting it leaves the
    // count too high, which keeps the file until the mount ends.
    assert_eq!(tables(&node), 1);
    gone(&node).await;
    wait_until("the cached file can be evicted", || is_unshared(&node.cached()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_agent_registered_the_next_one_gives_back() {
    let mut node = with_cached();
    node.start_cached_agent(true);
    shown(&node).await.end();
    wait_until("the agent has counted each close", || !is_counted(&node));
    assert!(!is_unshared(&node.cached()), "the agent keeps it ready");
    node.kill_agent();
    node.start_agent("default");
    wait_until("the cached file can be evicted", || is_unshared(&node.cached()));
    gone(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_on_the_way_it_was_opened_whatever_the_next_agent_has() {
    let mut node = with_cached();
    node.start_agent("default");
    let mut readers = vec![shown(&node).await];
    // Open through the first agent, though the next one has all of it.
    node.kill_agent();
    node.start_cached_agent(false);
    readers.iter().for_each(Reader::goes_on);
    readers.extend((0..4).map(|_| Reader::start(node.target("a"))));
    readers.iter().for_each(Reader::goes_on);
    readers.into_iter().for_each(Reader::end);
    gone(&node).await;
    // Open natively, though the next one has nothing. Mounted anew: an agent killed on an open or a close leaves the count too high.
    let reader = shown(&node).await;
    assert!(is_counted(&node), "the kernel reads it");
    for round in 0..6 {
        node.kill_agent();
        if round % 2 == 0 {
            node.start_agent("default")
        } else {
            node.start_cached_agent(false)
        }
        reader.goes_on();
        assert!(!is_unshared(&node.cached()), "it is open natively");
    }
    reader.end();
}
