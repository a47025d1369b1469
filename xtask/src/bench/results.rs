use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use serde_json::{Value, json};

use super::rows::{ALL, BEST_PEER, COLUMNS, OURS, PEERS, RATIOS, Row, native};
use crate::contender::peers::JUICEFS;

/// Room for a row's label and unit.
const LABEL: usize = 46;

/// Every value measured, by row and column.
#[derive(Debug, Default)]
pub(super) struct Results {
    values: HashMap<(&'static str, &'static str), Vec<f64>>,
    left_out: BTreeMap<&'static str, String>,
}

impl Results {
    /// Adds one run's value.
    pub(super) fn add(&mut self, row: Row, column: &'static str, value: f64) {
        self.values.entry((row.key, column)).or_default().push(value);
    }

    /// Notes that a contender does not take part, and why.
    pub(super) fn leave_out(&mut self, column: &'static str, why: &str) {
        self.left_out.insert(column, why.to_owned());
    }

    /// Why a contender does not take part; `None` when it does.
    pub(super) fn left_out(&self, column: &str) -> Option<&str> {
        self.left_out.get(column).map(String::as_str)
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

    /// The same, where `b` may also be [`BEST_PEER`].
    fn against(&self, row: Row, a: &'static str, b: &'static str) -> Option<f64> {
        match b {
            BEST_PEER => PEERS.iter().copied().filter_map(|peer| self.ratio(row, a, peer)).reduce(f64::min),
            column => self.ratio(row, a, column),
        }
    }

    /// The table as text: medians, then [`RATIOS`] (above 1: Forebay is better).
    pub(super) fn table(&self) -> String {
        let mut out = String::new();
        // A String takes everything.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let measured = |column| ALL.iter().any(|row| self.median(*row, column).is_some());
        let columns: Vec<_> = COLUMNS.iter().copied().filter(|&column| measured(column)).collect();
        write!(out, "{:<LABEL$}", "medians")?;
        for column in &columns {
            write!(out, "{column:>11}")?;
        }
        for (heading, ..) in RATIOS {
            write!(out, "{heading:>width$}", width = heading.len() + 4)?;
        }
        writeln!(out)?;
        for row in ALL {
            let medians: Vec<_> = columns.iter().copied().map(|column| self.median(*row, column)).collect();
            if medians.iter().all(Option::is_none) {
                continue;
            }
            write!(out, "{:<LABEL$}", format!("{}, {}", row.label, row.unit))?;
            for value in medians {
                write!(out, "{:>11}", value.map_or("-".into(), number))?;
            }
            for (heading, who, against) in RATIOS.iter().copied() {
                let ratio = self.against(*row, who, against).map_or("-".into(), |r| format!("{r:.2}x"));
                write!(out, "{ratio:>width$}", width = heading.len() + 4)?;
            }
            writeln!(out)?;
        }
        let peers: Vec<_> = PEERS.iter().copied().filter(|peer| columns.contains(peer)).collect();
        let peers = if peers.is_empty() { "nobody".into() } else { format!("the best of {}", peers.join(", ")) };
        writeln!(out, "ratios: above 1 Forebay is better, forebay where nobody is named; peers: {peers}")?;
        if columns.contains(&JUICEFS) {
            writeln!(out, "{JUICEFS}: brought in before; its names are in a local database, so its cold rows hold no listing")?;
        }
        let mut reasons: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (column, why) in &self.left_out {
            reasons.entry(why).or_default().push(*column);
        }
        reasons.iter().try_for_each(|(why, names)| writeln!(out, "left out {why}: {}", names.join(", ")))
    }

    /// Each of ours against the kernel's own file system, the store and the best of the peers, where both were measured.
    fn ratios(&self, row: Row) -> serde_json::Map<String, Value> {
        let mut all = serde_json::Map::new();
        for who in OURS.iter().copied() {
            let against = [native(who), "store", BEST_PEER];
            let ratios = against.into_iter().filter_map(|b| Some((b.to_owned(), Value::from(self.against(row, who, b)?))));
            let ratios: serde_json::Map<_, _> = ratios.collect();
            if !ratios.is_empty() {
                all.insert(who.to_owned(), Value::Object(ratios));
            }
        }
        all
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
                json!({
                    "key": row.key, "label": row.label, "unit": row.unit, "moreIsBetter": row.more,
                    "columns": columns, "ratios": self.ratios(*row),
                })
            })
            .collect();
        json!({"setting": setting, "leftOut": self.left_out, "rows": rows})
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
    use super::super::rows::{FIND, RAM, SEQ_1};
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
        assert_eq!(results.against(SEQ_1, "forebay", BEST_PEER), Some(2.0));
        assert_eq!(results.ratio(FIND, "forebay", "ext4"), Some(0.5));
        assert_eq!(results.ratio(FIND, "forebay", "tmpfs"), None);
        let table = results.table();
        assert!(
            table.contains("sequential 1 MiB, 1 job, MiB/s") && table.contains("2.00x") && table.contains("0.50x"),
            "{table}"
        );
        assert!(!table.contains("ls -lR"), "rows that were not measured are left out: {table}");
    }

    #[test]
    fn machines_get_the_ratios_of_all_that_is_ours() {
        let mut results = Results::default();
        for (column, value) in [("ext4", 100.0), ("tmpfs", 200.0), (RAM, 150.0), ("pinned", 90.0), ("s3fs", 30.0)] {
            results.add(SEQ_1, column, value);
        }
        results.leave_out("rclone", "by --without");
        let json = results.to_json(&Value::Null);
        let ratios = &json["rows"][0]["ratios"];
        assert_eq!(ratios, &json!({"pinned": {"ext4": 0.9, "peers": 3.0}, "ram": {"tmpfs": 0.75, "peers": 5.0}}));
        assert_eq!(json["leftOut"], json!({"rclone": "by --without"}));
        let table = results.table();
        assert!(table.contains("0.90x") && table.contains("0.75x") && table.contains("left out by --without: rclone"), "{table}");
    }

    #[test]
    fn a_table_has_the_columns_that_have_values_and_names_who_was_not_measured() {
        let mut results = Results::default();
        results.add(SEQ_1, "forebay", 200.0);
        results.add(SEQ_1, "rclone", 50.0);
        for peer in ["mount-s3", "geesefs", "juicefs"] {
            results.leave_out(peer, "for not being on the PATH");
        }
        let table = results.table();
        let columns: Vec<_> = table.split(" / ext4").next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(columns, ["medians", "forebay", "rclone"], "{table}");
        assert!(table.contains("left out for not being on the PATH: geesefs, juicefs, mount-s3\n"), "{table}");
        assert!(table.contains("peers: the best of rclone\n") && !table.contains("local database"), "{table}");

        results.add(SEQ_1, "mount-s3", 400.0);
        results.add(SEQ_1, "juicefs", 100.0);
        let table = results.table();
        assert!(table.contains("peers: the best of rclone, mount-s3, juicefs\n") && table.contains("0.50x"), "{table}");
        assert!(table.contains("juicefs: brought in before"), "{table}");
        assert!(!table.lines().next().unwrap_or_default().contains("geesefs"), "{table}");
    }
}
