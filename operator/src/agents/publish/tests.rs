#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

use serde_json::{Value, json};

use super::*;

fn runtime(name: &str, deleting: bool) -> Arc<CacheRuntime> {
    let mut value = json!({
        "apiVersion": "forebay.io/v1alpha1", "kind": "CacheRuntime", "metadata": {"name": name, "generation": 1},
        "spec": {"tiers": [{"name": "ram", "medium": "Memory", "capacity": "1Gi"}], "allowedHostPaths": ["/data"]}
    });
    if deleting {
        value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    Arc::new(serde_json::from_value(value).unwrap())
}

fn dataset(name: &str, runtime: &str, change: impl FnOnce(&mut Value)) -> Arc<Dataset> {
    let mut value = json!({
        "apiVersion": "forebay.io/v1alpha1", "kind": "Dataset",
        "metadata": {"name": name, "namespace": "ml", "uid": name, "generation": 4},
        "spec": {"runtime": runtime, "mounts": [{"path": "/", "source": "s3://bucket", "secretRef": {"name": "obs"}}]}
    });
    change(&mut value);
    Arc::new(serde_json::from_value(value).unwrap())
}

fn plain(name: &str) -> Arc<Dataset> {
    dataset(name, "r", |_| ())
}

fn now(published: &Published, runtime: &str) -> Arc<Desired> {
    published.follow(runtime).borrow().clone()
}

fn uids(desired: &Desired) -> Vec<&str> {
    desired.datasets.keys().map(String::as_str).collect()
}

#[test]
fn a_runtimes_agents_get_its_datasets_that_may_be_served() {
    let published = Published::default();
    assert!(!now(&published, "r").complete, "nothing is known yet");
    let datasets = [
        plain("a"),
        dataset("refreshed", "r", |d| d["metadata"]["annotations"] = json!({"forebay.io/refresh": "now"})),
        dataset("evicted", "r", |d| d["metadata"]["annotations"] = json!({"forebay.io/evict": "now\n/a"})),
        dataset("elsewhere", "other", |_| ()),
        dataset("nowhere", "none", |_| ()),
        dataset("forbidden", "r", |d| d["spec"]["mounts"] = json!([{"path": "/", "source": "/etc"}])),
        dataset("allowed", "r", |d| d["spec"]["mounts"] = json!([{"path": "/", "source": "/data/x"}])),
        dataset("in-use", "r", |d| d["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")),
        dataset("releasing", "r", |d| {
            d["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            d["status"] = json!({"conditions": [{"type": "Deleted", "status": "False", "reason": "Releasing", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        }),
    ];
    published.publish(&datasets, &[runtime("r", false), runtime("other", false)], |_, _| SecretState::Missing);
    let desired = now(&published, "r");
    assert_eq!(uids(&desired), ["a", "allowed", "evicted", "in-use", "refreshed"]);
    assert!(desired.complete);
    assert_eq!(desired.datasets["refreshed"].refresh.as_deref(), Some("now"));
    let wish = desired.datasets["evicted"].evict.as_ref().unwrap();
    assert_eq!((wish.id.as_str(), wish.paths[0].as_str()), ("now", "/a"));
    assert_eq!((desired.datasets["a"].refresh.as_deref(), desired.datasets["a"].generation), (None, 4));
    assert_eq!(uids(&now(&published, "other")), ["elsewhere"]);
    let gone = now(&published, "none");
    assert!(gone.runtime.is_none() && gone.datasets.is_empty());
}

#[test]
fn a_secret_that_cannot_be_read_yet_takes_nothing_away() {
    let published = Published::default();
    let runtimes = [runtime("r", false)];
    published.publish(&[plain("a")], &runtimes, |_, _| SecretState::Unknown);
    let first = now(&published, "r");
    assert!(!first.complete && first.datasets.is_empty());
    published.publish(&[plain("a")], &runtimes, |_, _| SecretState::Missing);
    published.publish(&[plain("a"), plain("b")], &runtimes, |_, _| SecretState::Unknown);
    let later = now(&published, "r");
    assert_eq!((uids(&later), later.complete), (vec!["a"], false));
}

#[test]
fn agents_of_a_runtime_that_is_deleted_are_to_have_nothing() {
    let published = Published::default();
    published.publish(&[plain("a")], &[runtime("r", true)], |_, _| SecretState::Missing);
    let desired = now(&published, "r");
    assert!(desired.complete && desired.runtime.is_some() && desired.datasets.is_empty());
}

#[test]
fn only_a_change_wakes_sessions_and_leaving_nodes_survive_it() {
    let published = Published::default();
    let runtimes = [runtime("r", false)];
    let mut session = published.follow("r");
    published.publish(&[plain("a")], &runtimes, |_, _| SecretState::Missing);
    assert!(session.has_changed().unwrap());
    session.borrow_and_update();
    published.publish(&[plain("a")], &runtimes, |_, _| SecretState::Missing);
    assert!(!session.has_changed().unwrap(), "nothing is new");
    let leaving = BTreeSet::from(["n1".to_owned()]);
    published.set_leaving("r", &leaving);
    assert!(session.has_changed().unwrap());
    session.borrow_and_update();
    published.set_leaving("r", &leaving);
    assert!(!session.has_changed().unwrap());
    published.publish(&[], &runtimes, |_, _| SecretState::Missing);
    assert_eq!(session.borrow_and_update().leaving, leaving);
}

#[test]
fn what_waits_for_its_first_pod_is_fetched_ahead_from_then_on() {
    let published = Published::default();
    let first = |used: bool| {
        dataset("d", "r", |d| {
            d["spec"]["prefetch"] = json!({"policy": "OnFirstUse", "paths": ["/a"], "tier": "ram"});
            if used {
                d["status"] = json!({"firstUsedAt": "2026-01-01T00:00:00Z"});
            }
        })
    };
    let told = |used: bool| {
        published.publish(&[first(used)], &[runtime("r", false)], |_, _| SecretState::Missing);
        now(&published, "r").datasets["d"].spec.prefetch.clone()
    };
    assert_eq!(told(false), Prefetch::default(), "nothing ahead, in words that agents of any version know");
    let asked = told(true);
    assert_eq!((asked.policy, asked.paths[0].as_str()), (PrefetchPolicy::Eager, "/a"));
}
