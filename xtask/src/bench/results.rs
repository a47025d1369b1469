use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::rows::{ALL, COLUMNS, FOREBAY, PEERS, Row};

/// Every value measured, by row and column.
#[derive(Debug, Default)]
pub(super) struct Results {
    values: HashMap<(&'static str, &'static str), Vec<f64>>,
}

impl Results {
    /// Adds one run's value.
    pub(super) fn add(&mut self, row: Row, column: &'static str, value: f64) {
        self.values.entry((row.key, column)).or_default().push(value);
    }

    /// The median of all runs.
    pub(super) fn median(&self, row: Row, column: &'static str) -> Option<f64> {
        median(self.values.get(&(row.key, column))?)
    }

    /// How many times better `a` is than `b`: above 1 is better, whichever way the row counts.
    pub(super) fn ratio(&self, row: Row, a: &'static str, b: &'static str) -> Option<f64> {
        let (a, b) = (self.median(row, a)?, self.median(row, b)?);
        let ratio = if row.more { a / b } else { b / a };
        ratio.is_finite().then_some(ratio)
    }

    /// Forebay against the better of its peers.
    pub(super) fn against_peers(&self, row: Row) -> Option<f64> {
        PEERS.iter().filter_map(|peer| self.ratio(row, FOREBAY, peer)).reduce(f64::min)
    }

    /// The table as text: medians, then Forebay's ratios (above 1: Forebay is better).
    pub(super) fn table(&self) -> String {
        let mut out = String::new();
        // A String takes everything.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        write!(out, "{:<44}", "medians")?;
        for column in COLUMNS {
            write!(out, "{column:>11}")?;
        }
        writeln!(out, "{:>10}{:>10}{:>10}", "/ ext4", "/ store", "/ peers")?;
        for row in ALL {
            let medians: Vec<_> = COLUMNS.iter().map(|c| self.median(*row, c)).collect();
            if medians.iter().all(Option::is_none) {
                continue;
            }
            write!(out, "{:<44}", format!("{}, {}", row.label, row.unit))?;
            for value in medians {
                write!(out, "{:>11}", value.map_or("-".into(), number))?;
            }
            let ratios = [self.ratio(*row, FOREBAY, "ext4"), self.ratio(*row, FOREBAY, "store"), self.against_peers(*row)];
            for ratio in ratios {
                write!(out, "{:>10}", ratio.map_or("-".into(), |r| format!("{r:.2}x")))?;
            }
            writeln!(out)?;
        }
        writeln!(out, "ratios: above 1 Forebay is better; peers: the better of rclone mount (vfs full) and s3fs")
    }

    /// All values, for machines.
    pub(super) fn to_json(&self, setting: &Value) -> Value {
        let rows: Vec<_> = ALL
            .iter()
            .map(|row| {
                let columns = COLUMNS.iter().filter_map(|c| {
                    let runs = self.values.get(&(row.key, *c))?;
                    Some((c.to_string(), json!({"median": median(runs), "runs": runs})))
                });
                let columns: serde_json::Map<_, _> = columns.collect();
                json!({"key": row.key, "label": row.label, "unit": row.unit, "moreIsBetter": row.more, "columns": columns})
            })
            .collect();
        json!({"setting": setting, "rows": rows})
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// Three significant digits.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::{FIND, SEQ_1};
    use super::*;

    #[test]
    fn ratios_say_how_many_times_better_forebay_is() {
        let mut results = Results::default();
        for value in [100.0, 900.0, 200.0] {
            results.add(SEQ_1, "forebay", value);
        }
        results.add(SEQ_1, "rclone", 50.0);
        results.add(SEQ_1, "s3fs", 100.0);
        results.add(FIND, "forebay", 20.0);
        results.add(FIND, "ext4", 10.0);
        assert_eq!(results.median(SEQ_1, "forebay"), Some(200.0));
        assert_eq!(results.against_peers(SEQ_1), Some(2.0));
        assert_eq!(results.ratio(FIND, "forebay", "ext4"), Some(0.5));
        assert_eq!(results.ratio(FIND, "forebay", "tmpfs"), None);
        let table = results.table();
        assert!(
            table.contains("sequential 1 MiB, 1 job, MiB/s") && table.contains("2.00x") && table.contains("0.50x"),
            "{table}"
        );
        assert!(!table.contains("ls -lR"), "rows that were not measured are left out: {table}");
    }
}
