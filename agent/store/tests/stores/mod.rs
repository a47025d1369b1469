//! Each kind of store with the means to change what it holds.

mod directory;
mod memory;
mod s3;

use std::sync::Arc;

use async_trait::async_trait;
use forebay_store::UnderStore;

pub(crate) use directory::{Local, Python, Rclone};
pub(crate) use memory::{Failing, Memory};
pub(crate) use s3::{Kind, S3};

/// A store under test. Containers are made as they are first put into or asked for.
#[async_trait]
pub(crate) trait Fixture: Sync {
    /// The store over one container, with pages of so many entries.
    async fn open(&self, container: &str, page_size: usize) -> Arc<dyn UnderStore>;

    /// The store over a container that does not exist.
    async fn missing(&self) -> Arc<dyn UnderStore>;

    /// Puts or replaces an object; another time than any before it, also for a clock of whole seconds.
    async fn put(&self, container: &str, key: &str, bytes: &[u8]);

    /// Removes an object.
    async fn remove(&self, container: &str, key: &str);

    /// Which of these keys the kind can hold.
    fn holds(&self, key: &str) -> bool;

    /// Whether other spellings of a key (`a//b` for `a/b`) are other keys. Some servers take them for the same; that does no
    /// harm, since only listed keys are asked for.
    fn is_exact(&self) -> bool {
        true
    }

    /// Whether a missing key and a missing container look different to `head`.
    fn tells_missing_container(&self) -> bool {
        true
    }
}

/// Whether a file system can hold the key: no empty parts, dots or long names.
fn is_path(key: &str) -> bool {
    key.split('/').all(|part| !matches!(part, "" | "." | "..") && part.len() <= 255)
}
