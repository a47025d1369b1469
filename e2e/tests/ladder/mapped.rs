//! Mappings of files that are not there yet: each page is waited for, and right.

use std::fs::File;
use std::path::PathBuf;
use std::thread;

use forebay_e2e::{Fault, RequestKind, Rule, wait_until};

use super::Step;
use crate::native::{Mapped, opens};
use crate::readers::Dice;
use crate::support::{SOON, Site, drop_pages};

const FILES: [(&str, usize); 3] = [("one", (9 << 20) - 77), ("dir/two", (5 << 20) + 1), ("dir/three", 700_001)];
/// What is compared at a time.
const PIECE: usize = 32 << 10;

pub(super) fn while_data_comes_in(step: Step) {
    let mut site = Site::new().with_files(&FILES);
    site.proxy.add(Rule::gets(Fault::Slow(6 << 20)));
    let mut agent = step.start(&site, &step.manifest(&site, "mapped", "1Gi", "/"));
    let all: Vec<(PathBuf, Vec<u8>)> = FILES.iter().map(|(name, _)| (agent.root().join(name), site.bytes(name))).collect();

    let mapped: Vec<Mapped> = all.iter().map(|(path, source)| Mapped::of(File::open(path).unwrap(), source.len())).collect();
    let pages: Vec<&[u8]> = mapped.iter().map(Mapped::bytes).collect();
    thread::scope(|scope| {
        for seed in 1..=4 {
            let (pages, all) = (&pages, &all);
            scope.spawn(move || {
                let mut dice = Dice::new(seed);
                for (pages, (path, source)) in pages.iter().zip(all) {
                    let mut pieces: Vec<usize> = (0..source.len()).step_by(PIECE).collect();
                    while !pieces.is_empty() {
                        let from = pieces.swap_remove(dice.below(pieces.len()));
                        let to = (from + PIECE).min(source.len());
                        assert!(pages[from..to] == source[from..to], "{} at {from}", path.display());
                    }
                }
            });
        }
    });
    assert!(site.proxy.count(RequestKind::Get) > 0);
    drop(mapped);

    // Mapped again once all is there, and without the store.
    let total = FILES.iter().map(|(_, size)| *size as u64).sum::<u64>();
    agent.wait_status("all of it to be cached", SOON, |status| status["cache"]["bytes"] == total).unwrap();
    site.proxy.down();
    let once_more = || {
        let before = opens(&agent);
        for (path, source) in &all {
            let file = File::open(path).unwrap();
            drop_pages(&file);
            assert!(Mapped::of(&file, source.len()).bytes() == source, "{}", path.display());
        }
        let after = opens(&agent);
        (after.0 - before.0, after.1 - before.1)
    };
    let is_right = |ways: (f64, f64)| match step {
        Step::Plain => ways == (0.0, 3.0),
        Step::Passthrough => ways == (3.0, 0.0),
        // One that was open when it was published is read by passthrough, the others without the agent.
        Step::Composed => ways.1 == 0.0,
    };
    wait_until("mappings on this step", SOON, || Ok(is_right(once_more()).then_some(()))).unwrap();
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}
