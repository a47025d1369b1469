use std::collections::HashMap;
use std::sync::Arc;

use forebay_crds::Dataset;
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::words::clean;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::line::{bar, full_name, line};

/// One bar for each Dataset, in order.
pub(crate) struct Bars {
    all: MultiProgress,
    shown: HashMap<String, ProgressBar>,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self { all: MultiProgress::with_draw_target(ProgressDrawTarget::stdout()), shown: HashMap::new() }
    }

    /// Draws the Datasets as they are now.
    pub(super) fn draw(&mut self, datasets: &[Arc<Dataset>], now: Timestamp) {
        let width = datasets.iter().map(|dataset| full_name(dataset).chars().count()).max().unwrap_or(0);
        for (at, dataset) in datasets.iter().enumerate() {
            let (name, status) = (full_name(dataset), dataset.status.clone().unwrap_or_default());
            let all = &self.all;
            let shown =
                self.shown.entry(name.clone()).or_insert_with(|| all.insert(at, ProgressBar::no_length().with_style(style())));
            let (done, length) = bar(&status);
            shown.set_prefix(format!("{:width$}", clean(&name)));
            shown.set_length(length);
            shown.set_position(done);
            shown.set_message(line(&status, now));
        }
        self.shown.retain(|name, shown| {
            let there = datasets.iter().any(|dataset| full_name(dataset) == *name);
            if !there {
                shown.finish_and_clear();
                self.all.remove(shown);
            }
            there
        });
    }

    /// Leaves the bars on the terminal as they are.
    pub(super) fn leave(self) {
        self.shown.into_values().for_each(|shown| shown.abandon());
    }
}

const TEMPLATE: &str = "{prefix} [{bar:24}] {wide_msg}";

fn style() -> ProgressStyle {
    // The template is a constant that a test reads.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use forebay_crds::{DatasetSpec, Phase};

    use super::super::line::tests::status;
    use super::*;

    #[test]
    fn each_dataset_has_a_bar_for_as_long_as_it_is_there() {
        let hidden = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let mut bars = Bars { all: hidden, shown: HashMap::new() };
        let dataset = |name: &str, phase, done| {
            let mut dataset = Dataset::new(name, DatasetSpec::of(Vec::new()));
            dataset.metadata.namespace = Some("ml".into());
            dataset.status = Some(status(phase, done));
            Arc::new(dataset)
        };
        bars.draw(&[dataset("long-name", Phase::Prefetching, 50), dataset("b", Phase::Ready, 100)], Timestamp::UNIX_EPOCH);
        let shown = |bars: &Bars, name: &str| {
            let bar = &bars.shown[name];
            (bar.prefix(), bar.position(), bar.length(), bar.message())
        };
        let half = "Prefetching 50%: 50.0Mi of 100Mi, 50 of 100 files, 10.0Mi/s".to_owned();
        assert_eq!(shown(&bars, "ml/long-name"), ("ml/long-name".to_owned(), 50 << 20, Some(100 << 20), half));
        let whole = "Ready: 100 files, 100Mi, 100% cached".to_owned();
        assert_eq!(shown(&bars, "ml/b"), ("ml/b        ".to_owned(), 100 << 20, Some(100 << 20), whole));
        bars.draw(&[dataset("b", Phase::Ready, 100)], Timestamp::UNIX_EPOCH);
        assert_eq!(bars.shown.len(), 1);
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
