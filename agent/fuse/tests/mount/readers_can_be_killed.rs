use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use forebay_fs::failing::{Fault, Operation};
use forebay_fs::memory::Contents;

use crate::harness::{pattern, show, show_with, wait_until};

fn read_by(program: &str, path: &Path) -> Child {
    let arguments = match program {
        "dd" => vec![format!("if={}", path.display()), "of=/dev/null".into(), "bs=64k".into(), "iflag=direct".into()],
        _ => vec![path.display().to_string()],
    };
    Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A reader that waits for a store can be killed: through the page cache, past it, and while it opens. Nothing goes on for it.
#[test]
fn f16_a_killed_reader_dies_and_leaves_no_work() {
    for (program, operation) in [("cat", Operation::Read), ("dd", Operation::Read), ("cat", Operation::Open)] {
        let shown = show(&Contents::new().file("slow", pattern(1, 3 << 20), 0).file("fast", "here", 0));
        shown.tree.set_cold(true);
        let ino = std::os::unix::fs::MetadataExt::ino(&fs::metadata(shown.path("slow")).unwrap());
        shown.tree.inject(operation, Some(ino), Fault::Stall);
        let mut readers: Vec<_> = (0..3).map(|_| read_by(program, &shown.path("slow"))).collect();
        wait_until("all wait", || shown.tree.waiting() >= if operation == Operation::Open { 3 } else { 1 });
        for reader in &mut readers {
            reader.kill().unwrap();
        }
        for reader in &mut readers {
            wait_until("the killed reader is gone", || reader.try_wait().unwrap().is_some());
        }
        wait_until("its work is gone", || shown.tree.waiting() == 0);
        assert_eq!(fs::read(shown.path("fast")).unwrap(), b"here", "{program} {operation:?}");
        shown.tree.heal();
        assert!(fs::read(shown.path("slow")).unwrap() == pattern(1, 3 << 20));
    }
}

/// Stalled readers in any number take no thread away from the others.
#[test]
fn f17_stalled_readers_do_not_stall_the_mount() {
    let contents = (0..40).fold(Contents::new().file("fast", "here", 0), |all, at| all.file(format!("slow{at}"), "slow", at));
    let shown = show_with(&contents, crate::harness::FOREVER, |options| {
        options.threads = 1;
        options.waiting = 8;
    });
    shown.tree.set_cold(true);
    for at in 0..40 {
        let ino = std::os::unix::fs::MetadataExt::ino(&fs::metadata(shown.path(&format!("slow{at}"))).unwrap());
        shown.tree.inject(Operation::Read, Some(ino), Fault::Stall);
    }
    shown.tree.set_cold(false);
    let readers: Vec<_> = (0..40).map(|at| read_by("cat", &shown.path(&format!("slow{at}")))).collect();
    wait_until("as many wait as may", || shown.tree.waiting() == 8);
    assert_eq!(fs::read(shown.path("fast")).unwrap(), b"here");
    assert_eq!(fs::read_dir(shown.root()).unwrap().count(), 41);
    assert_eq!(shown.tree.waiting(), 8);
    shown.tree.heal();
    for mut reader in readers {
        assert!(reader.wait().unwrap().success());
    }
}

/// A reader that is killed does not take the page away from one that waits for the same.
#[test]
fn f16_another_reader_of_the_same_page_gets_it() {
    let shown = show(&Contents::new().file("slow", pattern(1, 100_000), 0));
    shown.tree.set_cold(true);
    shown.tree.inject(Operation::Read, None, Fault::Stall);
    let mut killed = read_by("cat", &shown.path("slow"));
    wait_until("the first waits", || shown.tree.waiting() >= 1);
    let mut kept = Command::new("sha1sum").arg(shown.path("slow")).stdout(Stdio::piped()).spawn().unwrap();
    // Asleep on the page that the first asked for, or about to be: either way it must come through.
    std::thread::sleep(std::time::Duration::from_millis(200));
    killed.kill().unwrap();
    killed.wait().unwrap();
    // Long enough for the killed one's request to be given up.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(kept.try_wait().unwrap(), None);
    shown.tree.heal();
    let output = kept.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
