use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A stock S3 client (rclone) with fixed keys, for everything that a test does to a store behind Forebay's back.
#[derive(Clone, Debug)]
pub struct S3Client {
    endpoint: String,
    access_key: String,
    secret_key: String,
}

impl S3Client {
    /// `endpoint` is a URL without a path.
    pub fn new(endpoint: &str, access_key: &str, secret_key: &str) -> Self {
        Self { endpoint: endpoint.into(), access_key: access_key.into(), secret_key: secret_key.into() }
    }

    /// The server's URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Access key id and secret access key.
    pub fn keys(&self) -> (&str, &str) {
        (&self.access_key, &self.secret_key)
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, bucket: &str) -> Result<()> {
        run(self.rclone().args(["mkdir", &format!(":s3:{bucket}")]), &[])
    }

    /// Uploads every file below `dir` to `to` (`BUCKET` or `BUCKET/PREFIX`), large ones in parts of 16 MiB.
    pub fn upload(&self, dir: &Path, to: &str) -> Result<()> {
        let mut command = self.rclone();
        // The source's times are not stored, so that rclone makes one request a file.
        command.args(["copy", "--transfers", "16", "--s3-upload-cutoff", "32M", "--s3-chunk-size", "16M", "--no-check-dest"]);
        command.args(["--s3-no-check-bucket", "--s3-no-head", "--ignore-times"]).arg(dir).arg(format!(":s3:{to}"));
        run(&mut command, &[])
    }

    /// Writes one object.
    pub fn put(&self, bucket: &str, key: &str, content: &[u8]) -> Result<()> {
        run(self.rclone().args(["rcat", &format!(":s3:{bucket}/{key}")]), content)
    }

    /// Removes one object.
    pub fn delete(&self, bucket: &str, key: &str) -> Result<()> {
        run(self.rclone().args(["deletefile", &format!(":s3:{bucket}/{key}")]), &[])
    }

    /// Lets everybody read a bucket's objects (`s3:GetObject`) without a signature.
    pub fn allow_anonymous_reads(&self, bucket: &str) -> Result<()> {
        let allow = |action: &str, resource: &str| {
            format!(r#"{{"Effect":"Allow","Principal":"*","Action":"s3:{action}","Resource":"arn:aws:s3:::{resource}"}}"#)
        };
        let (get, list) = (allow("GetObject", &format!("{bucket}/*")), allow("ListBucket", bucket));
        let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{get},{list}]}}"#);
        // rclone has no command for policies; curl signs, but for the digest, which it leaves to the caller.
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "-X", "PUT", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user"]);
        curl.arg(format!("{}:{}", self.access_key, self.secret_key)).args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
        curl.args(["-H", "Content-Type: application/json", "--data-binary", &policy]);
        run(curl.arg(format!("{}/{bucket}?policy=", self.endpoint)), &[])
    }

    /// An `rclone` command whose `:s3:` remote is this server; only arguments are missing.
    pub fn rclone(&self) -> Command {
        let mut command = Command::new("rclone");
        // rclone 1.60 cannot start where this variable is set: its S3 library wants to change a transport that is not its own.
        command.env_remove("AWS_CA_BUNDLE");
        command.env("RCLONE_CONFIG", "/dev/null").env("RCLONE_S3_PROVIDER", "Other").env("RCLONE_S3_REGION", "us-east-1");
        command.env("RCLONE_S3_ENDPOINT", &self.endpoint).env("RCLONE_S3_ACCESS_KEY_ID", &self.access_key);
        command.env("RCLONE_S3_SECRET_ACCESS_KEY", &self.secret_key);
        command
    }
}

fn run(command: &mut Command, input: &[u8]) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}: is it installed?", command.get_program().to_string_lossy()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).context("write to the client")?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
