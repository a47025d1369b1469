use std::path::{Path, PathBuf};

use anyhow::Result;
use forebay_cluster::Cluster;
use forebay_e2e::{S3Client, S3Server};

/// A real store on the machine, which pods and agents reach, with a bucket `data`.
#[derive(Debug)]
pub struct Store {
    server: S3Server,
    client: S3Client,
    /// The same files on the machine.
    pub source: PathBuf,
}

impl Store {
    /// The bucket of every store.
    pub const BUCKET: &str = "forebay-data";

    /// Starts one with its data below `work`.
    pub fn start(cluster: &Cluster, work: &Path) -> Result<Self> {
        let server = S3Server::versitygw_on(work, cluster.addresses().host())?;
        let client = server.client();
        client.make_bucket(Self::BUCKET)?;
        let source = work.join("source");
        Ok(Self { server, client, source })
    }

    /// Uploads `source`.
    pub fn upload(&self) -> Result<()> {
        self.client.upload(&self.source, Self::BUCKET)
    }

    /// A client with the root user's keys.
    pub fn client(&self) -> &S3Client {
        &self.client
    }

    /// Where it is, as a URL.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// A Secret with its keys.
    pub fn secret(&self, name: &str) -> String {
        let (id, key) = self.client.keys();
        secret(name, id, key)
    }

    /// `mounts` of a Dataset: the bucket at `/`.
    pub fn mount(&self, secret: &str) -> String {
        format!(
            "[{{path: /, source: \"s3://{}\", options: {{endpoint: \"{}\", region: us-east-1}}, secretRef: {{name: {secret}}}}}]",
            Self::BUCKET,
            self.endpoint()
        )
    }
}

/// A Secret for an S3 store.
pub fn secret(name: &str, id: &str, key: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{accessKeyId: \"{id}\", secretAccessKey: \"{key}\"}}\n---\n"
    )
}

/// A Dataset of `mounts` (YAML) with every default.
pub fn dataset(name: &str, mounts: &str) -> String {
    format!("apiVersion: forebay.io/v1alpha1\nkind: Dataset\nmetadata: {{name: {name}}}\nspec:\n  mounts: {mounts}\n---\n")
}
