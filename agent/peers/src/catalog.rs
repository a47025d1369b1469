//! Catalogs from other agents, so that many nodes list the stores of one Dataset once.

use std::fs::File;
use std::io::{self, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use crate::AskedCatalog;
use crate::net::Net;
use crate::peer::{Peer, PeerBody, PeerCatalog, PeerError};

/// For so long an agent that starts waits to hear who else there is.
const KNOWN: Duration = Duration::from_secs(3);
/// The least time between two questions to one peer.
const PAUSE: Duration = Duration::from_millis(500);

/// Which catalog does.
#[derive(Clone, Debug)]
pub struct WantedCatalog {
    /// The Dataset, `namespace/name`.
    pub dataset: String,
    /// Stands for this very Dataset and its mounts.
    pub tree: String,
    /// Its listing began no earlier; `None`: whenever.
    pub since: Option<Instant>,
    /// Or it was made for this wish, whenever that was.
    pub wish: Option<String>,
}

impl WantedCatalog {
    fn asked(&self, held: bool) -> AskedCatalog {
        let Self { dataset, tree, since, wish } = self.clone();
        AskedCatalog { dataset, tree, within: since.map(|since| since.elapsed()), wish, held }
    }
}

impl Net {
    /// Writes a catalog of another agent to `into`, as it came, and gives the time since its listing began. `None`: there is none to be
    /// had, and it is for this node to list. While another lists, it is waited for; `seen` says how many objects that has seen.
    pub async fn catalog(self: &Arc<Self>, wanted: &WantedCatalog, into: File, seen: &AtomicU64) -> Option<Duration> {
        let mut members = self.members();
        let _ = tokio::time::timeout(KNOWN, members.wait_for(|members| *members != 0)).await;
        let (peers, held) = self.to_ask_for_catalog(&wanted.dataset);
        let mut into = tokio::fs::File::from_std(into);
        for peer in peers {
            if !peer.breaker().allows(self.now()) {
                continue;
            }
            if let Some(age) = self.catalog_of(&peer, wanted, held, &mut into, seen).await {
                return Some(age);
            }
        }
        None
    }

    async fn catalog_of(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        wanted: &WantedCatalog,
        held: bool,
        into: &mut tokio::fs::File,
        seen: &AtomicU64,
    ) -> Option<Duration> {
        let mut moved = (0, Instant::now());
        loop {
            let asked_at = Instant::now();
            let waits = match peer.catalog(self, &wanted.asked(held)).await {
                Ok(PeerCatalog::Here { body, age }) => {
                    let answered_at = Instant::now();
                    match copy(body, into).await {
                        Ok(()) => return Some(age.saturating_add(answered_at.elapsed())),
                        Err(error) => Err(error.to_string()),
                    }
                }
                Ok(PeerCatalog::NotYet { seen: now }) => {
                    // 0 says nothing: who is asked by many has no time to look.
                    if now != 0 && now != moved.0 {
                        seen.store(now, Ordering::Relaxed);
                        moved = (now, Instant::now());
                    }
                    Ok(())
                }
                Err(PeerError::Busy | PeerError::Refused(StatusCode::SERVICE_UNAVAILABLE)) => Ok(()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = waits {
                tracing::debug!(peer = %peer.address(), dataset = wanted.dataset, why, "a peer gave no catalog");
                return None;
            }
            if moved.1.elapsed() > self.limits.listing {
                tracing::warn!(peer = %peer.address(), dataset = wanted.dataset, "a peer lists, and nothing comes of it");
                return None;
            }
            tokio::time::sleep(PAUSE.saturating_sub(asked_at.elapsed())).await;
        }
    }
}

async fn copy(mut body: PeerBody, into: &mut tokio::fs::File) -> io::Result<()> {
    into.set_len(0).await?;
    into.seek(SeekFrom::Start(0)).await?;
    while let Some(piece) = body.next().await.map_err(io::Error::other)? {
        into.write_all(&piece).await?;
    }
    into.flush().await
}
