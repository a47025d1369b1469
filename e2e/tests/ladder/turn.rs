//! The store changes and the tree is listed anew under readers: old bytes or new ones, never both, and all names as they are now.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_e2e::{TreeSum, wait_until};
use rustix::fs::{Advice, fadvise};

use super::{ENOENT, ESTALE, Step};
use crate::native::Mapped;
use crate::readers::{Dice, Readers};
use crate::support::{BUCKET, SOON, Site, drop_pages, noise, read, read_open};

/// The first generation, but for [`LARGE`].
const BEFORE: [(&str, usize); 7] = [
    ("stays", 300_000),
    ("changes", 300_000),
    ("sub/changes", 1_500_000),
    ("pinned/changes", 700_000),
    ("goes", 5_000),
    ("sub/goes", 5_000),
    ("sub/deep/goes", 5_000),
];
/// Read on all the time; of these the first stays.
const READ: [&str; 4] = ["stays", "changes", "sub/changes", "pinned/changes"];
const GONE: [&str; 3] = ["goes", "sub/goes", "sub/deep/goes"];
const ADDED: [&str; 3] = ["comes", "sub/comes", "new/comes"];
/// Larger than what the first read of a file brings in.
const LARGE: (&str, usize) = ("sub/large", 16 << 20);
const FRONT: usize = 64 << 10;

pub(super) fn readers_across_it(step: Step) {
    let site = Site::new().with_files(&BEFORE.into_iter().chain([LARGE]).collect::<Vec<_>>());
    let mut agent = step.start(&site, &step.manifest(&site, "turns", "1Gi", "/pinned"));
    agent.wait_status("what is pinned to be cached", SOON, |status| status["phase"] == "Ready").unwrap();
    let root = agent.root();

    // The kernel knows all names, those that are absent too, and all but the large one is cached.
    for (name, _) in BEFORE {
        assert!(read(&root.join(name)).unwrap() == site.bytes(name), "{name}");
    }
    for name in ADDED {
        assert_eq!(read(&root.join(name)), Err(ENOENT), "{name}");
    }
    let open = BEFORE.map(|(name, size)| (name, size, File::open(root.join(name)).unwrap()));
    let mapped = Mapped::of(File::open(root.join("sub/changes")).unwrap(), site.bytes("sub/changes").len());
    let mut large = File::open(root.join(LARGE.0)).unwrap();
    // The kernel shall not read ahead.
    fadvise(&large, 0, None, Advice::Random).unwrap();
    let mut front = vec![0; FRONT];
    large.read_exact(&mut front).unwrap();
    assert!(front == site.bytes(LARGE.0)[..FRONT]);

    let (next, expected) = next_generation(&site);
    let versions = READ.map(|name| (site.bytes(name), fs::read(next.join(name)).unwrap_or_default()));
    let turned = READ.map(|_| AtomicBool::new(false));
    let once = |dice: &mut Dice| {
        let n = dice.below(READ.len());
        let (name, (old, new), is_turned) = (READ[n], &versions[n], turned[n].load(Ordering::SeqCst));
        match read(&root.join(name)) {
            Ok(found) if n > 0 && found == *new => turned[n].store(true, Ordering::SeqCst),
            Ok(found) => assert!(!is_turned && found == *old, "{name}: {} bytes, new seen: {is_turned}", found.len()),
            // Between the listing and the mount of a generation the former mount may have lost what changed (ADR 0009).
            Err(errno) => {
                let is_allowed = step == Step::Composed && n > 0 && [ENOENT, ESTALE].contains(&errno);
                assert!(is_allowed, "{name}: errno {errno}");
            }
        }
    };
    let is_new = || -> anyhow::Result<Option<()>> {
        let found = TreeSum::of(&root, 2)?;
        let gone = GONE.iter().chain(&["sub/deep"]).all(|name| read(&root.join(name)) == Err(ENOENT));
        Ok((gone && expected.differences(&found).is_empty()).then_some(()))
    };
    Readers::during(3, once, |readers| {
        readers.go_on("reads of the first generation", 50);
        site.client.upload(&next, BUCKET).unwrap();
        for name in GONE {
            site.client.delete(BUCKET, name).unwrap();
        }
        readers.go_on("reads while the store has changed", 20);
        assert!(turned.iter().all(|turned| !turned.load(Ordering::SeqCst)), "a Snapshot changed by itself");
        agent.refresh().unwrap();
        wait_until("the new tree to show", SOON, is_new).unwrap();
        readers.wait("all readers to see it", || turned[1..].iter().all(|turned| turned.load(Ordering::SeqCst)));
    });
    assert_eq!(is_new().unwrap(), Some(()));

    for (name, size, file) in &open {
        drop_pages(file);
        assert!(read_open(file, 0, *size).unwrap() == site.bytes(name), "{name}: it was opened before, and all of it is cached");
    }
    assert!(mapped.bytes() == site.bytes("sub/changes"));
    let mut rest = Vec::new();
    let outcome = large.read_to_end(&mut rest);
    assert!(site.bytes(LARGE.0)[FRONT..].starts_with(&rest), "bytes that are not the opened version's");
    assert_eq!(outcome.expect_err("not all of it can be had any more").raw_os_error(), Some(ESTALE));

    // With the last who had it open the first generation goes; the second one needs nothing of it.
    drop((open, mapped, large));
    assert_eq!(is_new().unwrap(), Some(()));
    assert!(agent.stop().unwrap(), "{}", agent.process.tail());
}

/// What the next generation has instead and in addition, in a directory of its own, and the sums of all of it.
fn next_generation(site: &Site) -> (PathBuf, TreeSum) {
    let next = site.dir.path().join("next");
    let sizes = [("changes", 310_000), ("sub/changes", 1_500_000), ("pinned/changes", 90_000), LARGE];
    for (seed, (name, size)) in (100..).zip(sizes.into_iter().chain(ADDED.map(|name| (name, 3_000)))) {
        fs::create_dir_all(next.join(name).parent().unwrap()).unwrap();
        fs::write(next.join(name), noise(seed, size)).unwrap();
    }
    let mut expected = TreeSum::of(&site.source, 4).unwrap();
    expected.files.retain(|name, _| !GONE.contains(&name.as_str()));
    expected.files.extend(TreeSum::of(&next, 4).unwrap().files);
    (next, expected)
}
