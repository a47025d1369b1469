//! How statuses, numbers and foreign texts are written for people, by every program alike.

mod details;
mod text;

pub use details::{because, details, failed_files, prefetch, prefetch_percent};
pub use text::{align, clean, count, seconds_between, span};
