//! What every under store must do, run against each of them: the twins in memory, real directories, and real servers.
//!
//! The servers are parts that `cargo xtask parts` builds, `rclone` and `python3`; without them these tests fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod behaviour;
mod faults;
mod http;
mod raw;
mod s3;
mod s3_gets;
mod stores;
mod tls;
