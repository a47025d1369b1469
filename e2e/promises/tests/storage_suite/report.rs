//! What the suite says of its tests in its JSON report and in its log, and what the page says of them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// How one test ended, or what became of a whole group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Passed,
    /// The suite itself left it out, with its reason.
    LeftOut(String),
    /// We told the suite not to run it.
    NotRun,
    Failed(String),
    /// The suite has no such group for this driver, with its reason.
    Undefined(String),
}

/// The tests of the driver by name, which is as ginkgo matches it: pattern, group and test joined by spaces.
pub(crate) type Ends = BTreeMap<String, End>;

/// Takes the tests of external drivers out of a report of ginkgo.
pub(crate) fn read(report: &Value) -> Result<Ends> {
    let specs = report[0]["SpecReports"].as_array().context("the report has no SpecReports")?;
    let mut ends = Ends::new();
    for spec in specs {
        let containers = spec["ContainerHierarchyTexts"].as_array().into_iter().flatten();
        let mut texts: Vec<&str> = containers.filter_map(Value::as_str).collect();
        let message = spec["Failure"]["Message"].as_str().unwrap_or_default().trim().to_owned();
        // What is prepared before all tests.
        ensure!(!texts.is_empty() || spec["State"] == "passed", "{}: {message}", spec["LeafNodeType"]);
        if !texts.first().is_some_and(|first| first.starts_with("External Storage")) {
            continue;
        }
        texts.remove(0);
        texts.extend(spec["LeafNodeText"].as_str());
        let name = texts.join(" ");
        let end = match (spec["State"].as_str(), message.is_empty()) {
            (Some("passed"), _) => End::Passed,
            (Some("skipped"), true) => End::NotRun,
            (Some("skipped"), false) => End::LeftOut(message),
            (state, _) => End::Failed(format!("{}: {message}", state.unwrap_or("no state"))),
        };
        ensure!(ends.insert(name.clone(), end).is_none(), "two tests are named {name}");
    }
    Ok(ends)
}

/// Takes the groups that the suite does not define out of its log, written with DEBUG_STORAGE_TESTSUITE set.
pub(crate) fn undefined(log: &str) -> Ends {
    let lines = log.lines().filter_map(|line| line.strip_prefix("Skipping registration: "));
    let parts = lines.filter_map(|line| line.split_once(" [Driver: csi.forebay.io] - "));
    parts.map(|(name, reason)| (name.to_owned(), End::Undefined(reason.trim().to_owned()))).collect()
}

/// Adds what another process ran, of the same tests.
pub(crate) fn merge(all: &mut Ends, more: Ends) {
    for (name, end) in more {
        let entry = all.entry(name).or_insert(End::NotRun);
        if end != End::NotRun {
            *entry = end;
        }
    }
}

/// Reads the page: list entries, each a name in backticks and after a colon the suite's reason where it has one, below the headings
/// that are named here.
pub(crate) fn page(text: &str) -> Result<Ends> {
    let mut ends = Ends::new();
    let mut section = "";
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading;
        }
        let Some((name, reason)) = line.strip_prefix("- `").and_then(|rest| rest.split_once('`')) else { continue };
        let end = match section {
            "Passed" => End::Passed,
            "Left out by the suite" => End::LeftOut(reason.trim_start_matches(": ").to_owned()),
            "Not run" => End::NotRun,
            "Groups that the suite does not define" => End::Undefined(reason.trim_start_matches(": ").to_owned()),
            _ => continue,
        };
        ensure!(ends.insert(name.to_owned(), end).is_none(), "the page names {name} twice");
    }
    let count = |wanted: fn(&End) -> bool| ends.values().filter(|end| wanted(end)).count();
    let (passed, left_out) = (count(|end| matches!(end, End::Passed)), count(|end| matches!(end, End::LeftOut(_))));
    let (not_run, undefined) = (count(|end| matches!(end, End::NotRun)), count(|end| matches!(end, End::Undefined(_))));
    let line = format!(
        "{passed} tests pass, {left_out} are left out by the suite, {not_run} are not run, {undefined} groups are not defined."
    );
    ensure!(text.contains(&line), "the page counts otherwise than: {line}");
    Ok(ends)
}

/// A line for each test that ended otherwise than the page says.
pub(crate) fn differences(page: &Ends, seen: &Ends) -> Vec<String> {
    let names = page.keys().chain(seen.keys().filter(|name| !page.contains_key(*name)));
    let differs = names.filter(|name| page.get(*name) != seen.get(*name));
    differs.map(|name| format!("{name}\n    page: {:?}\n    seen: {:?}", page.get(name), seen.get(name))).collect()
}
