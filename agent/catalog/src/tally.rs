use std::collections::BTreeSet;

use crate::{Fate, MAX_SAMPLES, Report, Sample};

/// Bytes of a key or reason that a sample keeps.
const MAX_TEXT: usize = 4096;

/// Counts fates and keeps the smallest samples of each, so that a report does not depend on the listing's order
/// and its memory not on the listing's length.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: [u64; Fate::ALL.len()],
    samples: [BTreeSet<Sample>; Fate::ALL.len()],
}

impl Tally {
    /// Counts an object. `path` is the path relative to the dataset's root, where it has one.
    pub(crate) fn record(&mut self, fate: Fate, mount: u16, key: &str, path: Option<&str>) {
        self.counts[fate as usize] += 1;
        if fate.is_sampled() && self.has_room(fate, mount, key) {
            let path = path.map(|p| format!("/{}", shorten(p)));
            self.keep(Sample { mount, key: shorten(key).to_owned(), fate, reason: fate.reason().to_owned(), path });
        }
    }

    /// Counts a name that the store could not represent.
    pub(crate) fn record_rejected(&mut self, mount: u16, lossy: &str, reason: &str) {
        let fate = Fate::Unrepresentable;
        self.counts[fate as usize] += 1;
        if self.has_room(fate, mount, lossy) {
            let (key, reason) = (shorten(lossy).to_owned(), shorten(reason).to_owned());
            self.keep(Sample { mount, key, fate, reason, path: None });
        }
    }

    /// Decides without allocating, since most objects of a bad listing come too late to be kept.
    fn has_room(&self, fate: Fate, mount: u16, key: &str) -> bool {
        let kept = &self.samples[fate as usize];
        kept.len() < MAX_SAMPLES || kept.last().is_some_and(|last| (mount, shorten(key)) < (last.mount, last.key.as_str()))
    }

    fn keep(&mut self, sample: Sample) {
        let kept = &mut self.samples[sample.fate as usize];
        kept.insert(sample);
        if kept.len() > MAX_SAMPLES {
            kept.pop_last();
        }
    }

    pub(crate) fn into_report(self) -> Report {
        let counts = Fate::ALL.into_iter().zip(self.counts).filter(|&(_, n)| n > 0).collect();
        let mut sample: Vec<Sample> = self.samples.into_iter().flatten().collect();
        sample.sort_by_key(|s| !s.fate.is_problem());
        Report { counts, sample }
    }
}

fn shorten(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
