use std::collections::HashMap;
use std::sync::Arc;

use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::words::{because, clean};
use forebay_crds::{Dataset, Phase};

use super::line::{bar, full_name, line};

/// A prefetch is told of at each so many percent.
const STEP: u64 = 5;

/// Decides which changes are worth a line: another phase, another reason, a step of the prefetch.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    told: HashMap<String, (Phase, String, u64)>,
}

impl Teller {
    /// The lines about what is new.
    pub(super) fn tell(&mut self, datasets: &[Arc<Dataset>], now: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        let mut there = HashMap::new();
        for dataset in datasets {
            let (name, status) = (full_name(dataset), dataset.status.clone().unwrap_or_default());
            let (done, all) = bar(&status);
            let step = u64::try_from(u128::from(done) * 100 / u128::from(all) / u128::from(STEP)).unwrap_or(0);
            let moves = status.phase == Phase::Prefetching;
            let news = (status.phase, because(&status), if moves { step } else { 0 });
            if self.told.get(&name) != Some(&news) {
                lines.push(format!("{}: {}", clean(&name), line(&status, now)));
            }
            there.insert(name, news);
        }
        let mut gone: Vec<&String> = self.told.keys().filter(|name| !there.contains_key(*name)).collect();
        gone.sort();
        lines.extend(gone.into_iter().map(|name| format!("{}: deleted", clean(name))));
        self.told = there;
        lines
    }
}

#[cfg(test)]
mod tests {
    use forebay_crds::{DatasetSpec, DatasetStatus};

    use super::super::line::tests::{condition, status};
    use super::*;

    fn dataset(status: DatasetStatus) -> Arc<Dataset> {
        let mut dataset = Dataset::new("a", DatasetSpec::of(Vec::new()));
        dataset.metadata.namespace = Some("ml".into());
        dataset.status = Some(status);
        Arc::new(dataset)
    }

    #[test]
    fn only_news_are_told() {
        let mut teller = Teller::default();
        let mut told = |datasets: &[Arc<Dataset>]| teller.tell(datasets, Timestamp::UNIX_EPOCH).len();
        assert_eq!(told(&[dataset(status(Phase::Prefetching, 10))]), 1);
        assert_eq!(told(&[dataset(status(Phase::Prefetching, 10))]), 0);
        assert_eq!(told(&[dataset(status(Phase::Prefetching, 14))]), 0, "no step");
        assert_eq!(told(&[dataset(status(Phase::Prefetching, 15))]), 1, "a step");
        let mut why = status(Phase::Prefetching, 15);
        why.conditions.push(condition("StoresReachable", "403"));
        assert_eq!(told(&[dataset(why)]), 1, "a reason");
        assert_eq!(told(&[dataset(status(Phase::Ready, 50))]), 1, "a phase");
        assert_eq!(told(&[dataset(status(Phase::Ready, 90))]), 0, "what readers bring in is no news");
        assert_eq!(told(&[]), 1, "deleted");
        assert_eq!(told(&[]), 0);
    }
}
