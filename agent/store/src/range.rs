//! Ranges and lengths: the pure rules that every adapter and the policy share.

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::{ByteStream, StoreError, StoreErrorKind};

/// Whether a range is one that [`crate::UnderStore::get`] accepts of an object of `size` bytes.
pub(crate) fn within(range: &Range<u64>, size: u64) -> bool {
    range.start < range.end && range.end <= size
}

/// The value of a `Range` header for a half-open, non-empty range.
pub fn header(range: &Range<u64>) -> String {
    format!("bytes={}-{}", range.start, range.end.saturating_sub(1))
}

/// Reads `Content-Range: bytes 0-9/100` as (the half-open range, the object's size if told).
pub(crate) fn parse_content_range(value: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (span, total) = value.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = span.trim().split_once('-')?;
    let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse::<u64>().ok()?),
    };
    let end = last.checked_add(1)?;
    (first < end && total.is_none_or(|total| end <= total)).then_some((first..end, total))
}

/// What a body of `expected` bytes may do with its next chunk, `got` bytes in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Pass it on.
    More,
    /// More bytes than promised.
    TooLong,
}

pub(crate) fn step(got: u64, chunk: usize, expected: u64) -> Step {
    if got.saturating_add(chunk as u64) > expected { Step::TooLong } else { Step::More }
}

/// Holds a body to its promise: a short one ends with `Truncated`, a long one with `Protocol`, and nothing
/// follows an error. `error` makes the store's error from a kind.
pub(crate) fn exact(
    body: ByteStream,
    expected: u64,
    error: impl Fn(StoreErrorKind) -> StoreError + Send + 'static,
) -> ByteStream {
    let state = Some((body, 0u64, error));
    stream::unfold(state, move |state| async move {
        let (mut body, got, error) = state?;
        loop {
            return match body.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => match step(got, chunk.len(), expected) {
                    Step::More => {
                        let got = got + chunk.len() as u64;
                        Some((Ok::<Bytes, _>(chunk), Some((body, got, error))))
                    }
                    Step::TooLong => {
                        let text = format!("a body of {expected} bytes went on beyond them");
                        Some((Err(error(StoreErrorKind::Protocol(text))), None))
                    }
                },
                Some(Err(failed)) => Some((Err(failed), None)),
                None if got < expected => Some((Err(error(StoreErrorKind::Truncated { got, expected })), None)),
                None => None,
            };
        }
    })
    .boxed()
}

/// Drops the first `skip` bytes of a body and ends it after `length` more.
pub(crate) fn cut(body: ByteStream, skip: u64, length: u64) -> ByteStream {
    let whole = skip + length;
    stream::unfold((body, 0u64), move |(mut body, mut at)| async move {
        while at < whole {
            let mut chunk = match body.next().await? {
                Ok(chunk) => chunk,
                Err(error) => return Some((Err(error), (stream::empty().boxed(), at))),
            };
            let begin = at;
            at += chunk.len() as u64;
            if at <= skip {
                continue;
            }
            chunk.truncate(chunk.len() - at.saturating_sub(whole) as usize);
            let chunk = chunk.split_off(skip.saturating_sub(begin) as usize);
            return Some((Ok(chunk), (body, at)));
        }
        None
    })
    .boxed()
}

#[cfg(test)]
mod tests;
