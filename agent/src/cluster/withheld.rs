//! Stores whose Secrets are not here.
//!
//! Secrets are never on disk, so an agent that starts again knows its Datasets and not how to ask their stores. It serves what is cached, and
//! what is not waits for the operator's word instead of failing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use forebay_api::DatasetName;
use forebay_dataset::Mount;
use forebay_store::{
    GetStream, ListPage, ListRequest, ObjectMeta, StoreError, StoreErrorKind, StoreId, StoreResult, UnderStore, Version,
};
use tokio::sync::watch;
use tokio::time::Instant;

/// For so long after its start an agent waits for the operator's first word of a Dataset: what a change of leaders takes, twice.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

type Store = Arc<dyn UnderStore>;

/// Stands for a store whose credentials have not come: what is cached of it can be read, it cannot be asked.
#[derive(Debug)]
struct Withheld {
    id: StoreId,
    secret: String,
    /// The store, once it can be asked; closed when nobody will say it any more.
    word: watch::Receiver<Option<Store>>,
    until: Instant,
}

impl Withheld {
    /// The store; an error when the Secret does not come.
    async fn store(&self, operation: &'static str, key: &str) -> StoreResult<Store> {
        let mut word = self.word.clone();
        let come = tokio::time::timeout_at(self.until, word.wait_for(Option::is_some)).await;
        if let Ok(Ok(store)) = come
            && let Some(store) = &*store
        {
            return Ok(store.clone());
        }
        let cause = format!("Secret {} has not come from the operator: it does not exist, or the operator is away", self.secret);
        Err(StoreError::new(&self.id, operation, key, StoreErrorKind::Denied).with_cause(cause))
    }
}

#[async_trait]
impl UnderStore for Withheld {
    fn id(&self) -> &StoreId {
        &self.id
    }
    async fn list(&self, request: ListRequest) -> StoreResult<ListPage> {
        self.store("list", &request.prefix.to_string()).await?.list(request).await
    }
    async fn head(&self, key: &str) -> StoreResult<ObjectMeta> {
        self.store("head", key).await?.head(key).await
    }
    async fn get(&self, key: &str, version: &Version, range: Range<u64>) -> StoreResult<GetStream> {
        self.store("get", key).await?.get(key, version, range).await
    }
}

/// The mount of a Dataset that waits. Dropped, what waits fails.
#[derive(Debug)]
pub(crate) struct Waiting {
    path: String,
    id: StoreId,
    reader: watch::Sender<Option<Store>>,
    background: watch::Sender<Option<Store>>,
}

impl Waiting {
    /// Lets what waits go on, with the stores of the same mount in `opened`.
    pub(crate) fn go_on(self, opened: &[Mount]) {
        if let Some(mount) = opened.iter().find(|mount| mount.path == self.path && *mount.reader.id() == self.id) {
            self.reader.send_replace(Some(mount.reader.clone()));
            self.background.send_replace(Some(mount.background.clone()));
        }
    }
}

/// Puts what cannot be asked in the place of a mount's stores. Whoever asks waits `until` then at most for [`Waiting::go_on`].
pub(crate) fn withhold(mount: &mut Mount, secret: &str, until: Instant) -> Waiting {
    let id = mount.reader.id().clone();
    let (reader, of_reader) = watch::channel(None);
    let (background, of_background) = watch::channel(None);
    let stand_in = |word| Arc::new(Withheld { id: id.clone(), secret: secret.to_owned(), word, until });
    mount.reader = stand_in(of_reader);
    mount.background = stand_in(of_background);
    Waiting { path: mount.path.clone(), id, reader, background }
}

/// Datasets of which the operator has not said a word since this agent started.
#[derive(Debug)]
pub(crate) struct Unheard {
    until: Instant,
    datasets: Mutex<BTreeMap<DatasetName, Vec<Waiting>>>,
}

impl Unheard {
    /// None yet, of an agent that starts now.
    pub(crate) fn new() -> Self {
        Self { until: Instant::now() + PATIENCE, datasets: Mutex::default() }
    }

    /// Until when to wait.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    fn datasets(&self) -> MutexGuard<'_, BTreeMap<DatasetName, Vec<Waiting>>> {
        self.datasets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operator's word of this Dataset is still to come.
    pub(crate) fn expect(&self, dataset: &DatasetName) {
        self.datasets().entry(dataset.clone()).or_default();
    }

    /// Keeps what waits, if the operator's word of the Dataset is still to come.
    pub(crate) fn keep(&self, dataset: &DatasetName, waiting: Vec<Waiting>) {
        if let Some(kept) = self.datasets().get_mut(dataset) {
            kept.extend(waiting);
        }
    }

    /// The operator has spoken of this Dataset: what waits of it.
    pub(crate) fn heard(&self, dataset: &DatasetName) -> Vec<Waiting> {
        self.datasets().remove(dataset).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use forebay_store::memory::MemoryStore;

    use super::*;

    fn mount(store: &Arc<MemoryStore>) -> Mount {
        let store: Store = store.clone();
        Mount { path: "/".into(), reader: store.clone(), background: store, for_peers: None, include: vec![], exclude: vec![] }
    }

    async fn head(mount: &Mount) -> Result<u64, StoreErrorKind> {
        mount.reader.head("key").await.map(|meta| meta.size).map_err(|error| error.kind)
    }

    #[tokio::test(start_paused = true)]
    async fn what_asks_before_the_secret_comes_waits_for_it() {
        let store = Arc::new(MemoryStore::new("bucket"));
        store.put("key", vec![0; 7]);
        let (unheard, name) = (Unheard::new(), DatasetName::new("ml", "set"));
        unheard.expect(&name);
        let mut withheld = mount(&store);
        unheard.keep(&name, vec![withhold(&mut withheld, "ml/keys", unheard.until())]);
        let asked = tokio::spawn(async move { head(&withheld).await });
        tokio::time::sleep(PATIENCE / 2).await;
        assert!(!asked.is_finished());
        for waiting in unheard.heard(&name) {
            waiting.go_on(&[mount(&store)]);
        }
        assert_eq!(asked.await.ok(), Some(Ok(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_secret_that_the_operator_does_not_have_or_of_which_it_says_nothing() {
        let store = Arc::new(MemoryStore::new("bucket"));
        let (unheard, name) = (Unheard::new(), DatasetName::new("ml", "set"));
        unheard.expect(&name);
        let (mut missing, mut away) = (mount(&store), mount(&store));
        unheard.keep(&name, vec![withhold(&mut missing, "ml/keys", unheard.until())]);
        drop(unheard.heard(&name));
        let before = Instant::now();
        assert_eq!(head(&missing).await, Err(StoreErrorKind::Denied));
        assert_eq!(Instant::now(), before);
        unheard.expect(&name);
        unheard.keep(&name, vec![withhold(&mut away, "ml/keys", unheard.until())]);
        assert_eq!(head(&away).await, Err(StoreErrorKind::Denied));
        assert_eq!(Instant::now(), unheard.until());
        unheard.heard(&name);
        let mut later = mount(&store);
        unheard.keep(&name, vec![withhold(&mut later, "ml/keys", Instant::now() + PATIENCE)]);
        let before = Instant::now();
        assert_eq!(head(&later).await, Err(StoreErrorKind::Denied), "the operator has spoken");
        assert_eq!(Instant::now(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn another_store_at_the_same_path_is_not_taken_for_the_one_that_waited() {
        let (store, other) = (Arc::new(MemoryStore::new("bucket")), Arc::new(MemoryStore::new("other")));
        let mut withheld = mount(&store);
        withhold(&mut withheld, "ml/keys", Instant::now() + PATIENCE).go_on(&[mount(&other)]);
        assert_eq!(head(&withheld).await, Err(StoreErrorKind::Denied));
    }
}
