use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

/// The objects that the chart makes.
#[derive(Debug)]
pub(super) struct Rendered {
    objects: Vec<Value>,
}

impl Rendered {
    pub(super) fn parse(text: &str) -> Self {
        let documents = serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
        Self { objects: documents.filter(|object| !object.is_null()).collect() }
    }

    /// `KIND/NAME` of each.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.objects.iter().map(name).collect()
    }

    pub(super) fn object(&self, kind: &str, wanted: &str) -> Value {
        let wanted = format!("{kind}/{wanted}");
        self.objects.iter().find(|object| name(object) == wanted).unwrap_or_else(|| panic!("there is no {wanted}")).clone()
    }

    /// Every container of every workload, with its name.
    pub(super) fn containers(&self) -> Vec<(String, &Value)> {
        let mut found = Vec::new();
        for object in &self.objects {
            for container in object["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten() {
                found.push((format!("{}/{}", name(object), container["name"].as_str().unwrap()), container));
            }
        }
        assert!(!found.is_empty());
        found
    }

    /// The ServiceAccounts to which a role of any kind is bound.
    pub(super) fn accounts_with_rules(&self) -> BTreeSet<String> {
        let bindings = self.objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("RoleBinding"));
        let subjects = bindings.flat_map(|binding| binding["subjects"].as_array().unwrap());
        subjects.map(|subject| subject["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Every rule with the role that it is of.
    pub(super) fn rules(&self) -> Vec<(String, &Value)> {
        let with_rules = self.objects.iter().filter_map(|object| Some((object, object["rules"].as_array()?)));
        with_rules.flat_map(|(object, rules)| rules.iter().map(|rule| (name(object), rule))).collect()
    }
}

fn name(object: &Value) -> String {
    format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
}
