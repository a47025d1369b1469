#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

/// Opens files one after another; gives those that were ahead when they were opened, and all that were brought in.
fn open(files: u32, order: impl IntoIterator<Item = u32>) -> (usize, Vec<u32>) {
    let (mut orders, mut brought, mut met) = (Orders::default(), Vec::new(), 0);
    for at in order {
        met += usize::from(brought.contains(&at));
        if let Some(ahead) = orders.on_open(1, 0, 0..files, at) {
            let range: Vec<u32> = ahead.range.step_by(ahead.step as usize).collect();
            assert!(range.iter().all(|at| *at < files && !brought.contains(at)), "{range:?} after {brought:?}");
            brought.extend(range);
        }
    }
    (met, brought)
}

/// As threads that take turns would, each a little early or late.
fn by_threads(order: Vec<u32>) -> Vec<u32> {
    order.chunks(4).flat_map(|some| [2, 0, 3, 1].into_iter().filter_map(|at| some.get(at).copied())).collect()
}

#[test]
fn files_opened_in_order_are_there_before() {
    for step in [1, 2, 7, 16] {
        let order: Vec<u32> = (0..1000).step_by(step).collect();
        let (met, brought) = open(1000, order.clone());
        assert!(met >= order.len() - 6, "{met} of {}, step {step}", order.len());
        assert!(brought.len() <= order.len());
        let (met, _) = open(1000, by_threads(order.clone()));
        assert!(met >= order.len() - 12, "{met} of {} by threads, step {step}", order.len());
    }
}

#[test]
fn a_few_files_bring_in_few() {
    let (_, brought) = open(1000, 0..3);
    assert!(brought.is_empty(), "{brought:?}");
    let (_, brought) = open(1000, 0..5);
    assert!(brought.len() <= 16, "{brought:?}");
}

#[test]
fn whoever_goes_from_directory_to_directory_does_not_begin_anew() {
    let (mut orders, mut brought, mut met) = (Orders::default(), Vec::new(), 0);
    for at in by_threads((0..1000).collect()) {
        let dir = at / 100;
        met += usize::from(brought.contains(&at));
        if let Some(ahead) = orders.on_open(1, dir, dir * 100..dir * 100 + 100, at) {
            brought.extend(ahead.range.step_by(ahead.step as usize));
        }
    }
    assert!(met >= 1000 - 12 - 4 * 9, "{met}");
    assert!(brought.iter().all(|at| *at < 1000) && brought.len() <= 1000, "{}", brought.len());
    // In the middle of another directory nobody goes on.
    assert_eq!(orders.on_open(1, 20, 2000..3000, 2500), None);
    assert!(orders.on_open(1, 21, 3000..4000, 3000).is_some());
    // One goes on from one end.
    assert_eq!(orders.on_open(1, 22, 4000..5000, 4000), None);
}

#[test]
fn what_was_not_begun_is_planned_again() {
    let mut orders = Orders::default();
    let ahead = (0..8).filter_map(|at| orders.on_open(1, 0, 0..1000, at)).last().unwrap();
    orders.begun_before(1, 0, ahead.range.start + 1);
    let again = orders.on_open(1, 0, 0..1000, 8).unwrap();
    assert_eq!(again.range.start, (ahead.range.start + 1).max(9));
}

#[test]
fn two_directories_and_two_generations_are_told_apart() {
    let mut orders = Orders::default();
    for at in 0..20 {
        for (generation, dir) in [(1, 0), (1, 500), (2, 0)] {
            let ahead = orders.on_open(generation, dir, dir..dir + 500, dir + at);
            assert!(ahead.is_none_or(|ahead| ahead.range.start > dir + at && ahead.range.end <= dir + 500));
        }
    }
    assert_eq!(orders.orders.len(), 3);
    assert!(orders.orders.iter().all(|order| order.window > FIRST));
}

proptest! {
    /// Whatever is opened: no more than four times as much is brought in, nothing twice, and hardly anything at random.
    #[test]
    fn little_is_brought_in_vain(order in proptest::collection::vec(0u32..100_000, 1..500)) {
        let (_, brought) = open(100_000, order.clone());
        prop_assert!(brought.len() * 20 <= order.len(), "{} for {}", brought.len(), order.len());
    }

    #[test]
    fn never_more_than_a_multiple(order in proptest::collection::vec(0u32..60, 1..500)) {
        let mut orders = Orders::default();
        let mut brought = 0;
        for (opened, at) in (1..).zip(order) {
            if let Some(ahead) = orders.on_open(1, 0, 0..u32::MAX, at) {
                brought += ahead.range.step_by(ahead.step as usize).count();
            }
            prop_assert!(brought <= 4 * opened, "{brought} after {opened}");
        }
    }
}
