//! Readers of a tree that is four times as large as its cache.

use super::Step;
use crate::metrics::{get, sample};
use crate::native::opens;
use crate::readers::{Dice, Readers};
use crate::support::{SOON, Site, read_afresh};

const FILES: usize = 16;
const SIZE: usize = (4 << 20) - 77;
/// Where something is pinned.
const PINNED: &str = "d3/f03";

pub(super) fn readers_across_it(step: Step) {
    let names: Vec<String> = (0..FILES).map(|n| format!("d{}/f{n:02}", n % 4)).collect();
    let site = Site::new().with_files(&names.iter().map(|name| (name.as_str(), SIZE)).collect::<Vec<_>>());
    let all: Vec<Vec<u8>> = names.iter().map(|name| site.bytes(name)).collect();
    let mut agent = step.start(&site, &step.manifest(&site, "pressed", "16Mi", &format!("/{PINNED}")));
    agent.wait_status("what is pinned to be cached", SOON, |status| status["phase"] == "Ready").unwrap();
    site.proxy.reset_counts();

    let root = agent.root();
    let once = |dice: &mut Dice| {
        // Two are read often and now and then whole, so that they are complete at times.
        let n = if dice.below(2) == 0 { dice.below(2) } else { dice.below(FILES) };
        let offset = if dice.below(4) == 0 { 0 } else { dice.below(SIZE) };
        let most = if offset == 0 { SIZE } else { 1 + dice.below(200_000) };
        let end = (offset + most).min(SIZE);
        let found = read_afresh(&root.join(&names[n]), offset as u64, end - offset).unwrap();
        assert!(found == all[n][offset..end], "{} from {offset} to {end}", names[n]);
    };
    Readers::during(4, once, |readers| {
        readers.wait("enough reads of each kind under pressure", || {
            let (_, page) = get(&agent, "/metrics");
            let evicted = sample(&page, "forebay_cache_evicted_blocks_total");
            let ways = opens(&agent);
            let each_kind = if step == Step::Plain { ways.0 == 0.0 && ways.1 > 0.0 } else { ways.0 > 10.0 && ways.1 > 10.0 };
            // More came than there is: of something the store was asked again.
            let again = site.proxy.bytes() > (FILES * SIZE) as u64;
            each_kind && evicted > 20.0 && again && readers.rounds() > 200
        });
    });
    if step == Step::Composed {
        let asked = site.proxy.seen().into_iter().find(|seen| seen.target.contains(PINNED));
        assert_eq!(asked, None, "what is pinned stays");
    }
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}
