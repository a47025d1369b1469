//! The authority's certificate in the webhook's configuration, without which the API server believes nobody.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{names, ssa};

/// How often it is looked whether it is as it is to be: an upgrade of the chart may have taken it away.
const AGAIN: Duration = Duration::from_secs(60);

/// Keeps the certificate there, until `token` is cancelled. The configuration itself is the chart's.
pub(crate) async fn keep(client: Client, name: String, certificate_pem: String, token: CancellationToken) {
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client);
    let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    loop {
        let kept = async {
            let found = configurations.get(&name).await?;
            match missing(&found, &certificate_pem) {
                Some(patch) => configurations.patch(&name, &params, &Patch::Strategic(patch)).await.map(|_| true),
                None => Ok(false),
            }
        };
        let pause = match kept.await {
            Ok(true) => {
                tracing::info!(configuration = name, "the webhook has the authority's certificate");
                AGAIN
            }
            Ok(false) => AGAIN,
            Err(error) => {
                let error = ssa::words(&error);
                tracing::warn!(configuration = name, error, "the webhook was not given the certificate, it is tried again");
                AGAIN / 12
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = token.cancelled() => return,
        }
    }
}

/// The patch that sets the certificate; `None`: it is there.
fn missing(configuration: &MutatingWebhookConfiguration, certificate_pem: &str) -> Option<Value> {
    let bundle = ByteString(certificate_pem.as_bytes().to_vec());
    let without = |webhook: &&k8s_openapi::api::admissionregistration::v1::MutatingWebhook| {
        webhook.client_config.ca_bundle.as_ref() != Some(&bundle)
    };
    // The list is merged by name.
    let webhooks: Vec<Value> = configuration
        .webhooks
        .iter()
        .flatten()
        .filter(without)
        .map(|webhook| json!({"name": webhook.name, "clientConfig": {"caBundle": bundle}}))
        .collect();
    (!webhooks.is_empty()).then(|| json!({"webhooks": webhooks}))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_written_where_it_is_not_and_nowhere_else() {
        let webhook = |name: &str, bundle: Option<&str>| {
            let mut webhook = json!({"name": name, "clientConfig": {}, "sideEffects": "None", "admissionReviewVersions": ["v1"]});
            if let Some(bundle) = bundle {
                webhook["clientConfig"]["caBundle"] = json!(ByteString(bundle.as_bytes().to_vec()));
            }
            webhook
        };
        let of = |webhooks: Value| -> Option<Value> {
            missing(&serde_json::from_value(json!({"metadata": {"name": "w"}, "webhooks": webhooks})).unwrap(), "PEM")
        };
        let written = |name: &str| json!({"name": name, "clientConfig": {"caBundle": "UEVN"}});
        assert_eq!(of(json!([webhook("a", None)])), Some(json!({"webhooks": [written("a")]})));
        let two = json!([webhook("a", Some("PEM")), webhook("b", Some("old"))]);
        assert_eq!(of(two), Some(json!({"webhooks": [written("b")]})));
        assert_eq!(of(json!([webhook("a", Some("PEM"))])), None);
        assert_eq!(of(json!([])), None);
    }
}
