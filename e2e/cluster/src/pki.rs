use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};

use crate::addresses::{Addresses, node_index};

/// The subject of the authority that all components trust.
const AUTHORITY: &str = "kubernetes";

type Authority = CertifiedIssuer<'static, KeyPair>;

/// The cluster's keys and certificates, as files of one directory, with a kubeconfig for each component.
#[derive(Debug, Clone)]
pub(crate) struct Pki {
    dir: PathBuf,
}

impl Pki {
    pub(crate) fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn kubeconfig(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.kubeconfig"))
    }

    /// Makes everything but the nodes' own.
    pub(crate) fn create(&self, addresses: Addresses) -> Result<()> {
        fs::create_dir_all(&self.dir).with_context(|| format!("create {}", self.dir.display()))?;
        let ca = self.authority("ca", AUTHORITY)?;
        let front = self.authority("front", "front-proxy")?;
        let key = KeyPair::generate()?;
        self.write("sa.key", &key.serialize_pem())?;
        self.write("sa.pub", &key.public_key_pem())?;

        let names =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"];
        let mut sans: Vec<String> = names.map(str::to_owned).to_vec();
        sans.extend([addresses.host().to_string(), "127.0.0.1".into(), "10.96.0.1".into()]);
        self.issue(&ca, "apiserver", "kube-apiserver", None, &sans)?;
        self.issue(&ca, "kubelet-client", "kube-apiserver-kubelet-client", Some("system:masters"), &[])?;
        self.issue(&front, "front-client", "front-proxy-client", None, &[])?;
        for (name, subject, group) in [
            ("admin", "admin", Some("system:masters")),
            ("manager", "system:kube-controller-manager", None),
            ("scheduler", "system:kube-scheduler", None),
            ("proxy", "system:kube-proxy", None),
        ] {
            self.issue(&ca, name, subject, group, &[])?;
            self.configure(name, addresses)?;
        }
        Ok(())
    }

    /// What a node's kubelet and proxy need, in a directory of the node's own.
    pub(crate) fn create_node(&self, node: &str, addresses: Addresses, into: &Path) -> Result<()> {
        fs::create_dir_all(into).with_context(|| format!("create {}", into.display()))?;
        if !self.kubeconfig(node).is_file() {
            let key = KeyPair::from_pem(&self.read("ca.key")?)?;
            let ca = rcgen::Issuer::new(authority_params(AUTHORITY), key);
            let sans = [node.to_owned(), addresses.node(node_index(node)?).to_string()];
            self.issue(&ca, node, &format!("system:node:{node}"), Some("system:nodes"), &sans)?;
            self.configure(node, addresses)?;
        }
        let own = |end: &str| (self.file(&format!("{node}.{end}")), format!("{node}.{end}"));
        let shared = ["ca.crt", "proxy.crt", "proxy.key", "proxy.kubeconfig"].map(|name| (self.file(name), name.to_owned()));
        for (from, name) in ["crt", "key", "kubeconfig"].map(own).into_iter().chain(shared) {
            fs::copy(&from, into.join(&name)).with_context(|| format!("copy {}", from.display()))?;
        }
        Ok(())
    }

    fn authority(&self, file: &str, name: &str) -> Result<Authority> {
        let authority = CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate()?)?;
        self.write(&format!("{file}.crt"), &authority.pem())?;
        self.write(&format!("{file}.key"), &authority.key().serialize_pem())?;
        Ok(authority)
    }

    fn issue(
        &self,
        ca: &rcgen::Issuer<'_, KeyPair>,
        file: &str,
        subject: &str,
        group: Option<&str>,
        sans: &[String],
    ) -> Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        for san in sans {
            params.subject_alt_names.push(match san.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(san.as_str().try_into()?),
            });
        }
        let key = KeyPair::generate()?;
        self.write(&format!("{file}.crt"), &params.signed_by(&key, ca)?.pem())?;
        self.write(&format!("{file}.key"), &key.serialize_pem())
    }

    /// Names the files relative to the kubeconfig, so that a copy of them all in a node works as well.
    fn configure(&self, name: &str, addresses: Addresses) -> Result<()> {
        let text = format!(
            r#"apiVersion: v1
kind: Config
clusters: [{{name: forebay-test, cluster: {{server: "{server}", certificate-authority: ca.crt}}}}]
users: [{{name: "{name}", user: {{client-certificate: {name}.crt, client-key: {name}.key}}}}]
contexts: [{{name: forebay-test, context: {{cluster: forebay-test, user: "{name}"}}}}]
current-context: forebay-test
"#,
            server = addresses.api_server()
        );
        self.write(&format!("{name}.kubeconfig"), &text)
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.file(name);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.file(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}
