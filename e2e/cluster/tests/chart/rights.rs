use std::collections::BTreeSet;

use serde_json::Value;

use super::{render, root};

/// One thing that may be done: group, resource, the object's name or nothing, verb.
type Right = (String, String, String, String);

/// The rights that a table of docs/operations/rbac.md states below a heading.
fn documented(heading: &str) -> BTreeSet<Right> {
    let text = std::fs::read_to_string(root().join("docs/operations/rbac.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).expect("no such heading");
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let rights = rows.flat_map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [group, resources, verbs, why] = cells[..] else { panic!("four cells in {row}") };
        assert!(why.len() > 10, "{row}");
        let (resources, name) = resources.split_once(", named ").unwrap_or((resources, ""));
        product(group.trim_matches('"'), resources.split(", "), name.trim_matches('`'), verbs.split(", "))
    });
    rights.collect()
}

/// The rights that the operator's role of this kind gives.
fn given(kind: &str) -> BTreeSet<Right> {
    let role = render("{}").unwrap().object(kind, "forebay-operator");
    let words = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let rights = role["rules"].as_array().unwrap().iter().flat_map(|rule| {
        let names = words(&rule["resourceNames"]);
        let (resources, verbs) = (words(&rule["resources"]), words(&rule["verbs"]));
        product(
            rule["apiGroups"][0].as_str().unwrap(),
            resources.iter().map(String::as_str),
            &names.join(","),
            verbs.iter().map(String::as_str),
        )
    });
    rights.collect()
}

fn product<'a>(
    group: &str,
    resources: impl Iterator<Item = &'a str>,
    name: &str,
    verbs: impl Iterator<Item = &'a str> + Clone,
) -> Vec<Right> {
    let pairs = resources.flat_map(|resource| verbs.clone().map(move |verb| (resource, verb)));
    pairs.map(|(resource, verb)| (group.to_owned(), resource.to_owned(), name.to_owned(), verb.to_owned())).collect()
}

#[test]
fn the_operator_may_do_what_is_written_down_and_no_more() {
    for (heading, kind) in [("In the whole cluster", "ClusterRole"), ("In its own namespace", "Role")] {
        let (written, given) = (documented(heading), given(kind));
        assert!(written.len() > 5, "{heading}: {written:?}");
        assert_eq!(written.difference(&given).collect::<Vec<_>>(), Vec::<&Right>::new(), "{heading}: written down, not given");
        assert_eq!(given.difference(&written).collect::<Vec<_>>(), Vec::<&Right>::new(), "{heading}: given, not written down");
    }
}
