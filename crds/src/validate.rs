//! All that is wrong with an object, each with its field, the problem and the remedy.

use std::fmt;
use std::sync::OnceLock;

use serde::Serialize;
use serde_json::{Value, json};

use crate::dataset::DatasetSpec;
use crate::rules::Ruled;
use crate::runtime::{CacheRuntimeSpec, Tier};
use crate::schema_check;

/// A field of an object, such as `spec.mounts[1].path`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldPath(Vec<Segment>);

/// One step of a [`FieldPath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// A key of an object.
    Key(String),
    /// An element of a list, from 0.
    Index(usize),
}

impl FieldPath {
    /// The field below `self` named `key`.
    pub fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    /// The element `index` of `self`.
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// The steps from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    /// `self` for an empty field, else the field below.
    fn field(&self, field: &str) -> Self {
        if field.is_empty() { self.clone() } else { self.key(field) }
    }

    pub(crate) fn below(&self, base: &FieldPath) -> Self {
        Self(base.0.iter().chain(&self.0).cloned().collect())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                // A key of the file's own choice: unusual characters are shown escaped, and a long one is cut.
                Segment::Key(key) if !key.chars().all(|c| c.is_alphanumeric() || "-_<".contains(c)) || key.len() > 80 => {
                    write!(f, "[{}]", crate::values::quoted(key))?;
                }
                Segment::Key(key) if i == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// Something wrong with one field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field.
    pub path: FieldPath,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether the name of the field is wrong, not its value: a position points at the name then.
    pub at_name: bool,
}

impl FieldError {
    pub(crate) fn new(path: FieldPath, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { path, problem: problem.into(), remedy: remedy.into(), at_name: false }
    }

    pub(crate) fn below(mut self, base: &FieldPath) -> Self {
        self.path = self.path.below(base);
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.problem, self.remedy)
    }
}

/// All that is wrong with a Dataset's spec by itself: what the schema refuses, then what the rules refuse. Fields are
/// named from the spec, such as `mounts[0].path`. Whether the runtime, its tiers and the Secrets exist is for the caller.
pub fn validate(spec: &DatasetSpec) -> Vec<FieldError> {
    let mut errors = by_schema("Dataset", spec);
    errors.extend(dataset_rules(spec));
    errors
}

/// As [`validate`], for a CacheRuntime's spec.
pub fn validate_runtime(spec: &CacheRuntimeSpec) -> Vec<FieldError> {
    let mut errors = by_schema("CacheRuntime", spec);
    errors.extend(runtime_rules(spec));
    errors
}

/// What an update of a CacheRuntime's spec changes that does not change.
pub fn validate_runtime_update(old: &CacheRuntimeSpec, new: &CacheRuntimeSpec) -> Vec<FieldError> {
    let tiers = FieldPath::default().key("tiers");
    let mut errors = Vec::new();
    for (i, tier) in new.tiers.iter().enumerate() {
        let Some(before) = old.tiers.iter().find(|old| old.name == tier.name) else { continue };
        for rule in Tier::TRANSITIONS.iter().filter(|rule| !(rule.holds)(before, tier)) {
            errors.push(FieldError::new(tiers.index(i).field(rule.field), rule.problem, rule.remedy));
        }
    }
    errors
}

/// The schema of `kind` as the API server has it, or `Null` for another kind. Like the API server's own it knows that
/// every object has `apiVersion`, `kind` and `metadata`; these are checked elsewhere.
pub(crate) fn schema_of(kind: &str) -> &'static Value {
    static SCHEMAS: OnceLock<Vec<(String, Value)>> = OnceLock::new();
    static NONE: Value = Value::Null;
    let schemas = SCHEMAS.get_or_init(|| {
        crate::codegen::crds()
            .into_iter()
            .map(|mut crd| {
                let kind = crd["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
                let mut schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
                for field in ["apiVersion", "kind", "metadata"] {
                    schema["properties"][field] = json!({});
                }
                (kind, schema)
            })
            .collect()
    });
    schemas.iter().find(|(known, _)| known == kind).map_or(&NONE, |(_, schema)| schema)
}

fn by_schema<T: Serialize>(kind: &str, spec: &T) -> Vec<FieldError> {
    let Ok(value) = serde_json::to_value(spec) else { return Vec::new() };
    schema_check::check(&schema_of(kind)["properties"]["spec"], &value, &FieldPath::default())
}

pub(crate) fn dataset_rules(spec: &DatasetSpec) -> Vec<FieldError> {
    // Taken apart without `..`: a new field has to be looked at here.
    let DatasetSpec {
        runtime: _,
        mounts,
        access: _,
        owner: _,
        consistency,
        prefetch,
        pin: _,
        ttl: _,
        placement,
        warm_before_scheduling: _,
        quota: _,
        allowed_namespaces: _,
    } = spec;
    let root = FieldPath::default();
    let mut errors = broken(spec, &root);
    let list = root.key("mounts");
    for (i, mount) in mounts.iter().enumerate() {
        let path = list.index(i);
        errors.extend(broken(mount, &path));
        let options = path.key("options");
        errors.extend(broken(&mount.options, &options));
        for (j, header) in mount.options.headers.iter().enumerate() {
            errors.extend(broken(header, &options.key("headers").index(j)));
        }
    }
    errors.extend(broken(consistency, &root.key("consistency")));
    errors.extend(broken(prefetch, &root.key("prefetch")));
    errors.extend(broken(placement, &root.key("placement")));
    errors
}

pub(crate) fn runtime_rules(spec: &CacheRuntimeSpec) -> Vec<FieldError> {
    let CacheRuntimeSpec { node_selector: _, tolerations: _, replicas: _, tiers, allowed_host_paths: _, warm_up, peers } = spec;
    let root = FieldPath::default();
    let mut errors = broken(spec, &root);
    for (i, tier) in tiers.iter().enumerate() {
        errors.extend(broken(tier, &root.key("tiers").index(i)));
    }
    errors.extend(broken(warm_up, &root.key("warmUp")));
    errors.extend(broken(peers, &root.key("peers")));
    errors
}

fn broken<T: Ruled>(value: &T, path: &FieldPath) -> Vec<FieldError> {
    T::RULES
        .iter()
        .filter(|rule| !(rule.holds)(value))
        .map(|rule| FieldError::new(path.field(rule.field), rule.problem, rule.remedy))
        .collect()
}
