//! One suite, one run for each kind of store.

mod list;
mod odd_keys;
mod read;

use std::sync::Arc;

use bytes::Bytes;
use forebay_store::{ListRequest, ObjectMeta, StoreErrorKind, StoreResult, UnderStore, Unrepresentable, Version};
use futures::TryStreamExt;

use crate::stores::{Failing, Fixture, Kind, Local, Memory, Python, Rclone, S3};

async fn all(fixture: &dyn Fixture) {
    list::flat_and_by_level(fixture).await;
    list::empty_container(fixture).await;
    list::missing_container(fixture).await;
    odd_keys::survive(fixture).await;
    odd_keys::that_are_not_there(fixture).await;
    read::ranges(fixture).await;
    read::empty_object(fixture).await;
    read::changed_and_removed(fixture).await;
    read::large_and_concurrent(fixture).await;
    read::dropped_bodies(fixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    all(&Memory::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_without_faults() {
    all(&Failing::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local() {
    all(&Local::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_by_rclone() {
    all(&Rclone::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_by_python() {
    all(&Python::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_by_versitygw() {
    all(&S3::start(Kind::Versitygw)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_by_minio() {
    all(&S3::start(Kind::Minio)).await;
}

/// A whole listing, over all its pages, sorted.
pub(crate) struct Listed {
    pub(crate) objects: Vec<ObjectMeta>,
    pub(crate) prefixes: Vec<String>,
    pub(crate) unrepresentable: Vec<Unrepresentable>,
    pub(crate) pages: usize,
}

impl Listed {
    pub(crate) fn keys(&self) -> Vec<&str> {
        self.objects.iter().map(|meta| meta.key.as_str()).collect()
    }
}

pub(crate) async fn list(store: &dyn UnderStore, prefix: &str, recursive: bool) -> StoreResult<Listed> {
    let mut all = Listed { objects: vec![], prefixes: vec![], unrepresentable: vec![], pages: 0 };
    let mut page = None;
    loop {
        let got = store.list(ListRequest { prefix: prefix.to_owned(), recursive, page }).await?;
        all.pages += 1;
        assert!(all.pages < 1000, "a listing without end");
        all.objects.extend(got.objects);
        all.prefixes.extend(got.prefixes);
        all.unrepresentable.extend(got.unrepresentable);
        page = got.next;
        if page.is_none() {
            all.objects.sort_by(|a, b| a.key.cmp(&b.key));
            all.prefixes.sort();
            return Ok(all);
        }
    }
}

pub(crate) async fn read(
    store: &dyn UnderStore,
    key: &str,
    version: &Version,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, StoreErrorKind> {
    let got = store.get(key, version, range).await.map_err(|error| error.kind)?;
    assert_eq!((&got.meta.key[..], &got.meta.version), (key, version));
    let chunks: Vec<Bytes> = got.body.try_collect().await.map_err(|error| error.kind)?;
    Ok(chunks.concat())
}

/// Bytes that differ at each place and each seed.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

/// Error kinds without what they hold.
pub(crate) fn is_changed(kind: &StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Changed { .. })
}

async fn open(fixture: &dyn Fixture, container: &str) -> Arc<dyn UnderStore> {
    fixture.open(container, 100).await
}
