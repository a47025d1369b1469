//! What both controllers share: kube's reconciliation queue, fed from the caches that this replica keeps warm anyway.

use std::collections::HashSet;
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
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::sleep;

use crate::context::Context;
use crate::ssa;
use crate::stores::{Change, Stores};

/// Objects reconciled at a time.
const AT_ONCE: u16 = 8;
/// Changes within so long are looked at together: a thousand nodes that come are not a thousand looks at all nodes.
const TOGETHER: Duration = Duration::from_millis(50);
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
    K::DynamicType: Eq + Hash,
{
    let changes: broadcast::Receiver<Change> = stores.changes();
    let first = futures::stream::iter([HashSet::from([Change::All])]);
    let later = futures::stream::unfold(changes, |mut changes| async move {
        let mut together = HashSet::new();
        match changes.recv().await {
            Ok(change) => drop(together.insert(change)),
            Err(RecvError::Lagged(_)) => drop(together.insert(Change::All)),
            Err(RecvError::Closed) => return None,
        }
        sleep(TOGETHER).await;
        loop {
            match changes.try_recv() {
                Ok(change) => drop(together.insert(change)),
                Err(TryRecvError::Lagged(_)) => drop(together.insert(Change::All)),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Some((together, changes)),
            }
        }
    });
    let concerned = move |together: HashSet<Change>| {
        let objects: HashSet<ObjectRef<K>> = together.iter().flat_map(|change| concerned(change, &stores)).collect();
        futures::stream::iter(objects)
    };
    first.chain(later).flat_map(concerned).map(Ok)
}
