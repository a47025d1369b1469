//! Tests of the whole cache.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod basics;
mod kill;
mod lending;
mod model;
mod natives;
mod pins;
mod published;
mod real;
mod tiers;
mod tools;
