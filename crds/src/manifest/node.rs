use serde_json::{Map, Value};

use super::scalar::{Meaning, meaning};
use crate::schema_check::MOST;
use crate::validate::{FieldError, FieldPath, Segment};
use crate::values::quoted;

/// A position in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
}

/// A YAML value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) kind: NodeKind,
}

#[derive(Debug, Clone)]
pub(super) enum NodeKind {
    Scalar {
        text: String,
        /// Without quotes, so that it may be a number or a truth value.
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping, where it stands, and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) mark: Mark,
    pub(super) value: Node,
}

impl Node {
    /// The value of `key`, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            NodeKind::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The text of a scalar that is not empty and not null.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar { text, plain } if !*plain || meaning(text) != Meaning::Null => Some(text),
            _ => None,
        }
    }

    /// Whether this is an empty document or value.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar { text, plain: true } if meaning(text) == Meaning::Null)
    }

    /// Where `path` stands; where it does not exist, the nearest thing around it.
    pub(super) fn find(&self, path: &FieldPath, at_name: bool) -> Mark {
        let mut node = self;
        let mut mark = self.mark;
        for segment in path.segments() {
            match segment {
                Segment::Key(key) => match node.entry(key) {
                    Some(entry) => {
                        let empty = matches!(&entry.value.kind, NodeKind::Scalar { text, .. } if text.is_empty());
                        mark = if at_name || empty { entry.mark } else { entry.value.mark };
                        node = &entry.value;
                    }
                    None => return mark,
                },
                Segment::Index(index) => match &node.kind {
                    NodeKind::List(items) if *index < items.len() => {
                        node = &items[*index];
                        mark = node.mark;
                    }
                    _ => return mark,
                },
            }
        }
        mark
    }

    /// The value as JSON, as kubectl would send it. Entries that are null are left out: they say nothing. What kubectl
    /// and YAML 1.2 read differently is an error, for the same file would mean two things.
    pub(super) fn to_json(&self, path: &FieldPath, errors: &mut Vec<FieldError>) -> Value {
        match &self.kind {
            NodeKind::Scalar { text, plain: false } => Value::String(text.clone()),
            NodeKind::Scalar { text, plain: true } => match meaning(text) {
                Meaning::Null => Value::Null,
                Meaning::Bool(value) => Value::Bool(value),
                Meaning::Number(value) => Value::Number(value),
                Meaning::Text => Value::String(text.clone()),
                Meaning::Ambiguous(_) if errors.len() >= MOST => Value::Null,
                Meaning::Ambiguous(what) => {
                    errors.push(FieldError::new(
                        path.clone(),
                        format!("{} without quotes is read as {what} by kubectl and as a text by others", quoted(text)),
                        format!(
                            "put it in quotes if it is a text, else write {}",
                            if what == "a truth value" { "true or false" } else { "a decimal number without leading zeros" }
                        ),
                    ));
                    Value::String(text.clone())
                }
            },
            NodeKind::List(items) => {
                Value::Array(items.iter().enumerate().map(|(i, item)| item.to_json(&path.index(i), errors)).collect())
            }
            NodeKind::Map(entries) => {
                let mut map = Map::new();
                for entry in entries {
                    let value = entry.value.to_json(&path.key(&entry.key), errors);
                    if !value.is_null() {
                        map.insert(entry.key.clone(), value);
                    }
                }
                Value::Object(map)
            }
        }
    }
}
