//! What many want at once: the first few get it from here, and the others from those. Of another zone one gets it from here, and the others of
//! that zone from it, for bytes that cross zones cost money.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_placement::EXTENT;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::unsent::Unsent;
use crate::{Asked, Patience};

mod crowd;

use crowd::{Body, Crowd, LANDING, Place};

/// A shorter body is over before anybody could be sent elsewhere for it.
const LEAST: u64 = 1 << 20;
/// Extents of which it is remembered who has them.
const EXTENTS: usize = 1024;

/// Who is sent what now, and who has it.
#[derive(Debug)]
pub(crate) struct Fanout {
    /// Bodies of one extent at a time within this zone. Other zones are few, and each gets one at a time.
    width: usize,
    patience: Patience,
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

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) node: &'a str,
    /// The node's zone, where that is known to be another than this agent's.
    pub(crate) zone: Option<String>,
    /// Of the connection to it.
    pub(crate) unsent: Arc<Unsent>,
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
    body: Arc<Body>,
    done: bool,
}

impl Fanout {
    pub(crate) fn new(width: usize, patience: Patience) -> Self {
        Self { width: width.max(1), patience, extents: Mutex::default() }
    }

    /// Waits until what is asked for may be sent from here, or somebody else has it. Who may not be sent elsewhere is not kept waiting, nor is
    /// anybody for longer than [`Patience::elsewhere`].
    pub(crate) async fn admit(self: &Arc<Self>, asked: &Asked, asker: Asker<'_>) -> Admitted {
        let Asked { dataset, store, key, version, range, priority, held, elsewhere, .. } = asked;
        if *held || range.end - range.start < LEAST {
            return Admitted::Here(None);
        }
        let [dataset, store, key, version] = [dataset, store, key, version].map(String::clone);
        let extent = Arc::new(Extent { dataset, store, key, version, number: range.start / EXTENT });
        let Asker { node, zone, unsent } = asker;
        let wanted = Arc::new(Body { node: node.to_owned(), zone, range: range.clone(), priority: *priority, unsent });
        let arrived = Instant::now();
        loop {
            let patient = *elsewhere && arrived.elapsed() < self.patience.elsewhere;
            let changed = match self.try_admit(&extent, &wanted, patient) {
                Ok(admitted) => return admitted,
                Err(changed) => changed,
            };
            // What was sent to its end a moment ago is named a moment later.
            let _ = timeout(LANDING, changed.notified()).await;
        }
    }

    /// `Err`: what wakes who waits.
    fn try_admit(self: &Arc<Self>, extent: &Arc<Extent>, wanted: &Arc<Body>, patient: bool) -> Result<Admitted, Arc<Notify>> {
        let mut extents = self.extents();
        if extents.len() > EXTENTS {
            extents.retain(|_, crowd| !crowd.bodies.is_empty());
        }
        let crowd = extents.entry(extent.clone()).or_default();
        let now = Instant::now();
        let place = if patient { crowd.place(wanted, self.width, &self.patience, now) } else { Place::Here };
        match place {
            Place::Later => Err(crowd.changed.clone()),
            Place::Elsewhere(named) => Ok(Admitted::Elsewhere(named)),
            Place::Here => {
                crowd.begin(wanted.clone(), now);
                let (fanout, extent, body) = (self.clone(), extent.clone(), wanted.clone());
                Ok(Admitted::Here(Some(Pass { fanout, extent, body, done: false })))
            }
        }
    }

    fn extents(&self) -> MutexGuard<'_, HashMap<Arc<Extent>, Crowd>> {
        self.extents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// All of it was sent.
    pub(crate) fn done(&mut self) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        if let Some(crowd) = self.fanout.extents().get_mut(&self.extent) {
            crowd.sent(&self.body, Instant::now());
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(crowd) = self.fanout.extents().get_mut(&self.extent) {
            crowd.end(&self.body);
        }
    }
}

#[cfg(test)]
mod tests;
