use std::collections::HashMap;

use super::*;

/// One of each. The `match` below does not compile when a variant is missing from it, and counts that none is missing here.
fn every() -> Vec<FsError> {
    let message = || "Dataset ml/imagenet, mount /, object a/b: gone".to_owned();
    vec![
        FsError::NotFound,
        FsError::NotADirectory,
        FsError::IsADirectory,
        FsError::ReadOnly,
        FsError::Stale { message: message() },
        FsError::Io { message: message() },
        FsError::TimedOut { message: message() },
        FsError::Denied { message: message() },
        FsError::Interrupted,
        FsError::Busy,
        FsError::InvalidHandle,
        FsError::InvalidArgument,
        FsError::NameTooLong,
        FsError::NoSuchOffset,
        FsError::NoAttribute,
        FsError::BufferTooSmall,
        FsError::NotSupported,
    ]
}

/// The name that `errno(3)` has for it, written down apart from the table under test.
fn expected(error: &FsError) -> (usize, i32) {
    match error {
        FsError::NotFound => (0, 2),
        FsError::NotADirectory => (1, 20),
        FsError::IsADirectory => (2, 21),
        FsError::ReadOnly => (3, 30),
        FsError::Stale { .. } => (4, 116),
        FsError::Io { .. } => (5, 5),
        FsError::TimedOut { .. } => (6, 110),
        FsError::Denied { .. } => (7, 13),
        FsError::Interrupted => (8, 4),
        FsError::Busy => (9, 11),
        FsError::InvalidHandle => (10, 9),
        FsError::InvalidArgument => (11, 22),
        FsError::NameTooLong => (12, 36),
        FsError::NoSuchOffset => (13, 6),
        FsError::NoAttribute => (14, 61),
        FsError::BufferTooSmall => (15, 34),
        FsError::NotSupported => (16, 38),
    }
}

#[test]
fn every_error_has_its_own_errno() {
    let mut seen = HashMap::new();
    for (at, error) in every().iter().enumerate() {
        let (place, errno) = expected(error);
        assert_eq!(place, at, "{error}");
        assert_eq!(error.errno(), errno, "{error}");
        if let Some(other) = seen.insert(errno, error.clone()) {
            panic!("{other} and {error} are told apart by nobody");
        }
    }
    assert_eq!(seen.len(), 17);
}

#[test]
fn messages_reach_whoever_prints_the_error() {
    for error in every() {
        if matches!(error, FsError::Stale { .. } | FsError::Io { .. } | FsError::TimedOut { .. } | FsError::Denied { .. }) {
            assert!(error.to_string().contains("ml/imagenet"), "{error}");
        }
    }
}
