use std::collections::BTreeSet;

use forebay_cache::BLOCK;
use proptest::prelude::*;

use crate::Streams;

#[test]
fn a_window_grows_up_to_its_bound_and_goes_out_in_batches() {
    let mut streams = Streams::default();
    let mut batches = Vec::new();
    for step in 0..200u64 {
        let plan = streams.on_read(step * BLOCK / 2, BLOCK / 2, 1000, 32);
        if !plan.ahead.is_empty() {
            batches.push(plan.ahead.len());
        }
    }
    assert!(batches.len() < 12, "{batches:?}");
    assert!(batches.iter().all(|batch| *batch <= 32), "{batches:?}");
    assert!(batches.windows(2).take(2).all(|pair| pair[0] < pair[1]), "{batches:?}");
    assert!(batches[0] == 4 && batches[1] > 8, "a far store is not waited for at each doubling: {batches:?}");
}

#[test]
fn parallel_streams_of_one_file_do_not_disturb_each_other() {
    let mut streams = Streams::default();
    let mut asked = [BTreeSet::new(), BTreeSet::new()];
    for step in 0..100u64 {
        for (stream, asked) in asked.iter_mut().enumerate() {
            let start = stream as u64 * 500 * BLOCK;
            let plan = streams.on_read(start + step * BLOCK / 4, BLOCK / 4, 1000, 16);
            asked.extend(plan.demand);
            asked.extend(plan.ahead);
        }
    }
    assert!(asked[0].contains(&30) && asked[0].iter().all(|block| *block < 100));
    assert!(asked[1].contains(&530) && asked[1].iter().all(|block| *block >= 500));
}

proptest! {
    /// Whatever is read: the demand is exactly the blocks touched, and what is ahead lies within file and bound.
    #[test]
    fn a_plan_covers_the_read_and_stays_in_bounds(
        reads in prop::collection::vec((0..40 * BLOCK, 1..3 * BLOCK), 1..60),
        blocks in 1..40u32,
        bound in 0..64u32,
    ) {
        let mut streams = Streams::default();
        for (offset, len) in reads {
            let plan = streams.on_read(offset, len, blocks, bound);
            for block in 0..blocks {
                let (start, end) = (u64::from(block) * BLOCK, u64::from(block + 1) * BLOCK);
                let touched = offset < end && offset + len > start;
                prop_assert_eq!(plan.demand.contains(&block), touched);
            }
            prop_assert!(plan.ahead.end <= blocks.max(plan.ahead.start));
            prop_assert!(plan.ahead.len() <= bound as usize);
        }
    }

    /// A sequential reader finds each block asked for before or when it comes to it, and asks for none twice.
    #[test]
    fn a_sequential_reader_asks_for_each_block_once(piece in 1024..2 * BLOCK, bound in 1..64u32) {
        let (mut streams, mut asked, blocks) = (Streams::default(), BTreeSet::new(), 50u32);
        let mut offset = 0;
        while offset < u64::from(blocks) * BLOCK {
            let plan = streams.on_read(offset, piece, blocks, bound);
            for block in plan.ahead {
                prop_assert!(asked.insert(block), "block {} was asked for ahead twice", block);
            }
            asked.extend(plan.demand);
            offset += piece;
        }
        prop_assert_eq!(asked.len(), blocks as usize);
    }
}
