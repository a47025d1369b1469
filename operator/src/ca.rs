//! The certificate authority in the cluster: a Secret that is made once, and a ConfigMap that agents mount.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::agents::authority::Authority;
use crate::{names, ssa};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// How often it is looked whether the ConfigMap is as it is to be.
const AGAIN: Duration = Duration::from_secs(60);

/// Reads the authority, or makes it. Of replicas that make it at once the first wins.
pub(crate) async fn load_or_make(client: &Client, namespace: &str, name: &str) -> anyhow::Result<Authority> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let what = || format!("Secret {name} in namespace {namespace}");
    let found = secrets.get_opt(name).await.with_context(|| format!("read {}", what()))?;
    if let Some(secret) = found.as_ref().filter(|secret| secret.data.as_ref().is_some_and(|data| !data.is_empty())) {
        return parse(secret).with_context(what);
    }
    let made = Authority::generate()?;
    let pem = |text: &str| ByteString(text.as_bytes().to_vec());
    let data =
        BTreeMap::from([(CERTIFICATE.to_owned(), pem(made.certificate_pem())), (KEY.to_owned(), pem(made.expose_key_pem()))]);
    let written = match found {
        // The chart's, empty, so that it goes with the release. Written under the version that was read.
        Some(empty) => secrets.replace(name, &PostParams::default(), &Secret { data: Some(data), ..empty }).await,
        None => {
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(BTreeMap::from([(names::MANAGED_BY.to_owned(), names::FIELD_MANAGER.to_owned())])),
                ..ObjectMeta::default()
            };
            let secret = Secret { metadata, data: Some(data), ..Secret::default() };
            secrets.create(&PostParams::default(), &secret).await
        }
    };
    match written {
        Ok(_) => {
            tracing::info!(secret = name, "certificate authority made");
            Ok(made)
        }
        Err(kube::Error::Api(status)) if status.code == 409 => {
            parse(&secrets.get(name).await.with_context(|| format!("read {}", what()))?).with_context(what)
        }
        Err(error) => Err(error).with_context(|| format!("make {}", what())),
    }
}

fn parse(secret: &Secret) -> anyhow::Result<Authority> {
    let text = |key: &str| {
        let value = secret.data.as_ref().and_then(|data| data.get(key)).with_context(|| format!("it has no key {key}"))?;
        std::str::from_utf8(&value.0).with_context(|| format!("its key {key} is not text"))
    };
    Ok(Authority::from_pem(text(CERTIFICATE)?, text(KEY)?)?)
}

/// Keeps the certificate where agents mount it, until `token` is cancelled. `uid` gets the ConfigMap's once it is there.
pub(crate) async fn publish(
    client: Client,
    namespace: String,
    name: String,
    certificate_pem: String,
    uid: oneshot::Sender<String>,
    token: CancellationToken,
) {
    let mut uid = Some(uid);
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([("ca.crt".to_owned(), certificate_pem)])),
        ..ConfigMap::default()
    };
    loop {
        let published = async {
            let actual = maps.get_opt(&name).await?;
            ssa::apply(&maps, map.clone(), actual.as_ref()).await
        };
        let pause = match published.await {
            Ok(map) => {
                if let (Some(there), Some(uid)) = (map.uid(), uid.take()) {
                    // Nobody listens any more when the replica leads no more.
                    let _ = uid.send(there);
                }
                AGAIN
            }
            Err(error) => {
                tracing::warn!(config_map = name, %error, "the authority's certificate was not published, it is tried again");
                Duration::from_secs(2)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = token.cancelled() => return,
        }
    }
}
