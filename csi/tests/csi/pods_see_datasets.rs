use std::fs;
use std::io::ErrorKind;

use forebay_csi::proto::csi::{NodeGetVolumeHealthRequest, NodeGetVolumeStatsRequest};
use forebay_csi::proto::registration::InfoRequest;
use forebay_csi::proto::registration::registration_client::RegistrationClient;

use crate::agent::{self, BIG, pattern};
use crate::harness::{Node, capability, channel, context, end, is_gone, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_staged_once_and_bound_read_only_into_each_pod() {
    let node = Node::with_agent();
    node.stage("ml/imagenet").await.unwrap();
    node.stage("ml/imagenet/pvc-1").await.unwrap();
    node.publish("ml/imagenet", "a", "ml").await.unwrap();
    node.publish("ml/imagenet/pvc-1", "b", "research").await.unwrap();
    let mounts = node.mounts();
    assert_eq!(mounts.len(), 3, "{mounts:?}");
    assert!(mounts.iter().all(|(_, number)| *number == mounts[0].1), "one mount a Dataset: {mounts:?}");
    for pod in ["a", "b"] {
        assert!(fs::read(node.target(pod).join("big")).unwrap() == pattern(1, BIG));
        assert_eq!(fs::write(node.target(pod).join("new"), "x").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
        assert_eq!(fs::create_dir(node.target(pod).join("new")).unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    }
    node.unpublish("ml/imagenet", "a").await.unwrap();
    node.unstage("ml/imagenet").await.unwrap();
    // The other volume goes on.
    assert_eq!(fs::read(node.target("b").join("dir/small")).unwrap(), b"dataset 1");
    let open = fs::File::open(node.target("b").join("big")).unwrap();
    node.unpublish("ml/imagenet/pvc-1", "b").await.unwrap();
    node.unstage("ml/imagenet/pvc-1").await.unwrap();
    assert_eq!(node.mounts(), []);
    assert!(is_gone(&node.target("a")) && is_gone(&node.target("b")) && is_gone(&node.dataset("ml")));
    assert_eq!(fs::read_dir(node.path("kubelet/plugins/csi.forebay.io/records")).unwrap().count(), 0);
    // Whoever still has a file open reads it to its end.
    let mut found = vec![0; BIG];
    std::os::unix::fs::FileExt::read_exact_at(&open, &mut found, 0).unwrap();
    assert!(found == pattern(1, BIG));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inline_volume_is_its_pods_own() {
    let node = Node::with_agent();
    let mut request = node.publish_request("csi-0123", "inline", "ml");
    request.staging_target_path = String::new();
    request.volume_context.extend(context(&[("dataset", "imagenet"), ("csi.storage.k8s.io/ephemeral", "true")]));
    let mut client = node.client().await;
    client.node_publish_volume(request.clone()).await.unwrap();
    assert_eq!(fs::read(node.target("inline").join("dir/small")).unwrap(), b"dataset 1");
    node.unpublish("csi-0123", "inline").await.unwrap();
    assert_eq!(node.mounts(), []);
    // A pod elsewhere does not get another namespace's Dataset by its bare name.
    request.volume_context.extend(context(&[("csi.storage.k8s.io/pod.namespace", "research")]));
    let refused = client.node_publish_volume(request.clone()).await.unwrap_err();
    assert!(refused.message().contains("research/imagenet"), "{refused}");
    request.volume_context.extend(context(&[("dataset", "ml/imagenet")]));
    client.node_publish_volume(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_dataset_is_served_by_the_agent_that_has_it() {
    let mut node = Node::with_agent();
    node.start_agent("other");
    node.stage("ml/second").await.unwrap();
    node.stage("ml/open").await.unwrap();
    node.publish("ml/second", "a", "ml").await.unwrap();
    node.publish("ml/open", "b", "anybody").await.unwrap();
    assert_eq!(fs::read(node.target("a").join("dir/small")).unwrap(), b"dataset 3");
    assert_eq!(fs::read(node.target("b").join("dir/small")).unwrap(), b"dataset 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_and_health_are_those_of_the_dataset() {
    let mut node = Node::with_agent();
    node.stage("ml/imagenet").await.unwrap();
    node.publish("ml/imagenet", "a", "ml").await.unwrap();
    let mut client = node.client().await;
    let path = node.target("a").display().to_string();
    let ask = NodeGetVolumeStatsRequest { volume_id: "ml/imagenet".into(), volume_path: path.clone(), ..Default::default() };
    let usage = client.node_get_volume_stats(ask.clone()).await.unwrap().into_inner().usage;
    assert!(usage[0].total >= BIG as i64 && usage[0].available == 0, "{usage:?}");
    assert_eq!(usage[1].total, 2, "{usage:?}");
    let other = NodeGetVolumeStatsRequest { volume_path: "/elsewhere".into(), ..ask };
    assert_eq!(client.node_get_volume_stats(other).await.unwrap_err().code(), tonic::Code::NotFound);

    let ask = NodeGetVolumeHealthRequest { volume_id: "ml/imagenet".into(), volume_publish_path: path, ..Default::default() };
    let mut health = async || {
        let health = client.node_get_volume_health(ask.clone()).await.unwrap().into_inner().volume_health.unwrap();
        health.health_statuses.into_iter().map(|entry| entry.reason).collect::<Vec<_>>()
    };
    assert_eq!(health().await, [""; 0]);
    node.kill_agent();
    assert!(["AgentSilent", "AgentAway"].contains(&health().await[0].as_str()));
    node.start_agent("default");
    let until = std::time::Instant::now() + crate::harness::PATIENCE;
    while !health().await.is_empty() {
        assert!(std::time::Instant::now() < until, "it does not get well");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mount_options_may_only_restrict() {
    let node = Node::with_agent();
    node.stage("ml/open").await.unwrap();
    let mut client = node.client().await;
    let mut request = node.publish_request("ml/open", "a", "ml");
    request.volume_capability = Some(capability(&["rw"]));
    let refused = client.node_publish_volume(request.clone()).await.unwrap_err();
    assert_eq!((refused.code(), refused.message().contains("\"rw\"")), (tonic::Code::InvalidArgument, true), "{refused}");
    assert!(is_gone(&node.target("a")));
    request.volume_capability = Some(capability(&["noexec"]));
    client.node_publish_volume(request).await.unwrap();
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = text.lines().find(|line| line.contains(node.target("a").to_str().unwrap())).unwrap();
    let options = line.split(' ').nth(5).unwrap();
    for option in ["ro", "noexec", "nosuid", "nodev"] {
        assert!(options.split(',').any(|one| one == option), "{option}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubelet_finds_the_driver() {
    let node = Node::new();
    let socket = node.path("registration/csi.forebay.io-reg.sock");
    wait_until("the registration's socket is there", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let info = RegistrationClient::new(channel(socket).await).get_info(InfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.r#type.as_str(), info.name.as_str()), ("CSIPlugin", "csi.forebay.io"));
    assert!(info.endpoint.ends_with("/plugins/csi.forebay.io/csi.sock"), "{}", info.endpoint);
    assert_eq!(info.supported_versions, ["1.0.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_tier_outlives_its_agent() {
    let node = Node::new();
    let at = node.path("run/memory/default/ram");
    let size = || rustix::fs::statvfs(&at).map(|found| found.f_blocks * found.f_frsize).unwrap_or(0);
    let mut agent = agent::start(&node.path("run"), "default", Some(8 << 20));
    wait_until("the tier is there", || node.mounts().iter().any(|(place, _)| *place == at) && size() == 8 << 20);
    fs::write(at.join("block"), "cached").unwrap();
    end(&mut agent);
    assert_eq!(fs::read(at.join("block")).unwrap(), b"cached");
    let mut agent = agent::start(&node.path("run"), "default", Some(16 << 20));
    wait_until("the tier has grown", || size() == 16 << 20);
    assert_eq!((fs::read(at.join("block")).unwrap(), node.mounts().len()), (b"cached".to_vec(), 1));
    end(&mut agent);
    let mut agent = agent::start(&node.path("run"), "default", Some(0));
    wait_until("the tier is gone", || node.mounts().is_empty() && is_gone(&at));
    end(&mut agent);
}
