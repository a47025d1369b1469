//! What a mount promises, on a real kernel: needs root or fusermount3. Each module is named by what it promises, each
//! test begins with the number of the paragraph in `docs/semantics.md` that it holds to its word.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod changes_are_seen;
mod complete_files_are_read_natively;
mod errors_are_told_apart;
mod harness;
mod listings_are_complete;
mod mounts_come_and_go;
mod nothing_can_be_written;
mod promises;
mod readers_can_be_killed;
mod reads_are_true;
mod requests_are_few;
mod servers_are_replaced;
mod stat_tells_the_truth;
