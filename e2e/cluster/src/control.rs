use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use forebay_e2e::{part, wait_until};
use rustix::process::Signal;

use crate::addresses::Addresses;
use crate::client::Client;
use crate::daemon::Daemon;
use crate::pki::Pki;

const READY: Duration = Duration::from_secs(300);
/// How often an API server that ended before it was ready is started again.
const RESTARTS: u32 = 5;

/// etcd, API server, controller manager and scheduler: processes of the machine.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    addresses: Addresses,
    dir: PathBuf,
    pki: Pki,
}

impl ControlPlane {
    pub(crate) fn new(addresses: Addresses, dir: &Path, pki: Pki) -> Self {
        Self { addresses, dir: dir.to_path_buf(), pki }
    }

    pub(crate) fn start_etcd(&self) -> Result<()> {
        let at = |port: u16| format!("http://{}:{port}", self.addresses.loopback());
        let mut etcd = Command::new(part("etcd")?);
        etcd.arg("--data-dir").arg(self.dir.join("etcd"));
        // The state of a test need not survive a power cut, and syncing costs seconds.
        etcd.args(["--unsafe-no-fsync", "--log-level", "warn"]);
        etcd.args(["--listen-client-urls", &at(2379), "--advertise-client-urls", &at(2379), "--listen-peer-urls", &at(2380)]);
        self.spawn("etcd", &mut etcd)
    }

    /// From its next start on, the API server writes down what `policy` selects.
    pub(crate) fn audit(&self, policy: &str) -> Result<()> {
        let file = self.audit_policy();
        fs::write(&file, policy).with_context(|| format!("write {}", file.display()))
    }

    fn audit_policy(&self) -> PathBuf {
        self.dir.join("run").join("audit.yaml")
    }

    /// Starts the API server without waiting for it.
    pub(crate) fn start_api_server(&self) -> Result<()> {
        let mut server = Command::new(part("kube-apiserver")?);
        let host = self.addresses.host();
        server.arg(format!("--etcd-servers=http://{}:2379", self.addresses.loopback()));
        server.arg(format!("--bind-address={host}")).arg(format!("--advertise-address={host}"));
        server.arg(format!("--service-cluster-ip-range={}", self.addresses.services()));
        server.args([
            "--secure-port=6443",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            // The machine has no kube-proxy: webhooks are called at their pods, not at their service's address.
            "--enable-aggregator-routing=true",
            "--v=1",
        ]);
        for (flag, file) in [
            ("client-ca-file", "ca.crt"),
            ("tls-cert-file", "apiserver.crt"),
            ("tls-private-key-file", "apiserver.key"),
            ("kubelet-client-certificate", "kubelet-client.crt"),
            ("kubelet-client-key", "kubelet-client.key"),
            ("kubelet-certificate-authority", "ca.crt"),
            ("service-account-key-file", "sa.pub"),
            ("service-account-signing-key-file", "sa.key"),
            ("requestheader-client-ca-file", "front.crt"),
            ("proxy-client-cert-file", "front-client.crt"),
            ("proxy-client-key-file", "front-client.key"),
        ] {
            server.arg(format!("--{flag}={}", self.pki.file(file).display()));
        }
        if self.audit_policy().is_file() {
            server.arg(format!("--audit-policy-file={}", self.audit_policy().display()));
            server.arg(format!("--audit-log-path={}", self.log("audit").display()));
        }
        self.spawn("kube-apiserver", &mut server)
    }

    /// Waits until the API server answers. It gives up when etcd does not answer it in time, as on a machine that stands still for
    /// a minute; then it is started again, as the kubelet of a real control plane does.
    pub(crate) fn wait_for_api_server(&self, client: &Client) -> Result<()> {
        let file = self.file("kube-apiserver");
        let log = self.log("kube-apiserver");
        let mut restarts = RESTARTS;
        wait_until("the API server to be ready", READY, || {
            if restarts > 0 && !Daemon::recall(&file).is_some_and(Daemon::alive) {
                restarts -= 1;
                self.start_api_server()?;
            }
            client.kubectl(&["get", "--raw", "/readyz", "--request-timeout=5s"]).map(Some)
        })
        .with_context(|| {
            let word = if Daemon::recall(&file).is_some_and(Daemon::alive) { "runs" } else { "has ended" };
            format!("kube-apiserver {word}; see {}", log.display())
        })
        .map(drop)
    }

    /// Starts what needs an API server that answers: the controller manager ends when it finds none.
    pub(crate) fn start_others(&self) -> Result<()> {
        let mut manager = Command::new(part("kube-controller-manager")?);
        self.authenticate(&mut manager, "manager");
        manager.args([
            "--use-service-account-credentials=true",
            "--allocate-node-cidrs=false",
            // A dead node is noticed within a test's patience, not after the usual 50 s.
            "--node-monitor-grace-period=20s",
        ]);
        for (flag, file) in [
            ("root-ca-file", "ca.crt"),
            ("service-account-private-key-file", "sa.key"),
            ("cluster-signing-cert-file", "ca.crt"),
            ("cluster-signing-key-file", "ca.key"),
        ] {
            manager.arg(format!("--{flag}={}", self.pki.file(file).display()));
        }
        self.spawn("kube-controller-manager", &mut manager)?;
        let mut scheduler = Command::new(part("kube-scheduler")?);
        self.authenticate(&mut scheduler, "scheduler");
        self.spawn("kube-scheduler", &mut scheduler)
    }

    /// Ends the API server, and it alone: everything else goes on without it.
    pub(crate) fn stop_api_server(&self) -> Result<()> {
        match Daemon::recall(&self.file("kube-apiserver")) {
            // It drains for up to a minute when it is asked; an outage does not.
            Some(daemon) => daemon.end(Signal::KILL, Duration::from_secs(30)),
            None => Ok(()),
        }
    }

    fn authenticate(&self, command: &mut Command, name: &str) {
        let config = self.pki.kubeconfig(name);
        for flag in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
            command.arg(format!("--{flag}={}", config.display()));
        }
        command.arg(format!("--bind-address={}", self.addresses.loopback()));
        command.args(["--leader-elect=false", "--v=1"]);
    }

    fn spawn(&self, name: &str, command: &mut Command) -> Result<()> {
        Daemon::spawn(command, &self.log(name), &self.file(name)).map(drop)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join("run").join(format!("{name}.pid"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join("log").join(format!("{name}.log"))
    }
}
