#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_crds::manifest::SecretData;
use serde_json::json;

use super::*;
use crate::dataset::tests::{bucket, observed, runtime};

#[test]
fn each_fault_has_its_reason_and_says_what_to_do() {
    type Damage = fn(&mut Observed);
    let cases: [(&str, &str, Damage); 6] = [
        (reason::RUNTIME_NOT_FOUND, "kubectl get cacheruntimes", |o| o.runtime = None),
        (reason::RUNTIME_NOT_FOUND, "being deleted", |o| {
            let runtime = json!({"apiVersion": "forebay.io/v1alpha1", "kind": "CacheRuntime", "metadata":
                {"name": "default", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"tiers": []}});
            o.runtime = Some(Arc::new(serde_json::from_value(runtime).unwrap()));
        }),
        (reason::TIER_NOT_FOUND, "one of its tiers: ssd", |o| {
            let spec = json!({"tiers": [{"name": "ssd", "medium": "Disk", "path": "/mnt/ssd", "capacity": "1Gi"}]});
            o.runtime = Some(Arc::new(runtime(spec)));
        }),
        (reason::SECRET_NOT_FOUND, "no Secret obs in namespace ml", |o| {
            drop(o.secrets.insert("obs".into(), SecretState::Missing))
        }),
        (reason::SECRET_NOT_READABLE, "verb get", |o| {
            drop(o.secrets.insert("obs".into(), SecretState::Denied("forbidden".into())))
        }),
        (reason::SECRET_INCOMPLETE, "accessKeyId", |o| {
            let empty = SecretData::new("ml", "obs", BTreeMap::new());
            o.secrets.insert("obs".into(), SecretState::Found(Arc::new(empty)));
        }),
    ];
    let mut spec = bucket();
    spec["prefetch"] = json!({"policy": "Eager", "tier": "ram"});
    assert_eq!(validate(&observed(spec.clone())), []);
    for (why, word, damage) in cases {
        let mut observed = observed(spec.clone());
        damage(&mut observed);
        let findings = validate(&observed);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].reason, why);
        assert!(findings[0].message.contains(word), "{findings:?}");
        let verdict = accepted(&findings, &observed);
        assert_eq!((verdict.holds, verdict.reason.as_str()), (Some(false), why));
    }
}

#[test]
fn a_directory_of_the_nodes_must_be_allowed() {
    let over = |path: &str| observed(json!({"mounts": [{"path": "/", "source": format!("file://{path}")}]}));
    for (path, allowed) in [("/data", true), ("/data/a", true), ("/database", false), ("/etc", false), ("/", false)] {
        let findings = validate(&over(path));
        assert_eq!(findings.is_empty(), allowed, "{path}: {findings:?}");
        assert!(findings.iter().all(|finding| finding.reason == reason::HOST_PATH_NOT_ALLOWED), "{findings:?}");
    }
}

#[test]
fn all_faults_are_told_at_once_each_once() {
    let mount = |path: &str| json!({"path": path, "source": "s3://bucket", "secretRef": {"name": "obs"}});
    let mut observed = observed(json!({"mounts": [mount("/"), mount("/b")]}));
    observed.runtime = None;
    observed.secrets.insert("obs".into(), SecretState::Missing);
    let findings = validate(&observed);
    assert_eq!(findings.len(), 2, "{findings:?}");
    let verdict = accepted(&findings, &observed);
    assert_eq!(verdict.reason, reason::RUNTIME_NOT_FOUND);
    assert!(verdict.message.contains("CacheRuntime") && verdict.message.contains("Secret"), "{verdict:?}");
}

#[test]
fn before_its_secrets_are_read_nothing_is_said_of_them() {
    let mut observed = observed(bucket());
    observed.secrets.insert("obs".into(), SecretState::Unknown);
    assert_eq!(accepted(&validate(&observed), &observed).holds, None);
}
