use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use forebay_store::UnderStore;
use forebay_store::failing::FailingStore;
use forebay_store::memory::MemoryStore;

use super::Fixture;

/// The in-memory twin.
#[derive(Default)]
pub(crate) struct Memory(Mutex<HashMap<String, Arc<MemoryStore>>>);

impl Memory {
    fn store(&self, container: &str) -> Arc<MemoryStore> {
        let new = || Arc::new(MemoryStore::new(&format!("memory://{container}")));
        self.0.lock().unwrap().entry(container.to_owned()).or_insert_with(new).clone()
    }
}

#[async_trait]
impl Fixture for Memory {
    async fn open(&self, container: &str, page_size: usize) -> Arc<dyn UnderStore> {
        let store = self.store(container);
        store.set_page_size(page_size);
        store
    }

    async fn missing(&self) -> Arc<dyn UnderStore> {
        let store = MemoryStore::new("memory://missing");
        store.set_exists(false);
        Arc::new(store)
    }

    async fn put(&self, container: &str, key: &str, bytes: &[u8]) {
        self.store(container).put(key, bytes.to_vec());
    }

    async fn remove(&self, container: &str, key: &str) {
        assert!(self.store(container).remove(key));
    }

    fn holds(&self, key: &str) -> bool {
        !key.starts_with('/')
    }
}

/// The failing twin without faults.
#[derive(Default)]
pub(crate) struct Failing(Memory);

#[async_trait]
impl Fixture for Failing {
    async fn open(&self, container: &str, page_size: usize) -> Arc<dyn UnderStore> {
        Arc::new(FailingStore::new(self.0.open(container, page_size).await))
    }

    async fn missing(&self) -> Arc<dyn UnderStore> {
        Arc::new(FailingStore::new(self.0.missing().await))
    }

    async fn put(&self, container: &str, key: &str, bytes: &[u8]) {
        self.0.put(container, key, bytes).await;
    }

    async fn remove(&self, container: &str, key: &str) {
        self.0.remove(container, key).await;
    }

    fn holds(&self, key: &str) -> bool {
        self.0.holds(key)
    }
}
