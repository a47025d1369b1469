use serde_json::json;

use super::*;

fn set_status(observed: &mut Observed, conditions: Value) {
    changed(&mut observed.runtimes.as_mut().unwrap()[0], |runtime| runtime["status"]["conditions"] = conditions);
}

#[test]
fn forebay_itself() {
    check(&[
        (
            "not installed",
            |observed| *observed = Observed { question: observed.question.clone(), ..Observed::default() },
            &[["the cluster", "knows no Datasets", "forebay.io", "helm install"]],
        ),
        (
            "no operator",
            |observed| drop(observed.programs.insert("forebay-operator", Some(vec![]))),
            &[["the operator", "does not run", "no pod", "describe deployments"]],
        ),
        (
            "an operator that crashes",
            |observed| {
                let pod = program("forebay-operator", "n1", Some("CrashLoopBackOff"));
                observed.programs.insert("forebay-operator", Some(vec![pod]));
            },
            &[["the operator", "does not run", "CrashLoopBackOff", "kubectl logs -n forebay-system forebay-operator-n1"]],
        ),
        (
            "one operator of two is enough",
            |observed| {
                let pods = vec![program("forebay-operator", "n1", Some("Error")), program("forebay-operator", "n2", None)];
                observed.programs.insert("forebay-operator", Some(pods));
            },
            &[],
        ),
        ("no CSIDriver", |observed| observed.driver = Some(false), &[["csi.forebay.io", "does not exist", "", "helm upgrade"]]),
        (
            "no driver",
            |observed| drop(observed.programs.insert("forebay-csi", Some(vec![]))),
            &[["CSI driver", "on no node", "DaemonSet does not exist", "csi.nodeSelector"]],
        ),
        (
            "a driver without its image",
            |observed| {
                let pods = vec![program("forebay-csi", "n1", None), program("forebay-csi", "n2", Some("ImagePullBackOff"))];
                observed.programs.insert("forebay-csi", Some(pods));
            },
            &[["node n2", "not ready", "ImagePullBackOff", "image.registry"]],
        ),
    ]);
}

#[test]
fn runtimes() {
    check(&[
        (
            "an agent that crashes",
            |observed| {
                let pods = vec![program("forebay-agent", "n1", Some("CrashLoopBackOff")), program("forebay-agent", "n2", None)];
                observed.programs.insert("forebay-agent", Some(pods));
                // Told of once, by its pod.
                set_status(observed, json!([condition("Ready", "False", "NodesMissing", "1 of 2")]));
            },
            &[["CacheRuntime default on node n1", "not ready", "CrashLoopBackOff", "kubectl logs"]],
        ),
        (
            "a selector that finds no node",
            |observed| {
                changed(&mut observed.runtimes.as_mut().unwrap()[0], |runtime| {
                    runtime["spec"]["nodeSelector"] = json!({"role": "gqu"})
                });
                set_status(observed, json!([condition("Ready", "False", "NoNodes", "no node matches")]));
            },
            &[[
                "CacheRuntime default",
                "NoNodes",
                "role=gqu, and n1 has role=gpu, n2 has role=gpu",
                "kubectl label node NODE role=gqu",
            ]],
        ),
        (
            "no replicas",
            |observed| {
                changed(&mut observed.runtimes.as_mut().unwrap()[0], |runtime| runtime["spec"]["replicas"] = json!(0));
                set_status(observed, json!([condition("Ready", "False", "NoNodes", "spec.replicas is 0")]));
            },
            &[["CacheRuntime default", "NoNodes", "spec.replicas is 0", "spec.replicas"]],
        ),
        (
            "no replicas, as an autoscaler has it",
            |observed| {
                let said = "spec.replicas of CacheRuntimeScale forebay-system/bound is 0";
                set_status(observed, json!([condition("Ready", "False", "NoNodes", said)]));
                changed(&mut observed.runtimes.as_mut().unwrap()[0], |runtime| {
                    runtime["spec"]["replicas"] = json!(0);
                    runtime["status"]["scaledBy"] = json!("forebay-system/bound");
                });
            },
            &[["CacheRuntime default", "NoNodes", "CacheRuntimeScale forebay-system/bound is 0", "status.scaledBy"]],
        ),
        (
            "a tier that is too large",
            |observed| set_status(observed, json!([condition("TiersFit", "False", "TierDoesNotFit", "node n1 has 1Gi")])),
            &[["CacheRuntime default", "TiersFit is False", "node n1 has 1Gi", "lower"]],
        ),
        (
            "a spec that nobody has taken up",
            |observed| {
                changed(&mut observed.runtimes.as_mut().unwrap()[0], |runtime| runtime["metadata"]["generation"] = json!(5))
            },
            &[["CacheRuntime default", "not taken up", "operator", "kubectl logs"]],
        ),
        (
            "another runtime is none of the question's business",
            |observed| {
                let mut other = observed.runtimes.as_ref().unwrap()[0].clone();
                other.metadata.name = Some("other".into());
                changed(&mut other, |runtime| {
                    runtime["status"]["conditions"] = json!([condition("Ready", "False", "NoNodes", "")])
                });
                observed.runtimes.as_mut().unwrap().push(other);
            },
            &[],
        ),
    ]);
}
