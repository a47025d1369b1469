use std::fmt::Write as _;

use anyhow::{Result, ensure};

use crate::measure::Row;

/// The figures, a line a size.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "agents  Datasets  reports/s  change median / last s  all changed s  writes/s  CPU   peak MiB  back s  lost agent: writes/s\n",
    );
    for row in rows {
        let mut change = row.change.clone();
        change.sort_by(f64::total_cmp);
        let (median, last) = (change.get(change.len() / 2), change.last());
        let figure = |value: Option<&f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        // Writing into a String does not fail.
        let _ = writeln!(
            out,
            "{:>6}  {:>8}  {:>9.0}  {:>15} / {:<4}  {:>13.1}  {:>8.1}  {:>4.2}  {:>8}  {:>6.1}  {:>20.1}",
            row.load.agents,
            row.load.datasets,
            row.steady.reports_a_second,
            figure(median),
            figure(last),
            row.change_of_all,
            row.steady.writes_a_second,
            row.steady.cpu,
            row.peak_bytes.max(row.restart.peak_bytes) >> 20,
            row.restart.back,
            row.lost.writes_a_second,
        );
    }
    out
}

/// Most writes a second while nothing changes but progress.
const WRITES: f64 = 10.0;

/// What must hold whatever the machine: counts, no times.
pub(crate) fn check(row: &Row) -> Result<()> {
    let (agents, datasets) = (row.load.agents, row.load.datasets);
    let what = format!("{agents} agents and {datasets} Datasets");
    let steady = row.steady.writes_a_second;
    ensure!(
        steady <= WRITES,
        "{what}: {steady:.1} writes a second while only progress changes: {:?}",
        row.steady.requests.writes
    );
    Ok(())
}
