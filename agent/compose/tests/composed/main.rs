//! What a composed mount promises, on a real kernel: needs root and Linux 6.12.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod attributes_are_the_images;
mod data_is_found;
mod generations_take_turns;
mod support;
