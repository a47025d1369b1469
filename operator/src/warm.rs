//! Nodes take no pods before they are warm: the startup taint of new nodes, and when it is lifted.
//!
//! `observe` reads the caches and what agents said, `decide` is pure, `apply` makes the only writes. Nodes are looked at once a
//! second, since what is waited for is time as well as words; of a node that carries no taint and asks for no condition the look
//! costs nothing.

mod apply;
mod decide;
mod observe;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{MissedTickBehavior, interval};

use crate::context::Context;

/// How often nodes are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Nodes written to at a time: an autoscaler may add hundreds at once.
const AT_ONCE: usize = 8;

/// Lifts taints and keeps the nodes' conditions, until its future is dropped.
pub(crate) async fn run(context: Arc<Context>) {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let sights = observe::observe(&context);
        let changes: Vec<_> =
            sights.into_iter().filter_map(|sight| decide::decide(&sight).map(|change| (sight, change))).collect();
        futures::stream::iter(changes)
            .for_each_concurrent(AT_ONCE, |(sight, change)| apply::apply(&context, sight, change))
            .await;
    }
}
