//! What a person sees while Datasets are listed and fetched: a bar each on a terminal, lines elsewhere.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use forebay_crds::Dataset;
use forebay_crds::k8s::jiff::Timestamp;

use crate::print;

mod bars;
mod line;
mod teller;

/// Where progress goes.
pub(crate) enum Progress {
    Bars(bars::Bars),
    Lines(teller::Teller),
}

impl Progress {
    /// On the standard output.
    pub(crate) fn new() -> Self {
        if io::stdout().is_terminal() { Self::Bars(bars::Bars::new()) } else { Self::Lines(teller::Teller::default()) }
    }

    /// Shows the Datasets as they are now.
    pub(crate) fn show(&mut self, datasets: &[Arc<Dataset>]) -> anyhow::Result<()> {
        let now = Timestamp::now();
        match self {
            Self::Bars(bars) => bars.draw(datasets, now),
            Self::Lines(teller) => {
                for line in teller.tell(datasets, now) {
                    print::line(&line)?;
                }
            }
        }
        Ok(())
    }

    /// Leaves what was last shown, for what is printed after it.
    pub(crate) fn end(self) {
        if let Self::Bars(bars) = self {
            bars.leave();
        }
    }
}
