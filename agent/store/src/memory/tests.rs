#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures::TryStreamExt;

use super::*;

async fn read(store: &MemoryStore, key: &str, version: &Version, range: Range<u64>) -> StoreResult<Vec<u8>> {
    let chunks: Vec<Bytes> = store.get(key, version, range).await?.body.try_collect().await?;
    Ok(chunks.concat())
}

async fn names(store: &MemoryStore, prefix: &str, recursive: bool) -> (Vec<String>, Vec<String>, usize) {
    let (mut keys, mut prefixes, mut pages, mut page) = (Vec::new(), Vec::new(), 0, None);
    loop {
        let got = store.list(ListRequest { prefix: prefix.into(), recursive, page }).await.unwrap();
        pages += 1;
        keys.extend(got.objects.into_iter().map(|meta| meta.key));
        prefixes.extend(got.prefixes);
        page = got.next;
        if page.is_none() {
            return (keys, prefixes, pages);
        }
    }
}

#[tokio::test]
async fn pages_of_any_size_list_the_same() {
    let store = MemoryStore::new("memory://t");
    let all = ["a", "a/1", "a/2", "a/b/3", "a0", "b/", "b//x", "c"];
    for key in all {
        store.put(key, key);
    }
    for size in 1..=9 {
        store.set_page_size(size);
        let (keys, prefixes, pages) = names(&store, "", true).await;
        assert_eq!((keys, prefixes), (all.map(String::from).to_vec(), vec![]));
        assert_eq!(pages, 8usize.div_ceil(size));
        let (keys, prefixes, _) = names(&store, "", false).await;
        assert_eq!((keys, prefixes), (vec!["a".into(), "a0".into(), "c".into()], vec!["a/".into(), "b/".into()]));
        let (keys, prefixes, _) = names(&store, "a/", false).await;
        assert_eq!((keys, prefixes), (vec!["a/1".into(), "a/2".into()], vec!["a/b/".into()]));
        let (keys, prefixes, _) = names(&store, "b/", false).await;
        assert_eq!((keys, prefixes), (vec!["b/".into()], vec!["b//".into()]));
    }
}

#[tokio::test]
async fn a_replaced_object_is_another_version() {
    let store = MemoryStore::new("memory://t");
    let old = store.put("k", "same");
    store.set_chunk_size(3);
    assert_eq!(read(&store, "k", &old.version, 1..4).await.unwrap(), b"ame");
    let new = store.put("k", "same");
    assert_ne!(old.version, new.version);
    let error = read(&store, "k", &old.version, 0..4).await.unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::Changed { .. }), "{error}");
    assert_eq!(store.head("k").await.unwrap(), new);
    assert!(store.remove("k"));
    assert_eq!(store.head("k").await.unwrap_err().kind, StoreErrorKind::NotFound);
}
