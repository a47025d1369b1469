use std::collections::BTreeSet;

const SOURCES: [&str; 9] = [
    include_str!("changes_are_seen.rs"),
    include_str!("complete_files_are_read_natively.rs"),
    include_str!("errors_are_told_apart.rs"),
    include_str!("listings_are_complete.rs"),
    include_str!("mounts_come_and_go.rs"),
    include_str!("nothing_can_be_written.rs"),
    include_str!("readers_can_be_killed.rs"),
    include_str!("reads_are_true.rs"),
    include_str!("stat_tells_the_truth.rs"),
];

#[test]
fn every_paragraph_has_a_test_and_every_test_a_paragraph() {
    let document = include_str!("../../../../docs/semantics.md");
    let section = document.split("\n## ").find(|section| section.starts_with("The mounted file system")).unwrap();
    let paragraphs: Vec<u32> = section
        .lines()
        .filter_map(|line| line.strip_prefix("**F")?.split_once("**"))
        .map(|(number, _)| number.parse().unwrap())
        .collect();
    let tests: BTreeSet<u32> = SOURCES
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| line.strip_prefix("fn f")?.get(..2)?.parse().ok())
        .collect();
    assert!(!paragraphs.is_empty());
    assert_eq!(paragraphs, tests.into_iter().collect::<Vec<_>>());
    for block in section.split("\n\n").skip(2) {
        assert!(block.trim().is_empty() || block.starts_with("**F"), "a paragraph without a number: {block}");
    }
}
