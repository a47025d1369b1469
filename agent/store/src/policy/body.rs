use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::Resilient;
use super::retry::Attempts;
use super::slots::Slot;
use super::verify::Verifier;
use crate::{ByteStream, GetStream, ObjectMeta, StoreError, StoreErrorKind, StoreResult, UnderStore};

/// Puts time limits, resumption, bandwidth and verification around a body that has just begun.
pub(super) fn resuming(store: Resilient, got: GetStream, slot: Slot, range: Range<u64>, attempts: Attempts) -> GetStream {
    let GetStream { meta, checksum, body } = got;
    let is_whole = range == (0..meta.size) && store.shared.limits.verify_checksums;
    let verifier = Verifier::new(checksum.filter(|_| is_whole));
    let running = Running { store, meta: meta.clone(), rest: range, attempts, verifier, source: Some((body, slot)) };
    let body = stream::unfold(Some(running), |running| async move {
        let mut running = running?;
        let item = running.next().await?;
        let next = item.is_ok().then_some(running);
        Some((item, next))
    });
    GetStream { meta, checksum, body: body.boxed() }
}

struct Running {
    store: Resilient,
    meta: ObjectMeta,
    /// What is still to come; resumption starts at its start.
    rest: Range<u64>,
    attempts: Attempts,
    verifier: Verifier,
    /// The body being read and its slot; none between a failure and its resumption.
    source: Option<(ByteStream, Slot)>,
}

impl Running {
    async fn next(&mut self) -> Option<StoreResult<Bytes>> {
        while !self.rest.is_empty() {
            // An error of `reopen` has used up its retries already.
            if self.source.is_none()
                && let Err(error) = self.reopen().await
            {
                return Some(Err(error));
            }
            match self.read().await {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => return Some(self.accept(chunk).await),
                Err(error) => {
                    // The connection and the slot go before the wait.
                    self.source = None;
                    if let Err(error) = self.store.wait_to_retry(&mut self.attempts, error).await {
                        return Some(Err(error));
                    }
                }
            }
        }
        None
    }

    /// Asks for the rest, of the same version.
    async fn reopen(&mut self) -> StoreResult<()> {
        let (store, key, version, rest) = (&self.store, &self.meta.key, &self.meta.version, self.rest.clone());
        let call = || store.shared.inner.get(key, version, rest.clone());
        let (got, slot) = store.run(&mut self.attempts, "get", key, call).await?;
        if got.meta.size != self.meta.size {
            // The same version of another size: the store's versions cannot be trusted for this object.
            let found = format!("{}, {} bytes", got.meta.version, got.meta.size);
            return Err(self.error(StoreErrorKind::Changed { expected: self.meta.version.clone(), found }));
        }
        self.source = Some((got.body, slot));
        Ok(())
    }

    /// The next bytes of the body being read.
    async fn read(&mut self) -> StoreResult<Bytes> {
        // Adapters end a short body with an error, so an end is a fault of theirs; resuming is right all the same.
        let ended = |running: &Self| {
            let expected = running.rest.end - running.rest.start;
            Err(running.error(StoreErrorKind::Truncated { got: 0, expected }))
        };
        let limit = self.store.shared.limits.progress_timeout;
        let Some((body, _)) = &mut self.source else { return ended(self) };
        match tokio::time::timeout(limit, body.next()).await {
            Ok(Some(item)) => item,
            Ok(None) => ended(self),
            Err(_) => Err(self.store.timeout("get", &self.meta.key, "progress_timeout", limit)),
        }
    }

    async fn accept(&mut self, chunk: Bytes) -> StoreResult<Bytes> {
        let length = chunk.len() as u64;
        if length > self.rest.end - self.rest.start {
            self.source = None;
            return Err(self.error(StoreErrorKind::Protocol("a body went on beyond its range".to_owned())));
        }
        self.attempts.progress();
        self.rest.start += length;
        self.verifier.update(&chunk);
        if self.rest.is_empty() {
            // The slot is free for others while the last chunk is paid for and used. Reading on to the body's end first lets
            // the connection be used again.
            self.drain().await;
            if !self.verifier.holds() {
                self.store.shared.stats.failure(&StoreErrorKind::Corrupt);
                return Err(self.error(StoreErrorKind::Corrupt));
            }
        }
        self.store.shared.pay(self.store.priority, chunk.len()).await;
        Ok(chunk)
    }

    async fn drain(&mut self) {
        if let Some((mut body, _slot)) = self.source.take() {
            let limit = self.store.shared.limits.progress_timeout.min(std::time::Duration::from_secs(1));
            // Whatever comes is not ours: a length that is right is right.
            let _ = tokio::time::timeout(limit, body.next()).await;
        }
    }

    fn error(&self, kind: StoreErrorKind) -> StoreError {
        StoreError::new(self.store.id(), "get", &self.meta.key, kind)
    }
}
