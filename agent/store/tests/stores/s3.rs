use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use forebay_e2e::S3Server;
use forebay_store::UnderStore;
use forebay_store::s3::{S3Config, S3Credentials, S3Store};
use tokio::sync::Mutex;

use super::{Fixture, is_path};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Objects are files.
    Versitygw,
    /// Shares no code with the other.
    Minio,
}

/// A real S3 server, and the SDK as the means to change what it holds.
pub(crate) struct S3 {
    kind: Kind,
    server: S3Server,
    _work: tempfile::TempDir,
    buckets: Mutex<HashSet<String>>,
    pub(crate) client: Client,
}

impl S3 {
    pub(crate) fn start(kind: Kind) -> Self {
        let work = tempfile::tempdir().unwrap();
        let server = match kind {
            Kind::Versitygw => S3Server::versitygw(work.path()),
            Kind::Minio => S3Server::minio(work.path()),
        };
        let server = server.expect("run cargo xtask parts");
        let keys = Credentials::new(S3Server::ACCESS_KEY, S3Server::SECRET_KEY, None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new("us-east-1"))
            .endpoint_url(server.endpoint())
            .credentials_provider(keys)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .build();
        Self { kind, server, _work: work, buckets: Mutex::default(), client: Client::from_conf(config) }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.server.address
    }

    pub(crate) fn config(&self, bucket: &str) -> S3Config {
        S3Config { endpoint: Some(self.server.endpoint()), credentials: Self::keys(), ..S3Config::new(bucket) }
    }

    pub(crate) fn keys() -> S3Credentials {
        S3Credentials::Static {
            access_key_id: S3Server::ACCESS_KEY.to_owned(),
            secret_access_key: S3Server::SECRET_KEY.to_owned(),
            session_token: None,
        }
    }

    /// Makes the bucket unless it is there.
    pub(crate) async fn bucket(&self, bucket: &str) {
        if self.buckets.lock().await.insert(bucket.to_owned()) {
            self.client.create_bucket().bucket(bucket).send().await.unwrap();
        }
    }

    /// Uploads in parts, so that the ETag is no MD5; with a CRC-32C of the whole. All parts but the last must have 5 MiB.
    pub(crate) async fn put_in_parts(&self, bucket: &str, key: &str, parts: &[&[u8]]) {
        self.bucket(bucket).await;
        let call = self.client.create_multipart_upload().bucket(bucket).key(key);
        let call = call.checksum_algorithm(ChecksumAlgorithm::Crc32C).checksum_type(ChecksumType::FullObject);
        let upload = call.send().await.unwrap();
        let id = upload.upload_id().unwrap();
        let mut done = CompletedMultipartUpload::builder();
        for (number, part) in (1..).zip(parts) {
            let call = self.client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number);
            let sum = aws_smithy_types::base64::encode(crc32c::crc32c(part).to_be_bytes());
            let sent = call.checksum_crc32_c(&sum).body(ByteStream::from(part.to_vec())).send().await.unwrap();
            let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag().map(String::from));
            done = done.parts(part.checksum_crc32_c(sum).build());
        }
        let call = self.client.complete_multipart_upload().bucket(bucket).key(key).upload_id(id);
        call.checksum_type(ChecksumType::FullObject).multipart_upload(done.build()).send().await.unwrap();
    }

    /// Lets everybody list the bucket and read its objects.
    pub(crate) async fn publish(&self, bucket: &str) {
        let statement = |action: &str, resource: String| {
            format!(r#"{{"Effect":"Allow","Principal":{{"AWS":["*"]}},"Action":["{action}"],"Resource":["{resource}"]}}"#)
        };
        let list = statement("s3:ListBucket", format!("arn:aws:s3:::{bucket}"));
        let get = statement("s3:GetObject", format!("arn:aws:s3:::{bucket}/*"));
        let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{list},{get}]}}"#);
        self.client.put_bucket_policy().bucket(bucket).policy(policy).send().await.unwrap();
    }
}

#[async_trait]
impl Fixture for S3 {
    async fn open(&self, container: &str, page_size: usize) -> Arc<dyn UnderStore> {
        self.bucket(container).await;
        let page_size = u16::try_from(page_size).unwrap();
        Arc::new(S3Store::new(S3Config { page_size, ..self.config(container) }).unwrap())
    }

    async fn missing(&self) -> Arc<dyn UnderStore> {
        Arc::new(S3Store::new(self.config("missing")).unwrap())
    }

    async fn put(&self, container: &str, key: &str, bytes: &[u8]) {
        self.bucket(container).await;
        let call = self.client.put_object().bucket(container).key(key);
        call.body(ByteStream::from(bytes.to_vec())).send().await.unwrap_or_else(|error| panic!("put {key:?}: {error:?}"));
    }

    async fn remove(&self, container: &str, key: &str) {
        self.client.delete_object().bucket(container).key(key).send().await.unwrap();
    }

    fn holds(&self, key: &str) -> bool {
        // Both keep objects in files, and MinIO refuses dots and empty parts as such.
        let path = key.strip_suffix('/').unwrap_or(key);
        // versitygw writes keys into XML as they are, whatever encoding is asked for.
        is_path(path) && (self.kind == Kind::Minio || !key.contains('\u{7}'))
    }

    fn is_exact(&self) -> bool {
        false
    }
}
