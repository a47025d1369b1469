use std::fs;

use tonic::Code;

use crate::harness::{Node, context, is_gone};

#[tokio::test(flavor = "multi_thread")]
async fn without_an_agent_nothing_is_mounted() {
    let node = Node::new();
    let refused = node.stage("ml/imagenet").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("no agent of Forebay runs on this node"), "{refused}");
    let refused = node.publish("ml/imagenet", "a", "ml").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(is_gone(&node.target("a")) && node.mounts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_dataset_is_named() {
    let node = Node::with_agent();
    let refused = node.stage("ml/typo").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("kubectl get dataset -n ml typo"), "{refused}");
    assert_eq!(node.mounts(), []);
    assert!(fs::read_dir(node.path("kubelet/plugins/csi.forebay.io/records")).unwrap().next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_grant_is_refused() {
    let node = Node::with_agent();
    node.stage("ml/imagenet").await.unwrap();
    let refused = node.publish("ml/imagenet", "a", "strangers").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("allowedNamespaces"), "{refused}");
    assert!(is_gone(&node.target("a")));
    node.publish("ml/imagenet", "a", "research").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrongly_is_named() {
    let node = Node::with_agent();
    let mut client = node.client().await;
    let good = node.publish_request("ml/imagenet", "a", "ml");
    let mut typo = good.clone();
    typo.volume_context.extend(context(&[("datset", "x")]));
    let mut bare = good.clone();
    bare.volume_id = "handle".into();
    bare.volume_context.extend(context(&[("dataset", "imagenet")]));
    let mut up = good.clone();
    up.target_path = format!("{}/../../x", good.target_path);
    let mut unstaged = good.clone();
    unstaged.staging_target_path = String::new();
    for (request, code, word) in [
        (typo, Code::InvalidArgument, "datset"),
        (bare, Code::InvalidArgument, "NAMESPACE/imagenet"),
        (up, Code::InvalidArgument, "absolute"),
        (unstaged, Code::FailedPrecondition, "staged"),
    ] {
        let refused = client.node_publish_volume(request).await.unwrap_err();
        assert_eq!((refused.code(), refused.message().contains(word)), (code, true), "{refused}");
    }
    assert_eq!(node.mounts(), []);
}
