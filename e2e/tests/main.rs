//! Tests of the whole: the real program, real servers, the kernel's own file system calls. One module a promise.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod bytes;
mod cache;
mod composed;
mod consistency;
mod faults;
mod harness;
mod metrics;
mod mounts;
mod native;
mod posix;
mod restart;
mod signals;
mod support;
