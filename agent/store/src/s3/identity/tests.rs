#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU64, Ordering};

use aws_credential_types::Credentials;

use super::*;

/// Gives keys `1`, `2`, ... that end after `life`; fails while `failing`.
#[derive(Debug)]
struct Counting {
    asked: AtomicU64,
    life: Option<Duration>,
    failing: std::sync::atomic::AtomicBool,
}

#[derive(Clone, Debug)]
struct Provider(Arc<Counting>);

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            tokio::task::yield_now().await;
            let number = self.0.asked.fetch_add(1, Ordering::Relaxed) + 1;
            if self.0.failing.load(Ordering::Relaxed) {
                return Err(CredentialsError::provider_error("no keys today"));
            }
            let end = self.0.life.map(|life| SystemTime::now() + life);
            Ok(Credentials::new(number.to_string(), "secret", None, end, "test"))
        })
    }
}

fn identities(life: Option<Duration>) -> (Identities, Arc<Counting>) {
    let counting = Arc::new(Counting { asked: AtomicU64::new(0), life, failing: false.into() });
    (Identities::new(SharedCredentialsProvider::new(Provider(counting.clone()))), counting)
}

async fn key(identities: &Identities) -> String {
    identities.identity().await.unwrap().data::<Credentials>().unwrap().access_key_id().to_owned()
}

#[tokio::test]
async fn credentials_are_asked_for_once_while_they_hold() {
    for life in [None, Some(Duration::from_secs(3600))] {
        let (identities, counting) = identities(life);
        let keys = futures::future::join_all((0..10).map(|_| key(&identities))).await;
        assert!(keys.iter().all(|key| key == "1"), "{keys:?}");
        assert_eq!(counting.asked.load(Ordering::Relaxed), 1);
        // The SDK's client gets the same.
        assert_eq!(identities.provide_credentials().await.unwrap().access_key_id(), "1");
    }
}

#[tokio::test]
async fn credentials_are_asked_for_anew_before_they_end() {
    let (identities, counting) = identities(Some(BEFORE_END / 2));
    assert_eq!(key(&identities).await, "1");
    assert_eq!(key(&identities).await, "2");
    counting.failing.store(true, Ordering::Relaxed);
    assert!(identities.identity().await.is_err());
    counting.failing.store(false, Ordering::Relaxed);
    assert_eq!(key(&identities).await, "4");
}
