//! Checks a value against a structural schema as the API server does under strict field validation, with messages
//! that say what to do. It knows the keywords that this crate's schemas use; a test compares the two lists.

use serde_json::{Map, Value};

use crate::validate::{FieldError, FieldPath};
use crate::values::{check as check_text, quoted};

mod nearest;

pub(crate) use nearest::nearest;

/// Most faults of one value that are looked for. A hostile value has as many as it has parts.
pub(crate) const MOST: usize = 200;

/// What in `value` `schema` refuses, at most about [`MOST`] faults. Fields are named below `path`.
pub(crate) fn check(schema: &Value, value: &Value, path: &FieldPath) -> Vec<FieldError> {
    let mut errors = Vec::new();
    any(schema, value, path, &mut errors);
    errors
}

fn any(schema: &Value, value: &Value, path: &FieldPath, out: &mut Vec<FieldError>) {
    if out.len() >= MOST {
        return;
    }
    if schema["x-kubernetes-int-or-string"] == true {
        match value {
            Value::Number(number) if number.is_i64() => bounds(schema, value, path, out),
            Value::Number(number) if number.is_u64() => {
                out.push(FieldError::new(path.clone(), format!("{number} is too large"), "write less than 2^63, which is 8Ei"));
            }
            Value::String(text) => string(schema, text, path, out),
            _ => out.push(mismatch("a whole number or a text", schema, value, path)),
        }
        return;
    }
    match (schema["type"].as_str(), value) {
        (Some("object"), Value::Object(map)) => object(schema, map, path, out),
        (Some("array"), Value::Array(items)) => array(schema, items, path, out),
        (Some("string"), Value::String(text)) => string(schema, text, path, out),
        (Some("boolean"), Value::Bool(_)) => {}
        (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => bounds(schema, value, path, out),
        (Some("number"), Value::Number(_)) => bounds(schema, value, path, out),
        (Some(wanted), _) => out.push(mismatch(name_of(wanted), schema, value, path)),
        // A schema without a type takes anything.
        (None, _) => {}
    }
}

fn object(schema: &Value, map: &Map<String, Value>, path: &FieldPath, out: &mut Vec<FieldError>) {
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        for (key, value) in map {
            any(values, value, &path.key(key), out);
        }
        return;
    }
    let none = Map::new();
    let known = schema["properties"].as_object().unwrap_or(&none);
    for (key, value) in map {
        match known.get(key) {
            Some(field) => any(field, value, &path.key(key), out),
            None if schema["x-kubernetes-preserve-unknown-fields"] == true || known.is_empty() => {}
            None if out.len() >= MOST => return,
            None => out.push(unknown(key, known, path)),
        }
    }
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(key) {
            let about = known.get(key).and_then(|field| field["description"].as_str()).unwrap_or_default();
            let about = about.split(". ").next().unwrap_or_default().trim_end_matches('.');
            out.push(FieldError::new(path.key(key), "it is missing or empty", format!("add it ({about})")));
        }
    }
}

fn unknown(key: &str, known: &Map<String, Value>, path: &FieldPath) -> FieldError {
    let names = || known.keys().map(String::as_str);
    let inside = known.iter().find(|(_, field)| field["properties"].get(key).is_some());
    let remedy = if key == "<<" {
        "write the fields out: merge keys are not read".to_owned()
    } else if let Some((outer, _)) = inside {
        format!("it belongs under {outer}: write {outer}: {{{key}: ...}}")
    } else if let Some(near) = nearest(key, names()) {
        format!("did you mean {near}?")
    } else if let Some((outer, near)) = known.iter().find_map(|(outer, field)| {
        let inner = field["properties"].as_object()?;
        nearest(key, inner.keys().map(String::as_str)).map(|near| (outer, near))
    }) {
        format!("did you mean {near}, under {outer}?")
    } else {
        format!("remove it; the fields here are {}", names().collect::<Vec<_>>().join(", "))
    };
    FieldError { at_name: true, ..FieldError::new(path.key(key), "there is no such field", remedy) }
}

fn array(schema: &Value, items: &[Value], path: &FieldPath, out: &mut Vec<FieldError>) {
    let count = items.len() as u64;
    if let Some(least) = schema["minItems"].as_u64().filter(|least| count < *least) {
        out.push(FieldError::new(path.clone(), format!("the list has {count} entries"), format!("give it at least {least}")));
    }
    if let Some(most) = schema["maxItems"].as_u64().filter(|most| count > *most) {
        out.push(FieldError::new(path.clone(), format!("the list has {count} entries"), format!("give it at most {most}")));
        // A list that is refused for its length is not gone through as well.
        return;
    }
    for (i, item) in items.iter().enumerate() {
        any(&schema["items"], item, &path.index(i), out);
    }
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => unique(items, |item| Some(item.clone()), "", path, out),
        Some("map") => {
            for key in schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                unique(items, |item| item.get(key).cloned(), key, path, out);
            }
        }
        _ => {}
    }
}

fn unique(items: &[Value], key: impl Fn(&Value) -> Option<Value>, field: &str, path: &FieldPath, out: &mut Vec<FieldError>) {
    for (i, item) in items.iter().enumerate() {
        let Some(value) = key(item) else { continue };
        if let Some(first) = items[..i].iter().position(|other| key(other).as_ref() == Some(&value)) {
            let at = path.index(i);
            let at = if field.is_empty() { at } else { at.key(field) };
            let shown = value.as_str().map_or_else(|| value.to_string(), quoted);
            out.push(FieldError::new(
                at,
                format!("{shown} stands in entry {first} already"),
                if field.is_empty() {
                    "remove one of the two".to_owned()
                } else {
                    format!("give each entry a {field} of its own")
                },
            ));
        }
    }
}

fn string(schema: &Value, text: &str, path: &FieldPath, out: &mut Vec<FieldError>) {
    if let Some(values) = schema["enum"].as_array() {
        if !values.iter().any(|value| value == text) {
            let names: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            let remedy = match nearest(text, names.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("write one of {}", names.join(", ")),
            };
            let problem = format!("{} is not one of {}", quoted(text), names.join(", "));
            out.push(FieldError::new(path.clone(), problem, remedy));
        }
        return;
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        // The parser of the type knows its length as well, and says what is wrong.
        if let Some(Err(error)) = check_text(pattern, text) {
            out.push(FieldError::new(path.clone(), error.problem(), error.remedy()));
        }
        return;
    }
    if text.contains('\0') {
        out.push(FieldError::new(path.clone(), format!("{} contains a NUL character", quoted(text)), "remove it"));
    }
    let length = text.chars().count() as u64;
    if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
        out.push(FieldError::new(path.clone(), format!("it has {length} characters"), format!("write at most {most}")));
    }
    if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
        out.push(FieldError::new(path.clone(), format!("it has {length} characters"), format!("write at least {least}")));
    }
}

fn bounds(schema: &Value, value: &Value, path: &FieldPath, out: &mut Vec<FieldError>) {
    // Bounds are small integers and exact as floats; a value near 2^63 is not exact but far from every bound.
    let Some(number) = value.as_f64() else { return };
    let bound = |name: &str| schema[name].as_f64();
    let (least, most) = (bound("minimum"), bound("maximum"));
    if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
        let remedy = match (least, most) {
            (Some(least), Some(most)) => format!("write a number from {least} to {most}"),
            (Some(least), None) => format!("write a number of at least {least}"),
            (None, Some(most)) => format!("write a number of at most {most}"),
            (None, None) => return,
        };
        let problem = if number < 0.0 { format!("{value} is negative") } else { format!("{value} is out of range") };
        out.push(FieldError::new(path.clone(), problem, remedy));
    }
}

fn mismatch(wanted: &str, schema: &Value, value: &Value, path: &FieldPath) -> FieldError {
    let found = match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the truth value {value}"),
        Value::Number(value) => format!("the number {value}"),
        Value::String(text) => format!("the text {}", quoted(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    // Quotes help only if the text is then one that the field takes.
    let as_text = schema["pattern"].as_str().and_then(|pattern| check_text(pattern, &value.to_string()));
    let remedy = match (wanted, value) {
        ("a text", Value::Bool(_) | Value::Number(_)) => match as_text {
            Some(Err(error)) => error.remedy().to_owned(),
            _ => "put it in quotes".to_owned(),
        },
        ("a whole number or a text", Value::Number(_)) => "write a whole number, or a quantity such as 1.5Gi".to_owned(),
        ("a list", Value::Object(_)) => "begin each entry with '- '".to_owned(),
        ("a list", Value::String(text)) => format!("write [{}]", quoted(text)),
        ("an object", Value::String(text)) if schema["required"].as_array().is_some_and(|required| required.len() == 1) => {
            format!("write {{{}: {text}}}", schema["required"][0].as_str().unwrap_or_default(), text = shown(text))
        }
        ("an object", _) => "write its fields below it, indented".to_owned(),
        _ => format!("write {wanted}"),
    };
    FieldError::new(path.clone(), format!("{wanted} is wanted, but {found} was found"), remedy)
}

/// `text` for a remedy: as it was if it is short and plain, else in quotes.
fn shown(text: &str) -> String {
    let plain = text.len() <= 40 && text.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    if plain { text.to_owned() } else { quoted(text) }
}

fn name_of(schema_type: &str) -> &'static str {
    match schema_type {
        "object" => "an object",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    }
}
