//! Whatever the text, reading it takes bounded time and memory, and never panics.
//!
//! Time is not measured: a parser that follows these texts without bound does not come back at all.

use std::fmt::Write as _;

use forebay_crds::manifest::{parse, parse_bytes};
use proptest::prelude::*;

fn refusal(text: &str) -> String {
    let error = parse(text, "f").expect_err("a hostile text is refused");
    assert!(error.problems.len() <= 50);
    let shown = error.to_string();
    assert!(shown.len() < 64 << 10, "{} bytes of message", shown.len());
    shown
}

/// Nine lists of nine aliases each: a billion values if followed.
#[test]
fn aliases_of_aliases() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..10 {
        let aliases = vec![format!("*a{}", i - 1); 9].join(", ");
        writeln!(text, "a{i}: &a{i} [{aliases}]").unwrap();
    }
    assert!(refusal(&text).contains("more than 200000 values, those that aliases repeat included"));
}

/// The same where a field of the API would take the list.
#[test]
fn one_big_anchor_and_many_aliases() {
    let list = vec!["x"; 1000].join(",");
    let aliases = vec!["*a"; 1000].join(",");
    let text = format!("kind: Dataset\nx: &a [{list}]\ny: [{aliases}]\n");
    assert!(refusal(&text).contains("more than 200000 values"));
}

#[test]
fn nested_anchors() {
    // Each level keeps a copy of all below it.
    let text = format!("{}x{}", "&a [".repeat(60), "]".repeat(60));
    let text: String =
        text.split("&a").enumerate().map(|(i, part)| if i == 0 { part.to_owned() } else { format!("&a{i}{part}") }).collect();
    refusal(&text);
}

#[test]
fn nesting() {
    for text in [
        "[".repeat(1_000_000),
        "{".repeat(1_000_000),
        "- ".repeat(500_000),
        "? ".repeat(100_000),
        format!("a: {}1{}", "[".repeat(100), "]".repeat(100)),
        (0..1000).map(|i| format!("{}a:\n", " ".repeat(i))).collect(),
        "{a: ".repeat(100_000),
        "&a ".repeat(100_000),
        "!!x ".repeat(100_000),
    ] {
        refusal(&text);
    }
}

/// Few enough values, but so deep that whatever follows them by recursion runs out of stack.
#[test]
fn depth_with_few_values() {
    for text in ["- ".repeat(100_000), format!("{}x", "- ".repeat(70)), format!("a: {}1{}", "[".repeat(64), "]".repeat(64))] {
        assert!(refusal(&text).contains("the nesting is deeper than 64 levels; no manifest needs that"));
    }
    assert!(!refusal(&format!("{}x", "- ".repeat(64))).contains("nesting"));
}

#[test]
fn size() {
    assert!(refusal(&"#".repeat((4 << 20) + 1)).contains("split it: at most 4194304 bytes are read"));
    assert!(refusal(&"- x\n".repeat(300_000)).contains("more than 200000 values"));
    assert!(refusal(&"---\nx\n".repeat(300_000)).contains("more than 200000 values"));
    // As many faults as there are values, each of which would like a position.
    let fields: String = (0..60_000).map(|i| format!("  f{i}: 0x1\n")).collect();
    let text = format!("apiVersion: forebay.io/v1alpha1\nkind: Dataset\nmetadata: {{name: d}}\nspec:\n{fields}");
    assert!(refusal(&text).contains("more"));
    let documents =
        "---\napiVersion: forebay.io/v1alpha1\nkind: Dataset\nmetadata: {name: d}\nspec: {mounts: [{path: /, source: /d}]}\n";
    assert!(refusal(&documents.repeat(8_000)).contains("there is a Dataset"));
}

#[test]
fn long_words_are_cut() {
    let long = "x".repeat(1 << 20);
    for text in [
        format!("kind: {long}\napiVersion: {long}\n"),
        format!("apiVersion: forebay.io/v1alpha1\nkind: {long}\n"),
        format!("apiVersion: forebay.io/v1alpha1\nkind: Dataset\nmetadata: {{name: {long}, {long}: 1}}\nspec: {{{long}: 1}}\n"),
        format!(
            "apiVersion: forebay.io/v1alpha1\nkind: Dataset\nmetadata: {{name: d}}\nspec: {{access: {long}, quota: {long}, ttl: {long}, \
             mounts: [{{path: /{long}, source: s3a://{long}}}]}}\n"
        ),
        format!("{long}: 1\n{long}: 2\n"),
    ] {
        if let Err(error) = parse(&text, "f") {
            assert!(error.to_string().len() < 4096, "{} bytes of message", error.to_string().len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_bytes(&bytes, "f");
    }

    #[test]
    fn any_yaml_like_text(text in r#"([a-c]|: |- |\n {0,4}|[\[\]{},&*!|>'"%@`#?~]|---\n|kind: Dataset\n|apiVersion: forebay\.io/v1alpha1\n|spec:\n|[0-9]{1,3}|\t|é){0,60}"#) {
        let _ = parse(&text, "f");
    }

    /// A valid manifest with one piece replaced by something else.
    #[test]
    fn any_damage(at in 0usize..400, length in 0usize..20, by in r#"[ -~\n\t]{0,8}"#) {
        let text = include_str!("manifests/full.yaml");
        let start = at.min(text.len());
        let end = (start + length).min(text.len());
        if text.is_char_boundary(start) && text.is_char_boundary(end) {
            let damaged = format!("{}{by}{}", &text[..start], &text[end..]);
            if let Err(error) = parse(&damaged, "f") {
                prop_assert!(error.problems.iter().all(|p| p.line >= 1 && p.column >= 1 && !p.remedy.is_empty()));
            }
        }
    }
}
