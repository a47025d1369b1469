//! The Secrets that Datasets name, in memory, read again every so often (docs/adr/0006 says why not watched).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use forebay_crds::manifest::{Redacted, SecretData};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::dataset::secret_names;
use crate::stores::{Change, Stores};

/// Reads at a time.
const AT_ONCE: usize = 8;
/// How often it is looked for Secrets that are due.
const TICK: Duration = Duration::from_millis(500);
/// Time for one read.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a read that failed.
const RETRY: Duration = Duration::from_secs(2);

/// What is known of a Secret. `Debug` shows no value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SecretState {
    /// It could not be read yet.
    Unknown,
    /// It does not exist.
    Missing,
    /// The operator may not read it; the API server's words.
    Denied(String),
    /// Its entries.
    Found(Arc<SecretData>),
}

/// Why a Secret could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    Later(String),
}

/// Reads a Secret.
#[async_trait]
pub(crate) trait ReadSecret: Send + Sync + 'static {
    /// `None`: it does not exist.
    async fn read(&self, namespace: &str, name: &str) -> Result<Option<SecretData>, ReadError>;
}

#[async_trait]
impl ReadSecret for Client {
    async fn read(&self, namespace: &str, name: &str) -> Result<Option<SecretData>, ReadError> {
        let api: Api<Secret> = Api::namespaced(self.clone(), namespace);
        match api.get_opt(name).await {
            Ok(found) => Ok(found.map(|secret| {
                let entries = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, Redacted::new(value.0)));
                SecretData::new(namespace, name, entries.collect())
            })),
            Err(kube::Error::Api(status)) if status.code == 403 => Err(ReadError::Denied(status.message)),
            Err(error) => Err(ReadError::Later(error.to_string())),
        }
    }
}

type Key = (String, String);

#[derive(Debug)]
struct Entry {
    state: SecretState,
    due: Instant,
}

/// The Secrets that were read. Only a replica that leads has any.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    entries: Mutex<HashMap<Key, Entry>>,
}

impl Secrets {
    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What is known of a Secret.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> SecretState {
        let key = (namespace.to_owned(), name.to_owned());
        self.entries().get(&key).map_or(SecretState::Unknown, |entry| entry.state.clone())
    }

    /// Forgets what is not wanted; says what is to be read now.
    fn due(&self, wanted: &BTreeSet<Key>, now: Instant) -> Vec<Key> {
        let mut entries = self.entries();
        entries.retain(|key, _| wanted.contains(key));
        for key in wanted {
            entries.entry(key.clone()).or_insert(Entry { state: SecretState::Unknown, due: now });
        }
        entries.iter().filter(|(_, entry)| entry.due <= now).map(|(key, _)| key.clone()).collect()
    }

    /// Notes what was read. Whether it differs from what was known.
    fn note(&self, key: &Key, read: Result<Option<SecretData>, ReadError>, now: Instant, every: Duration) -> bool {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else { return false };
        let state = match read {
            Ok(Some(data)) => SecretState::Found(Arc::new(data)),
            Ok(None) => SecretState::Missing,
            Err(ReadError::Denied(message)) => SecretState::Denied(message),
            // What was read before is the best that is known.
            Err(ReadError::Later(error)) => {
                tracing::warn!(namespace = key.0, secret = key.1, error, "secret not read, it is tried again");
                entry.due = now + RETRY;
                return false;
            }
        };
        // Spread, so that Secrets that were named at once are not read at once for ever.
        entry.due = now + every.mul_f64(0.8 + 0.4 * fastrand::f64());
        let differs = entry.state != state;
        if differs {
            tracing::info!(namespace = key.0, secret = key.1, found = matches!(state, SecretState::Found(_)), "secret read anew");
            entry.state = state;
        }
        differs
    }
}

/// Keeps `secrets` as the API server has them, until `token` is cancelled. A change is announced as a change of each
/// Dataset that names the Secret.
pub(crate) async fn run(
    reader: Arc<dyn ReadSecret>,
    stores: Stores,
    secrets: Arc<Secrets>,
    every: Duration,
    token: CancellationToken,
) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = token.cancelled() => return,
        }
        let mut wanted: HashMap<Key, Vec<Change>> = HashMap::new();
        for dataset in stores.datasets.state() {
            let (namespace, name) = (dataset.namespace().unwrap_or_default(), dataset.name_any());
            for secret in secret_names(&dataset.spec) {
                let change = Change::Dataset { namespace: namespace.clone(), name: name.clone() };
                wanted.entry((namespace.clone(), secret.to_owned())).or_default().push(change);
            }
        }
        let due = secrets.due(&wanted.keys().cloned().collect(), Instant::now());
        let reads = futures::stream::iter(due).map(|key| {
            let reader = reader.clone();
            async move {
                let read = tokio::time::timeout(PATIENCE, reader.read(&key.0, &key.1)).await;
                (key, read.unwrap_or_else(|_| Err(ReadError::Later("no answer in time".into()))))
            }
        });
        let mut reads = reads.buffer_unordered(AT_ONCE);
        while let Some((key, read)) = tokio::select! {
            read = reads.next() => read,
            () = token.cancelled() => return,
        } {
            if secrets.note(&key, read, Instant::now(), every) {
                for change in wanted.get(&key).into_iter().flatten() {
                    stores.announce(change.clone());
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use super::*;

    fn data(value: &str) -> SecretData {
        SecretData::new("ml", "obs", [("key".to_owned(), Redacted::new(value))].into())
    }

    #[test]
    fn a_secret_is_read_when_named_again_later_and_forgotten_when_not() {
        let secrets = Secrets::default();
        let every = Duration::from_secs(10);
        let start = Instant::now();
        let key = ("ml".to_owned(), "obs".to_owned());
        let wanted = BTreeSet::from([key.clone()]);
        let all = [key.clone()];
        assert_eq!(secrets.due(&wanted, start), all);
        assert_eq!(secrets.get("ml", "obs"), SecretState::Unknown);
        assert!(secrets.note(&key, Ok(Some(data("one"))), start, every));
        assert!(secrets.due(&wanted, start + Duration::from_secs(7)).is_empty());
        let later = start + Duration::from_secs(13);
        assert_eq!(secrets.due(&wanted, later), all);
        assert!(!secrets.note(&key, Ok(Some(data("one"))), later, every), "the same");
        assert!(secrets.note(&key, Ok(Some(data("two"))), later, every), "rotated");
        assert!(!secrets.note(&key, Err(ReadError::Later("away".into())), later, every));
        assert_eq!(secrets.get("ml", "obs"), SecretState::Found(Arc::new(data("two"))), "the API server was away");
        assert!(secrets.note(&key, Ok(None), later, every));
        assert_eq!(secrets.get("ml", "obs"), SecretState::Missing);
        assert!(secrets.due(&BTreeSet::new(), later).is_empty());
        assert_eq!(secrets.get("ml", "obs"), SecretState::Unknown, "forgotten");
    }

    #[test]
    fn nothing_prints_a_value() {
        let secrets = Secrets::default();
        let key = ("ml".to_owned(), "obs".to_owned());
        secrets.due(&BTreeSet::from([key.clone()]), Instant::now());
        secrets.note(&key, Ok(Some(data("hunter2"))), Instant::now(), Duration::from_secs(1));
        let print = format!("{secrets:?} {:?}", secrets.get("ml", "obs"));
        assert!(print.contains("obs") && !print.contains("hunter2"), "{print}");
    }
}
