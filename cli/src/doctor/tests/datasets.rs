use serde_json::json;

use super::*;

fn change(observed: &mut Observed, change: impl FnOnce(&mut Value)) {
    changed(&mut observed.datasets[0], change);
    observed.known = observed.datasets.clone();
}

fn says(observed: &mut Observed, kind: &str, reason: &str, message: &str) {
    change(observed, |dataset| dataset["status"]["conditions"] = json!([condition(kind, "False", reason, message)]));
}

#[test]
fn what_the_conditions_say() {
    check(&[
        (
            "a wrong Secret",
            |observed| says(observed, "StoresReachable", "AccessDenied", "n1: mount /: 403"),
            &[["Dataset ml/imagenet", "StoresReachable is False (AccessDenied)", "403", "kubectl edit secret -n ml obs"]],
        ),
        (
            "a missing Secret, told once",
            |observed| {
                observed.secrets = [(("ml".to_owned(), "obs".to_owned()), false)].into();
                says(observed, "Accepted", "SecretNotFound", "there is no Secret obs");
            },
            &[["Dataset ml/imagenet", "Accepted is False", "no Secret obs", "kubectl create secret generic"]],
        ),
        (
            "files that fail",
            |observed| {
                says(observed, "Prefetched", "FilesFailed", "2 files");
                let failed = json!([{"path": "/a", "error": "404"}, {"path": "/b", "error": "403"}]);
                change(observed, |dataset| dataset["status"]["prefetch"]["failed"] = failed);
            },
            &[["Dataset ml/imagenet", "FilesFailed", "2 files; /a: 404; /b: 403", "tried again"]],
        ),
        (
            "pods that use what is to go",
            |observed| {
                let ready = condition("Ready", "False", "NodesMissing", "follows from it");
                let conditions = json!([ready, condition("Deleted", "False", "InUse", "ml/train uses it")]);
                change(observed, |dataset| {
                    dataset["status"]["conditions"] = conditions;
                    dataset["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
                });
            },
            &[["Dataset ml/imagenet", "Deleted is False (InUse)", "ml/train", "delete the pods"]],
        ),
        (
            "it is on its way",
            |observed| says(observed, "Ready", "Listing", "1000 objects so far"),
            &[["Dataset ml/imagenet", "Ready is False (Listing)", "1000 objects", "--watch"]],
        ),
    ]);
}

#[test]
fn what_nobody_has_written_into_the_status() {
    check(&[
        (
            "no status",
            |observed| {
                observed.secrets = [(("ml".to_owned(), "obs".to_owned()), false)].into();
                observed.runtimes = Some(vec![]);
                change(observed, |dataset| dataset["status"] = Value::Null);
            },
            &[
                ["Dataset ml/imagenet", "not taken up", "operator", "kubectl logs"],
                ["Dataset ml/imagenet", "nothing can serve it", "no CacheRuntime default", "create CacheRuntime default"],
                ["Dataset ml/imagenet", "credentials are missing", "no Secret obs in namespace ml", "kubectl create secret"],
            ],
        ),
        (
            "an old status",
            |observed| change(observed, |dataset| dataset["metadata"]["generation"] = json!(3)),
            &[["Dataset ml/imagenet", "not taken up", "operator", "kubectl logs"]],
        ),
        (
            "a wish that makes no sense",
            |observed| {
                change(observed, |dataset| dataset["metadata"]["annotations"] = json!({"forebay.io/evict": "now\nrelative"}))
            },
            &[["Dataset ml/imagenet", "wish to evict", "relative", "kubectl forebay evict imagenet -n ml"]],
        ),
    ]);
}

#[test]
fn what_goes_on_by_itself_and_what_is_worth_knowing_are_notes() {
    let mut observed = well();
    says(&mut observed, "Prefetched", "Prefetching", "42% of 3Gi");
    change(&mut observed, |dataset| {
        dataset["status"]["catalog"]["rejected"] = json!(2);
        dataset["status"]["catalog"]["rejectedSample"] = json!([{"mount": "/", "key": "a//b", "reason": "empty segment"}]);
    });
    let diagnosis = diagnose(&observed);
    assert!(diagnosis.findings.is_empty(), "{diagnosis:?}");
    assert!(diagnosis.notes[0].contains("can be read") && diagnosis.notes[0].contains("42% of 3Gi"), "{diagnosis:?}");
    assert!(diagnosis.notes[1].contains("2 objects") && diagnosis.notes[1].contains("a//b"), "{diagnosis:?}");
}
