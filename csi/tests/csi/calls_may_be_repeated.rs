use std::fs;
use std::process::Command;
use std::time::Duration;

use forebay_csi::proto::csi::NodeUnpublishVolumeRequest;
use tokio::task::JoinSet;
use tonic::Code;

use crate::harness::{Node, is_gone, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn each_call_may_come_twice() {
    let node = Node::with_agent();
    for _ in 0..2 {
        node.stage("ml/imagenet").await.unwrap();
    }
    for _ in 0..3 {
        node.publish("ml/imagenet", "a", "ml").await.unwrap();
    }
    assert_eq!(node.mounts().len(), 2);
    // Another volume at the same place is another matter.
    assert_eq!(node.publish("ml/open", "a", "ml").await.unwrap_err().code(), Code::AlreadyExists);
    for _ in 0..2 {
        node.unpublish("ml/imagenet", "a").await.unwrap();
    }
    for _ in 0..2 {
        node.unstage("ml/imagenet").await.unwrap();
    }
    assert_eq!(node.mounts(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_do_not_disturb_each_other() {
    let node = std::sync::Arc::new(Node::with_agent());
    node.stage("ml/open").await.unwrap();
    let mut all = JoinSet::new();
    for at in 0..24 {
        let node = std::sync::Arc::clone(&node);
        all.spawn(async move {
            let (volume, pod) = (format!("ml/{}/v{at}", ["imagenet", "open"][at % 2]), format!("p{}", at % 12));
            // Two volumes share a pod's directory's name, so that some are refused; the others must work.
            let mut shown = 0;
            for _ in 0..4 {
                node.stage(&volume).await.unwrap();
                match node.publish(&volume, &pod, "ml").await {
                    Ok(()) => {
                        shown += 1;
                        node.unpublish(&volume, &pod).await.unwrap();
                    }
                    Err(refused) => assert_eq!(refused.code(), Code::AlreadyExists, "{refused}"),
                }
                node.unstage(&volume).await.unwrap();
            }
            shown
        });
    }
    let shown: usize = all.join_all().await.into_iter().sum();
    assert!(shown >= 4, "{shown}");
    node.unstage("ml/open").await.unwrap();
    assert_eq!(node.mounts(), []);
    assert_eq!(fs::read_dir(node.path("kubelet/plugins/csi.forebay.io/records")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_somebody_took_away_is_made_again() {
    let node = Node::with_agent();
    node.stage("ml/imagenet").await.unwrap();
    node.publish("ml/imagenet", "a", "ml").await.unwrap();
    rustix::mount::unmount(node.target("a"), rustix::mount::UnmountFlags::DETACH).unwrap();
    // The bare directory is never taken for the volume.
    node.publish("ml/imagenet", "a", "ml").await.unwrap();
    assert_eq!(fs::read(node.target("a").join("dir/small")).unwrap(), b"dataset 1");
    rustix::mount::unmount(node.dataset("ml/imagenet"), rustix::mount::UnmountFlags::DETACH).unwrap();
    node.publish("ml/imagenet", "b", "ml").await.unwrap();
    assert_eq!(fs::read(node.target("b").join("dir/small")).unwrap(), b"dataset 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_below_a_mount_is_left_alone() {
    let node = Node::with_agent();
    node.stage("ml/imagenet").await.unwrap();
    fs::create_dir_all(node.target("a")).unwrap();
    fs::write(node.target("a").join("kept"), "the node's own").unwrap();
    node.publish("ml/imagenet", "a", "ml").await.unwrap();
    assert!(is_gone(&node.target("a").join("kept")));
    node.unpublish("ml/imagenet", "a").await.unwrap();
    wait_until("it is seen again", || fs::read(node.target("a").join("kept")).is_ok_and(|kept| kept == b"the node's own"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_ends_leaves_what_is_in_use_and_nothing_else() {
    let mut node = Node::with_agent();
    let probe = |node: &Node| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay-csi"));
        command.arg("probe").arg("--endpoint").arg(node.path("csi.sock")).output().unwrap().status.success()
    };
    node.stage("ml/imagenet").await.unwrap();
    node.publish("ml/imagenet", "a", "ml").await.unwrap();
    assert!(probe(&node));
    assert!(node.end_csi() && !probe(&node));
    assert_eq!(fs::read(node.target("a").join("dir/small")).unwrap(), b"dataset 1");
    node.start_csi();
    node.unpublish("ml/imagenet", "a").await.unwrap();
    node.unstage("ml/imagenet").await.unwrap();
    assert!(node.end_csi());
    let left = |below: &str| fs::read_dir(node.path(below)).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(left("kubelet/plugins/csi.forebay.io"), [""; 0]);
    assert_eq!((left("registration"), left("run")), (vec![], vec![]));
}

/// The driver is killed at any moment of any call; whoever repeats the calls gets what was asked for, and nothing stays behind.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_ended_by_the_next_driver() {
    let mut node = Node::with_agent();
    node.stage("ml/imagenet").await.unwrap();
    for round in 0..12u64 {
        let mut client = node.client().await;
        let (volume, pod) = (format!("ml/imagenet/v{}", round % 3), format!("p{}", round % 3));
        let (publish, target) = (node.publish_request(&volume, &pod, "ml"), node.target(&pod).display().to_string());
        let name = volume.clone();
        let calls = tokio::spawn(async move {
            // Until the driver is gone.
            while client.node_publish_volume(publish.clone()).await.is_ok() {
                let request = NodeUnpublishVolumeRequest { volume_id: name.clone(), target_path: target.clone() };
                if client.node_unpublish_volume(request).await.is_err() {
                    break;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(5 + round * 7 % 40)).await;
        node.kill_csi();
        calls.await.unwrap();
        if round % 4 == 3 {
            node.kill_agent();
            node.start_agent("default");
        }
        node.start_csi();
        node.publish(&volume, &pod, "ml").await.unwrap();
        assert_eq!(fs::read(node.target(&pod).join("dir/small")).unwrap(), b"dataset 1");
        node.unpublish(&volume, &pod).await.unwrap();
        assert!(is_gone(&node.target(&pod)));
    }
    assert_eq!(node.mounts().len(), 1);
    node.unstage("ml/imagenet").await.unwrap();
    assert_eq!(node.mounts(), []);
    assert_eq!(fs::read_dir(node.path("kubelet/plugins/csi.forebay.io/records")).unwrap().count(), 0);
}
