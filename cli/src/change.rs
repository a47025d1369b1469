//! What a command makes of a Dataset's spec: pure.

use anyhow::bail;
use forebay_crds::dataset::PrefetchPolicy;
use forebay_crds::values::TreePath;
use forebay_crds::{Dataset, DatasetSpec};
use serde_json::{Value, json};

/// Most paths that a list in the spec holds.
const MOST: usize = 256;

/// What is to be changed, and what that means.
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    /// A merge patch; `None`: it is so already.
    pub(crate) patch: Option<Value>,
    /// For people.
    pub(crate) words: String,
}

impl Change {
    fn nothing(words: String) -> Self {
        Self { patch: None, words }
    }
}

/// Fetch `paths` ahead, beside what is fetched ahead already.
pub(crate) fn prefetch(spec: &DatasetSpec, paths: &[TreePath]) -> anyhow::Result<Change> {
    let before = match spec.prefetch.policy {
        // Its paths are those that Eager would have.
        PrefetchPolicy::OnDemand => &[],
        PrefetchPolicy::Eager | PrefetchPolicy::OnFirstUse => &spec.prefetch.paths[..],
    };
    let after = with(before, paths);
    if after == before && spec.prefetch.policy != PrefetchPolicy::OnFirstUse {
        return Ok(Change::nothing(format!("spec.prefetch asks for {} already: nothing is changed", listed(paths))));
    }
    bounded("spec.prefetch.paths", &after)?;
    let patch = json!({"spec": {"prefetch": {"policy": "Eager", "paths": after}}});
    let words = format!("spec.prefetch: {} is fetched ahead, before it was {}", listed(&after), listed(before));
    Ok(Change { patch: Some(patch), words })
}

/// Fetch nothing ahead.
pub(crate) fn prefetch_nothing(spec: &DatasetSpec) -> Change {
    match spec.prefetch.policy {
        PrefetchPolicy::OnDemand => Change::nothing("spec.prefetch fetches nothing ahead: nothing is changed".to_owned()),
        PrefetchPolicy::Eager | PrefetchPolicy::OnFirstUse => Change {
            patch: Some(json!({"spec": {"prefetch": {"policy": "OnDemand"}}})),
            words: format!(
                "spec.prefetch: nothing is fetched ahead any more, before it was {}; what is cached stays until its space is needed",
                listed(&spec.prefetch.paths)
            ),
        },
    }
}

/// Pin `paths`, beside what is pinned already.
pub(crate) fn pin(spec: &DatasetSpec, paths: &[TreePath]) -> anyhow::Result<Change> {
    let before = &spec.pin.paths[..];
    let after = with(before, paths);
    if after == before {
        return Ok(Change::nothing(format!("{} is pinned already: nothing is changed", listed(paths))));
    }
    bounded("spec.pin.paths", &after)?;
    let words = format!("spec.pin: {} is fetched and kept, before it was {}", listed(&after), listed(before));
    Ok(Change { patch: Some(json!({"spec": {"pin": {"paths": after}}})), words })
}

/// Pin `paths` no longer.
pub(crate) fn unpin(spec: &DatasetSpec, paths: &[TreePath]) -> anyhow::Result<Change> {
    let before = &spec.pin.paths[..];
    for path in paths.iter().filter(|path| !before.contains(path)) {
        let Some(outer) = before.iter().find(|pinned| path.is_within(pinned)) else { continue };
        bail!(
            "{path} is pinned as a part of {outer}: remove {outer}, and pin those parts of it that are to stay",
            path = path.as_str(),
            outer = outer.as_str()
        );
    }
    let after: Vec<&TreePath> = before.iter().filter(|pinned| !paths.contains(pinned)).collect();
    if after.len() == before.len() {
        return Ok(Change::nothing(format!("{} is not pinned: nothing is changed", listed(paths))));
    }
    let left: Vec<TreePath> = after.iter().map(|path| (*path).clone()).collect();
    let words = format!(
        "spec.pin: {} is kept, before it was {}; what is no longer pinned stays until its space is needed",
        listed(&left),
        listed(before)
    );
    Ok(Change { patch: Some(json!({"spec": {"pin": {"paths": after}}})), words })
}

/// Those of `paths` that spec.prefetch fetches again when they are dropped; parts that are pinned are not dropped at all.
pub(crate) fn fetched_again(spec: &DatasetSpec, paths: &[TreePath]) -> Vec<TreePath> {
    let root = [TreePath::root()];
    let paths = if paths.is_empty() { &root[..] } else { paths };
    let ahead = match spec.prefetch.policy {
        PrefetchPolicy::OnDemand => &[],
        PrefetchPolicy::Eager | PrefetchPolicy::OnFirstUse => &spec.prefetch.paths[..],
    };
    let concerned = |path: &&TreePath| ahead.iter().any(|wanted| path.is_within(wanted) || wanted.is_within(path));
    paths.iter().filter(concerned).cloned().collect()
}

/// A hint for Datasets whose manifest is applied by somebody: what the manifest does not say is undone by its next apply.
pub(crate) fn kept_elsewhere(dataset: &Dataset) -> Option<String> {
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let fields = dataset.metadata.managed_fields.iter().flatten();
    let applied = fields.filter(|entry| entry.operation.as_deref() == Some("Apply") && entry.subresource.is_none());
    // The operator applies its finalizer, and nothing of the spec.
    let spec = |fields: &Value| fields.get("f:spec").is_some();
    let by_server = applied.filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| spec(&fields.0)));
    let server = by_server.filter_map(|entry| entry.manager.clone()).next();
    let client = dataset.metadata.annotations.iter().flatten().any(|(name, _)| name == LAST_APPLIED);
    let who = server.or_else(|| client.then(|| "kubectl apply".to_owned()))?;
    Some(format!("note: the Dataset's manifest is applied by {who}: change it there too, where it says the same field"))
}

/// `before` and those of `more` that it does not cover.
fn with(before: &[TreePath], more: &[TreePath]) -> Vec<TreePath> {
    let mut all = before.to_vec();
    for path in more {
        if !all.iter().any(|there| path.is_within(there)) {
            all.push(path.clone());
        }
    }
    all
}

fn bounded(field: &str, paths: &[TreePath]) -> anyhow::Result<()> {
    if paths.len() > MOST {
        bail!("{field} would have {} paths, of {MOST} at most: name a directory above them", paths.len());
    }
    Ok(())
}

/// The paths for a message.
pub(crate) fn listed(paths: &[TreePath]) -> String {
    match paths {
        [] => "nothing".to_owned(),
        paths => paths.iter().map(TreePath::as_str).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests;
