//! A body that a peer gives, and the store to its end if the peer does not.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use forebay_store::{ByteStream, ObjectMeta, ObjectVersion, StoreError, StoreErrorKind, StoreResult, Tally, UnderStore};
use futures::{StreamExt as _, stream};
use md5::{Digest as _, Md5};

use crate::net::Net;
use crate::peer::{Peer, PeerBody};

/// Where the rest comes from.
pub(crate) struct Rest {
    pub(crate) direct: Arc<dyn UnderStore>,
    pub(crate) meta: ObjectMeta,
    pub(crate) range: Range<u64>,
}

/// The bytes of `rest.range`. With `sum`, that of the whole range, the last piece comes only if it holds.
pub(crate) fn relayed(net: Arc<Net>, body: PeerBody, sum: Option<[u8; 16]>, rest: Rest, tally: Arc<Tally>) -> ByteStream {
    let peer = body.peer().clone();
    let at = rest.range.start;
    let sum = sum.map(|sum| (Md5::new(), sum));
    let state = Relayed { net, from: From::Peer(body), peer, sum, rest, at, tally, late: None };
    let pieces = stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        match state.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(state))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    pieces.boxed()
}

enum From {
    Peer(PeerBody),
    Store(ByteStream),
    /// All of it has come.
    Nowhere,
}

/// Bytes, and whether the peer gave them.
type Piece = (Bytes, bool);

struct Relayed {
    net: Arc<Net>,
    from: From,
    peer: Arc<Peer>,
    sum: Option<(Md5, [u8; 16])>,
    rest: Rest,
    at: u64,
    tally: Arc<Tally>,
    /// The newest piece, held back until it is known not to be the last one of wrong bytes.
    late: Option<Piece>,
}

impl Relayed {
    async fn next(&mut self) -> StoreResult<Option<Bytes>> {
        let piece = match self.sum {
            None => self.read().await?,
            Some(_) => self.next_but_one().await?,
        };
        Ok(piece.map(|(bytes, from_peer)| {
            if from_peer {
                self.tally.peer_bytes(bytes.len() as u64);
            }
            bytes
        }))
    }

    /// The piece before the newest, so that the last one comes after all of them were looked at.
    async fn next_but_one(&mut self) -> StoreResult<Option<Piece>> {
        loop {
            let piece = self.read().await?;
            let Some((bytes, _)) = &piece else {
                self.judge()?;
                return Ok(self.late.take());
            };
            if let Some((running, _)) = &mut self.sum {
                running.update(bytes);
            }
            if let Some(before) = std::mem::replace(&mut self.late, piece) {
                return Ok(Some(before));
            }
        }
    }

    /// At the end: whether the bytes are those of this version.
    fn judge(&mut self) -> StoreResult<()> {
        let Some((running, sum)) = &mut self.sum else { return Ok(()) };
        if running.finalize_reset()[..] == sum[..] {
            self.sum = None;
            return Ok(());
        }
        let error = self.error(StoreErrorKind::Corrupt);
        tracing::warn!(peer = %self.peer.address(), object = self.rest.meta.key, "a peer gave wrong bytes; nobody has seen them, and it is not asked for a while");
        self.peer.breaker().lied(self.net.now());
        Err(error)
    }

    fn error(&self, kind: StoreErrorKind) -> StoreError {
        StoreError::new(self.rest.direct.id(), "get", &self.rest.meta.key, kind)
            .with_cause(format!("from the agent at {}", self.peer.address()))
    }

    async fn read(&mut self) -> StoreResult<Option<Piece>> {
        loop {
            let broken = match &mut self.from {
                From::Store(body) => return body.next().await.transpose().map(|piece| piece.map(|bytes| (bytes, false))),
                From::Peer(body) => match body.next().await {
                    Ok(Some(piece)) => {
                        self.at += piece.len() as u64;
                        return Ok(Some((piece, true)));
                    }
                    Ok(None) => return Ok(None),
                    Err(error) => error,
                },
                From::Nowhere => return Ok(None),
            };
            // A range that is empty is not to be asked for, and how a body ends changes none of its bytes.
            if self.at >= self.rest.range.end {
                tracing::debug!(peer = %self.peer.address(), object = self.rest.meta.key, error = %broken, "a peer gave all, and did not end as it should");
                self.from = From::Nowhere;
                return Ok(None);
            }
            tracing::debug!(peer = %self.peer.address(), object = self.rest.meta.key, error = %broken, "a peer did not give all; the store gives the rest");
            let Rest { direct, meta, range } = &self.rest;
            let object = ObjectVersion { key: &meta.key, version: &meta.version, size: meta.size };
            let got = direct.get_object(object, self.at..range.end, &self.tally).await?;
            self.from = From::Store(got.body);
        }
    }
}
