use serde_json::json;

use super::*;

/// Asks about a pod with these volumes, in a namespace, on a node.
fn ask(observed: &mut Observed, namespace: &str, node: Option<&str>, volumes: Value) {
    let pod = serde_json::from_value(json!({
        "metadata": {"name": "train", "namespace": namespace},
        "spec": {"nodeName": node, "containers": [], "volumes": volumes},
        "status": {"phase": "Pending"}
    }));
    observed.pod = Some(PodSeen { pod: pod.unwrap(), warnings: vec![] });
    observed.question = Question::Pod((namespace.to_owned(), "train".to_owned()));
}

fn inline(dataset: &str) -> Value {
    json!([{"name": "data", "csi": {"driver": "csi.forebay.io", "volumeAttributes": {"dataset": dataset}}}])
}

fn claim(name: &str) -> Value {
    json!([{"name": "data", "persistentVolumeClaim": {"claimName": name}}])
}

/// The claim of that name in `ml`, bound to the operator's volume.
fn bind(observed: &mut Observed, name: &str) {
    let bound =
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ml"}, "spec": {"volumeName": "forebay-u"}}));
    observed.claims.insert(("ml".to_owned(), name.to_owned()), Some(bound.unwrap()));
    let volume = serde_json::from_value(json!({"metadata": {"name": "forebay-u"}, "spec": {"csi": {"driver": "csi.forebay.io",
        "volumeHandle": "ml/imagenet", "volumeAttributes": {"dataset": "imagenet", "namespace": "ml", "uid": "u"}}}}));
    observed.volumes.insert("forebay-u".to_owned(), volume.unwrap());
}

#[test]
fn volumes_and_grants() {
    check(&[
        (
            "by its claim",
            |o| {
                bind(o, "imagenet");
                ask(o, "ml", Some("n1"), claim("imagenet"));
            },
            &[],
        ),
        ("inline", |o| ask(o, "ml", Some("n1"), inline("imagenet")), &[]),
        (
            "no Dataset at all",
            |o| ask(o, "ml", Some("n1"), json!([{"name": "tmp", "emptyDir": {}}])),
            &[["pod ml/train", "uses no Dataset", "none of its volumes", "persistentVolumeClaim"]],
        ),
        (
            "no grant",
            |o| ask(o, "research", Some("n1"), inline("ml/imagenet")),
            &[[
                "pod research/train",
                "may not use Dataset ml/imagenet",
                "allowedNamespaces",
                r#"{"spec":{"allowedNamespaces":["research"]}}"#,
            ]],
        ),
        (
            "a grant keeps the others",
            |o| {
                changed(&mut o.known[0], |dataset| dataset["spec"]["allowedNamespaces"] = json!(["ops"]));
                ask(o, "research", Some("n1"), inline("ml/imagenet"));
            },
            &[["pod research/train", "may not use", "", r#"["ops","research"]"#]],
        ),
        (
            "granted",
            |o| {
                changed(&mut o.known[0], |dataset| dataset["spec"]["allowedNamespaces"] = json!(["*"]));
                ask(o, "research", Some("n1"), inline("ml/imagenet"));
            },
            &[],
        ),
        (
            "another namespace meant",
            |o| ask(o, "research", Some("n1"), inline("imagenet")),
            &[["pod research/train", "does not exist", "no Dataset research/imagenet", "there is ml/imagenet"]],
        ),
        (
            "a misspelt attribute",
            |o| {
                ask(
                    o,
                    "ml",
                    None,
                    json!([{"name": "data", "csi": {"driver": "csi.forebay.io", "volumeAttributes": {"datset": "x"}}}]),
                )
            },
            &[["volume data", "refuses", "datset", "{dataset: NAME}"]],
        ),
        (
            "a claim of nothing",
            |o| {
                o.claims.insert(("ml".to_owned(), "coco".to_owned()), None);
                ask(o, "ml", None, claim("coco"));
            },
            &[["volume data", "claim does not exist", "no PersistentVolumeClaim coco in namespace ml", "create Dataset coco"]],
        ),
        (
            "a claim of another namespace",
            |o| {
                o.claims.insert(("research".to_owned(), "imagenet".to_owned()), None);
                ask(o, "research", None, claim("imagenet"));
            },
            &[["volume data", "claim does not exist", "", "dataset: ml/imagenet}"]],
        ),
    ]);
}

#[test]
fn nodes() {
    check(&[
        (
            "a node without the labels",
            |o| {
                o.nodes.as_mut().unwrap().push(serde_json::from_value(json!({"metadata": {"name": "n3"}})).unwrap());
                ask(o, "ml", Some("n3"), inline("imagenet"));
            },
            &[
                ["pod ml/train", "n3 has no CSI driver", "forebay-csi", "csi.nodeSelector"],
                ["pod ml/train", "n3 has no agent of CacheRuntime default", "role=gpu", "kubectl label node n3 role=gpu"],
            ],
        ),
        (
            "a node beyond the replicas",
            |o| {
                changed(&mut o.runtimes.as_mut().unwrap()[0], |runtime| runtime["spec"]["replicas"] = json!(1));
                o.programs.insert("forebay-agent", Some(vec![program("forebay-agent", "n1", None)]));
                ask(o, "ml", Some("n2"), inline("imagenet"));
            },
            &[["pod ml/train", "n2 has no agent", "at most 1 nodes", "kubectl scale cacheruntime default"]],
        ),
        (
            "a node beyond what an autoscaler wants",
            |o| {
                changed(&mut o.runtimes.as_mut().unwrap()[0], |runtime| {
                    runtime["status"]["scaledBy"] = json!("forebay-system/bound");
                    runtime["status"]["desiredReplicas"] = json!(1);
                });
                o.programs.insert("forebay-agent", Some(vec![program("forebay-agent", "n1", None)]));
                ask(o, "ml", Some("n2"), inline("imagenet"));
            },
            &[[
                "pod ml/train",
                "n2 has no agent",
                "CacheRuntimeScale forebay-system/bound",
                "kubectl describe hpa -n forebay-system",
            ]],
        ),
        (
            "a tainted node",
            |o| {
                o.programs.insert("forebay-agent", Some(vec![]));
                changed(&mut o.nodes.as_mut().unwrap()[1], |node| {
                    node["spec"]["taints"] = json!([{"key": "gpu", "effect": "NoSchedule"}])
                });
                ask(o, "ml", Some("n2"), inline("imagenet"));
            },
            &[["pod ml/train", "n2 has no agent", "gpu:NoSchedule", "spec.tolerations"]],
        ),
        (
            "no node takes the pod",
            |o| {
                ask(o, "ml", None, inline("imagenet"));
                changed(&mut o.pod.as_mut().unwrap().pod, |pod| {
                    pod["status"]["conditions"] =
                        json!([{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}]);
                });
            },
            &[["pod ml/train", "no node takes it", "0/2 nodes", "correct"]],
        ),
        (
            "kubelet's own words",
            |o| {
                ask(o, "ml", Some("n1"), inline("imagenet"));
                let newest =
                    ("FailedMount".to_owned(), "MountVolume.SetUp failed: Dataset ml/imagenet is being listed".to_owned());
                o.pod.as_mut().unwrap().warnings = vec![newest, ("FailedMount".to_owned(), "older".to_owned())];
            },
            &[["pod ml/train", "kubelet could not mount", "is being listed", "tries again"]],
        ),
    ]);
}
