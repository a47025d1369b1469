use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use forebay_e2e::{part, wait_until};

use crate::addresses::Addresses;
use crate::daemon::Daemon;
use crate::pki::Pki;

/// Not 53, which a resolver of the machine may hold on every address.
const PORT: u16 = 1053;

/// Starts CoreDNS on the machine and waits until it listens. It answers for the cluster's names and, pods having no way out, for nothing else.
pub(crate) fn start(addresses: Addresses, dir: &Path, pki: &Pki) -> Result<()> {
    let corefile = format!(
        "cluster.local:{PORT} in-addr.arpa:{PORT} {{
    bind {host}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {config}
        ttl 5
    }}
    cache 5
}}
",
        host = addresses.host(),
        config = pki.kubeconfig("admin").display()
    );
    let path = dir.join("run/Corefile");
    fs::write(&path, corefile).with_context(|| format!("write {}", path.display()))?;
    let mut command = Command::new(part("coredns")?);
    command.arg("-conf").arg(&path);
    let log = dir.join("log/coredns.log");
    Daemon::spawn(&mut command, &log, &dir.join("run/coredns.pid"))?;
    let what = format!("CoreDNS to listen (see {})", log.display());
    wait_until(&what, Duration::from_secs(180), || Ok(Some(TcpStream::connect((addresses.host(), PORT))?))).map(drop)
}

/// The service that leads pods to it.
pub(crate) fn manifest(addresses: Addresses) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system}}
spec:
  clusterIP: {service}
  ports: [{{name: dns, protocol: UDP, port: 53, targetPort: {PORT}}}, {{name: dns-tcp, protocol: TCP, port: 53, targetPort: {PORT}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: kube-dns-host, namespace: kube-system, labels: {{kubernetes.io/service-name: kube-dns}}}}
addressType: IPv4
ports: [{{name: dns, protocol: UDP, port: {PORT}}}, {{name: dns-tcp, protocol: TCP, port: {PORT}}}]
endpoints: [{{addresses: [{host}], conditions: {{ready: true}}}}]
",
        service = addresses.dns(),
        host = addresses.host()
    )
}
