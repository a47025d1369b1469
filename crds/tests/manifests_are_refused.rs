//! Malformed and hostile manifests: each error names the place, the object, the field, the problem and the remedy.
//!
//! The cases are in `tests/refused/*.yaml`, one file each, with the messages wanted as comments at the end. Text that
//! no file can hold is made here.

use std::path::Path;

use forebay_crds::manifest::{parse, parse_bytes};

const MARK: &str = "# wanted: ";

#[test]
fn every_case_says_where_what_and_what_to_do() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused");
    let mut files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut differing = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let body: String = text.lines().filter(|line| !line.starts_with(MARK)).map(|line| format!("{line}\n")).collect();
        let wanted: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(MARK)).collect();
        let found = match parse(&body, "f") {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        };
        let found: Vec<&str> = found.lines().collect();
        if std::env::var_os("FOREBAY_UPDATE_CASES").is_some() {
            let comments: String = found.iter().map(|line| format!("{MARK}{line}\n")).collect();
            std::fs::write(file, body + &comments).unwrap();
        } else if found != wanted {
            differing.push(format!("{}:\n  wanted {wanted:#?}\n  found {found:#?}", file.display()));
        }
    }
    assert!(files.len() >= 50, "only {} cases", files.len());
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// The form that every message has, whatever it says.
#[test]
fn every_message_has_a_place_and_a_remedy() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused");
    for entry in std::fs::read_dir(directory).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let lines = text.lines().count();
        let Err(error) = parse(&text, "f") else { continue };
        assert!(!error.problems.is_empty());
        for problem in &error.problems {
            assert!((1..=lines + 1).contains(&problem.line) && problem.column >= 1, "{problem}");
            assert!(!problem.problem.is_empty() && problem.remedy.len() >= 8, "{problem}");
            assert!(problem.to_string().chars().all(|c| !c.is_control()), "{problem:?}");
        }
    }
}

#[test]
fn text_that_is_no_text() {
    for (bytes, wanted) in [
        (&b"kind: Dataset\nname: \xff\xfe\n"[..], "f:2:7: the file is not UTF-8 text from here on; save the file as UTF-8"),
        (b"\xff\xfek\0i\0", "f:1:1: the file is not UTF-8 text from here on; save the file as UTF-8"),
        (b"kind: Dataset\nx: a\0b\n", "f:2:5: the file contains the control character U+0000; remove it; is this a text file?"),
        (b"kind: \x1b[31mDataset\n", "f:1:7: the file contains the control character U+001B; remove it; is this a text file?"),
        (b"a: 1\n\tb: 2\n", "f:1:4: this is not YAML"),
        (b"a: [1, 2\n", "f:2:1: this is not YAML"),
        (b"- x: *nowhere\n", "f:1:6: this is not YAML"),
        (b"%YAML 9.9 9\n---\na: 1\n", "f:1:1"),
    ] {
        let error = parse_bytes(bytes, "f").unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
    let error = parse_bytes(b"a: 1\n\tb: 2\n", "f").unwrap_err().to_string();
    assert!(error.ends_with("indent with spaces: YAML takes no tabs there"), "{error}");
}

#[test]
fn too_many_problems_are_counted() {
    let fields: String = (0..100).map(|i| format!("  unknown{i}: 1\n")).collect();
    let text = format!("apiVersion: forebay.io/v1alpha1\nkind: Dataset\nmetadata: {{name: d}}\nspec:\n{fields}");
    let error = parse(&text, "f").unwrap_err();
    assert_eq!((error.problems.len(), error.more), (50, 51));
    assert!(error.to_string().ends_with("f: and 51 more"));
}
