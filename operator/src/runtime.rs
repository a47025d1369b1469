//! The CacheRuntime controller: observe, validate, plan, apply, report.
//!
//! `observe` makes the only reads and `apply` the only writes; `choose`, `fit`, `validate`, `plan` and `report` are pure.

mod apply;
mod choose;
mod controller;
mod daemon_set;
mod fit;
mod observe;
mod orphans;
mod plan;
mod report;
#[cfg(test)]
mod tests;
mod validate;

pub(crate) use controller::run;
pub(crate) use daemon_set::Settings;
pub(crate) use orphans::orphans;
