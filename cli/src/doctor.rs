//! `doctor`: why is a Dataset or a pod not ready?
//!
//! `observe` makes the only reads; everything else turns what was seen into findings, and is pure.

use std::process::ExitCode;

use forebay_crds::words::clean;
use serde::Serialize;

use crate::cli::{Doctor, Output};
use crate::cluster::Cluster;
use crate::print;

mod dataset;
mod observe;
mod observed;
mod pod;
mod program;
mod remedy;
mod runtime;
#[cfg(test)]
mod tests;
mod volumes;

use self::observed::Observed;

/// With this a doctor tells that there are findings.
const FINDINGS: u8 = 1;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// Of what, such as `Dataset ml/imagenet`.
    about: String,
    /// What is wrong, in a few words.
    what: String,
    /// How that is known: Kubernetes' or our own programs' words.
    why: String,
    /// What to do.
    remedy: String,
}

/// What a doctor has to say.
#[derive(Debug, Default, Serialize)]
struct Diagnosis {
    findings: Vec<Finding>,
    /// Worth knowing, and no fault: what is on its way, what could not be looked at.
    notes: Vec<String>,
}

pub(crate) async fn run(cluster: &Cluster, args: &Doctor) -> anyhow::Result<ExitCode> {
    let observed = observe::observe(cluster, args).await?;
    let diagnosis = diagnose(&observed);
    print::text(&match args.output {
        Output::Text => text(&diagnosis, &observed.subject()),
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&diagnosis)?),
    })?;
    Ok(if diagnosis.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}

/// All that is wrong, causes before what follows from them.
fn diagnose(observed: &Observed) -> Diagnosis {
    let mut diagnosis = Diagnosis { findings: Vec::new(), notes: observed.unseen.clone() };
    program::look(observed, &mut diagnosis);
    if !observed.installed {
        return diagnosis;
    }
    for runtime in observed.concerned() {
        runtime::look(observed, runtime, &mut diagnosis);
    }
    for dataset in &observed.datasets {
        dataset::look(observed, dataset, &mut diagnosis);
    }
    if let Some(seen) = &observed.pod {
        pod::look(observed, seen, &mut diagnosis);
    }
    diagnosis
}

fn text(diagnosis: &Diagnosis, subject: &str) -> String {
    let Diagnosis { findings, notes } = diagnosis;
    let mut text = String::new();
    for (number, Finding { about, what, why, remedy }) in (1..).zip(findings) {
        text.push_str(&format!("{number}. {}: {}\n", clean(about), clean(what)));
        for (name, words) in [("why", why), ("remedy", remedy)] {
            if !words.is_empty() {
                text.push_str(&format!("   {name:<7} {}\n", clean(words)));
            }
        }
    }
    for note in notes {
        text.push_str(&format!("note: {}\n", clean(note)));
    }
    match findings.len() {
        0 => text.push_str(&format!("{subject}: nothing is wrong\n")),
        1 => text.push_str(&format!("{subject}: 1 finding\n")),
        several => text.push_str(&format!("{subject}: {several} findings\n")),
    }
    text
}
