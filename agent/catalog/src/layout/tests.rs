use proptest::prelude::*;

use super::*;

fn record() -> impl Strategy<Value = Record> {
    let token_kind = (0u8..4).prop_map(TokenKind::from_bits);
    let kind = prop_oneof![
        any::<(u32, u32, u32)>().prop_map(|(first, count, subdirectories)| RecordKind::Directory {
            first,
            count,
            subdirectories
        }),
        (any::<(u64, bool, u16, u16)>(), token_kind).prop_map(|((size, has_key, key_len, token_len), token_kind)| {
            RecordKind::File { size, has_key, key_len, token_kind, token_len }
        }),
    ];
    (any::<(u64, i64, u64, u32, u16, u8)>(), kind).prop_map(|((ino, mtime_ns, heap, parent, mount, name_len), kind)| Record {
        ino,
        mtime_ns,
        heap,
        parent,
        mount,
        name_len,
        kind,
    })
}

proptest! {
    #[test]
    fn records_come_back(record in record()) {
        prop_assert_eq!(Record::decode(&record.encode()), record);
    }

    #[test]
    fn every_number_has_a_bucket(entries in 1u32.., ino in 0u64..1 << 63) {
        prop_assert!(bucket(ino, entries) < buckets(entries));
        prop_assert!(buckets(entries) <= u64::from(entries));
        prop_assert!(buckets(entries) > u64::from(entries) / 8);
    }
}
