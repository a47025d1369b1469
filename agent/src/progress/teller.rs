use std::collections::HashMap;
use std::time::Duration;

use forebay_api::DatasetName;
use forebay_crds::k8s::jiff::Timestamp;

use super::line::line;
use super::stage::{ListingRate, Stage};
use crate::view::DatasetView;

/// A Dataset that goes on as it was is told of no more often than this.
const PAUSE: Duration = Duration::from_secs(5);

/// Decides what a log is told: at once when a Dataset enters another stage, else now and then while something moves.
#[derive(Debug, Default)]
pub(super) struct Teller {
    told: HashMap<DatasetName, Told>,
}

#[derive(Debug)]
struct Told {
    stage: (Stage, bool),
    line: String,
    at: Duration,
    rate: ListingRate,
}

impl Teller {
    /// The lines to write now. `elapsed` is a time since any fixed moment.
    pub(super) fn tell(&mut self, datasets: &[DatasetView], elapsed: Duration, now: Timestamp) -> Vec<String> {
        self.told.retain(|name, _| datasets.iter().any(|dataset| dataset.full_name() == *name));
        datasets.iter().filter_map(|dataset| self.tell_one(dataset, elapsed, now)).collect()
    }

    fn tell_one(&mut self, dataset: &DatasetView, elapsed: Duration, now: Timestamp) -> Option<String> {
        let stage = (Stage::of(dataset), dataset.mounted);
        let told = self.told.entry(dataset.full_name());
        let mut rate = match &told {
            std::collections::hash_map::Entry::Occupied(told) => told.get().rate,
            std::collections::hash_map::Entry::Vacant(_) => ListingRate::default(),
        };
        let objects = dataset.listing.map_or(0, |seen| rate.sample(elapsed, seen));
        let line = line(dataset, objects, now);
        match told {
            std::collections::hash_map::Entry::Occupied(mut told) => {
                let told = told.get_mut();
                told.rate = rate;
                let due = stage != told.stage || elapsed.saturating_sub(told.at) >= PAUSE;
                if !due || line == told.line {
                    return None;
                }
                *told = Told { stage, line: line.clone(), at: elapsed, rate };
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(Told { stage, line: line.clone(), at: elapsed, rate });
                // Before anything has begun there is nothing to tell.
                if stage.0 == Stage::Waiting {
                    return None;
                }
            }
        }
        Some(line)
    }
}
