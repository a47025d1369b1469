//! What Forebay promises in a cluster, each promise on the real thing: real Kubernetes, real kubelets, real pods, a real store.
//!
//! `main [FILTER]...` keeps the promises whose names contain one of the filters, and the first one, which installs what the others use.
//! Names are `room::promise`.

mod autoscaler;
mod autoscaling;
mod cli;
mod composed;
mod faults;
mod first;
mod hpa;
mod life;
mod native;
mod peers;
mod rates;
mod refusals;
mod removal;
mod rights;
mod sharded;
mod source;
mod stampede;
mod storage_suite;
mod training;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, anyhow};
use forebay_promises::Site;

/// A promise: its name, and what shows that it holds.
type Promise = (&'static str, fn(&Site) -> Result<()>);

const PROMISES: &[&[Promise]] = &[
    first::PROMISES,
    rights::PROMISES,
    refusals::PROMISES,
    life::PROMISES,
    cli::PROMISES,
    native::PROMISES,
    composed::PROMISES,
    rates::PROMISES,
    peers::PROMISES,
    sharded::PROMISES,
    autoscaling::PROMISES,
    training::PROMISES,
    storage_suite::PROMISES,
    faults::PROMISES,
    removal::PROMISES,
];

/// Tried only when they are named: they, or what they need, take longer than the gate has.
const ON_REQUEST: &[&[Promise]] = &[autoscaler::PROMISES, hpa::PROMISES, stampede::PROMISES];

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| {
        name.starts_with("first::the_readme") || filters.is_empty() || filters.iter().any(|filter| name.contains(filter))
    };
    // By its room alone: who asks for a word of a name should not need what these need.
    let named = |name: &str| filters.iter().any(|filter| name.split("::").next().is_some_and(|room| room.contains(filter)));
    let usual = PROMISES.iter().copied().flatten().filter(|(name, _)| wanted(name));
    let on_request = ON_REQUEST.iter().copied().flatten().filter(|(name, _)| named(name));
    let promises: Vec<Promise> = usual.chain(on_request).copied().collect();
    if promises.is_empty() {
        say("no promise has such a name");
        return ExitCode::FAILURE;
    }
    let begun = Instant::now();
    let nodes = if promises.iter().any(|(name, _)| name.starts_with("stampede::")) { 3 } else { 2 };
    let site = match Site::start(nodes) {
        Ok(site) => site,
        Err(error) => {
            say(&format!("no cluster to try promises on: {error:#}"));
            return ExitCode::FAILURE;
        }
    };
    say(&format!("{:>6.1} s  the cluster is up", begun.elapsed().as_secs_f64()));
    let mut broken = Vec::new();
    for (name, promise) in promises {
        let begun = Instant::now();
        let kept = catch_unwind(AssertUnwindSafe(|| promise(&site))).unwrap_or_else(|_| Err(anyhow!("it panicked")));
        let word = if kept.is_ok() { "kept" } else { "BROKEN" };
        say(&format!("{:>6.1} s  {word:<6}  {name}", begun.elapsed().as_secs_f64()));
        if let Err(error) = kept {
            let why = format!("{error:#}");
            say(&format!("{why}\n{}", site.diagnosis()));
            broken.push((name, why));
            if name.starts_with("first::") {
                say("nothing else can be tried without that");
                break;
            }
        }
    }
    if let Err(error) = site.stop() {
        broken.push(("the end, which left something behind", format!("{error:#}")));
    }
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    // Once more and last: who sees only the end of a log sees why.
    for (name, why) in &broken {
        say(&format!("broken: {name}: {}", shortened(why)));
    }
    ExitCode::FAILURE
}

/// The two ends of a long text.
fn shortened(text: &str) -> String {
    const END: usize = 1000;
    let count = text.chars().count();
    if count <= 2 * END {
        return text.to_owned();
    }
    let (first, last) = (text.chars().take(END), text.chars().skip(count - END));
    format!("{} [...] {}", first.collect::<String>(), last.collect::<String>())
}

pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
