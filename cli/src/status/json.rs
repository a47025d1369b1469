use forebay_crds::Dataset;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<Dataset>,
}

/// What `kubectl get datasets -o json` prints.
pub(super) fn json(mut items: Vec<Dataset>) -> serde_json::Result<String> {
    for item in &mut items {
        // As kubectl does: who wrote which field is half of an object, and hardly anybody's question.
        item.metadata.managed_fields = None;
    }
    let mut text = serde_json::to_string_pretty(&List { api_version: "v1", kind: "List", items })?;
    text.push('\n');
    Ok(text)
}
