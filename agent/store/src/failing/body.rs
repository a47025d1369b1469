use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};

use super::{Fault, Flight};
use crate::{ByteStream, StoreError, StoreErrorKind, StoreResult};

/// What happens to a body once it has delivered `at` bytes.
enum End {
    Never,
    Fail(u64, StoreErrorKind),
    Stall(u64),
    Wait(u64, super::Gate),
}

impl End {
    fn at(&self) -> Option<u64> {
        match self {
            End::Never => None,
            End::Fail(at, _) | End::Stall(at) | End::Wait(at, _) => Some(*at),
        }
    }
}

/// Applies a body's fault, and counts what it delivers for as long as it lives.
pub(super) fn spoil(
    body: ByteStream,
    expected: u64,
    fault: Option<Fault>,
    flight: Flight,
    error: impl Fn(StoreErrorKind) -> StoreError + Send + 'static,
) -> ByteStream {
    let (end, wrong) = match fault {
        Some(Fault::Truncate(at)) => (End::Fail(at, StoreErrorKind::Truncated { got: at, expected }), None),
        Some(Fault::Break(at, kind)) => (End::Fail(at, kind), None),
        Some(Fault::Stall(at)) => (End::Stall(at), None),
        Some(Fault::WaitBody(at, gate)) => (End::Wait(at, gate), None),
        Some(Fault::WrongByte(at)) => (End::Never, Some(at)),
        _ => (End::Never, None),
    };
    let state = Some(Spoiled { body, pending: VecDeque::new(), got: 0, end, wrong, flight, error });
    stream::unfold(state, |state| async move {
        let mut state = state?;
        let item = state.next().await?;
        let rest = item.is_ok().then_some(state);
        Some((item, rest))
    })
    .boxed()
}

struct Spoiled<E> {
    body: ByteStream,
    pending: VecDeque<Bytes>,
    got: u64,
    end: End,
    wrong: Option<u64>,
    flight: Flight,
    error: E,
}

impl<E: Fn(StoreErrorKind) -> StoreError + Send> Spoiled<E> {
    async fn next(&mut self) -> Option<StoreResult<Bytes>> {
        if self.end.at() == Some(self.got) {
            match std::mem::replace(&mut self.end, End::Never) {
                End::Never => {}
                End::Fail(_, kind) => return Some(Err((self.error)(kind))),
                End::Stall(_) => std::future::pending().await,
                End::Wait(_, gate) => gate.wait().await,
            }
        }
        let mut chunk = match self.pending.pop_front() {
            Some(chunk) => chunk,
            None => match self.body.next().await? {
                Ok(chunk) => chunk,
                Err(error) => return Some(Err(error)),
            },
        };
        if let Some(left) = self.end.at().map(|at| at.saturating_sub(self.got))
            && left < chunk.len() as u64
        {
            self.pending.push_front(chunk.split_off(left as usize));
        }
        if let Some(index) = self.wrong.and_then(|at| at.checked_sub(self.got))
            && index < chunk.len() as u64
        {
            let mut spoiled = BytesMut::from(&chunk[..]);
            spoiled[index as usize] ^= 0xff;
            chunk = spoiled.freeze();
        }
        self.got += chunk.len() as u64;
        self.flight.delivered(chunk.len());
        Some(Ok(chunk))
    }
}
