#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod bounded;
mod catalogs;
mod circles;
mod ends;
mod faults;
mod ring;
mod sharing;
mod zones;
