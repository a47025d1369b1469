//! CacheRuntimeScales: which of them counts for a CacheRuntime, and what each is told.

use std::sync::Arc;
use std::time::Duration;

use forebay_crds::conditions::{reason, scale as kind};
use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::{CacheRuntime, CacheRuntimeScale, CacheRuntimeScaleStatus};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};

use crate::context::Context;
use crate::controller::{self, Failed};
use crate::pace::News;
use crate::stores::{Change, Stores};
use crate::verdict::{Verdict, conditions};
use crate::{names, ssa};

/// Without any change everything is looked at so often.
const IDLE: Duration = Duration::from_secs(300);

/// The one that says how many nodes of `runtime` lend space: of several the oldest, so that a second one changes nothing.
pub(crate) fn counts(scales: &[Arc<CacheRuntimeScale>], runtime: &str) -> Option<Arc<CacheRuntimeScale>> {
    let of_runtime = scales.iter().filter(|scale| *scale.spec.runtime == *runtime && scale.metadata.deletion_timestamp.is_none());
    of_runtime.min_by_key(|scale| (scale.metadata.creation_timestamp.clone(), scale.name_any())).cloned()
}

/// How many nodes of a CacheRuntime lend space at most, with the scale that counts for it.
pub(crate) fn replicas(runtime: &CacheRuntime, counting: Option<&CacheRuntimeScale>) -> Option<u32> {
    counting.map(|scale| scale.spec.replicas).or(runtime.spec.replicas)
}

/// `namespace/name`.
pub(crate) fn full_name(scale: &CacheRuntimeScale) -> String {
    format!("{}/{}", scale.namespace().unwrap_or_default(), scale.name_any())
}

fn report(
    scale: &CacheRuntimeScale,
    counting: Option<&CacheRuntimeScale>,
    runtime: Option<&CacheRuntime>,
    now: Timestamp,
) -> CacheRuntimeScaleStatus {
    let name = &*scale.spec.runtime;
    let before = scale.status.clone().unwrap_or_default();
    let other = counting.filter(|counting| counting.uid() != scale.uid());
    let verdict = match (runtime, other) {
        (None, _) => Verdict::bad(
            kind::IN_EFFECT,
            reason::RUNTIME_NOT_FOUND,
            format!("there is no CacheRuntime {name}: create it, or name one that `kubectl get cacheruntimes` shows"),
        ),
        (Some(_), Some(other)) => Verdict::bad(
            kind::IN_EFFECT,
            reason::SCALED_BY_ANOTHER,
            format!("CacheRuntime {name} goes by CacheRuntimeScale {}, which is older: delete one of the two", other.name_any()),
        ),
        (Some(_), None) => Verdict::good(kind::IN_EFFECT, format!("CacheRuntime {name} goes by it")),
    };
    let generation = scale.metadata.generation;
    CacheRuntimeScaleStatus {
        observed_generation: generation,
        conditions: conditions(&before.conditions, vec![verdict], generation, now),
        replicas: runtime.and_then(|runtime| Some(runtime.status.as_ref()?.replicas)).unwrap_or_default(),
        // Also while there is no runtime: an autoscaler complains about a scale without one, and not about what is really missing.
        selector: Some(names::runtime_selector(name)),
    }
}

/// Runs the controller until its future is dropped.
pub(crate) async fn run(context: Arc<Context>) {
    controller::run("cacheruntimescale", context.clone(), context.stores.scales.clone(), concerned, |scale, context| {
        Box::pin(reconcile(scale, context))
    })
    .await;
}

/// The CacheRuntimeScales that a change concerns.
fn concerned(change: &Change, stores: &Stores) -> Vec<ObjectRef<CacheRuntimeScale>> {
    let of = |runtime: Option<&String>| {
        let scales = stores.scales.state();
        let concerned = scales.iter().filter(|scale| runtime.is_none_or(|runtime| *scale.spec.runtime == **runtime));
        concerned.map(|scale| ObjectRef::from_obj(&**scale)).collect()
    };
    match change {
        Change::All => of(None),
        Change::Runtime(name) | Change::Scale(name) => of(Some(name)),
        Change::Agents(_) | Change::Health(_) | Change::Node | Change::Progress { .. } | Change::Dataset { .. } => vec![],
    }
}

async fn reconcile(scale: Arc<CacheRuntimeScale>, context: Arc<Context>) -> Result<Action, Failed> {
    if scale.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let stores = &context.stores;
    let counting = counts(&stores.scales.state(), &scale.spec.runtime);
    let runtime = stores.runtime(&scale.spec.runtime);
    let status = report(&scale, counting.as_deref(), runtime.as_deref(), Timestamp::now());
    let before = scale.status.clone().unwrap_or_default();
    if status != before {
        // Each is something that has turned: an autoscaler reckons with the number of agents.
        if let Some(wait) = context.writes.too_soon(&scale.uid().unwrap_or_default(), News::Turn) {
            return Ok(Action::requeue(wait));
        }
        let scales: Api<CacheRuntimeScale> = Api::namespaced(context.client.clone(), &context.namespace);
        let failed = |source| Failed { what: "write the status", source };
        ssa::write_status(&scales, &*scale, &status).await.map_err(failed)?;
        context.metrics.status_written();
        context.events.turned(&*scale, &before.conditions, &status.conditions).await;
    }
    Ok(Action::requeue(IDLE))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails tells where")]
mod tests {
    use serde_json::json;

    use super::*;

    fn scale(name: &str, runtime: &str, second: u8) -> Arc<CacheRuntimeScale> {
        let made = json!({
            "apiVersion": "forebay.io/v1alpha1", "kind": "CacheRuntimeScale",
            "metadata": {"name": name, "namespace": "forebay-system", "uid": format!("uid-{name}"), "generation": 2,
                         "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
            "spec": {"runtime": runtime, "replicas": second}
        });
        Arc::new(serde_json::from_value(made).unwrap())
    }

    fn runtime(replicas: u32) -> CacheRuntime {
        let made = json!({
            "apiVersion": "forebay.io/v1alpha1", "kind": "CacheRuntime", "metadata": {"name": "r"},
            "spec": {"tiers": [{"name": "ram", "medium": "Memory", "capacity": "1Gi"}]},
            "status": {"replicas": replicas}
        });
        serde_json::from_value(made).unwrap()
    }

    #[test]
    fn the_oldest_of_a_runtime_counts_until_it_is_deleted() {
        let (old, new) = (scale("z", "r", 1), scale("a", "r", 2));
        let other = scale("other", "s", 0);
        let all = [new.clone(), other, old.clone()];
        assert_eq!(counts(&all, "r").unwrap().name_any(), "z");
        assert_eq!(counts(&all, "s").unwrap().spec.replicas, 0);
        assert!(counts(&all, "t").is_none());
        let mut ending = (*old).clone();
        ending.metadata.deletion_timestamp = ending.metadata.creation_timestamp.clone();
        assert_eq!(counts(&[new, Arc::new(ending)], "r").unwrap().name_any(), "a");
        let twins = [scale("b", "r", 5), scale("a", "r", 5)];
        assert_eq!(counts(&twins, "r").unwrap().name_any(), "a", "made in the same second");
    }

    #[test]
    fn each_is_told_whether_it_counts_and_what_there_is() {
        let (old, new) = (scale("old", "r", 1), scale("new", "r", 2));
        let runtime = runtime(3);
        let said = |scale: &CacheRuntimeScale, counting, runtime| {
            let status = report(scale, counting, runtime, Timestamp::UNIX_EPOCH);
            let one = status.conditions[0].clone();
            (status.replicas, one.status, one.reason, one.message)
        };
        let (replicas, holds, reason, _) = said(&old, Some(&old), Some(&runtime));
        assert_eq!((replicas, &*holds, &*reason), (3, "True", "AsDesired"));
        let (replicas, holds, reason, message) = said(&new, Some(&old), Some(&runtime));
        assert_eq!((replicas, &*holds, &*reason), (3, "False", "ScaledByAnother"));
        assert!(message.contains("CacheRuntimeScale old"), "{message}");
        let (replicas, holds, reason, message) = said(&old, Some(&old), None);
        assert_eq!((replicas, &*holds, &*reason), (0, "False", "RuntimeNotFound"));
        assert!(message.contains("no CacheRuntime r"), "{message}");
        let status = report(&old, Some(&old), None, Timestamp::UNIX_EPOCH);
        assert_eq!(status.selector.unwrap(), "app.kubernetes.io/name=forebay-agent,forebay.io/runtime=r");
        assert_eq!(status.observed_generation, Some(2));
    }
}
