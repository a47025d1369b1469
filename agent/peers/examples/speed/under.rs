use std::sync::Arc;

use anyhow::Result;
use forebay_e2e::S3Server;
use forebay_store::UnderStore;
use forebay_store::s3::{S3Config, S3Credentials, S3Store};

/// A real store on loopback with one object.
pub(crate) struct Under {
    pub(crate) store: Arc<dyn UnderStore>,
    pub(crate) key: &'static str,
    _server: S3Server,
    _dir: tempfile::TempDir,
}

impl Under {
    /// The object was just written, so that the store has it in memory as the peer has.
    pub(crate) fn start(bytes: u64) -> Result<Self> {
        let (dir, bucket, key) = (tempfile::tempdir()?, "speed", "object");
        let server = S3Server::versitygw(dir.path())?;
        let client = server.client();
        client.make_bucket(bucket)?;
        let file = dir.path().join("data").join(bucket).join(key);
        std::fs::write(&file, vec![7; usize::try_from(bytes)?])?;
        let credentials = S3Credentials::Static {
            access_key_id: S3Server::ACCESS_KEY.to_owned(),
            secret_access_key: S3Server::SECRET_KEY.to_owned(),
            session_token: None,
        };
        let store = S3Store::new(S3Config { endpoint: Some(server.endpoint()), credentials, ..S3Config::new(bucket) })?;
        Ok(Self { store: Arc::new(store), key, _server: server, _dir: dir })
    }
}
