//! From the manifest's mounts to open stores.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use forebay_crds::dataset::{Addressing, Dataset as DatasetObject, Mount as Wanted};
use forebay_crds::manifest::{HttpCredentials, Manifests, Redacted, SecretData};
use forebay_crds::values::{Glob, SourceKind};
use forebay_dataset::Mount;
use forebay_store::StoreConfig;
use forebay_store::http::{HttpAuth, HttpConfig};
use forebay_store::local::LocalConfig;
use forebay_store::policy::{Limits, Priority};
use forebay_store::s3::{self, S3Config, S3Credentials};

/// Opens the stores of all mounts of `dataset`. Talks to none of them.
pub(crate) fn open(dataset: &DatasetObject, manifests: &Manifests) -> anyhow::Result<Vec<Mount>> {
    let one = |wanted: &Wanted| {
        let secret = wanted.secret_ref.as_ref().and_then(|name| manifests.secret_of(dataset, name));
        mount(wanted, secret).with_context(|| format!("mount {}", wanted.path.as_str()))
    };
    dataset.spec.mounts.iter().map(one).collect()
}

fn mount(wanted: &Wanted, secret: Option<&SecretData>) -> anyhow::Result<Mount> {
    let opened = forebay_store::open(config(wanted, secret)?, limits(wanted))?;
    let store = opened.store();
    let globs = |globs: &[Glob]| globs.iter().map(|glob| glob.as_str().to_owned()).collect();
    Ok(Mount {
        path: wanted.path.as_str().to_owned(),
        background: Arc::new(store.with_priority(Priority::Prefetch)),
        reader: Arc::new(store.clone()),
        for_peers: None,
        include: globs(&wanted.include),
        exclude: globs(&wanted.exclude),
    })
}

fn config(wanted: &Wanted, secret: Option<&SecretData>) -> anyhow::Result<StoreConfig> {
    Ok(match wanted.source.kind() {
        SourceKind::S3 { bucket, prefix } => StoreConfig::S3(s3_config(bucket, prefix, wanted, secret)?),
        SourceKind::File { path } => StoreConfig::Local(LocalConfig::new(path)),
        SourceKind::Http { base } => StoreConfig::Http(http_config(base, wanted, secret)?),
        SourceKind::Memory { name } => bail!("source mem://{name}: a store in memory is for tests; name a real one"),
    })
}

fn http_config(base: &str, wanted: &Wanted, secret: Option<&SecretData>) -> anyhow::Result<HttpConfig> {
    let options = &wanted.options;
    let mut config = HttpConfig::new(base);
    config.index = options.index.as_ref().map(|index| format!("{base}{}", index.as_str()));
    config.headers =
        options.headers.iter().map(|header| (header.name.as_str().to_owned(), header.value.as_str().to_owned())).collect();
    config.auth = match secret.map(SecretData::http).transpose()? {
        None => HttpAuth::None,
        Some(HttpCredentials::Basic { username, password }) => {
            HttpAuth::Basic { user: text(&username), password: text(&password) }
        }
        Some(HttpCredentials::Bearer(token)) => HttpAuth::Bearer { token: text(&token) },
    };
    Ok(config)
}

/// A secret's value on its way to the store.
fn text(value: &Redacted) -> String {
    value.expose_text().unwrap_or_default().to_owned()
}

fn s3_config(bucket: &str, prefix: &str, wanted: &Wanted, secret: Option<&SecretData>) -> anyhow::Result<S3Config> {
    let options = &wanted.options;
    let mut config = S3Config::new(bucket);
    prefix.clone_into(&mut config.prefix);
    config.endpoint = options.endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned());
    config.region = options.region.as_ref().map(|region| region.as_str().to_owned());
    config.addressing = match options.addressing {
        None => s3::Addressing::Auto,
        Some(Addressing::Path) => s3::Addressing::Path,
        Some(Addressing::Virtual) => s3::Addressing::Virtual,
    };
    config.credentials = match secret {
        _ if options.anonymous => S3Credentials::Anonymous,
        Some(secret) => from_secret(secret)?,
        None => match &options.credentials_file {
            Some(path) => S3Credentials::File {
                path: path.as_path().to_owned(),
                profile: options.profile.as_ref().map(|profile| profile.as_str().to_owned()),
            },
            None => S3Credentials::Default,
        },
    };
    Ok(config)
}

fn from_secret(secret: &SecretData) -> anyhow::Result<S3Credentials> {
    let found = secret.s3()?;
    Ok(S3Credentials::Static {
        access_key_id: text(&found.access_key_id),
        secret_access_key: text(&found.secret_access_key),
        session_token: found.session_token.as_ref().map(text),
    })
}

fn limits(wanted: &Wanted) -> Limits {
    let options = &wanted.options;
    let usual = Limits::default();
    let timeout: Duration = options.request_timeout.duration();
    let concurrency = usize::try_from(options.concurrency).unwrap_or(usize::MAX);
    Limits {
        request_timeout: timeout,
        progress_timeout: timeout,
        concurrency,
        // A quarter of the requests is kept for readers, so that prefetch never makes one wait.
        reserved_for_readers: concurrency / 4,
        bandwidth: options.bandwidth.as_ref().map(forebay_crds::values::ByteSize::bytes),
        retries: options.retries,
        ..usual
    }
}
