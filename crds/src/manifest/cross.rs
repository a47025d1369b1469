//! What the objects of a file say of each other.

use kube::ResourceExt;

use super::error::Problem;
use super::object::{Located, Object, locate, spec_field};
use super::secret::SecretData;
use crate::dataset::{Dataset, Mount};
use crate::runtime::CacheRuntime;
use crate::schema_check::nearest;
use crate::validate::{FieldError, FieldPath, Segment};
use crate::values::{SourceKind, quoted};

/// Adds to `problems` what is wrong between objects. What is named but missing counts only if the file was read
/// `whole`: the object that was refused may be the one.
pub(super) fn check(objects: &[Located], whole: bool, problems: &mut Vec<Problem>) {
    duplicates(objects, problems);
    if !whole {
        return;
    }
    let runtimes: Vec<&CacheRuntime> = objects
        .iter()
        .filter_map(|located| match &located.object {
            Object::CacheRuntime(runtime) => Some(runtime),
            _ => None,
        })
        .collect();
    let secrets: Vec<&SecretData> = objects
        .iter()
        .filter_map(|located| match &located.object {
            Object::Secret(secret) => Some(secret),
            _ => None,
        })
        .collect();
    for located in objects {
        let Object::Dataset(dataset) = &located.object else { continue };
        let object = title(&located.object);
        let mut errors = Vec::new();
        runtime(dataset, &runtimes, &mut errors);
        for (i, mount) in dataset.spec.mounts.iter().enumerate() {
            secret(dataset, i, mount, &secrets, &mut errors);
        }
        problems.extend(errors.into_iter().map(|error| locate(&located.node, &object, error)));
    }
}

fn duplicates(objects: &[Located], problems: &mut Vec<Problem>) {
    let mut seen = std::collections::HashMap::new();
    for located in objects {
        let (kind, namespace, name) = match &located.object {
            // The agent mounts each Dataset in a directory of its name, whatever its namespace.
            Object::Dataset(dataset) => ("Dataset", String::new(), dataset.name_any()),
            Object::CacheRuntime(runtime) => ("CacheRuntime", String::new(), runtime.name_any()),
            Object::Secret(secret) => ("Secret", secret.namespace.clone(), secret.name.clone()),
            Object::Other { .. } => continue,
        };
        let line = located.node.mark.line;
        if let Some(first) = seen.insert((kind, namespace, name.clone()), line) {
            let why = if kind == "Dataset" { ", and each is mounted in a directory of its name" } else { "" };
            let error = FieldError::new(
                FieldPath::default().key("metadata").key("name"),
                format!("there is a {kind} {} on line {first} already{why}", quoted(&name)),
                "give one of the two another name, or remove it",
            );
            problems.push(locate(&located.node, &title(&located.object), error));
        }
    }
}

fn runtime(dataset: &Dataset, runtimes: &[&CacheRuntime], errors: &mut Vec<FieldError>) {
    let wanted = dataset.spec.runtime.as_str();
    let names: Vec<String> = runtimes.iter().map(|runtime| runtime.name_any()).collect();
    let Some(runtime) = runtimes.iter().find(|runtime| runtime.name_any() == wanted) else {
        let remedy = match nearest(wanted, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None if names.is_empty() => {
                format!("add a document with kind: CacheRuntime and metadata: {{name: {wanted}}} to the file")
            }
            None => format!("name one of the file's CacheRuntimes: {}", names.join(", ")),
        };
        errors.push(FieldError::new(
            spec_field(&[Segment::Key("runtime".into())]),
            format!("the file has no CacheRuntime {}", quoted(wanted)),
            remedy,
        ));
        return;
    };
    let tiers: Vec<&str> = runtime.spec.tiers.iter().map(|tier| tier.name.as_str()).collect();
    if let Some(tier) = dataset.spec.prefetch.tier.as_ref().filter(|tier| !tiers.contains(&tier.as_str())) {
        errors.push(FieldError::new(
            spec_field(&[Segment::Key("prefetch".into()), Segment::Key("tier".into())]),
            format!("CacheRuntime {wanted} has no tier {}", quoted(tier)),
            format!("name one of its tiers: {}", tiers.join(", ")),
        ));
    }
}

fn secret(dataset: &Dataset, index: usize, mount: &Mount, secrets: &[&SecretData], errors: &mut Vec<FieldError>) {
    let Some(wanted) = &mount.secret_ref else { return };
    let namespace = dataset.namespace().unwrap_or_default();
    let path = spec_field(&[
        Segment::Key("mounts".into()),
        Segment::Index(index),
        Segment::Key("secretRef".into()),
        Segment::Key("name".into()),
    ]);
    let Some(secret) = secrets.iter().find(|s| s.name == *wanted.name && s.namespace == namespace) else {
        let elsewhere = secrets.iter().find(|s| s.name == *wanted.name);
        let remedy = match elsewhere {
            Some(other) => {
                format!("the one in namespace {} is not read: give the Secret the Dataset's namespace", other.namespace)
            }
            None => format!("add a Secret {} in namespace {namespace} to the file", wanted.name),
        };
        errors.push(FieldError::new(
            path,
            format!("the file has no Secret {} in namespace {namespace}", quoted(&wanted.name)),
            remedy,
        ));
        return;
    };
    let usable = match mount.source.kind() {
        SourceKind::S3 { .. } => secret.s3().err(),
        SourceKind::Http { .. } => secret.http().err(),
        SourceKind::File { .. } | SourceKind::Memory { .. } => None,
    };
    if let Some(error) = usable {
        let (problem, remedy) = error.parts();
        errors.push(FieldError::new(path, problem, remedy));
    }
}

fn title(object: &Object) -> String {
    match object {
        Object::Dataset(dataset) => format!("Dataset {}", dataset.name_any()),
        Object::CacheRuntime(runtime) => format!("CacheRuntime {}", runtime.name_any()),
        Object::Secret(secret) => format!("Secret {}", secret.name),
        Object::Other { kind, name, .. } => format!("{kind} {name}"),
    }
}
