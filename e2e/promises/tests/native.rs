//! Cached files are read by the kernel, though no agent has a right to make it so.

use anyhow::{Result, ensure};
use forebay_promises::{Opens, Reader, Site, sums_of};

use crate::Promise;

pub(crate) const PROMISES: &[Promise] = &[("native::a_pod_reads_cached_files_without_the_agent", cached)];

fn cached(site: &Site) -> Result<()> {
    let expected = sums_of(&site.store.source)?;
    let reader = Reader::of_claim("default", "native", "first").on("n1");
    // What is not there yet comes with this.
    ensure!(reader.run(site)? == expected);
    let before = site.opens_on("n1", "first")?;
    ensure!(reader.run(site)? == expected);
    let after = site.opens_on("n1", "first")?;
    let Opens { native, served } = Opens { native: after.native - before.native, served: after.served - before.served };
    crate::say(&format!("          {native} files opened natively, {served} through the agent"));
    // Empty files have nothing to be read; a few meet another file's id in their place of the table.
    ensure!(native > 0 && served <= native / 5, "{native} native, {served} served");
    Ok(())
}
