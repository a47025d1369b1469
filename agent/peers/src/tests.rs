#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod catalogs;
mod faults;
mod ring;
mod sharing;
