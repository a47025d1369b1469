//! What the driver promises, shown by the real program with real mounts: needs root. The agent is a stand-in: the link's own
//! library, and the in-memory tree behind a real FUSE server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod agent;
mod cached_files_are_read_natively;
mod calls_may_be_repeated;
mod composed;
mod harness;
mod mounts_outlive_processes;
mod pods_see_datasets;
mod sanity;
mod what_is_missing_is_said;
