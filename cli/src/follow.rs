use std::sync::Arc;

use anyhow::bail;
use forebay_crds::Dataset;
use futures::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector;
use kube::runtime::watcher::{self, Error, Event, watcher};
use kube::{Api, ResourceExt as _};

use crate::cluster::{is_denied, told};

/// Shows `look` all Datasets, or the one of that name, now and whenever one changes, in order of namespace and name, until it says that it
/// has seen enough. A connection that breaks is made again.
pub(crate) async fn follow<T>(
    api: Api<Dataset>,
    name: Option<&str>,
    mut look: impl FnMut(&[Arc<Dataset>]) -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let all = watcher::Config::default();
    let config = match name {
        Some(name) => all.fields(&format!("metadata.name={name}")),
        None => all,
    };
    let (store, writer) = reflector::store();
    let mut events = std::pin::pin!(watcher(api, config).default_backoff().reflect(writer));
    let mut begun = false;
    while let Some(event) = events.next().await {
        match event {
            // The store has all of them at the end of the list, not before.
            Ok(Event::Init | Event::InitApply(_)) => continue,
            Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_)) => begun = true,
            Err(error) if !begun || is_final(&error) => return Err(words(error)),
            Err(_) => continue,
        }
        let mut datasets = store.state();
        datasets.sort_by_key(|dataset| (dataset.namespace(), dataset.name_any()));
        if let Some(seen) = look(&datasets)? {
            return Ok(seen);
        }
    }
    bail!("the API server tells of no more changes")
}

/// Whether asking again would bring nothing else.
fn is_final(error: &Error) -> bool {
    match error {
        Error::InitialListFailed(error) | Error::WatchStartFailed(error) | Error::WatchFailed(error) => is_denied(error),
        Error::WatchError(_) | Error::NoResourceVersion => false,
    }
}

fn words(error: Error) -> anyhow::Error {
    match error {
        Error::InitialListFailed(error) | Error::WatchStartFailed(error) | Error::WatchFailed(error) => told(error),
        other => anyhow::Error::new(other),
    }
    .context("watch Datasets")
}
