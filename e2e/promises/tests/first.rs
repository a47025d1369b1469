//! The first hour of a user: a CacheRuntime, a Dataset, pods that read it by claim and inline.

use std::path::Path;

use anyhow::{Result, ensure};
use forebay_e2e::{TreeSize, build_tree};
use forebay_promises::{Reader, Site, sums_of};

use crate::Promise;

pub(crate) const PROMISES: &[Promise] =
    &[("first::a_dataset_is_listed_prefetched_and_read_by_claim_and_inline", read_by_claim_and_inline)];

fn read_by_claim_and_inline(site: &Site) -> Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    build_tree(&workspace, &site.store.source, TreeSize::Small)?;
    site.store.upload()?;
    site.cluster.apply(&format!(
        "apiVersion: forebay.io/v1alpha1
kind: CacheRuntime
metadata: {{name: default}}
spec:
  tiers:
  - {{name: ram, medium: Memory, capacity: 64Mi}}
  - {{name: ssd, medium: Disk, path: /var/lib/forebay-cache, capacity: 1Gi, reserve: 1%}}
---
{}apiVersion: forebay.io/v1alpha1
kind: Dataset
metadata: {{name: first}}
spec:
  mounts: {}
  prefetch: {{policy: Eager}}
",
        site.store.secret("store"),
        site.store.mount("store"),
    ))?;
    let expected = sums_of(&site.store.source)?;
    let by_claim = Reader::of_claim("default", "by-claim", "first").on("n1");
    by_claim.start(site)?;
    let inline = Reader::inline("default", "inline", "first").on("n2");
    inline.start(site)?;
    let object = site.wait_phase("default", "first", "Ready")?;
    ensure!(object["status"]["claim"] == "first", "{object:#}");
    ensure!(object["status"]["cache"]["percent"] == 100, "{object:#}");
    ensure!(by_claim.finish(site)? == expected, "the pod with the claim read something else");
    ensure!(inline.finish(site)? == expected, "the pod with the inline volume read something else");
    by_claim.remove(site)?;
    inline.remove(site)
}
