#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures::TryStreamExt;
use proptest::prelude::*;

use super::*;
use crate::StoreId;

fn error(kind: StoreErrorKind) -> StoreError {
    StoreError::new(&StoreId::new("t://t"), "get", "k", kind)
}

fn run(chunks: Vec<usize>, expected: u64) -> (u64, Option<StoreErrorKind>) {
    let body = stream::iter(chunks.into_iter().map(|len| Ok(Bytes::from(vec![0; len])))).boxed();
    futures::executor::block_on(async {
        let mut body = exact(body, expected, error);
        let mut got = 0;
        loop {
            match body.try_next().await {
                Ok(Some(chunk)) => got += chunk.len() as u64,
                Ok(None) => return (got, None),
                Err(error) => {
                    assert!(body.next().await.is_none(), "something followed an error");
                    return (got, Some(error.kind));
                }
            }
        }
    })
}

proptest! {
    #[test]
    fn a_body_has_its_length_or_ends_with_an_error(chunks in prop::collection::vec(0usize..50, 0..8), offset in -3i64..=3) {
        let total: u64 = chunks.iter().map(|len| *len as u64).sum();
        let expected = total.saturating_add_signed(offset);
        let (got, error) = run(chunks, expected);
        prop_assert!(got <= expected);
        match total.cmp(&expected) {
            std::cmp::Ordering::Less => prop_assert_eq!(error, Some(StoreErrorKind::Truncated { got: total, expected })),
            std::cmp::Ordering::Equal => prop_assert_eq!((got, error), (expected, None)),
            std::cmp::Ordering::Greater => prop_assert!(matches!(error, Some(StoreErrorKind::Protocol(_)))),
        }
    }

    #[test]
    fn a_cut_body_is_the_slice(pieces in prop::collection::vec(0usize..40, 1..8), skip in 0u64..120, length in 1u64..120) {
        let whole: Vec<u8> = (0..pieces.iter().sum::<usize>()).map(|index| index as u8).collect();
        let mut rest = Bytes::from(whole.clone());
        let chunks: Vec<_> = pieces.into_iter().map(|len| Ok(rest.split_to(len))).collect();
        let body = cut(stream::iter(chunks).boxed(), skip, length);
        let got: Vec<Bytes> = futures::executor::block_on(body.try_collect()).unwrap();
        let end = whole.len().min((skip + length) as usize);
        prop_assert_eq!(got.concat(), &whole[end.min(skip as usize)..end]);
    }

    #[test]
    fn content_ranges_read_back(start in 0u64..1 << 40, len in 1u64..1 << 30, more in 0u64..1 << 30) {
        let range = start..start + len;
        let total = range.end + more;
        let text = format!("bytes {}-{}/{total}", range.start, range.end - 1);
        prop_assert_eq!(parse_content_range(&text), Some((range.clone(), Some(total))));
        prop_assert_eq!(header(&range), format!("bytes={}-{}", range.start, range.end - 1));
    }
}

#[test]
fn content_ranges_of_other_shapes() {
    for (text, want) in [
        ("bytes 0-0/1", Some((0..1, Some(1)))),
        ("bytes 5-9/*", Some((5..10, None))),
        ("bytes */10", None),
        ("bytes 9-5/10", None),
        ("bytes 0-10/10", None),
        ("bytes 0-18446744073709551615/*", None),
        ("items 0-1/2", None),
        ("bytes 0-1", None),
    ] {
        assert_eq!(parse_content_range(text), want, "{text}");
    }
}

#[test]
fn ranges_within() {
    for (range, size, want) in [(0..1, 1, true), (0..2, 1, false), (1..1, 2, false), (1..2, 2, true), (0..0, 0, false)] {
        assert_eq!(within(&range, size), want, "{range:?} of {size}");
    }
}
