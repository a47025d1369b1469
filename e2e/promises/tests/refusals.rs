//! What is wrong is said where people look: at admission, in `kubectl describe`, in events, with what to do.

use anyhow::{Context, Result, bail, ensure};
use forebay_e2e::wait_until;
use forebay_promises::{Reader, SOON, Site, dataset};

use crate::Promise;

pub(crate) const PROMISES: &[Promise] = &[
    ("refusals::a_duplicate_mount_path_is_refused_at_admission", duplicate_path),
    ("refusals::a_secret_that_is_missing_or_wrong_is_named", wrong_secret),
    ("refusals::a_missing_bucket_is_named", missing_bucket),
    ("refusals::a_tier_that_no_node_can_hold_is_refused_with_numbers", impossible_tier),
    ("refusals::a_namespace_without_a_grant_is_told_what_to_add", no_grant),
];

/// Waits until `kubectl describe` of an object tells all of `words`, then deletes the object.
fn described(site: &Site, kind: &str, name: &str, words: &[&str]) -> Result<()> {
    let mut text = String::new();
    wait_until(&format!("{kind} {name} to be described by {words:?}"), SOON, || {
        text = site.cluster.kubectl(&["describe", kind, name])?;
        Ok(words.iter().all(|word| text.contains(word)).then_some(()))
    })
    .with_context(|| text.clone())?;
    site.cluster.kubectl(&["delete", kind, name, "--timeout=180s"]).map(drop)
}

fn duplicate_path(site: &Site) -> Result<()> {
    let mounts = "[{path: /a, source: \"https://one.example/\"}, {path: /a, source: \"https://two.example/\"}]";
    match site.cluster.apply(&dataset("twice", mounts)) {
        Ok(_) => bail!("two mounts at one path were admitted"),
        Err(error) => {
            let text = format!("{error:#}");
            ensure!(text.contains("spec.mounts") && text.to_lowercase().contains("duplicate") && text.contains("/a"), "{text}");
            Ok(())
        }
    }
}

fn wrong_secret(site: &Site) -> Result<()> {
    site.cluster.apply(&dataset("no-secret", &site.store.mount("nobody")))?;
    described(site, "dataset", "no-secret", &["there is no Secret nobody in namespace default", "secretRef"])?;
    site.cluster.apply(&forebay_promises::secret("wrong", "forebay-e2e", "not-the-key"))?;
    site.cluster.apply(&dataset("wrong-secret", &site.store.mount("wrong")))?;
    described(site, "dataset", "wrong-secret", &["AccessDenied", "check the mount's credentials"])?;
    site.cluster.kubectl(&["delete", "secret", "wrong"]).map(drop)
}

fn missing_bucket(site: &Site) -> Result<()> {
    let mount = site.store.mount("store").replace(forebay_promises::Store::BUCKET, "no-such-bucket");
    site.cluster.apply(&dataset("no-bucket", &mount))?;
    described(site, "dataset", "no-bucket", &["no-such-bucket", "does not exist", "create it"])
}

fn impossible_tier(site: &Site) -> Result<()> {
    site.cluster.apply(
        "apiVersion: forebay.io/v1alpha1
kind: CacheRuntime
metadata: {name: too-large}
spec:
  tiers: [{name: ram, medium: Memory, capacity: 900Ti}]
",
    )?;
    described(site, "cacheruntime", "too-large", &["n1", "capacity", "lower"])
}

fn no_grant(site: &Site) -> Result<()> {
    let _ = site.cluster.kubectl(&["create", "namespace", "strangers"]);
    let reader = Reader::inline("strangers", "reader", "default/first");
    reader.start(site)?;
    reader.wait_described(site, "may not use Dataset default/first")?;
    reader.wait_described(site, "spec.allowedNamespaces")?;
    // Once granted, the pod that waits goes on by itself.
    let grant = r#"{"spec": {"allowedNamespaces": ["strangers"]}}"#;
    site.cluster.kubectl(&["patch", "dataset", "first", "--type=merge", "-p", grant])?;
    let printed = reader.finish(site)?;
    ensure!(printed == forebay_promises::sums_of(&site.store.source)?, "{printed}");
    reader.remove(site)?;
    site.cluster.kubectl(&["delete", "namespace", "strangers", "--timeout=120s"]).map(drop)
}
