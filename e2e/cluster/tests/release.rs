//! A release's life on a real API server: install, upgrade, rollback, uninstall and install again leave nothing behind and lose
//! no Dataset. The programs play no part in it: their images are not there.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use forebay_cluster::{Cluster, ClusterOptions, NAMESPACE, chart};
use forebay_e2e::wait_until;

const VALUES: &str = "\
image: {pullPolicy: Never}
networkPolicy: {enabled: true}
monitoring: {dashboard: {enabled: true}}
cacheRuntime: {create: true, spec: {tiers: [{name: ssd, medium: Disk, path: /var/lib/forebay-cache, capacity: 1Gi}]}}
";

const DATASET: &str = "\
apiVersion: forebay.io/v1alpha1
kind: Dataset
metadata: {name: kept, namespace: default}
spec: {runtime: default, mounts: [{path: /, source: 'https://files.example/'}]}
";

fn helm(cluster: &Cluster, verb: &[&str]) -> Result<String> {
    let values = cluster.dir().join("values.yaml");
    std::fs::write(&values, VALUES)?;
    let mut args = verb.to_vec();
    args.extend(["--namespace", NAMESPACE]);
    if ["install", "upgrade"].contains(&verb[0]) {
        args.extend(["--create-namespace", "--values", values.to_str().unwrap()]);
    }
    cluster.helm(&args)
}

/// Everything whose name speaks of Forebay, but for events.
fn ours(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "-o", "name"])?;
    let kinds: Vec<_> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let all = cluster.kubectl(&["get", &kinds.join(","), "--all-namespaces", "--ignore-not-found", "-o", "name"])?;
    Ok(all.lines().filter(|name| name.contains("forebay")).map(str::to_owned).collect())
}

fn uid(cluster: &Cluster, object: &[&str]) -> Result<String> {
    cluster.kubectl(&[&["get"], object, &["-o", "jsonpath={.metadata.uid}"]].concat())
}

#[test]
fn a_release_leaves_nothing_behind_and_loses_no_dataset() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = Cluster::start(&ClusterOptions { network: 86, nodes: 1, ..ClusterOptions::new(dir.path()) })?;
    let chart = chart();
    let chart = chart.to_str().unwrap();
    let before = ours(&cluster)?;

    helm(&cluster, &["install", "forebay", chart])?;
    cluster.apply(DATASET)?;
    let dataset = uid(&cluster, &["dataset", "kept"])?;
    let runtime = uid(&cluster, &["cacheruntime", "default"])?;
    who_may_do_what(&cluster)?;

    helm(&cluster, &["upgrade", "forebay", chart, "--set", "operator.replicas=3", "--set", "operator.log=debug"])?;
    assert_eq!(cluster.get(&["deployment", "forebay-operator", "-n", NAMESPACE])?["spec"]["replicas"], 3);
    helm(&cluster, &["rollback", "forebay", "1"])?;
    assert_eq!(cluster.get(&["deployment", "forebay-operator", "-n", NAMESPACE])?["spec"]["replicas"], 2);
    let refused = helm(&cluster, &["upgrade", "forebay", chart, "--set", "operator.replicas=none"]).unwrap_err().to_string();
    assert!(refused.contains("replicas"), "{refused}");

    helm(&cluster, &["uninstall", "forebay"])?;
    let kept = [
        "apiservice.apiregistration.k8s.io/v1alpha1.forebay.io",
        "cacheruntime.forebay.io/default",
        "customresourcedefinition.apiextensions.k8s.io/cacheruntimes.forebay.io",
        "customresourcedefinition.apiextensions.k8s.io/cacheruntimescales.forebay.io",
        "customresourcedefinition.apiextensions.k8s.io/datasets.forebay.io",
        "dataset.forebay.io/kept",
        "namespace/forebay-system",
    ];
    wait_until("nothing of the release to be left", Duration::from_secs(300), || {
        let left: BTreeSet<_> = ours(&cluster)?.difference(&before).cloned().collect();
        let more: Vec<_> = left.iter().filter(|name| !kept.contains(&name.as_str())).collect();
        anyhow::ensure!(more.is_empty(), "{more:?}");
        assert_eq!(left.len(), kept.len(), "only {left:?} are left");
        Ok(Some(()))
    })?;

    helm(&cluster, &["install", "forebay", chart])?;
    assert_eq!(uid(&cluster, &["dataset", "kept"])?, dataset);
    assert_eq!(uid(&cluster, &["cacheruntime", "default"])?, runtime);
    cluster.stop()
}

/// Asks the API server's own authorizer.
fn who_may_do_what(cluster: &Cluster) -> Result<()> {
    let may = |account: &str, words: &[&str]| -> bool {
        let who = format!("--as=system:serviceaccount:{NAMESPACE}:{account}");
        // Its exit status is the answer, too: an error is a no.
        cluster.kubectl(&[&["auth", "can-i", &who], words].concat()).is_ok_and(|answer| answer.trim() == "yes")
    };
    for account in ["forebay-agent", "forebay-csi", "forebay-csi-controller"] {
        for verb in ["get", "list", "watch"] {
            assert!(!may(account, &[verb, "secrets", "-n", "default"]), "{account} may {verb} Secrets");
            assert!(!may(account, &[verb, "secret/forebay-ca", "-n", NAMESPACE]), "{account} may {verb} the authority's key");
        }
    }
    for account in ["forebay-agent", "forebay-csi"] {
        for verb in ["get", "create", "patch", "delete"] {
            for resource in ["pods", "datasets.forebay.io", "nodes", "persistentvolumes", "serviceaccounts/token"] {
                assert!(!may(account, &[verb, resource, "-n", NAMESPACE]), "{account} may {verb} {resource}");
            }
        }
    }
    // The question is asked rightly: of who may, the answer is yes.
    assert!(may("forebay-operator", &["get", "secrets", "-n", "default"]));
    assert!(may("forebay-operator", &["patch", "datasets.forebay.io/kept", "--subresource=status", "-n", "default"]));
    for verb in ["list", "watch", "patch", "delete"] {
        assert!(!may("forebay-operator", &[verb, "secrets", "-n", NAMESPACE]), "the operator may {verb} Secrets");
    }
    Ok(())
}
