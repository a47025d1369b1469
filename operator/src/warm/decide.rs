//! Whether a node need be waited for any longer: pure.

use std::sync::Arc;
use std::time::Duration;

use forebay_crds::conditions::reason;
use k8s_openapi::api::core::v1::Node;

/// A node of which no CacheRuntime lends space is waited for so long: one may be on its way, as the node's labels may.
const NOBODY: Duration = Duration::from_secs(60);
/// Things that a message names.
const NAMED: usize = 3;

/// What is known of a node that may have to be written to.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    pub(super) node: Arc<Node>,
    /// It carries the startup taint.
    pub(super) tainted: bool,
    /// Its condition, if it has one.
    pub(super) condition: Option<Said>,
    /// For how long the condition has not been true.
    pub(super) waited: Duration,
    /// The CacheRuntimes that lend space of it.
    pub(super) lenders: Vec<Lender>,
}

/// A condition without its type and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) holds: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

/// A CacheRuntime, as far as one of its nodes is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lender {
    pub(super) name: String,
    pub(super) timeout: Duration,
    /// It wants the condition on its nodes.
    pub(super) condition: bool,
    /// Its agent there serves.
    pub(super) serves: bool,
    /// What the Datasets that are waited for say that they lack.
    pub(super) missing: Vec<String>,
    /// How many Datasets are waited for.
    pub(super) datasets: usize,
}

/// What is to be written to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) lift: bool,
    pub(super) condition: Written,
    /// The end of the wait, to be told of.
    pub(super) end: Option<Said>,
}

/// What becomes of the condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// It stays as it is.
    Kept,
    Set(Said),
    Removed,
}

/// What is to be written; `None`: nothing.
pub(super) fn decide(sight: &Sight) -> Option<Change> {
    let Sight { node: _, tainted, condition, waited, lenders } = sight;
    let wished = lenders.iter().any(|lender| lender.condition);
    let change = |lift, condition, end| Some(Change { lift, condition, end });
    let set = |said: Said| if condition.as_ref() == Some(&said) { Written::Kept } else { Written::Set(said) };
    let removed = || if condition.is_some() { Written::Removed } else { Written::Kept };
    if !tainted && !wished {
        return condition.as_ref().and_then(|_| change(false, Written::Removed, None));
    }
    if !tainted && condition.as_ref().is_some_and(|said| said.holds) {
        // True once is true for good: an agent that is made anew says nothing about a node that has its pods.
        return None;
    }
    match judge(lenders, *waited) {
        Ok(end) => change(*tainted, if wished { set(end.clone()) } else { removed() }, Some(end)),
        Err(message) => match set(Said { holds: false, reason: reason::WARMING.to_owned(), message }) {
            Written::Kept => None,
            written => change(false, written, None),
        },
    }
}

/// The end of the wait, or what is waited for.
fn judge(lenders: &[Lender], waited: Duration) -> Result<Said, String> {
    let lacking = lenders.iter().filter_map(|lender| Some((lender.timeout, lacks(lender)?)));
    let (timeouts, lacks): (Vec<Duration>, Vec<String>) = lacking.unzip();
    if lenders.is_empty() {
        let message = "no CacheRuntime lends space of this node".to_owned();
        return timed_out(message, waited, NOBODY);
    }
    if lacks.is_empty() {
        let datasets: usize = lenders.iter().map(|lender| lender.datasets).sum();
        let message = match datasets {
            0 => "the agent serves, and no Dataset asks to be waited for".to_owned(),
            1 => "the agent serves, and what one Dataset wants here is here".to_owned(),
            more => format!("the agent serves, and what {more} Datasets want here is here"),
        };
        return Ok(Said { holds: true, reason: reason::WARM.to_owned(), message });
    }
    timed_out(lacks.join("; "), waited, timeouts.into_iter().max().unwrap_or(NOBODY))
}

fn timed_out(message: String, waited: Duration, timeout: Duration) -> Result<Said, String> {
    if waited < timeout {
        return Err(message);
    }
    let message = format!("not warm after {}: {message}", humantime::format_duration(timeout));
    Ok(Said { holds: true, reason: reason::WARM_UP_TIMED_OUT.to_owned(), message })
}

/// What a CacheRuntime's part of the node lacks.
fn lacks(lender: &Lender) -> Option<String> {
    let name = &lender.name;
    if !lender.serves {
        return Some(format!("no agent of CacheRuntime {name} answers from it"));
    }
    let shown = lender.missing.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
    match lender.missing.len() {
        0 => None,
        missing if missing > NAMED => Some(format!("{shown}; and {} more Datasets", missing - NAMED)),
        _ => Some(shown),
    }
}

#[cfg(test)]
mod tests;
