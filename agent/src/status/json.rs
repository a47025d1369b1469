use forebay_api::DatasetReport;
use forebay_crds::API_VERSION;
use forebay_crds::k8s::Time;
use forebay_crds::k8s::jiff::Timestamp;
use serde::Serialize;

/// The annotation that says where on this node a Dataset is mounted.
pub(crate) const MOUNTED_AT: &str = "forebay.io/mounted-at";

/// The annotation that says why complete files are not read natively, or not all.
pub(crate) const NOT_NATIVE: &str = "forebay.io/not-native";

/// What `kubectl get datasets -o json` prints, without the specs, which the agent's clients have themselves.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<Item<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    status: &'a forebay_crds::DatasetStatus,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_timestamp: Option<Time>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    annotations: serde_json::Map<String, serde_json::Value>,
}

/// The Datasets as a Kubernetes list, indented for people or on one line.
pub(crate) fn json(datasets: &[DatasetReport], indented: bool) -> serde_json::Result<String> {
    let items = datasets.iter().map(item).collect();
    let list = List { api_version: "v1", kind: "List", items };
    let mut text = if indented { serde_json::to_string_pretty(&list)? } else { serde_json::to_string(&list)? };
    text.push('\n');
    Ok(text)
}

fn item(dataset: &DatasetReport) -> Item<'_> {
    let mut annotations = serde_json::Map::new();
    if dataset.mounted {
        annotations.insert(MOUNTED_AT.into(), dataset.at.to_string_lossy().into());
    }
    if let Some(why) = &dataset.not_native {
        annotations.insert(NOT_NATIVE.into(), why.as_str().into());
    }
    Item {
        api_version: API_VERSION,
        kind: "Dataset",
        metadata: Metadata {
            namespace: &dataset.namespace,
            name: &dataset.name,
            creation_timestamp: Timestamp::try_from(dataset.since).ok().map(Time),
            annotations,
        },
        status: &dataset.status,
    }
}
