//! Endpoints with a certificate authority of their own.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use forebay_e2e::{Process, S3Server, free_port, part, wait_until};
use forebay_store::http::{HttpConfig, HttpStore};
use forebay_store::s3::{S3Config, S3Store};
use forebay_store::{StoreErrorKind, StoreResult, UnderStore, Version};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::behaviour::list;
use crate::stores::S3;

/// Writes a certificate for 127.0.0.1 and its key; the answer is the authority that signed it, as PEM.
fn certify(certificate: &Path, key: &Path) -> Vec<u8> {
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let own = KeyPair::generate().unwrap();
    let signed = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&own, &authority).unwrap();
    fs::write(certificate, signed.pem()).unwrap();
    fs::write(key, own.serialize_pem()).unwrap();
    authority.pem().into_bytes()
}

/// Starts a server on a free port and waits until it listens.
fn start(name: &str, log: &Path, command: impl Fn(&str) -> Command) -> (Process, String) {
    for _ in 0..5 {
        let address = format!("127.0.0.1:{}", free_port().unwrap());
        let mut process = Process::spawn(name, command(&address), log).unwrap();
        let up = wait_until(name, Duration::from_secs(60), || {
            let ended = process.exited()?.is_some();
            Ok(if ended { Some(false) } else { TcpStream::connect(&address).ok().map(|_| true) })
        });
        if up.unwrap() {
            return (process, address);
        }
    }
    panic!("{name} does not start: {}", fs::read_to_string(log).unwrap_or_default());
}

fn is_refused<T>(answer: StoreResult<T>) {
    let error = answer.err().expect("an unknown authority is trusted");
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    assert!(error.to_string().to_ascii_lowercase().contains("certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s3() {
    let work = tempfile::tempdir().unwrap();
    let certificates = work.path().join("certs");
    fs::create_dir(&certificates).unwrap();
    let authority = certify(&certificates.join("public.crt"), &certificates.join("private.key"));
    fs::create_dir_all(work.path().join("data/bkt")).unwrap();
    let minio = part("minio").expect("run cargo xtask parts");
    let (_server, address) = start("minio", &work.path().join("log"), |address| {
        let mut command = Command::new(&minio);
        command.args(["server", "--quiet", "--address", address, "--certs-dir"]).arg(&certificates).arg(work.path().join("data"));
        command.env("MINIO_ROOT_USER", S3Server::ACCESS_KEY).env("MINIO_ROOT_PASSWORD", S3Server::SECRET_KEY);
        command.env("MINIO_BROWSER", "off").env("HOME", work.path());
        command
    });
    let config = S3Config { endpoint: Some(format!("https://{address}")), credentials: S3::keys(), ..S3Config::new("bkt") };
    let version = Version::ETag("\"v1\"".into());
    let distrusting = S3Store::new(config.clone()).unwrap();
    is_refused(distrusting.head("k").await);
    is_refused(distrusting.get("k", &version, 0..1).await);
    let store = S3Store::new(S3Config { ca_pem: Some(authority), ..config.clone() }).unwrap();
    // MinIO listens before it is ready.
    let begun = std::time::Instant::now();
    let listed = loop {
        match list(&store, "", true).await {
            Err(error) if error.kind.is_transient() && begun.elapsed() < Duration::from_secs(60) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            listed => break listed.unwrap(),
        }
    };
    assert!(listed.keys().is_empty());
    assert_eq!(store.get("k", &version, 0..1).await.unwrap_err().kind, StoreErrorKind::NotFound);
    assert!(S3Store::new(S3Config { ca_pem: Some(b"nonsense".to_vec()), ..config }).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn http() {
    let work = tempfile::tempdir().unwrap();
    let (certificate, key) = (work.path().join("cert"), work.path().join("key"));
    let authority = certify(&certificate, &key);
    fs::create_dir(work.path().join("data")).unwrap();
    fs::write(work.path().join("data/k"), "x").unwrap();
    let (_server, address) = start("rclone", &work.path().join("log"), |address| {
        let mut command = Command::new("rclone");
        command.args(["serve", "http", "--addr", address, "--cert"]).arg(&certificate).arg("--key").arg(&key);
        command.arg(work.path().join("data")).env("RCLONE_CONFIG", "/dev/null").env_remove("AWS_CA_BUNDLE");
        command
    });
    let config = HttpConfig::new(&format!("https://{address}/"));
    is_refused(HttpStore::new(config.clone()).unwrap().head("k").await);
    let store = HttpStore::new(HttpConfig { ca_pem: Some(authority), ..config.clone() }).unwrap();
    assert_eq!(list(&store, "", true).await.unwrap().keys(), ["k"]);
    assert!(HttpStore::new(HttpConfig { ca_pem: Some(b"nonsense".to_vec()), ..config }).is_err());
}
