//! What many want at once: the first few get it from here, and the others from those.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_placement::EXTENT;
use forebay_store::policy::Priority;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::Asked;

/// A shorter body is over before anybody could be sent elsewhere for it.
const LEAST: u64 = 1 << 20;
/// Extents of which it is remembered who has them.
const EXTENTS: usize = 1024;
/// Nodes remembered for each.
const HOLDERS: usize = 32;
/// Nodes that one is sent to.
const NAMED: usize = 3;
/// Between the last byte of a body and the moment from which its receiver is named: it has yet to reach the receiver's cache.
const LANDING: Duration = Duration::from_millis(20);
/// For so long one is kept waiting for somebody else to have it.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a node got so long ago it may have given up.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Who is sent what now, and who has it.
#[derive(Debug)]
pub(crate) struct Fanout {
    /// Bodies of one extent at a time.
    width: usize,
    extents: Mutex<HashMap<Arc<Extent>, Crowd>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extent {
    dataset: String,
    store: String,
    key: String,
    version: String,
    number: u64,
}

#[derive(Debug, Default)]
struct Crowd {
    /// To readers, and to background work.
    sending: [usize; 2],
    /// The newest last.
    holders: VecDeque<Holder>,
    named: usize,
    /// Wakes those who wait for somebody to have it.
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Holder {
    node: String,
    range: Range<u64>,
    since: Instant,
}

/// Where a request is served.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// Here. `None`: it is nothing that many would wait for.
    Here(Option<Pass>),
    /// These nodes have it.
    Elsewhere(Vec<String>),
}

/// The right to send a body of an extent.
#[derive(Debug)]
pub(crate) struct Pass {
    fanout: Arc<Fanout>,
    extent: Arc<Extent>,
    class: usize,
    /// Whom it goes to, and what of the object.
    to: Option<(String, Range<u64>)>,
}

impl Fanout {
    pub(crate) fn new(width: usize) -> Self {
        Self { width: width.max(1), extents: Mutex::default() }
    }

    /// Waits until what `node` asks for may be sent from here, or somebody else has it. Who may not be sent elsewhere is not kept waiting, nor is
    /// anybody for longer than [`PATIENCE`].
    pub(crate) async fn admit(self: &Arc<Self>, asked: &Asked, node: &str) -> Admitted {
        let Asked { dataset, store, key, version, range, priority, held, elsewhere, .. } = asked;
        if *held || range.end - range.start < LEAST {
            return Admitted::Here(None);
        }
        let [dataset, store, key, version] = [dataset, store, key, version].map(String::clone);
        let extent = Arc::new(Extent { dataset, store, key, version, number: range.start / EXTENT });
        let arrived = Instant::now();
        loop {
            let patient = *elsewhere && arrived.elapsed() < PATIENCE;
            let changed = match self.try_admit(&extent, range, *priority, node, patient) {
                Ok(admitted) => return admitted,
                Err(changed) => changed,
            };
            // What was sent to its end a moment ago is named a moment later.
            let _ = timeout(LANDING, changed.notified()).await;
        }
    }

    /// `Err`: what wakes who waits.
    fn try_admit(
        self: &Arc<Self>,
        extent: &Arc<Extent>,
        range: &Range<u64>,
        priority: Priority,
        node: &str,
        patient: bool,
    ) -> Result<Admitted, Arc<Notify>> {
        let mut extents = self.extents();
        if extents.len() > EXTENTS {
            extents.retain(|_, crowd| crowd.sending != [0, 0]);
        }
        let crowd = extents.entry(extent.clone()).or_default();
        let [readers, background] = crowd.sending;
        // Readers do not wait for background work.
        let (class, before) = match priority {
            Priority::Reader => (0, readers),
            Priority::Prefetch => (1, readers + background),
        };
        if patient && before >= self.width {
            let named = crowd.named(node, range, Instant::now());
            return if named.is_empty() { Err(crowd.changed.clone()) } else { Ok(Admitted::Elsewhere(named)) };
        }
        crowd.sending[class] += 1;
        let to = Some((node.to_owned(), range.clone()));
        Ok(Admitted::Here(Some(Pass { fanout: self.clone(), extent: extent.clone(), class, to })))
    }

    fn extents(&self) -> MutexGuard<'_, HashMap<Arc<Extent>, Crowd>> {
        self.extents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crowd {
    /// Others than `node` that have all of `range`, by turns; those that have just got it not yet.
    fn named(&mut self, node: &str, range: &Range<u64>, now: Instant) -> Vec<String> {
        self.holders.retain(|holder| now.saturating_duration_since(holder.since) < FORGOTTEN);
        let has = |holder: &&Holder| {
            let landed = now.saturating_duration_since(holder.since) >= LANDING;
            landed && holder.node != node && holder.range.start <= range.start && range.end <= holder.range.end
        };
        let having: Vec<&str> = self.holders.iter().filter(has).map(|holder| &*holder.node).collect();
        self.named = self.named.wrapping_add(1);
        let by_turns = having.iter().cycle().skip(self.named % having.len().max(1));
        by_turns.take(NAMED.min(having.len())).map(|node| (*node).to_owned()).collect()
    }

    fn add(&mut self, node: String, range: Range<u64>, since: Instant) {
        // Pieces that follow each other are one.
        if let Some(known) = self.holders.iter_mut().find(|known| known.node == node && known.range.end == range.start) {
            known.range.end = range.end;
            known.since = since;
            return;
        }
        if self.holders.len() == HOLDERS {
            self.holders.pop_front();
        }
        self.holders.push_back(Holder { node, range, since });
    }
}

impl Pass {
    /// All of it was sent.
    pub(crate) fn done(&mut self) {
        let Some((node, range)) = self.to.take() else { return };
        if let Some(crowd) = self.fanout.extents().get_mut(&self.extent) {
            crowd.add(node, range, Instant::now());
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(crowd) = self.fanout.extents().get_mut(&self.extent) {
            crowd.sending[self.class] = crowd.sending[self.class].saturating_sub(1);
            crowd.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

    use super::*;

    const MIB: u64 = 1 << 20;

    fn asked(range: Range<u64>) -> Asked {
        let (dataset, store, key, version) = ("ml/a".into(), "s3://b".into(), "weights".into(), "v1".into());
        Asked { dataset, store, key, version, size: 64 * MIB, range, priority: Priority::Reader, held: false, elsewhere: true }
    }

    async fn here(fanout: &Arc<Fanout>, asked: &Asked, node: &str) -> Pass {
        match fanout.admit(asked, node).await {
            Admitted::Here(Some(pass)) => pass,
            other => panic!("{node}: {other:?}"),
        }
    }

    fn sent(mut pass: Pass) {
        pass.done();
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_the_width_wait_for_a_node_that_has_it_and_are_sent_there() {
        let fanout = Arc::new(Fanout::new(2));
        let whole = asked(0..8 * MIB);
        let (first, second) = (here(&fanout, &whole, "n1").await, here(&fanout, &whole, "n2").await);
        // Another extent, and what is short, do not wait.
        let _other = here(&fanout, &asked(8 * MIB..16 * MIB), "n3").await;
        assert!(matches!(fanout.admit(&asked(0..MIB - 1), "n3").await, Admitted::Here(None)));
        let third = tokio::spawn({
            let (fanout, whole) = (fanout.clone(), whole.clone());
            async move { fanout.admit(&whole, "n3").await }
        });
        tokio::time::sleep(LANDING * 3).await;
        assert!(!third.is_finished(), "nobody has it");
        sent(first);
        let third = third.await.unwrap();
        let Admitted::Here(Some(third)) = third else { panic!("a place was free: {third:?}") };
        // Now one has it, and both places are taken.
        for (part, to) in [(0..8 * MIB, "n4"), (2 * MIB..5 * MIB, "n5")] {
            let Admitted::Elsewhere(named) = fanout.admit(&asked(part), to).await else { panic!("{to}") };
            assert_eq!(named, ["n1"]);
        }
        // It is not sent to itself, and who may not be sent elsewhere does not wait.
        timeout(LANDING * 3, fanout.admit(&whole, "n1")).await.unwrap_err();
        let _insists = here(&fanout, &Asked { elsewhere: false, ..whole.clone() }, "n4").await;
        drop((second, third));
        let extents = fanout.extents();
        let sending = |number: u64| extents.iter().find(|(extent, _)| extent.number == number).map(|(_, crowd)| crowd.sending);
        assert_eq!((sending(0), sending(1)), (Some([1, 0]), Some([1, 0])));
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_got_all_of_it_is_named_and_pieces_add_up() {
        let fanout = Arc::new(Fanout::new(1));
        // This one broke off.
        drop(here(&fanout, &asked(0..4 * MIB), "n0").await);
        for part in [0..4 * MIB, 4 * MIB..8 * MIB] {
            sent(here(&fanout, &asked(part), "n1").await);
        }
        sent(here(&fanout, &asked(4 * MIB..8 * MIB), "n2").await);
        tokio::time::sleep(LANDING * 2).await;
        let _busy = here(&fanout, &asked(0..8 * MIB), "n8").await;
        for (part, having) in [(0..8 * MIB, vec!["n1"]), (5 * MIB..6 * MIB, vec!["n1", "n2"]), (MIB..2 * MIB, vec!["n1"])] {
            let Admitted::Elsewhere(mut named) = fanout.admit(&asked(part.clone()), "n9").await else { panic!("{part:?}") };
            named.sort();
            assert_eq!(named, having, "{part:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_waits_for_readers_and_nobody_for_long() {
        let fanout = Arc::new(Fanout::new(1));
        let background = Asked { priority: Priority::Prefetch, ..asked(0..MIB) };
        let (_prefetch, _reader) = (here(&fanout, &background, "n1").await, here(&fanout, &asked(0..MIB), "n2").await);
        let (arrived, other) = (Instant::now(), timeout(PATIENCE / 2, fanout.admit(&background, "n3")));
        other.await.unwrap_err();
        let _late = here(&fanout, &background, "n3").await;
        assert!(arrived.elapsed() >= PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let fanout = Arc::new(Fanout::new(1));
        for n in 0..3 * EXTENTS as u64 {
            sent(here(&fanout, &asked(n * EXTENT..n * EXTENT + MIB), "n1").await);
        }
        assert!(fanout.extents().len() <= EXTENTS + 1);
        for n in 0..3 * HOLDERS {
            sent(here(&fanout, &asked(0..MIB), &format!("n{n}")).await);
        }
        assert!(fanout.extents().values().all(|crowd| crowd.holders.len() <= HOLDERS));
    }
}
