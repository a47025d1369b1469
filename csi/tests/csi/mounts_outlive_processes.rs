use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::mount::{MountPropagationFlags, UnmountFlags};

use crate::agent::{BIG, pattern};
use crate::harness::{Node, wait_until};

/// A reader with a file open all the time, which opens others too, and checks every byte.
pub(crate) struct Reader {
    turns: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reader {
    pub(crate) fn start(at: PathBuf) -> Self {
        let (turns, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, told) = (Arc::clone(&turns), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (kept, want) = (File::open(at.join("big")).unwrap(), pattern(1, BIG));
            let mut found = vec![0; 200_000];
            while !told.load(Ordering::SeqCst) {
                let turn = counted.load(Ordering::SeqCst);
                let from = turn * 777_777 % (BIG as u64 - 200_000);
                for file in [&kept, &File::open(at.join("big")).unwrap()] {
                    file.read_exact_at(&mut found, from).unwrap();
                    assert!(found == want[from as usize..from as usize + 200_000], "at {from}");
                    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
                }
                assert_eq!(fs::read_dir(&at).unwrap().count(), 2);
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { turns, stop, thread }
    }

    pub(crate) fn goes_on(&self) {
        let before = self.turns.load(Ordering::SeqCst);
        wait_until("the reader goes on", || {
            assert!(!self.thread.is_finished(), "the reader failed");
            self.turns.load(Ordering::SeqCst) > before + 2
        });
    }

    pub(crate) fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

pub(crate) async fn shown(node: &Node) -> Reader {
    node.stage("ml/imagenet").await.unwrap();
    node.publish("ml/imagenet", "a", "ml").await.unwrap();
    let reader = Reader::start(node.target("a"));
    reader.goes_on();
    reader
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_killed_and_upgraded_under_a_reader() {
    let mut node = Node::with_agent();
    let reader = shown(&node).await;
    let mounts = node.mounts();
    for round in 0..8 {
        if round % 2 == 0 {
            node.kill_agent();
            node.start_agent("default");
        } else {
            // Both serve for a while.
            node.start_agent("default");
            reader.goes_on();
            node.kill_agent();
        }
        reader.goes_on();
    }
    assert_eq!(node.mounts(), mounts);
    reader.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_dies_while_the_next_one_is_taking_over() {
    let mut node = Node::with_agent();
    let mut readers = vec![shown(&node).await];
    readers.extend((0..5).map(|_| Reader::start(node.target("a"))));
    for _ in 0..3 {
        node.start_slow_agent(Duration::from_secs(3));
        // It serves by now and has not said so; the other one goes with what it had begun.
        tokio::time::sleep(Duration::from_secs(1)).await;
        node.kill_agent();
        readers.iter().for_each(Reader::goes_on);
    }
    readers.into_iter().for_each(Reader::end);
}

#[tokio::test(flavor = "multi_thread")]
async fn csi_is_killed_under_a_reader_and_has_its_descriptors_back() {
    let mut node = Node::with_agent();
    let reader = shown(&node).await;
    let mounts = node.mounts();
    for _ in 0..3 {
        node.kill_csi();
        reader.goes_on();
        node.start_csi();
        // A call waits for the agent to come back.
        node.publish("ml/imagenet", "b", "ml").await.unwrap();
        node.unpublish("ml/imagenet", "b").await.unwrap();
        // What the agent handed back is good for the next one.
        node.kill_agent();
        node.start_agent("default");
        reader.goes_on();
    }
    assert_eq!(node.mounts(), mounts);
    reader.end();
    node.unpublish("ml/imagenet", "a").await.unwrap();
    node.unstage("ml/imagenet").await.unwrap();
    assert_eq!(node.mounts(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_are_told_to_end_at_once_and_one_of_them_stays_until_the_next_one_has_come() {
    let mut node = Node::with_agent();
    let reader = shown(&node).await;
    let mounts = node.mounts();
    for round in 0..6 {
        let (mut agent, mut csi) = if round % 2 == 0 {
            (node.tell_agent(), node.tell_csi())
        } else {
            let csi = node.tell_csi();
            (node.tell_agent(), csi)
        };
        // kubelet starts what follows a program when that has ended.
        let mut first = None;
        wait_until("one of them has ended", || {
            let (agent, csi) = (agent.try_wait().unwrap().is_some(), csi.try_wait().unwrap().is_some());
            assert!(!(agent && csi), "both have ended: nobody has the descriptor");
            first = Some(agent);
            agent || csi
        });
        if first == Some(true) {
            node.start_agent("default");
            assert!(csi.wait().unwrap().success(), "csi ends once the next agent serves");
            node.start_csi();
        } else {
            node.start_csi();
            assert!(agent.wait().unwrap().success(), "the agent ends once the next csi has the descriptor");
            node.start_agent("default");
        }
        reader.goes_on();
    }
    assert_eq!(node.mounts(), mounts);
    reader.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn csi_that_is_told_to_end_while_no_agent_is_there_waits_for_the_next_one() {
    let mut node = Node::with_agent();
    let reader = shown(&node).await;
    let mounts = node.mounts();
    assert!(node.tell_agent().wait().unwrap().success(), "csi has the descriptor");
    let mut csi = node.tell_csi();
    // Long enough for one that does not wait.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(csi.try_wait().unwrap().is_none(), "nobody else has the descriptor");
    node.start_agent("default");
    assert!(csi.wait().unwrap().success());
    node.start_csi();
    reader.goes_on();
    assert_eq!(node.mounts(), mounts);
    reader.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_both_are_dead_the_volume_is_mounted_anew() {
    let mut node = Node::with_agent();
    shown(&node).await.end();
    node.kill_agent();
    node.kill_csi();
    assert!(fs::read_dir(node.target("a")).is_err());
    // Whoever looks sees the dead mount or the new one, never the bare directory.
    let (target, done) = (node.target("a"), Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&done);
    let looker = std::thread::spawn(move || {
        while !told.load(Ordering::SeqCst) {
            assert_ne!(fs::read_dir(&target).ok().map(Iterator::count), Some(0));
        }
    });
    node.start_csi();
    node.start_agent("default");
    wait_until("the volume is there again", || {
        fs::read(node.target("a").join("dir/small")).is_ok_and(|small| small == b"dataset 1")
    });
    done.store(true, Ordering::SeqCst);
    looker.join().unwrap();
    assert_eq!(node.mounts().len(), 3, "the dead one lies below");
    node.unpublish("ml/imagenet", "a").await.unwrap();
    node.unstage("ml/imagenet").await.unwrap();
    assert_eq!(node.mounts(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_while_all_are_dead_goes_away() {
    let mut node = Node::with_agent();
    shown(&node).await.end();
    node.kill_agent();
    node.kill_csi();
    node.start_csi();
    node.unpublish("ml/imagenet", "a").await.unwrap();
    node.unstage("ml/imagenet").await.unwrap();
    assert_eq!(node.mounts(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_taken_away_goes_as_soon_as_it_can() {
    let node = Node::with_agent();
    shown(&node).await.end();
    let dataset = node.dataset("ml/imagenet");
    // A second mount of the same directory, as of a container that was given it without propagation: the place is busy.
    let (datasets, copy) = (dataset.ancestors().nth(2).unwrap(), node.path("copy"));
    fs::create_dir(&copy).unwrap();
    rustix::mount::mount_bind_recursive(datasets, &copy).unwrap();
    rustix::mount::mount_change(&copy, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    let copied = copy.join("ml/imagenet");
    node.unpublish("ml/imagenet", "a").await.unwrap();
    let refused = node.unstage("ml/imagenet").await.unwrap_err();
    assert!(refused.message().contains("busy"), "{refused}");
    // kubelet tries again, and is told that its volume is gone, as it is.
    node.unstage("ml/imagenet").await.unwrap();
    rustix::mount::unmount(&copied, UnmountFlags::DETACH).unwrap();
    rustix::mount::unmount(&copy, UnmountFlags::DETACH).unwrap();
    wait_until("the Dataset's directory is gone", || !dataset.exists());
    assert_eq!(node.mounts(), []);
}
