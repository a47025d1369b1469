use std::ops::Range;

use async_trait::async_trait;
use forebay_store::{
    GetStream, ListPage, ListRequest, ObjectMeta, StoreError, StoreErrorKind, StoreId, StoreResult, UnderStore, Version,
};

/// A store whose credentials have not come yet: what is cached of it can be read, it cannot be asked.
#[derive(Debug)]
pub(crate) struct Withheld {
    id: StoreId,
    secret: String,
}

impl Withheld {
    /// Stands for store `id` until `secret` (`namespace/name`) is there.
    pub(crate) fn new(id: StoreId, secret: String) -> Self {
        Self { id, secret }
    }

    fn error(&self, operation: &'static str, key: &str) -> StoreError {
        StoreError::new(&self.id, operation, key, StoreErrorKind::Denied).with_cause(format!(
            "Secret {} has not come from the operator: it does not exist, or the operator is away",
            self.secret
        ))
    }
}

#[async_trait]
impl UnderStore for Withheld {
    fn id(&self) -> &StoreId {
        &self.id
    }
    async fn list(&self, request: ListRequest) -> StoreResult<ListPage> {
        Err(self.error("list", &request.prefix.to_string()))
    }
    async fn head(&self, key: &str) -> StoreResult<ObjectMeta> {
        Err(self.error("head", key))
    }
    async fn get(&self, key: &str, _version: &Version, _range: Range<u64>) -> StoreResult<GetStream> {
        Err(self.error("get", key))
    }
}
