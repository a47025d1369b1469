use anyhow::{Result, bail};

use super::results::Results;
use super::rows::*;

/// What a short run on a shared machine must still reach: far below the goals, so that only a real loss fails it.
/// (row, who, against, floor of the ratio)
const FLOORS: &[(Row, &str, &str, f64)] = &[
    (SEQ_1, FOREBAY, "peers", 1.0),
    (SMALL_4, FOREBAY, "peers", 1.0),
    (RANDOM, FOREBAY, "peers", 1.0),
    (SEQ_1, FOREBAY, "ext4", 0.1),
    // 0.22 to 0.33 here, 0.17 in a single run.
    (COLD_SEQ, FOREBAY, "store", 0.1),
    // 0.09 to 0.14 here; the goal is 0.9. The store alone is measured by sixteen requests at a time, this row by four readers.
    (COLD_SMALL, FOREBAY, "store", 0.05),
    // Files that the kernel reads by itself: far below any run so far.
    (SMALL_1, PINNED, "ext4", 0.25),
    (RANDOM, PINNED, "ext4", 0.4),
    // Read ahead of four threads: 0.7 to 1.1 here, 0.24 without.
    (FAR_SMALL, FOREBAY, "store", 0.4),
];

/// Fails when a ratio is below its floor; says which.
pub(super) fn floors(results: &Results) -> Result<()> {
    let mut below = Vec::new();
    for (row, who, against, floor) in FLOORS {
        let ratio = match *against {
            "peers" => results.against_peers(*row),
            column => results.ratio(*row, who, column),
        };
        if let Some(ratio) = ratio.filter(|r| r < floor) {
            below.push(format!("{}, {who}: {ratio:.2} of {against}, floor {floor}", row.label));
        }
    }
    if !below.is_empty() {
        bail!("slower than it may be: {}", below.join("; "));
    }
    Ok(())
}
