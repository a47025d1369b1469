#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use futures::future::join_all;

use super::*;
use crate::Limits;

const MIB: usize = 1 << 20;
/// What the bound allows to be made up for at once, in seconds.
const BURST: f64 = 0.1;

fn throttle() -> Arc<Throttle> {
    Arc::new(Throttle::new(LEAST_BANDWIDTH))
}

/// A body of that many bytes, in pieces of that size.
fn body(throttle: &Arc<Throttle>, priority: Priority, len: usize, piece: usize) -> Answer {
    let bytes = Bytes::from((0..len).map(|n| n as u8).collect::<Vec<_>>());
    let pieces: Vec<_> = (0..len).step_by(piece).map(|at| Ok(bytes.slice(at..len.min(at + piece)))).collect();
    throttle.pace(stream::iter(pieces).boxed(), priority)
}

/// Reads a body: how long it took, and the longest that nothing came.
async fn read(mut body: Answer, len: usize) -> (Duration, Duration) {
    let (begun, mut last, mut longest, mut got) = (Instant::now(), Instant::now(), Duration::ZERO, 0usize);
    while let Some(piece) = body.next().await {
        let piece = piece.unwrap();
        assert!(piece.len() <= PIECE && piece.iter().zip(got..).all(|(byte, at)| *byte == at as u8));
        got += piece.len();
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    assert_eq!(got, len);
    (begun.elapsed(), longest)
}

/// So many bodies of that kind that end with the test.
fn endless(throttle: &Arc<Throttle>, priority: Priority, bodies: usize) {
    let piece = Bytes::from(vec![0; PIECE]);
    for _ in 0..bodies {
        let pieces = stream::repeat(piece.clone()).map(Ok).boxed();
        let mut body = throttle.pace(pieces, priority);
        tokio::spawn(async move { while body.next().await.is_some() {} });
    }
}

#[tokio::test(start_paused = true)]
async fn the_bound_holds_for_all_bodies_together() {
    use Priority::{Prefetch, Reader};
    for kinds in [vec![Reader], vec![Prefetch], vec![Reader; 4], vec![Prefetch; 4], vec![Reader, Prefetch, Reader, Prefetch]] {
        let throttle = throttle();
        let begun = Instant::now();
        // Blocks of a cache, small pieces, and some that are no multiple of anything.
        let sizes = [MIB, 70_001, 300_000, 4096];
        let bodies = kinds.iter().zip(sizes).map(|(kind, piece)| read(body(&throttle, *kind, 8 * MIB, piece), 8 * MIB));
        join_all(bodies).await;
        let seconds = begun.elapsed().as_secs_f64();
        let least = (kinds.len() * 8 * MIB) as f64 / LEAST_BANDWIDTH as f64;
        let right = least - BURST..least * 1.02 + BURST;
        assert!(right.contains(&seconds), "{kinds:?}: {seconds} s for {least} s worth of bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn readers_do_not_wait_for_the_background() {
    let throttle = throttle();
    endless(&throttle, Priority::Prefetch, 6);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (took, _) = read(body(&throttle, Priority::Reader, 8 * MIB, MIB), 8 * MIB).await;
    // One piece of the background may be before the first of the reader's.
    assert!(took < Duration::from_millis(1100), "{took:?} for a second's worth of bytes");
}

#[tokio::test(start_paused = true)]
async fn the_background_has_what_readers_leave() {
    let throttle = throttle();
    let reader = async {
        for _ in 0..20 {
            // A quarter of the bound.
            read(body(&throttle, Priority::Reader, PIECE, PIECE), PIECE).await;
            tokio::time::sleep(Duration::from_millis(125)).await;
        }
    };
    let background = read(body(&throttle, Priority::Prefetch, 8 * MIB, MIB), 8 * MIB);
    let ((), (took, _)) = tokio::join!(reader, background);
    assert!(took < Duration::from_millis(2000), "{took:?} for a second's worth of bytes");
}

/// Every place is taken and used: what is begun comes to its end before whoever asked gives it up.
#[tokio::test(start_paused = true)]
async fn each_body_goes_on_and_ends_within_the_asking_sides_limits() {
    let (places, limits) = (room(LEAST_BANDWIDTH, 1), Limits::default());
    assert_eq!(places, 8);
    for (priority, whole) in [(Priority::Reader, 8.0), (Priority::Prefetch, 11.0)] {
        let throttle = throttle();
        endless(&throttle, Priority::Reader, places - 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (took, longest) = read(body(&throttle, priority, 8 * MIB, MIB), 8 * MIB).await;
        // Before it begins it may have waited to be admitted and for its turn.
        let admitted = Duration::from_secs(6);
        assert!(longest < limits.progress && took + admitted < limits.whole, "{priority:?}: {took:?}, {longest:?}");
        assert!(took.as_secs_f64() < whole + 0.5, "{priority:?}: {took:?}");
        assert!(priority == Priority::Reader || took > PATIENCE, "readers come first");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_says_why() {
    let pieces = stream::iter([Ok(Bytes::from(vec![0; 3])), Ok(Bytes::new()), Err(BodyError::from("gone"))]);
    let body = throttle().pace(pieces.boxed(), Priority::Prefetch);
    let got: Vec<_> = body.map(|piece| piece.map_err(|error| error.to_string())).collect().await;
    assert_eq!(got, [Ok(Bytes::from(vec![0; 3])), Err("gone".to_owned())]);
}
