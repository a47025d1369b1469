//! DaemonSets whose CacheRuntime went without its finalizer's work, because somebody took the finalizer away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::{Api, ResourceExt as _};

use crate::context::Context;
use crate::ends::delete;
use crate::names;

const EVERY: Duration = Duration::from_secs(30);

/// Deletes them, until its future is dropped.
pub(crate) async fn orphans(context: Arc<Context>) {
    let sets: Api<DaemonSet> = Api::namespaced(context.client.clone(), &context.namespace);
    loop {
        tokio::time::sleep(EVERY).await;
        let runtimes = context.stores.runtimes.state().iter().map(|runtime| runtime.name_any()).collect();
        for set in context.stores.daemon_sets.state().iter().filter(|set| is_orphan(set, &runtimes)) {
            let name = set.name_any();
            match delete(&sets, &**set).await {
                Ok(()) => tracing::warn!(daemon_set = name, "deleted: its CacheRuntime is gone"),
                Err(error) => tracing::warn!(daemon_set = name, %error, "its CacheRuntime is gone, and it cannot be deleted yet"),
            }
        }
    }
}

fn is_orphan(set: &DaemonSet, runtimes: &BTreeSet<String>) -> bool {
    set.labels().get(names::RUNTIME).is_some_and(|runtime| !runtimes.contains(runtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_set_of_a_runtime_that_is_gone_is_an_orphan() {
        let mut set = DaemonSet::default();
        let runtimes = BTreeSet::from(["gpu".to_owned()]);
        assert!(!is_orphan(&set, &runtimes), "it says nothing of a runtime");
        set.metadata.labels = Some(names::agent_labels("gpu"));
        assert!(!is_orphan(&set, &runtimes));
        set.metadata.labels = Some(names::agent_labels("gone"));
        assert!(is_orphan(&set, &runtimes));
    }
}
