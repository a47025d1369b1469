#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use std::ops::Range;

use forebay_store::policy::Priority;
use tokio::task::JoinHandle;

use super::crowd::{HOLDERS, SETTLED};
use super::*;
use crate::store::asking::{NAMED_IN_VAIN, SENT_ON};

const MIB: u64 = 1 << 20;

fn fanout(width: usize) -> Arc<Fanout> {
    Arc::new(Fanout::new(width, Patience::default()))
}

fn asked(range: Range<u64>) -> Asked {
    let (dataset, store, key, version) = ("ml/a".into(), "s3://b".into(), "weights".into(), "v1".into());
    Asked { dataset, store, key, version, size: 64 * MIB, range, priority: Priority::Reader, held: false, elsewhere: true }
}

/// A node of this zone, or of one that nobody knows.
fn near(node: &str) -> Asker<'_> {
    Asker { node, zone: None, unsent: Arc::default() }
}

/// A node of another zone, which has the first letter of its name.
fn far(node: &str) -> Asker<'_> {
    Asker { zone: node.get(..1).map(str::to_owned), ..near(node) }
}

async fn here(fanout: &Arc<Fanout>, asked: &Asked, asker: Asker<'_>) -> Pass {
    match fanout.admit(asked, asker.clone()).await {
        Admitted::Here(Some(pass)) => pass,
        other => panic!("{asker:?}: {other:?}"),
    }
}

async fn elsewhere(fanout: &Arc<Fanout>, asked: &Asked, asker: Asker<'_>) -> Vec<String> {
    match fanout.admit(asked, asker.clone()).await {
        Admitted::Elsewhere(named) => named,
        other => panic!("{asker:?}: {other:?}"),
    }
}

/// One that comes and may have to wait; it has come when this returns.
async fn comes(fanout: &Arc<Fanout>, asked: &Asked, asker: Asker<'static>) -> JoinHandle<Admitted> {
    let (fanout, asked) = (fanout.clone(), asked.clone());
    let waits = tokio::spawn(async move { fanout.admit(&asked, asker).await });
    tokio::time::sleep(LANDING * 3).await;
    waits
}

fn sent(mut pass: Pass) {
    pass.done();
}

fn is_sent(admitted: Admitted) -> Pass {
    let Admitted::Here(Some(pass)) = admitted else { panic!("it was its turn: {admitted:?}") };
    pass
}

#[tokio::test(start_paused = true)]
async fn more_than_the_width_wait_for_a_node_that_has_it_and_are_sent_there() {
    let fanout = fanout(2);
    let whole = asked(0..8 * MIB);
    let (first, second) = (here(&fanout, &whole, near("n1")).await, here(&fanout, &whole, near("n2")).await);
    // Another extent, and what is short, do not wait.
    let _other = here(&fanout, &asked(8 * MIB..16 * MIB), near("n3")).await;
    assert!(matches!(fanout.admit(&asked(0..MIB - 1), near("n3")).await, Admitted::Here(None)));
    let third = comes(&fanout, &whole, near("n3")).await;
    assert!(!third.is_finished(), "nobody has it");
    sent(first);
    let third = is_sent(third.await.unwrap());
    // Now one has it, and both places are taken.
    for (part, to) in [(0..8 * MIB, "n4"), (2 * MIB..5 * MIB, "n5")] {
        assert_eq!(elsewhere(&fanout, &asked(part), near(to)).await, ["n1"]);
    }
    // It is not sent to itself, and who may not be sent elsewhere does not wait.
    timeout(LANDING * 3, fanout.admit(&whole, near("n1"))).await.unwrap_err();
    let _insists = here(&fanout, &Asked { elsewhere: false, ..whole.clone() }, near("n4")).await;
    drop((second, third));
    let extents = fanout.extents();
    let sending = |number: u64| extents.iter().find(|(extent, _)| extent.number == number).map(|(_, crowd)| crowd.bodies.len());
    assert_eq!((sending(0), sending(1)), (Some(1), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn only_who_got_all_of_it_is_named_and_pieces_add_up() {
    let fanout = fanout(1);
    // This one broke off.
    drop(here(&fanout, &asked(0..4 * MIB), near("n0")).await);
    // In whatever order they come.
    for part in [0..2 * MIB, 4 * MIB..8 * MIB, 2 * MIB..4 * MIB] {
        sent(here(&fanout, &asked(part), near("n1")).await);
    }
    sent(here(&fanout, &asked(4 * MIB..8 * MIB), near("n2")).await);
    tokio::time::sleep(LANDING * 2).await;
    let _busy = here(&fanout, &asked(0..8 * MIB), near("n8")).await;
    for (part, having) in [(0..8 * MIB, vec!["n1"]), (5 * MIB..6 * MIB, vec!["n1", "n2"]), (MIB..2 * MIB, vec!["n1"])] {
        let mut named = elsewhere(&fanout, &asked(part.clone()), near("n9")).await;
        named.sort();
        assert_eq!(named, having, "{part:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_for_readers_and_nobody_for_long() {
    let fanout = fanout(1);
    let background = Asked { priority: Priority::Prefetch, ..asked(0..MIB) };
    let (_prefetch, _reader) = (here(&fanout, &background, near("n1")).await, here(&fanout, &asked(0..MIB), near("n2")).await);
    let patience = Patience::default().elsewhere;
    let (arrived, other) = (Instant::now(), timeout(patience / 2, fanout.admit(&background, near("n3"))));
    other.await.unwrap_err();
    let _late = here(&fanout, &background, near("n3")).await;
    assert!(arrived.elapsed() >= patience);
}

#[tokio::test(start_paused = true)]
async fn into_another_zone_a_piece_goes_once_and_from_there_on_within_it() {
    let fanout = fanout(1);
    let whole = asked(0..8 * MIB);
    // That this zone's width is used up keeps no other zone waiting, and none of these another one.
    let own = here(&fanout, &whole, near("n1")).await;
    let b1 = here(&fanout, &whole, far("b1")).await;
    let c1 = here(&fanout, &whole, far("c1")).await;
    let b2 = comes(&fanout, &whole, far("b2")).await;
    assert!(!b2.is_finished());
    sent(b1);
    let Admitted::Elsewhere(named) = b2.await.unwrap() else { panic!("it crosses twice") };
    assert_eq!(named, ["b1"]);
    // So also who comes when nobody is sent it any more.
    sent(c1);
    sent(own);
    tokio::time::sleep(LANDING * 2).await;
    assert_eq!(elsewhere(&fanout, &asked(3 * MIB..6 * MIB), far("b3")).await, ["b1"]);
    assert_eq!(elsewhere(&fanout, &whole, far("c2")).await, ["c1"]);
    // What one of this zone is sent is nobody else's matter until the width is used up. Then its own zone's are named, and no others.
    let _own = here(&fanout, &whole, near("n2")).await;
    assert_eq!(elsewhere(&fanout, &whole, near("n3")).await, ["n1"]);
    let waits = comes(&fanout, &whole, near("n1")).await;
    assert!(!waits.is_finished(), "it would cross to come back");
    // Background work and a zone that nobody has been sent it of.
    let background = Asked { priority: Priority::Prefetch, ..whole.clone() };
    assert_eq!(elsewhere(&fanout, &background, far("b4")).await, ["b1"]);
    sent(here(&fanout, &background, far("d1")).await);
}

#[tokio::test(start_paused = true)]
async fn another_part_of_an_extent_is_not_waited_for() {
    let fanout = fanout(4);
    let _part = here(&fanout, &asked(0..4 * MIB), far("b1")).await;
    sent(here(&fanout, &asked(2 * MIB..6 * MIB), far("b2")).await);
    let waits = comes(&fanout, &asked(MIB..3 * MIB), far("b3")).await;
    assert!(!waits.is_finished());
}

#[tokio::test(start_paused = true)]
async fn when_the_one_of_a_zone_fails_or_takes_nothing_the_next_gets_it() {
    let fanout = fanout(4);
    let Patience { mate, still, .. } = Patience::default();
    let whole = asked(0..8 * MIB);
    let b1 = here(&fanout, &whole, far("b1")).await;
    let b2 = comes(&fanout, &whole, far("b2")).await;
    assert!(!b2.is_finished());
    drop(b1);
    let b2 = is_sent(b2.await.unwrap());
    let (arrived, b3) = (Instant::now(), far("b3"));
    let unsent = b3.unsent.clone();
    b2.body.unsent.handed_out();
    let b3 = here(&fanout, &whole, b3).await;
    assert!(arrived.elapsed() >= still && arrived.elapsed() < mate, "{:?}", arrived.elapsed());
    // It goes on while that one is sent something, and not for long: whenever they came, then one of those who wait gets it, and the others wait
    // for that one.
    let begun = Instant::now();
    let b4 = comes(&fanout, &whole, far("b4")).await;
    tokio::time::sleep(mate / 2).await;
    let b5 = comes(&fanout, &whole, far("b5")).await;
    while !b4.is_finished() && !b5.is_finished() {
        unsent.handed_out();
        tokio::time::sleep(LANDING).await;
    }
    assert!(begun.elapsed() >= mate && begun.elapsed() < mate + LANDING * 5, "{:?}", begun.elapsed());
    let (next, other) = if b4.is_finished() { (b4, b5) } else { (b5, b4) };
    let next = is_sent(next.await.unwrap());
    tokio::time::sleep(LANDING * 3).await;
    assert!(!other.is_finished(), "one at a time");
    drop((b2, b3, next, is_sent(other.await.unwrap())));
}

#[tokio::test(start_paused = true)]
async fn of_many_that_are_sent_on_in_vain_one_gets_it_and_the_others_wait_for_that_one() {
    let fanout = fanout(4);
    let whole = asked(0..8 * MIB);
    sent(here(&fanout, &whole, far("b1")).await);
    // All but the last time, with the pauses of those who ask.
    for round in 0..SENT_ON - 1 {
        for mate in ["b2", "b3", "b4"] {
            assert_eq!(elsewhere(&fanout, &whole, far(mate)).await, ["b1"], "{mate}, round {round}");
        }
        tokio::time::sleep(NAMED_IN_VAIN * 2u32.pow(round)).await;
    }
    let b2 = here(&fanout, &whole, far("b2")).await;
    let (b3, b4) = (comes(&fanout, &whole, far("b3")).await, comes(&fanout, &whole, far("b4")).await);
    assert!(!b3.is_finished() && !b4.is_finished());
    sent(b2);
    for waits in [b3, b4] {
        let Admitted::Elsewhere(named) = waits.await.unwrap() else { panic!("it crosses for each") };
        assert_eq!(named, ["b2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_sent_in_vain_to_one_that_had_it_long_ago_gets_it() {
    let fanout = fanout(4);
    let (whole, part) = (asked(0..8 * MIB), asked(0..MIB));
    sent(here(&fanout, &whole, far("b1")).await);
    // A moment after it was sent, it may be about to have it.
    for _ in 0..3 {
        assert_eq!(elsewhere(&fanout, &whole, far("b2")).await, ["b1"]);
    }
    tokio::time::sleep(SETTLED).await;
    assert_eq!(elsewhere(&fanout, &whole, far("b2")).await, ["b1"]);
    assert_eq!(elsewhere(&fanout, &part, far("b2")).await, ["b1"], "it is not that which it was sent for");
    assert_eq!(elsewhere(&fanout, &whole, far("b3")).await, ["b1"], "nor was this one");
    let b2 = here(&fanout, &whole, far("b2")).await;
    let b3 = comes(&fanout, &whole, far("b3")).await;
    assert!(!b3.is_finished(), "another one of its zone is getting it");
    sent(b2);
    let Admitted::Elsewhere(named) = b3.await.unwrap() else { panic!("it crosses for each") };
    assert_eq!(named, ["b2"]);
    // For who knows of no failure there are two.
    assert_eq!(elsewhere(&fanout, &whole, far("b4")).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_bounded() {
    let fanout = fanout(1);
    for n in 0..3 * EXTENTS as u64 {
        sent(here(&fanout, &asked(n * EXTENT..n * EXTENT + MIB), near("n1")).await);
    }
    assert!(fanout.extents().len() <= EXTENTS + 1);
    sent(here(&fanout, &asked(0..MIB), far("b1")).await);
    for n in 0..3 * HOLDERS {
        sent(here(&fanout, &asked(0..MIB), near(&format!("n{n}"))).await);
    }
    assert!(fanout.extents().values().all(|crowd| crowd.holders.len() <= HOLDERS));
    assert_eq!(elsewhere(&fanout, &asked(0..MIB), far("b2")).await, ["b1"], "a zone of many makes no other one forgotten");
    tokio::time::sleep(SETTLED).await;
    for n in 0..3 * HOLDERS {
        elsewhere(&fanout, &asked(0..MIB), far(&format!("b{}", n + 2))).await;
    }
    assert!(fanout.extents().values().all(|crowd| crowd.sent_on.len() <= HOLDERS));
}
