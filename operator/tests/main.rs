//! What the operator promises, by its program on a real API server with real nodes; only the agents pretend.
//!
//! Needs root and the parts of `cargo xtask parts`. The operator has the rights of the chart, not an administrator's.
#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]
#![allow(clippy::print_stdout, reason = "a figure is shown where tests are run with --nocapture")]

mod operator_runs_in_a_cluster;
mod setup;
