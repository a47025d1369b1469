use std::collections::HashMap;
use std::time::Duration;

use forebay_api::DatasetName;
use forebay_crds::k8s::jiff::Timestamp;
use indicatif::{ProgressBar, ProgressStyle};

use super::console::Console;
use super::line::{line, message};
use super::stage::{ListingRate, Stage};
use crate::view::DatasetView;

/// One bar for each Dataset that moves; a line above them for each that comes to rest.
#[derive(Debug)]
pub(super) struct Bars {
    console: Console,
    shown: HashMap<DatasetName, Shown>,
}

#[derive(Debug)]
struct Shown {
    stage: Stage,
    mounted: bool,
    bar: Option<ProgressBar>,
    rate: ListingRate,
}

impl Bars {
    pub(super) fn new(console: Console) -> Self {
        Self { console, shown: HashMap::new() }
    }

    /// Draws the Datasets as they are now.
    pub(super) fn draw(&mut self, datasets: &[DatasetView], elapsed: Duration, now: Timestamp) {
        for dataset in datasets {
            let stage = Stage::of(dataset);
            let shown = self.shown.entry(dataset.full_name()).or_insert_with(|| Shown {
                stage: Stage::Waiting,
                mounted: false,
                bar: None,
                rate: ListingRate::default(),
            });
            let rate = dataset.listing.map_or(0, |seen| shown.rate.sample(elapsed, seen));
            if stage != shown.stage {
                if let Some(bar) = shown.bar.take() {
                    bar.finish_and_clear();
                    self.console.bars().remove(&bar);
                }
                if stage.moves() {
                    let bar = ProgressBar::no_length().with_style(style(stage)).with_prefix(dataset.name.clone());
                    // Adding it draws it.
                    let bar = bar.with_message(message(dataset, rate, now));
                    shown.bar = Some(self.console.bars().add(bar));
                }
            }
            if !stage.moves() && (stage, dataset.mounted) != (shown.stage, shown.mounted) {
                // A terminal that is gone is no reason to stop serving.
                let _ = self.console.write_line(&line(dataset, rate, now));
            }
            (shown.stage, shown.mounted) = (stage, dataset.mounted);
            if let Some(bar) = &shown.bar {
                if stage == Stage::Prefetching {
                    bar.set_length(dataset.status.prefetch.total_bytes.max(1));
                    bar.set_position(dataset.status.prefetch.done_bytes);
                }
                bar.set_message(message(dataset, rate, now));
                bar.tick();
            }
        }
        self.shown.retain(|name, shown| {
            let there = datasets.iter().any(|dataset| dataset.full_name() == *name);
            if let (false, Some(bar)) = (there, &shown.bar) {
                bar.finish_and_clear();
            }
            there
        });
    }

    /// Bars on the terminal.
    #[cfg(test)]
    pub(super) fn moving(&self) -> usize {
        self.shown.values().filter(|shown| shown.bar.is_some()).count()
    }

    /// Takes the bars off the terminal.
    pub(super) fn clear(self) {
        for bar in self.shown.into_values().filter_map(|shown| shown.bar) {
            bar.finish_and_clear();
        }
    }
}

fn style(stage: Stage) -> ProgressStyle {
    let template = match stage {
        Stage::Prefetching => "{prefix} [{bar:24}] {wide_msg}",
        _ => "{prefix} {spinner} {wide_msg}",
    };
    // The templates are constants; a test draws both.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}
