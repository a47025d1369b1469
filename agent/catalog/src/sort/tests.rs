#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

fn sorted(items: &[Vec<u8>], budget: usize, collapsible: fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let mut sorter = Sorter::new(dir.path(), budget, 16, collapsible);
    for item in items {
        sorter.push(item).unwrap();
    }
    let mut merge = sorter.finish().unwrap();
    let mut out = Vec::new();
    while let Some(item) = merge.next().unwrap() {
        out.push(item.to_vec());
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn sorts_like_a_vector(mut items in prop::collection::vec(prop::collection::vec(0u8..3, 0..9), 0..300), budget in 0usize..2000) {
        let out = sorted(&items, budget, |_| false);
        items.sort();
        prop_assert_eq!(out, items);
    }
}

#[test]
fn many_runs_are_merged_in_levels() {
    // 64 KiB of budget hold some 1,300 items: about 300 runs, and a fan-in of 4 gives five levels.
    let mut items: Vec<Vec<u8>> = (0..400_000u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes().to_vec()).collect();
    let out = sorted(&items, 64 << 10, |_| false);
    items.sort();
    assert!(out == items);
}

#[test]
fn collapsible_items_come_out_at_least_once_and_others_always() {
    let items: Vec<Vec<u8>> = (0..20_000u32).map(|i| vec![u8::try_from(i % 7).unwrap()]).collect();
    let out = sorted(&items, 64 << 10, |item| item[0] % 2 == 0);
    let count = |n: u8| out.iter().filter(|i| i[0] == n).count();
    let pushed = |n: u8| items.iter().filter(|i| i[0] == n).count();
    for n in 0..7 {
        if n % 2 == 0 {
            assert!((1..pushed(n)).contains(&count(n)), "{n}: {}", count(n));
        } else {
            assert_eq!(count(n), pushed(n), "{n}");
        }
    }
}

#[test]
fn an_item_larger_than_the_buffer_is_sorted_too() {
    let items = vec![vec![2; 60_000], vec![1; 60_000], vec![3; 5]];
    assert_eq!(sorted(&items, 64 << 10, |_| false), vec![vec![1; 60_000], vec![2; 60_000], vec![3; 5]]);
}
