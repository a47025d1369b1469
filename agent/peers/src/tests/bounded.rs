//! Agents that may send so much a second and no more.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::ring::{DEADLINE, Ring, patient};
use crate::{LEAST_BANDWIDTH, Limits, Spread};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_an_agent_sends_takes_its_time_and_nothing_comes_from_the_store_for_it() {
    let bound = LEAST_BANDWIDTH;
    let limits = Limits { bandwidth: Some(bound), ..patient() };
    let ring = Ring::with(2, limits, Spread::EveryNode, 256).await;
    let (meta, bytes) = ring.sums.put("big", 20 * MIB + 5);
    let mut sent = 0;
    for agent in &ring.agents {
        let begun = Instant::now();
        assert!(timeout(DEADLINE, agent.read(&meta)).await.unwrap().unwrap() == bytes);
        let took = begun.elapsed();
        let from_the_other = agent.fetcher.stats().peer_bytes;
        // A tenth of a second may be made up for at once.
        let least = (from_the_other as f64 / bound as f64 - 0.15).max(0.0);
        assert!(took >= Duration::from_secs_f64(least), "{} had {from_the_other} bytes in {took:?}", agent.node);
        sent += from_the_other;
    }
    assert_eq!(sent, meta.size, "each had the other's part from the other");
    assert_eq!(ring.store.bytes_requested(), meta.size);
}
