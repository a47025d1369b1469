#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
use std::sync::atomic::AtomicUsize;

use super::*;

/// Two servers of one mount.
fn two() -> (Table, Table) {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(TABLE_BYTES).unwrap();
    (Table::shared(file.reopen().unwrap()).unwrap(), Table::shared(file.reopen().unwrap()).unwrap())
}

/// Inodes whose ids nobody uses.
fn idle(table: &Table) -> Vec<u64> {
    table.slots().iter().map(Slot::see).filter(Seen::is_idle).map(|seen| seen.ino).collect()
}

fn free(begun: Begun<'_>) -> Claim<'_> {
    match begun {
        Begun::Free(claim) => claim,
        other => panic!("{other:?}"),
    }
}

fn served(begun: Begun<'_>) -> Option<u64> {
    match begun {
        Begun::Served { idle, .. } => idle,
        other => panic!("{other:?}"),
    }
}

/// Another inode of the same slot.
fn neighbour(table: &Table, ino: u64) -> u64 {
    (ino + 1..).find(|other| std::ptr::eq(table.slot(*other), table.slot(ino))).unwrap()
}

#[test]
fn what_one_server_opened_the_next_one_knows() {
    let (former, next) = two();
    assert!(free(former.begin(7)).native(70));
    assert_eq!((next.join(7), next.serve(7)), (Some(70), Some(70)), "whatever it would rather do");
    assert!(next.close(7, |_| panic!("it is open")) && idle(&next).is_empty());
    assert_eq!((next.release(7), next.release(7), next.release(7)), (false, false, true));
    assert_eq!(idle(&next), [7]);
    assert!(matches!(next.begin(7), Begun::Native(70)), "the id is good as long as it is there");
    assert!(next.release(7));
    assert!(!next.close(7, |id| id != 70), "it could not be closed, and stays");
    assert!(next.close(7, |id| id == 70) && idle(&former).is_empty());
    assert_eq!(former.serve(7), None);
    assert_eq!(next.join(7), None);
    assert_eq!(served(next.begin(7)), None, "open through the former one");
    assert!(!former.release(7) && !former.release(7));
    drop(free(next.begin(7)));
    assert_eq!(served(former.begin(7)), None, "a claim that came to nothing is a served open");
}

#[test]
fn whoever_comes_while_an_id_is_asked_for_is_served_and_so_is_the_one_who_asked() {
    let (one, other) = two();
    let claim = free(one.begin(7));
    assert_eq!((served(other.begin(7)), other.join(7)), (None, None));
    assert!(!claim.native(70), "the id is to be closed");
    assert!(idle(&one).is_empty());
    assert!(!one.release(7) && !one.release(7));
    assert!(free(one.begin(7)).native(71));
}

#[test]
fn of_one_slot_one_inode_is_native() {
    let table = Table::private().unwrap();
    let other = neighbour(&table, 7);
    assert!(free(table.begin(7)).native(70));
    assert_eq!((served(table.begin(other)), table.join(other), table.serve(other)), (None, None, None));
    assert!(table.release(7));
    // Two of the other are open: none is native, whoever asks.
    assert_eq!(served(table.begin(7)), None);
    for ino in [7, other, other] {
        assert!(!table.release(ino));
    }
    assert_eq!(served(table.begin(other)), Some(7), "an id that nobody uses is in the way");
    assert!(table.close(7, |_| true) && !table.release(other));
    assert!(free(table.begin(other)).native(71));
}

#[test]
fn what_a_server_was_at_when_it_died_is_ended_by_the_next_one() {
    let (former, next) = two();
    let closes = |id| id == 70;
    for at_the_id in [false, true] {
        if at_the_id {
            assert!(free(former.begin(7)).native(70) && former.release(7));
            former.slot(7).change(|seen| Some(seen.counts.busy(former.seat.number))).unwrap();
        } else {
            std::mem::forget(former.begin(7));
        }
        assert!(!next.close(7, |_| panic!("somebody is at it")), "later");
        assert!(next.tend(|_| false, |_| panic!("it is alive")));
        assert!(matches!(next.begin(7), Begun::Served { idle: None, busy: true }));
        assert_eq!((next.join(7), next.serve(7)), (None, None));
        assert!(!next.release(7) && !next.release(7));
        if !at_the_id {
            // The next one of the same seat must not take it for its own.
            former.slot(7).change(|seen| Some(seen.counts.busy(0))).unwrap();
            assert!(next.tend(|_| false, closes) && idle(&next).is_empty());
        }
    }
    drop(former);
    assert!(!next.tend(|_| false, |_| false), "it could not be closed");
    assert_eq!(idle(&next), [7]);
    assert!(next.tend(|_| true, |_| panic!("it is kept")) && next.tend(|_| false, closes));
    drop(free(next.begin(7)));
}

#[test]
fn a_new_server_does_not_take_its_predecessors_work_for_its_own() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(TABLE_BYTES).unwrap();
    let start = || Table::shared(file.reopen().unwrap()).unwrap();
    let former = start();
    std::mem::forget(former.begin(7));
    drop(former);
    let next = start();
    assert!(next.tend(|_| false, |_| panic!("there is no id")));
    drop(free(next.begin(7)));
}

#[test]
fn counts_never_wrap() {
    let counts = Counts { served: MOST, native: MOST, version: 0x7fff, busy: true };
    assert_eq!(Counts::of(counts.word()), counts);
    assert_eq!(
        (counts.one_more_served().served, counts.one_more_native().native, one_less(MOST), one_less(0)),
        (MOST, MOST, MOST, 0)
    );
    assert_eq!(Counts::of(counts.settled().word()), Counts { version: 0, busy: false, native: 0, ..counts });
    let file = tempfile::tempfile().unwrap();
    assert_eq!(Table::shared(file).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn what_was_counted_and_not_answered_is_known_to_the_next_server() {
    let (former, next) = two();
    assert_eq!((former.hear(8), next.hear(8)), (Heard::New, Heard::Before(None)));
    former.counted(8, true);
    assert_eq!(former.hear(10), Heard::New);
    former.counted(10, false);
    assert_eq!((next.hear(8), next.hear(10)), (Heard::Before(Some(true)), Heard::Before(Some(false))));
    // A newer one takes its place: of that one nothing is known any more.
    let newer = 8 + 2 * HEARD as u64;
    assert_eq!((next.hear(newer), next.hear(8)), (Heard::New, Heard::Unknown));
    former.counted(8, false);
    assert_eq!(next.hear(newer), Heard::Before(None), "which is not what became of another");
    assert_eq!(next.hear(12), Heard::New);
}

/// Servers and threads at one slot, against what the kernel would refuse. What it knows of is a part of what is counted, so each thread
/// tells it after its open and before its release.
#[test]
fn nobody_opens_an_inode_in_two_ways() {
    const TURNS: usize = 20_000;
    let (one, other) = two();
    let inos = [7, neighbour(&one, 7), neighbour(&one, neighbour(&one, 7))];
    let (ids, next) = ([const { AtomicU64::new(0) }; 3], AtomicU64::new(1));
    let (native, served) = ([const { AtomicUsize::new(0) }; 3], [const { AtomicUsize::new(0) }; 3]);
    let opened = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let (table, ids, next, native, served, opened) =
                (if thread % 2 == 0 { &one } else { &other }, &ids, &next, &native, &served, &opened);
            scope.spawn(move || {
                for turn in 0..TURNS {
                    let at = turn * (thread + 1) % 7 % 3;
                    let ino = inos[at];
                    let id = match (turn + thread) % 5 {
                        0 => table.serve(ino),
                        1 => {
                            table.close(ino, |id| ids[at].compare_exchange(id.into(), 0, SeqCst, SeqCst).is_ok());
                            table.join(ino).or_else(|| table.serve(ino))
                        }
                        _ => match table.begin(ino) {
                            Begun::Native(id) => Some(id),
                            Begun::Served { idle, .. } => {
                                if let Some(at) = idle.and_then(|idle| inos.iter().position(|ino| *ino == idle)) {
                                    table.close(inos[at], |id| ids[at].compare_exchange(id.into(), 0, SeqCst, SeqCst).is_ok());
                                }
                                None
                            }
                            Begun::Free(claim) => {
                                let id = next.fetch_add(1, SeqCst);
                                assert_eq!(ids[at].swap(id, SeqCst), 0, "two ids for one inode");
                                let native = claim.native(id as u32);
                                if !native {
                                    // Nobody else claims the slot as long as this handle is counted.
                                    assert_eq!(ids[at].swap(0, SeqCst), id);
                                }
                                native.then_some(id as u32)
                            }
                        },
                    };
                    let (mine, others) = if id.is_some() { (&native[at], &served[at]) } else { (&served[at], &native[at]) };
                    mine.fetch_add(1, SeqCst);
                    assert_eq!(others.load(SeqCst), 0, "EIO");
                    if let Some(id) = id {
                        assert_eq!(ids[at].load(SeqCst), u64::from(id), "a dead id");
                        opened.fetch_add(1, SeqCst);
                    }
                    mine.fetch_sub(1, SeqCst);
                    table.release(ino);
                }
            });
        }
    });
    assert!(opened.load(SeqCst) > 0);
    assert!(
        one.slots().iter().map(Slot::see).all(|seen| (seen.counts.served, seen.counts.native, seen.counts.busy) == (0, 0, false))
    );
}
