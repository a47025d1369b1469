//! What the catalog promises, through its public API.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod golden;
mod incoming;
mod model;
mod reference;
mod semantics;
mod support;
