//! What the crate promises, each module named by its promise.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics is a test that fails")]

mod cel_and_rust_agree;
mod defaults_are_the_schemas;
mod generated_files_are_current;
mod hostile_text_is_bounded;
mod manifests_are_read;
mod manifests_are_refused;
mod schema_is_structural;
mod secrets_stay_secret;
mod status_tells_the_truth;
mod values_round_trip;
