use anyhow::{Context as _, anyhow};
use forebay_crds::Dataset;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};

use crate::cli::Target;

/// Names that an error repeats.
const NAMED: usize = 10;

/// The cluster that is asked, and the namespace meant.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Cluster {
    /// Reads the kubeconfig; nothing is asked yet.
    pub(crate) async fn connect(target: &Target) -> anyhow::Result<Self> {
        let Target { namespace, context, kubeconfig } = target;
        let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
        let config = match (kubeconfig, context) {
            (Some(path), _) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
            (None, Some(_)) => Config::from_kubeconfig(&options).await?,
            // In a pod there is a token instead of a kubeconfig.
            (None, None) => Config::infer().await.context("no kubeconfig: set KUBECONFIG or use --kubeconfig")?,
        };
        let namespace = namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        Ok(Self { client: Client::try_from(config)?, namespace })
    }

    /// The Datasets of the namespace.
    pub(crate) fn datasets(&self) -> Api<Dataset> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A Dataset of the namespace. Where there is none, the error says which there are.
    pub(crate) async fn dataset(&self, name: &str) -> anyhow::Result<Dataset> {
        let datasets = self.datasets();
        if let Some(found) = datasets.get_opt(name).await.map_err(told)? {
            return Ok(found);
        }
        let there = datasets.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        let names: Vec<String> = there.iter().map(|dataset| dataset.name_any()).collect();
        Err(anyhow!("{}", unknown(&self.namespace, name, &names)))
    }
}

fn unknown(namespace: &str, name: &str, there: &[String]) -> String {
    let named = there.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let others = match there.len() {
        0 => "there are none in it, see `kubectl forebay status -A`".to_owned(),
        all if all > NAMED => format!("there are {named} and {} more", all - NAMED),
        _ => format!("there is {named}"),
    };
    format!("there is no Dataset {name} in namespace {namespace}: {others}")
}

/// An error in the API server's own words, where it has spoken.
pub(crate) fn told(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if status.code == 404 && status.message.starts_with("404 page") => not_installed(),
        kube::Error::Api(status) => anyhow!("{}", status.message),
        error => anyhow::Error::new(error).context("the API server cannot be asked"),
    }
}

fn not_installed() -> anyhow::Error {
    anyhow!("this cluster knows no Datasets: install Forebay's chart, or choose another cluster with --context")
}

/// Whether the user may not do that.
pub(crate) fn is_denied(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_mistypes_a_name_is_told_the_names_there_are() {
        let names = |count: usize| (0..count).map(|n| format!("set-{n}")).collect::<Vec<_>>();
        let message = |count| unknown("ml", "imagnet", &names(count));
        assert!(message(0).ends_with("there are none in it, see `kubectl forebay status -A`"));
        assert_eq!(message(2), "there is no Dataset imagnet in namespace ml: there is set-0, set-1");
        assert!(message(12).ends_with("set-9 and 2 more"));
    }
}
