use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::identity::Identity;

/// Credentials are asked for anew this long before they end, as the SDK does.
const BEFORE_END: Duration = Duration::from_secs(10);
/// How long credentials without an end are used before they are asked for again.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// A provider that has not answered within this has failed.
const LOAD: Duration = Duration::from_secs(5);

/// A provider's credentials, asked for once for all who need them, and again shortly before they end.
#[derive(Clone)]
pub(super) struct Identities(Arc<Inner>);

struct Inner {
    provider: SharedCredentialsProvider,
    kept: RwLock<Option<Kept>>,
    /// Held by the one who asks the provider.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Kept {
    credentials: aws_credential_types::Credentials,
    identity: Identity,
    until: SystemTime,
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identities").field(&self.0.provider).finish()
    }
}

impl Identities {
    pub(super) fn new(provider: SharedCredentialsProvider) -> Self {
        Self(Arc::new(Inner { provider, kept: RwLock::default(), asking: tokio::sync::Mutex::default() }))
    }

    /// Whom to sign as now.
    pub(super) async fn identity(&self) -> Result<Identity, CredentialsError> {
        Ok(self.current().await?.identity)
    }

    async fn current(&self) -> Result<Kept, CredentialsError> {
        if let Some(kept) = self.kept() {
            return Ok(kept);
        }
        let _asking = self.0.asking.lock().await;
        if let Some(kept) = self.kept() {
            return Ok(kept);
        }
        let loaded = tokio::time::timeout(LOAD, self.0.provider.provide_credentials()).await;
        let credentials = loaded.map_err(|_| CredentialsError::provider_timed_out(LOAD))??;
        let until = credentials.expiry().map_or_else(|| SystemTime::now() + LIFE, |end| end - BEFORE_END);
        let kept = Kept { identity: credentials.clone().into(), credentials, until };
        *self.0.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(kept.clone());
        Ok(kept)
    }

    fn kept(&self) -> Option<Kept> {
        let kept = self.0.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|kept| SystemTime::now() < kept.until).cloned()
    }
}

impl ProvideCredentials for Identities {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move { provider::Result::Ok(self.current().await?.credentials) })
    }
}

#[cfg(test)]
mod tests;
