//! What an image promises, shown by the kernel and by EROFS's own tools: needs root, Linux 6.12 and erofs-utils.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod errors_name_the_entry;
mod image;
mod images_are_one_for_all;
mod the_kernel_shows_the_tree;
mod tree;
