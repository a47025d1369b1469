//! Datasets and runtimes through their lives: two at once, deleted while in use, scaled, with new credentials.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use forebay_e2e::wait_until;
use forebay_promises::{NAMESPACE, Reader, SOON, Site, Store, dataset, sums_of};

use crate::Promise;

pub(crate) const PROMISES: &[Promise] = &[
    ("life::two_stores_on_two_nodes_and_one_deleted_while_a_pod_uses_it", deleted_in_use),
    ("life::a_runtime_is_scaled_up_and_down", scaled),
    ("life::new_credentials_reach_a_running_reader", rotated),
    ("life::a_refresh_shows_what_the_store_has_now", refreshed),
];

/// A second store with a few files.
pub(crate) fn second(site: &Site, name: &str) -> Result<Store> {
    let store = Store::start(&site.cluster, &site.work(name)?)?;
    std::fs::create_dir_all(&store.source)?;
    for n in 0..40u8 {
        std::fs::write(store.source.join(format!("file-{n}")), vec![n; 10_000 * usize::from(n)])?;
    }
    store.upload()?;
    Ok(store)
}

fn deleted_in_use(site: &Site) -> Result<()> {
    let store = second(site, "second")?;
    site.cluster.apply(&(store.secret("second") + &dataset("second", &store.mount("second"))))?;
    let first = Reader::of_claim("default", "reads-first", "first").on("n1");
    // Reads again and again until it is told to end by the file that `kubectl exec` makes.
    let endless = "sums() { find . -type f -print0 | sort -z | xargs -0 -n 500 sha256sum | sha256sum; }; \
                   until test -e /tmp/end; do sums > /tmp/sums || exit 1; done; cat /tmp/sums";
    let second = Reader::of_claim("default", "reads-second", "second").on("n2").script(endless);
    first.start(site)?;
    second.start(site)?;
    ensure!(first.finish(site)? == sums_of(&site.store.source)?);
    first.remove(site)?;
    site.wait_for("the reader to run", &["pod", "reads-second"], |pod| pod["status"]["phase"] == "Running")?;

    site.cluster.kubectl(&["delete", "dataset", "second", "--wait=false"])?;
    wait_until("the Dataset to say who uses it", SOON, || {
        Ok(site.cluster.kubectl(&["describe", "dataset", "second"])?.contains("default/reads-second").then_some(()))
    })
    .with_context(|| site.cluster.kubectl(&["describe", "dataset", "second"]).unwrap_or_default())?;
    // It is served on.
    std::thread::sleep(Duration::from_secs(3));
    // It may end, and its container with it, before `touch` has.
    let _ = second.exec(site, &["touch", "/tmp/end"]);
    ensure!(second.finish(site)? == sums_of(&store.source)?, "the reader of a Dataset that is being deleted read something else");
    second.remove(site)?;
    site.wait_gone(&["dataset", "second"])?;
    site.wait_gone(&["pvc", "second"])?;
    site.cluster.kubectl(&["delete", "secret", "second"]).map(drop)
}

fn scaled(site: &Site) -> Result<()> {
    for replicas in [1u64, 2, 1] {
        site.cluster.kubectl(&["scale", "cacheruntime", "default", &format!("--replicas={replicas}")])?;
        site.wait_for(&format!("{replicas} agents"), &["cacheruntime", "default"], |runtime| {
            runtime["status"]["readyReplicas"] == replicas && runtime["status"]["replicas"] == replicas
        })?;
        site.wait_for(
            &format!("{replicas} pods of agents"),
            &["pods", "-n", NAMESPACE, "-l", "forebay.io/runtime=default"],
            |pods| pods["items"].as_array().map(Vec::len) == usize::try_from(replicas).ok(),
        )?;
    }
    site.patch_runtime("json", r#"[{"op": "remove", "path": "/spec/replicas"}]"#)?;
    let nodes = site.cluster.nodes()?.iter().filter(|node| node.is_up()).count();
    site.wait_for("all agents again", &["cacheruntime", "default"], |runtime| runtime["status"]["readyReplicas"] == nodes)?;
    site.wait_phase("default", "first", "Ready").map(drop)
}

fn rotated(site: &Site) -> Result<()> {
    let store = second(site, "rotated")?;
    site.cluster.apply(
        &(forebay_promises::secret("rotated", "forebay-e2e", "an-older-key") + &dataset("rotated", &store.mount("rotated"))),
    )?;
    wait_until("the Dataset to be refused", SOON, || {
        Ok(site.cluster.kubectl(&["describe", "dataset", "rotated"])?.contains("AccessDenied").then_some(()))
    })?;
    let reader = Reader::of_claim("default", "reads-rotated", "rotated");
    reader.start(site)?;
    let before = agents(site)?;
    // The right keys: nothing restarts, and the pod that waits goes on.
    site.cluster.apply(&store.secret("rotated"))?;
    ensure!(reader.finish(site)? == sums_of(&store.source)?);
    ensure!(agents(site)? == before, "an agent was restarted");
    reader.remove(site)?;
    site.cluster.kubectl(&["delete", "dataset", "rotated", "--timeout=180s"])?;
    site.cluster.kubectl(&["delete", "secret", "rotated"]).map(drop)
}

/// Names and restarts of the agents' pods.
fn agents(site: &Site) -> Result<String> {
    let fields = "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    site.cluster.kubectl(&[
        "get",
        "pods",
        "-n",
        NAMESPACE,
        "-l",
        "forebay.io/runtime=default",
        "--sort-by=.metadata.uid",
        "-o",
        fields,
    ])
}

fn refreshed(site: &Site) -> Result<()> {
    let store = second(site, "refreshed")?;
    site.cluster.apply(&(store.secret("refreshed") + &dataset("refreshed", &store.mount("refreshed"))))?;
    let reader = |name: &str| Reader::of_claim("default", name, "refreshed");
    ensure!(reader("before").run(site)? == sums_of(&store.source)?);
    std::fs::write(store.source.join("news"), b"something new")?;
    store.upload()?;
    site.cluster.kubectl(&["annotate", "dataset", "refreshed", "forebay.io/refresh=1"])?;
    site.wait_for("the new generation on all nodes", &["dataset", "refreshed"], |object| {
        object["status"]["catalog"]["files"] == 41 && object["status"]["handled"]["refresh"] == "1"
    })?;
    ensure!(reader("after").run(site)? == sums_of(&store.source)?);
    site.cluster.kubectl(&["delete", "dataset", "refreshed", "--timeout=180s"])?;
    site.cluster.kubectl(&["delete", "secret", "refreshed"]).map(drop)
}
