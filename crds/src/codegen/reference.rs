use serde_json::Value;

/// A page of Markdown about the fields of `crd`: what `kubectl explain --recursive` says, in one place.
pub(super) fn page(crd: &Value) -> String {
    let kind = crd["spec"]["names"]["kind"].as_str().unwrap_or_default();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut page = format!(
        "<!-- Generated from the types in crds/src by `cargo xtask codegen`. Do not edit. -->\n# {kind}\n\n{}\n\n`apiVersion: {}`\n",
        text(schema),
        crate::API_VERSION,
    );
    for part in ["spec", "status"] {
        page += &format!("\n## {part}\n\n| field | type | default | |\n|---|---|---|---|\n");
        rows(&schema["properties"][part], "", &mut page);
    }
    let mut rules = Vec::new();
    collect_rules(schema, &mut rules);
    page += "\n## Rules\n\nAn object that breaks one is refused with these words.\n\n";
    for rule in rules {
        page += &format!("- {rule}\n");
    }
    page
}

fn rows(schema: &Value, path: &str, page: &mut String) {
    let required = |name: &str| schema["required"].as_array().is_some_and(|fields| fields.iter().any(|field| field == name));
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let default = match field.get("default") {
            // The fields of an object have their own rows and defaults.
            Some(Value::Object(_)) => String::new(),
            Some(value) => format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            None if required(name) => "required".to_owned(),
            None => String::new(),
        };
        *page += &format!("| `{path}` | {} | {default} | {} |\n", kind_of(field), text(field).replace('|', "\\|"));
        rows(field, &path, page);
        rows(&field["items"], &format!("{path}[]"), page);
    }
}

fn kind_of(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        return values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    }
    if field["x-kubernetes-int-or-string"] == true {
        return "number or text".to_owned();
    }
    match field["type"].as_str() {
        Some("array") => format!("list of {}", kind_of(&field["items"])),
        Some("object") if field.get("additionalProperties").is_some() => "map".to_owned(),
        Some("string") => "text".to_owned(),
        Some(other) => other.to_owned(),
        None => "anything".to_owned(),
    }
}

fn text(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

fn collect_rules(schema: &Value, out: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            let rules = fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
            out.extend(rules.filter_map(|rule| rule["message"].as_str()).map(str::to_owned));
            fields.values().for_each(|value| collect_rules(value, out));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_rules(value, out)),
        _ => {}
    }
}
