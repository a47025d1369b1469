//! What the socket's language promises.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

mod connect_says_what_to_do;
mod status_crosses_the_wire;
