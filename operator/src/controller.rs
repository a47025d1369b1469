//! What both controllers share: kube's reconciliation queue, fed from the caches that this replica keeps warm anyway.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{Stream, StreamExt as _};
use kube::Resource;
use kube::runtime::controller::{Action, Config, Error};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{applier, watcher};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::context::Context;
use crate::ssa;
use crate::stores::{Change, Stores};

/// Objects reconciled at a time.
const AT_ONCE: u16 = 8;
/// After a reconciliation that failed.
const RETRY: Duration = Duration::from_secs(5);

/// Why a reconciliation failed: the API server.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", ssa::words(source))]
pub(crate) struct Failed {
    pub(crate) what: &'static str,
    pub(crate) source: kube::Error,
}

type Reconcile<K> = fn(Arc<K>, Arc<Context>) -> BoxFuture<'static, Result<Action, Failed>>;

/// Reconciles every object once, and again whenever a change concerns it. Ends when dropped.
pub(crate) async fn run<K>(
    name: &'static str,
    context: Arc<Context>,
    store: Store<K>,
    concerned: fn(&Change, &Stores) -> Vec<ObjectRef<K>>,
    reconcile: Reconcile<K>,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Debug + Unpin,
{
    let queue = queue(context.stores.clone(), concerned);
    let retry = |_: Arc<K>, _: &Failed, _: Arc<Context>| Action::requeue(RETRY);
    let config = Config::default().concurrency(AT_ONCE);
    let done = applier(reconcile, retry, context.clone(), store, queue, config);
    let mut done = std::pin::pin!(done);
    while let Some(result) = done.next().await {
        match result {
            Ok(_) => context.metrics.reconciled(name, true),
            Err(Error::ReconcilerFailed(error, object)) => {
                context.metrics.reconciled(name, false);
                tracing::warn!(controller = name, object = %object, %error, "reconciliation failed, it is tried again");
            }
            // Deleted while it waited for its turn.
            Err(Error::ObjectNotFound(_)) => {}
            Err(error) => tracing::warn!(controller = name, %error, "reconciliation queue"),
        }
    }
}

fn queue<K>(
    stores: Stores,
    concerned: fn(&Change, &Stores) -> Vec<ObjectRef<K>>,
) -> impl Stream<Item = Result<ObjectRef<K>, watcher::Error>>
where
    K: Resource<DynamicType = ()> + 'static,
{
    let changes: broadcast::Receiver<Change> = stores.changes();
    let first = futures::stream::iter([Change::All]);
    let later = futures::stream::unfold(changes, |mut changes| async move {
        let change = match changes.recv().await {
            Ok(change) => change,
            Err(RecvError::Lagged(_)) => Change::All,
            Err(RecvError::Closed) => return None,
        };
        Some((change, changes))
    });
    first.chain(later).flat_map(move |change| futures::stream::iter(concerned(&change, &stores))).map(Ok)
}
