//! What a person sees while the agent lists and fetches: bars on a terminal, plain lines in a log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_crds::k8s::jiff::Timestamp;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::view::{View, ask};

mod bars;
mod console;
mod line;
mod stage;
mod teller;
#[cfg(test)]
mod tests;

pub(crate) use console::Console;

/// How often bars are drawn anew.
const DRAW: Duration = Duration::from_millis(250);
/// How often a log's lines are thought about; few are written.
const LOOK: Duration = Duration::from_secs(1);

/// Shows the Datasets' progress on `console` until `stop`: by bars when that is a terminal, else by lines of the log.
pub(crate) async fn run(view: Arc<dyn View>, console: Console, stop: CancellationToken) {
    let started = Instant::now();
    let mut shown =
        if console.is_terminal() { Shown::Bars(bars::Bars::new(console)) } else { Shown::Lines(teller::Teller::default()) };
    let mut ticks = tokio::time::interval(match shown {
        Shown::Bars(_) => DRAW,
        Shown::Lines(_) => LOOK,
    });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let Some(datasets) = ask(&view, |view| view.datasets()).await else { break };
        let (now, elapsed) = (Timestamp::now(), started.elapsed());
        match &mut shown {
            Shown::Bars(bars) => bars.draw(&datasets, elapsed, now),
            Shown::Lines(teller) => {
                for line in teller.tell(&datasets, elapsed, now) {
                    tracing::info!("{line}");
                }
            }
        }
    }
    if let Shown::Bars(bars) = shown {
        bars.clear();
    }
}

enum Shown {
    Bars(bars::Bars),
    Lines(teller::Teller),
}
