//! Text to documents of positioned values, in bounded time and memory.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::error::Problem;
use super::node::{Entry, Mark, Node, NodeKind};
use crate::values::quoted;

/// Longest file, in bytes. etcd takes objects of 1.5 MiB.
pub(super) const MAX_BYTES: usize = 4 << 20;
/// Most values in a file, those that aliases repeat counted each time. It bounds time and memory whatever the text.
pub(super) const MAX_VALUES: usize = 200_000;
/// Deepest nesting. The API has eight levels.
pub(super) const MAX_DEPTH: usize = 64;

/// The documents of `text`. Empty ones are left out.
///
/// # Errors
/// The first place where the text is not YAML that this program reads.
pub(super) fn read(text: &str) -> Result<Vec<Node>, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    refuse_by_text(text)?;
    let mut reader = Reader::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax(text, mark(error.marker()), error.info()))?;
        reader.event(event, mark(&span.start))?;
    }
    Ok(reader.documents)
}

fn refuse_by_text(text: &str) -> Result<(), Problem> {
    if text.len() > MAX_BYTES {
        return Err(fault(
            Mark { line: 1, column: 1 },
            format!("the file has {} bytes", text.len()),
            format!("split it: at most {MAX_BYTES} bytes are read"),
        ));
    }
    let forbidden = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}');
    for (i, line) in text.split('\n').enumerate() {
        if let Some(column) = line.chars().position(forbidden) {
            let c = line.chars().nth(column).unwrap_or_default();
            return Err(fault(
                Mark { line: i + 1, column: column + 1 },
                format!("the file contains the control character U+{:04X}", u32::from(c)),
                "remove it; is this a text file?",
            ));
        }
    }
    Ok(())
}

fn mark(marker: &Marker) -> Mark {
    Mark { line: marker.line().max(1), column: marker.col() + 1 }
}

pub(super) fn fault(mark: Mark, problem: impl Into<String>, remedy: impl Into<String>) -> Problem {
    Problem {
        line: mark.line,
        column: mark.column,
        object: String::new(),
        field: String::new(),
        problem: problem.into(),
        remedy: remedy.into(),
    }
}

fn syntax(text: &str, mark: Mark, info: &str) -> Problem {
    // The parser notices some faults on the line after.
    let near = text.lines().skip(mark.line.saturating_sub(2)).take(2);
    let tab = near.clone().any(|line| line.trim_start_matches(' ').starts_with('\t'));
    let remedy = if tab {
        "indent with spaces: YAML takes no tabs there"
    } else {
        "check the indentation, the quotes and the brackets here and on the line before"
    };
    fault(mark, format!("this is not YAML: {info}"), remedy)
}

#[derive(Default)]
struct Reader {
    documents: Vec<Node>,
    /// The lists and mappings that are open, outermost first.
    open: Vec<Open>,
    /// What each anchor of the document stands for, and how many values that is.
    anchors: HashMap<usize, (Node, usize)>,
    values: usize,
}

struct Open {
    mark: Mark,
    anchor: usize,
    /// `values` when it was opened, for its size.
    before: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, keys: HashSet<String>, key: Option<(String, Mark)> },
}

impl Reader {
    fn event(&mut self, event: Event<'_>, mark: Mark) -> Result<(), Problem> {
        match event {
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err(fault(mark, "this alias stands inside its own anchor", "write the value out"));
                };
                self.count(size, mark)?;
                self.value(node, 0, size)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, mark)?;
                let plain = plain(style, tag.as_deref(), mark)?;
                self.value(Node { mark, kind: NodeKind::Scalar { text: text.into_owned(), plain } }, anchor, 1)?;
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "seq", mark)?;
                self.open(mark, anchor, OpenKind::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "map", mark)?;
                self.open(mark, anchor, OpenKind::Map { entries: Vec::new(), keys: HashSet::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn count(&mut self, values: usize, mark: Mark) -> Result<(), Problem> {
        self.values += values;
        if self.values <= MAX_VALUES {
            return Ok(());
        }
        Err(fault(
            mark,
            format!("the file has more than {MAX_VALUES} values, those that aliases repeat included"),
            "split it, or write out what aliases repeat",
        ))
    }

    fn open(&mut self, mark: Mark, anchor: usize, kind: OpenKind) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(fault(
                mark,
                format!("the nesting is deeper than {MAX_DEPTH} levels"),
                "no manifest needs that: check the indentation and the brackets",
            ));
        }
        // A list as a key would be open while no key is set.
        let before = self.values;
        self.count(1, mark)?;
        self.open.push(Open { mark, anchor, before, kind });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        // The parser closes only what it opened.
        let Some(Open { mark, anchor, before, kind }) = self.open.pop() else { return Ok(()) };
        let kind = match kind {
            OpenKind::List(items) => NodeKind::List(items),
            OpenKind::Map { entries, .. } => NodeKind::Map(entries),
        };
        self.value(Node { mark, kind }, anchor, self.values - before)
    }

    /// Puts a complete value where it belongs.
    fn value(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), Problem> {
        if anchor != 0 {
            // What an anchor keeps is counted like what an alias repeats.
            self.count(size, node.mark)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None if node.is_null() => {}
            None => self.documents.push(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map { entries, keys, key }) => match key.take() {
                Some((key, mark)) => entries.push(Entry { key, mark, value: node }),
                None => {
                    let mark = node.mark;
                    let NodeKind::Scalar { text, .. } = node.kind else {
                        return Err(fault(
                            mark,
                            "a list or an object stands where a field's name is wanted",
                            "write name: value",
                        ));
                    };
                    if !keys.insert(text.clone()) {
                        let first = entries.iter().find(|entry| entry.key == text).map_or(mark, |entry| entry.mark);
                        return Err(fault(
                            mark,
                            format!("{} stands here a second time; the first is on line {}", quoted(&text), first.line),
                            "remove one of the two",
                        ));
                    }
                    *key = Some((text, mark));
                }
            },
        }
        Ok(())
    }
}

/// Whether a scalar is plain, that is, may be something other than a text.
fn plain(style: ScalarStyle, tag: Option<&Tag>, mark: Mark) -> Result<bool, Problem> {
    match tag {
        None => Ok(style == ScalarStyle::Plain),
        Some(tag) if is_core(tag) && tag.suffix == "str" => Ok(false),
        Some(tag) if is_core(tag) && matches!(tag.suffix.as_str(), "int" | "bool" | "null" | "float") => Ok(true),
        Some(_) => refuse_tag(tag, "str", mark).map(|()| false),
    }
}

fn is_core(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() || tag.handle == "!!"
}

fn refuse_tag(tag: Option<&Tag>, wanted: &str, mark: Mark) -> Result<(), Problem> {
    match tag {
        None => Ok(()),
        Some(tag) if is_core(tag) && tag.suffix == wanted => Ok(()),
        Some(tag) => Err(fault(
            mark,
            format!("the tag {} means nothing in a manifest", quoted(&format!("{}{}", tag.handle, tag.suffix))),
            "remove the tag; put a text that begins with '!' in quotes",
        )),
    }
}
