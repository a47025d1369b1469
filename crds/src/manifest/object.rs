//! One document to one object.

use std::sync::OnceLock;

use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::Problem;
use super::node::{Mark, Node};
use super::reader::fault;
use super::secret::{self, SecretData};
use crate::codegen::NAME_LENGTH;
use crate::schema_check::{self, MOST, nearest};
use crate::validate::{self, FieldError, FieldPath, Segment};
use crate::values::quoted;
use crate::{API_VERSION, CacheRuntime, Dataset, GROUP};

/// What a document turned out to be.
pub(super) enum Object {
    Dataset(Dataset),
    CacheRuntime(CacheRuntime),
    Secret(SecretData),
    /// Valid, but nothing that this program reads.
    Other {
        api_version: String,
        kind: String,
        name: String,
    },
}

/// An object and the document that it came from.
pub(super) struct Located {
    pub(super) object: Object,
    pub(super) node: Node,
}

/// Namespace of an object that names none, as kubectl has it.
const DEFAULT_NAMESPACE: &str = "default";

/// Reads `node` as an object, or says all that is wrong with it.
pub(super) fn read(node: Node) -> Result<Located, Vec<Problem>> {
    let text = |key: &str| node.get(key).and_then(Node::text).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if let Some(problem) = wrong_kind(&node, &api_version, &kind) {
        return Err(vec![problem]);
    }
    let name = node.get("metadata").and_then(|m| m.get("name")).and_then(Node::text).unwrap_or_default().to_owned();
    let mut errors = Vec::new();
    let object = match kind.as_str() {
        "Dataset" => typed::<Dataset>(&node, "Dataset", &mut errors).map(|mut dataset| {
            let namespace = dataset.metadata.namespace.take().filter(|n| !n.is_empty());
            dataset.metadata.namespace = Some(namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()));
            dataset.status = None;
            below_spec(validate::dataset_rules(&dataset.spec), &mut errors);
            Object::Dataset(dataset)
        }),
        "CacheRuntime" => typed::<CacheRuntime>(&node, "CacheRuntime", &mut errors).map(|mut runtime| {
            runtime.status = None;
            below_spec(validate::runtime_rules(&runtime.spec), &mut errors);
            Object::CacheRuntime(runtime)
        }),
        "Secret" => {
            metadata(&node, "Secret", &mut errors);
            let namespace = node.get("metadata").and_then(|m| m.get("namespace")).and_then(Node::text);
            let entries = secret::entries(&node, &mut errors);
            Some(Object::Secret(SecretData::new(namespace.unwrap_or(DEFAULT_NAMESPACE), &name, entries)))
        }
        _ => Some(Object::Other { api_version, kind: kind.clone(), name: name.clone() }),
    };
    match object {
        Some(object) if errors.is_empty() => Ok(Located { object, node }),
        _ => {
            let object = if name.is_empty() { kind } else { format!("{kind} {}", quoted(&name).trim_matches('"')) };
            Err(errors.into_iter().take(MOST).map(|error| locate(&node, &object, error)).collect())
        }
    }
}

/// `error` with the position of its field in `node`.
pub(super) fn locate(node: &Node, object: &str, error: FieldError) -> Problem {
    let Mark { line, column } = node.find(&error.path, error.at_name);
    let FieldError { path, problem, remedy, at_name: _ } = error;
    Problem { line, column, object: object.to_owned(), field: path.to_string(), problem, remedy }
}

fn below_spec(found: Vec<FieldError>, errors: &mut Vec<FieldError>) {
    let spec = FieldPath::default().key("spec");
    errors.extend(found.into_iter().map(|error| error.below(&spec)));
}

fn wrong_kind(node: &Node, api_version: &str, kind: &str) -> Option<Problem> {
    let problem = |field: &str, problem: String, remedy: String| {
        let mark = node.find(&FieldPath::default().key(field), false);
        Some(Problem { field: field.to_owned(), ..fault(mark, problem, remedy) })
    };
    if !matches!(node.kind, super::node::NodeKind::Map(_)) {
        return Some(fault(
            node.mark,
            "this document is not an object",
            format!("begin it with apiVersion: {API_VERSION} and kind: Dataset; separate documents by ---"),
        ));
    }
    let ours = ["Dataset", "CacheRuntime"];
    if kind.is_empty() {
        return problem(
            "kind",
            "it is missing or empty".into(),
            "write kind: Dataset, kind: CacheRuntime or kind: Secret".into(),
        );
    }
    let remedy = |kind: &str| match kind {
        "Secret" => "write apiVersion: v1".to_owned(),
        _ => format!("write apiVersion: {API_VERSION}"),
    };
    if api_version.is_empty() {
        return problem("apiVersion", "it is missing or empty".into(), remedy(kind));
    }
    let group = api_version.split('/').next().unwrap_or_default();
    let wanted = if kind == "Secret" { "v1" } else { API_VERSION };
    if (ours.contains(&kind) || kind == "Secret") && api_version != wanted {
        return problem("apiVersion", format!("{} is not an apiVersion of {kind}", quoted(api_version)), remedy(kind));
    }
    if ours.contains(&kind) || kind == "Secret" {
        return None;
    }
    let meant = nearest(kind, ours.into_iter().chain(["Secret"]));
    match meant {
        Some(meant) => problem("kind", format!("{} is not a kind", quoted(kind)), format!("did you mean {meant}?")),
        None if group == GROUP => {
            problem("kind", format!("{GROUP} has no kind {}", quoted(kind)), "write kind: Dataset or kind: CacheRuntime".into())
        }
        None => None,
    }
}

/// Reads a Dataset or CacheRuntime: schema first, for it says everything at once and with its place; the type then.
fn typed<T: DeserializeOwned + Resource>(node: &Node, kind: &str, errors: &mut Vec<FieldError>) -> Option<T> {
    metadata(node, kind, errors);
    let root = FieldPath::default();
    let mut value = node.to_json(&root, errors);
    if let Some(fields) = value.as_object_mut() {
        // What a cluster wrote into a saved object says nothing about what it is to be.
        fields.remove("status");
    }
    // A scalar that can be read in two ways has been spoken of; that one of them has the wrong type says nothing more.
    let known: Vec<FieldPath> = errors.iter().map(|error| error.path.clone()).take(MOST).collect();
    let by_schema = schema_check::check(validate::schema_of(kind), &value, &root);
    errors.extend(by_schema.into_iter().filter(|error| !known.contains(&error.path)));
    if !errors.is_empty() {
        return None;
    }
    match serde_path_to_error::deserialize(value) {
        Ok(object) => Some(object),
        Err(error) => {
            // The schema lets through only what the types read; a gap between them still ends as an error with a place.
            let path = error.path().iter().fold(root, |path, step| match step {
                serde_path_to_error::Segment::Seq { index } => path.index(*index),
                serde_path_to_error::Segment::Map { key } => path.key(key),
                _ => path,
            });
            errors.push(FieldError::new(path, error.inner().to_string(), "write a value of the field's type"));
            None
        }
    }
}

/// Checks `metadata`, of which a CustomResourceDefinition's schema says nothing.
fn metadata(node: &Node, kind: &str, errors: &mut Vec<FieldError>) {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    let schema = SCHEMA.get_or_init(metadata_schema);
    let path = FieldPath::default().key("metadata");
    let Some(node) = node.get("metadata").filter(|node| !node.is_null()) else {
        errors.push(FieldError::new(
            path.key("name"),
            "it is missing or empty",
            format!("write metadata: {{name: ...}} to name the {kind}"),
        ));
        return;
    };
    // Faults of scalars are found again when the whole document is read; a Secret's metadata is not read again.
    let mut scalars = Vec::new();
    let value = node.to_json(&path, &mut scalars);
    if kind == "Secret" {
        errors.append(&mut scalars);
    }
    errors.extend(schema_check::check(schema, &value, &path));
    let name = value["name"].as_str().unwrap_or_default();
    if kind != "Secret" && name.len() > NAME_LENGTH {
        errors.push(FieldError::new(
            path.key("name"),
            format!("the name has {} characters and would not fit a label", name.len()),
            format!("use a name of at most {NAME_LENGTH}"),
        ));
    }
    if kind == "CacheRuntime" && value.get("namespace").is_some() {
        errors.push(FieldError {
            at_name: true,
            ..FieldError::new(path.key("namespace"), "a CacheRuntime belongs to the cluster and has no namespace", "remove it")
        });
    }
}

fn metadata_schema() -> Value {
    use crate::values::{DnsLabel, DnsName};
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let mut generator = schemars::SchemaGenerator::default();
    let mut schema = json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": <DnsName as schemars::JsonSchema>::json_schema(&mut generator),
            "namespace": <DnsLabel as schemars::JsonSchema>::json_schema(&mut generator),
            "labels": texts,
            "annotations": texts,
        }
    });
    // What a cluster adds to a saved object.
    for key in [
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    ] {
        schema["properties"][key] = json!({});
    }
    schema
}

/// The steps of `spec.<field>` for cross checks.
pub(super) fn spec_field(fields: &[Segment]) -> FieldPath {
    fields.iter().fold(FieldPath::default().key("spec"), |path, step| match step {
        Segment::Key(key) => path.key(key),
        Segment::Index(index) => path.index(*index),
    })
}
