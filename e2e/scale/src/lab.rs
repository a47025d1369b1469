use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use forebay_cluster::{Cluster, ClusterOptions, NAMESPACE, chart};
use forebay_e2e::{Process, free_port, wait_until};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use crate::audit::{self, Audit};

const PATIENCE: Duration = Duration::from_secs(120);

/// A control plane without nodes, with the chart's rights, and one process of the operator.
pub(crate) struct Lab {
    // Before the cluster, so that it ends first.
    operator: Option<Process>,
    cluster: Cluster,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) client: Client,
    program: PathBuf,
    grpc: u16,
    http: u16,
    processes: u32,
}

/// What the operator's process has cost so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) cpu_seconds: f64,
    /// Greatest resident memory.
    pub(crate) peak_bytes: u64,
}

impl Lab {
    pub(crate) async fn start(program: &Path, network: u8) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("forebay-scale-").tempdir().context("make a temporary directory")?;
        let options = ClusterOptions {
            network,
            nodes: 0,
            audit: Some(audit::policy(NAMESPACE)),
            ..ClusterOptions::new(dir.path().join("cluster"))
        };
        let cluster = Cluster::start(&options)?;
        cluster.kubectl(&["create", "namespace", NAMESPACE])?;
        let chart = chart();
        let chart = chart.to_str().context("the chart's path is text")?;
        let shown = ["crds", "operator/rbac", "operator/kept"].map(|file| format!("--show-only=templates/{file}.yaml"));
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        let rendered = [&["template", "forebay", chart, "--namespace", NAMESPACE], &shown[..]].concat();
        cluster.apply(&cluster.helm(&rendered)?)?;
        cluster.kubectl(&["-n", NAMESPACE, "create", "serviceaccount", "forebay-agent"])?;
        let config = Kubeconfig::read_from(cluster.kubeconfig())?;
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let (grpc, http) = (free_port()?, free_port()?);
        let lab = Self { operator: None, cluster, dir, client, program: program.to_path_buf(), grpc, http, processes: 0 };
        lab.write_kubeconfig()?;
        Ok(lab)
    }

    /// The operator's ServiceAccount, with the rights of the chart.
    fn write_kubeconfig(&self) -> Result<()> {
        let config = self.cluster.command("kubectl")?.args(["config", "view", "--raw", "--flatten", "-o", "json"]).output()?;
        let mut config: Value = serde_json::from_slice(&config.stdout)?;
        let token = self.cluster.kubectl(&["-n", NAMESPACE, "create", "token", "forebay-operator", "--duration", "8h"])?;
        config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
        Ok(fs::write(self.kubeconfig(), config.to_string())?)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("operator.kubeconfig")
    }

    /// What the API server writes down of the operator.
    pub(crate) fn audit(&self) -> Audit {
        Audit { log: self.cluster.dir().join("log/audit.log") }
    }

    /// Where agents find the operator.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.grpc)
    }

    /// Starts a process of the operator and waits until it leads.
    pub(crate) fn start_operator(&mut self) -> Result<()> {
        self.processes += 1;
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", self.kubeconfig());
        // The name by which agents know it stands in its certificate.
        command.args(["--namespace", NAMESPACE, "--service", "localhost", "--identity", &format!("operator-{}", self.processes)]);
        command.args(["--agent-image", "localhost/none:1", "--log", "warn"]);
        command.args(["--grpc-addr", &format!("127.0.0.1:{}", self.grpc), "--http-addr", &format!("127.0.0.1:{}", self.http)]);
        let process = Process::spawn("the operator", command, &self.dir.path().join("operator.log"))?;
        self.operator = Some(process);
        wait_until("the operator to lead", PATIENCE, || Ok(self.leads()?.then_some(())))
            .with_context(|| self.operator.as_ref().map(Process::tail).unwrap_or_default())
    }

    /// As Kubernetes ends a pod.
    pub(crate) fn stop_operator(&mut self) -> Result<()> {
        let Some(mut process) = self.operator.take() else { return Ok(()) };
        ensure!(process.stop(PATIENCE)?, "the operator did not end well: {}", process.tail());
        Ok(())
    }

    fn leads(&self) -> Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.lines().any(|line| line == "forebay_operator_leads 1"))
    }

    pub(crate) fn cost(&self) -> Result<Cost> {
        let process = self.operator.as_ref().context("the operator does not run")?;
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
        let peak_bytes = peak.context("the kernel says no peak")? << 10;
        Ok(Cost { cpu_seconds: process.cpu_seconds()?, peak_bytes })
    }

    /// Warnings of the operator.
    pub(crate) fn warnings(&self) -> String {
        self.operator.as_ref().map(Process::tail).unwrap_or_default()
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        self.stop_operator()?;
        self.cluster.stop()
    }
}
