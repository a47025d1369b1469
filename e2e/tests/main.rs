//! Tests of the whole: the real program, real servers, the kernel's own file system calls. One module a promise.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

mod bytes;
mod cache;
mod composed;
mod consistency;
mod fates;
mod faults;
mod full_disk;
mod harness;
mod ladder;
mod metrics;
mod mounts;
mod native;
mod posix;
mod readers;
mod refused;
mod restart;
mod several;
mod signals;
mod support;
