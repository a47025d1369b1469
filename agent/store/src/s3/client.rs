use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};

use super::identity::Identities;
use super::{S3Config, S3Credentials};

/// A connection that is not there within this is reported as unreachable, whatever the request's own limit.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a credentials file is trusted before it is read again.
const FILE_LIFE: Duration = Duration::from_secs(60);

pub(super) fn http_client(ca_pem: Option<&[u8]>) -> Result<SharedHttpClient, String> {
    let builder = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    let Some(pem) = ca_pem else { return Ok(builder.build_https()) };
    if !pem.windows(11).any(|window| window == b"-----BEGIN ") {
        return Err("ca: no PEM certificate in it".to_owned());
    }
    let trust = TrustStore::default().with_pem_certificate(pem);
    let context = TlsContext::builder().with_trust_store(trust).build().map_err(|error| format!("ca: {error}"))?;
    Ok(builder.tls_context(context).build_https())
}

/// Everything but the credentials.
pub(super) fn base(config: &S3Config, http: SharedHttpClient) -> Builder {
    let mut builder = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .region(Region::new(config.region()))
        .force_path_style(config.path_style())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    builder.set_endpoint_url(config.endpoint_url());
    builder
}

/// A client for these credentials. Each has an identity cache of its own, so old credentials cannot linger in it.
pub(super) fn with_identities(base: &Builder, identities: Option<&Identities>) -> Client {
    let builder = base.clone();
    let builder = match identities {
        None => builder.allow_no_auth(),
        Some(identities) => builder.credentials_provider(identities.clone()),
    };
    Client::from_conf(builder.build())
}

/// Whom requests are signed as; `None` if they are not.
pub(super) fn identities(http: &SharedHttpClient, credentials: &S3Credentials) -> Option<Identities> {
    let provider = match credentials {
        S3Credentials::Anonymous => return None,
        S3Credentials::Static { access_key_id, secret_access_key, session_token } => {
            let keys = Credentials::new(access_key_id, secret_access_key, session_token.clone(), None, "forebay");
            SharedCredentialsProvider::new(keys)
        }
        S3Credentials::Environment => SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()),
        S3Credentials::File { path, profile } => {
            let profile = profile.clone().unwrap_or("default".to_owned());
            SharedCredentialsProvider::new(File { path: path.clone(), profile, http: http.clone() })
        }
        S3Credentials::Default => SharedCredentialsProvider::new(Chain(http.clone())),
    };
    Some(Identities::new(provider))
}

/// The SDK's default chain; building it is asynchronous, so it happens when first asked.
#[derive(Debug)]
struct Chain(SharedHttpClient);

impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            let config = ProviderConfig::default().with_http_client(self.0.clone());
            let chain = DefaultCredentialsChain::builder().configure(config).build().await;
            chain.provide_credentials().await
        })
    }
}

/// A profile of a credentials file, with a life of a minute, after which the SDK asks again.
#[derive(Debug)]
struct File {
    path: PathBuf,
    profile: String,
    http: SharedHttpClient,
}

impl File {
    async fn load(&self) -> provider::Result {
        // Without this the SDK takes an unreadable file for an empty one.
        if let Err(error) = tokio::fs::metadata(&self.path).await {
            let text = format!("credentials file {}: {error}", self.path.display());
            return Err(provider::error::CredentialsError::provider_error(text));
        }
        let files = EnvConfigFiles::builder().with_file(EnvConfigFileKind::Credentials, &self.path).build();
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&ProviderConfig::default().with_http_client(self.http.clone()))
            .profile_files(files)
            .profile_name(&self.profile)
            .build();
        let mut credentials = provider.provide_credentials().await?;
        let life = SystemTime::now() + FILE_LIFE;
        let expiry = credentials.expiry_mut();
        *expiry = Some(expiry.map_or(life, |expiry| expiry.min(life)));
        Ok(credentials)
    }
}

impl ProvideCredentials for File {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

#[cfg(test)]
mod tests;
