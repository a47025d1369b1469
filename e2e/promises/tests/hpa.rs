//! A real HorizontalPodAutoscaler scales a CacheRuntime: Kubernetes' own controller, by what Prometheus scrapes from the agents and
//! prometheus-adapter tells the API server of their pods.

use anyhow::{Context, Result, ensure};
use forebay_promises::{Metering, NAMESPACE, Site};

use crate::Promise;
use crate::source::Source;

pub(crate) const PROMISES: &[Promise] = &[("hpa::a_real_autoscaler_of_pods_scales_a_cache_by_what_it_holds", hpa)];

const NAME: &str = "grows";
const SPEC: &str = "  runtime: grows\n  placement: {policy: Sharded, replicas: 1}\n  pin: {paths: [/]}\n";

/// The example that people are given, for this runtime, on two nodes, and without the minutes for which it waits before it scales.
fn objects() -> Result<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/autoscale/hpa.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let ours = text.replace("default", NAME);
    let (most, behavior) = ("  maxReplicas: 8\n", "  behavior:\n");
    ensure!(ours.contains(most) && ours.contains(behavior), "{ours}");
    let at_once = "  behavior:\n    scaleDown: {stabilizationWindowSeconds: 0}\n";
    let ours = ours.replace(most, "  maxReplicas: 2\n").replace(behavior, at_once);
    Ok(ours.replace("stabilizationWindowSeconds: 600", "stabilizationWindowSeconds: 0"))
}

fn hpa(site: &Site) -> Result<()> {
    let source = Source::of(site, NAME, (0..160).map(|n| 250_000 + (n * 7919) % 100_000))?;
    // One node has not quite the room for all that is to be pinned; two are less than half full of it.
    site.cluster.apply(&objects()?)?;
    let capacity = source.bytes * 4 / 3;
    site.cluster.apply(&format!(
        "apiVersion: forebay.io/v1alpha1
kind: CacheRuntime
metadata: {{name: {NAME}}}
spec:
  tiers: [{{name: ssd, medium: Disk, path: /var/lib/forebay-grows, capacity: \"{capacity}\", reserve: 1%}}]
"
    ))?;
    let agents = |wanted: u32| {
        site.wait_for(&format!("{wanted} agents"), &["cacheruntime", NAME], |object| {
            object["status"]["readyReplicas"] == wanted && object["status"]["replicas"] == wanted
        })
    };
    let runtime = agents(1)?;
    ensure!(runtime["status"]["scaledBy"] == format!("{NAMESPACE}/{NAME}"), "{runtime:#}");
    let metering = Metering::start(site)?;
    let scaled = scales(site, &source, &metering, &agents)
        .with_context(|| site.cluster.kubectl(&["describe", "hpa", "-n", NAMESPACE]).unwrap_or_default())
        .with_context(|| metering.tail());
    let cleared = || -> Result<()> {
        // First: an API without a server disturbs whoever asks the API server what there is.
        metering.stop(site)?;
        site.cluster.kubectl(&["delete", "dataset", NAME, "--ignore-not-found", "--timeout=180s"])?;
        site.cluster.kubectl(&["delete", "secret", NAME, "--ignore-not-found"])?;
        site.cluster.delete(&objects()?)?;
        site.cluster.kubectl(&["delete", "cacheruntime", NAME, "--timeout=180s"]).map(drop)
    };
    scaled.and(cleared())
}

fn scales(site: &Site, source: &Source, metering: &Metering, agents: &dyn Fn(u32) -> Result<serde_json::Value>) -> Result<()> {
    metering.wait_known(site, "forebay_pinned_share", NAME, 1)?;
    source.apply(site, SPEC)?;
    site.wait_phase("default", NAME, "Degraded")?;
    agents(2)?;
    site.wait_for("both to have what they keep", &["dataset", NAME], |dataset| {
        dataset["status"]["phase"] == "Ready" && dataset["status"]["nodes"]["ready"] == 2
    })?;
    source.wait_pinned_by(site, NAME, &source.nodes, source.bytes)?;
    crate::say(&format!(
        "          two agents have all of it pinned, for which {:.3} of the tree left the store",
        source.counting.bytes() as f64 / source.bytes as f64
    ));

    // Nothing is pinned any more: one node is enough, and what the other alone has goes over to it.
    site.cluster.kubectl(&["patch", "dataset", NAME, "--type=json", "-p", r#"[{"op":"remove","path":"/spec/pin"}]"#])?;
    agents(1).map(drop)
}
