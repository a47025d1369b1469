//! The agent is killed in the middle of reads: whatever is read meanwhile is right, and all is when the next one has started.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use forebay_e2e::{Fault, RequestKind, Rule, TreeSum, wait_until};

use super::{ECONNABORTED, EIO, ENOENT, ENOTCONN, Step};
use crate::native::open_natively;
use crate::readers::{Dice, Readers};
use crate::support::{SOON, Site, drop_pages, read, read_afresh, read_open};

const SIZE: usize = (2 << 20) + 17;
const NAMES: [&str; 6] = ["pinned/a", "pinned/b", "rest/a", "rest/b", "rest/c", "rest/d"];
/// Its bytes do not come before the agent dies.
const WAITS: &str = "rest/waits";

impl Step {
    /// Needs no agent once it is complete.
    fn is_independent(self, name: &str) -> bool {
        self == Self::Composed && name.starts_with("pinned/")
    }

    /// What a read may meet while there is no agent.
    fn errors_of_death(self) -> &'static [i32] {
        match self {
            // Between the dead mount's end and the next mount there is an empty directory.
            Self::Plain | Self::Passthrough => &[ENOTCONN, ECONNABORTED, EIO, ENOENT],
            Self::Composed => &[ENOTCONN, ECONNABORTED, EIO],
        }
    }
}

pub(super) fn readers_across_it(step: Step) {
    let site = Site::new().with_files(&NAMES.into_iter().chain([WAITS]).map(|name| (name, SIZE)).collect::<Vec<_>>());
    let manifest = step.manifest(&site, "dies", "1Gi", "/pinned");
    let mut agent = step.start(&site, &manifest);
    agent.wait_status("what is pinned to be cached", SOON, |status| status["phase"] == "Ready").unwrap();
    let root = agent.root();
    let all = NAMES.map(|name| site.bytes(name));
    // On each step the handle that has the best prospects.
    let (held, held_bytes) = match step {
        Step::Plain => (File::open(root.join("rest/a")).unwrap(), &all[2]),
        Step::Passthrough => (open_natively(&agent, "rest/a"), &all[2]),
        Step::Composed => (File::open(root.join("pinned/a")).unwrap(), &all[0]),
    };
    let held_now = || {
        drop_pages(&held);
        read_open(&held, 0, SIZE).map(|found| found == *held_bytes)
    };
    assert_eq!(held_now(), Ok(true));
    // Through the agent a handle goes with it; who reads natively does not notice.
    let held_after = if step == Step::Plain { Err(ENOTCONN) } else { Ok(true) };

    let hold = site.proxy.add(Rule::gets(Fault::Hang).of(WAITS));
    let waits = {
        let path = root.join(WAITS);
        thread::spawn(move || read(&path))
    };
    let (dying, right) = (AtomicBool::new(false), AtomicUsize::new(0));
    let once = |dice: &mut Dice| {
        let n = dice.below(NAMES.len());
        let (name, offset) = (NAMES[n], dice.below(SIZE));
        let end = (offset + 1 + dice.below(100_000)).min(SIZE);
        match read_afresh(&root.join(name), offset as u64, end - offset) {
            Ok(found) => {
                assert!(found == all[n][offset..end], "{name} from {offset} to {end}");
                right.fetch_add(1, Ordering::SeqCst);
            }
            Err(errno) => {
                assert!(dying.load(Ordering::SeqCst), "{name}: errno {errno} while the agent lives");
                assert!(!step.is_independent(name), "{name}: errno {errno}, and no agent is needed");
                assert!(step.errors_of_death().contains(&errno), "{name}: errno {errno}");
                thread::sleep(Duration::from_millis(1));
            }
        }
    };
    let mut next = Readers::during(4, once, |readers| {
        readers.go_on("reads while the agent lives", 100);
        let asked = || site.proxy.seen().iter().any(|seen| seen.kind == RequestKind::Get && seen.target.contains(WAITS));
        wait_until("a read that waits for the store", SOON, || Ok(asked().then_some(()))).unwrap();
        dying.store(true, Ordering::SeqCst);
        agent.kill().unwrap();

        let errno = waits.join().unwrap().err();
        assert!(errno.is_some_and(|errno| step.errors_of_death().contains(&errno)), "{errno:?} of the read that waited");
        assert_eq!(held_now(), held_after, "the handle, with no agent");
        for (name, source) in NAMES.iter().zip(&all) {
            let found = read_afresh(&root.join(name), 0, SIZE).map(|found| found == *source);
            let expected = if step.is_independent(name) { Ok(true) } else { Err(ENOTCONN) };
            assert_eq!(found, expected, "{name} with no agent");
        }
        readers.go_on("reads with no agent", 100);

        site.proxy.remove(hold);
        // The dead agent's value is kept: dropping it would clean up what the next start is to clean up.
        let next = step.start(&site, &manifest);
        let until = right.load(Ordering::SeqCst) + 200;
        readers.wait("right reads from the next agent", || right.load(Ordering::SeqCst) >= until);
        next
    });
    let expected = TreeSum::of(&site.source, 4).unwrap();
    assert_eq!(expected.differences(&TreeSum::of(&next.root(), 4).unwrap()), [""; 0]);
    assert_eq!(held_now(), held_after, "the handle, under the next agent");
    drop(held);
    assert!(next.stop().unwrap(), "{}", next.process.tail());
}
