//! A cluster with the chart's rights, replicas of the operator, and agents that pretend.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use forebay_cluster::{Cluster, ClusterOptions, NAMESPACE, chart};
use forebay_e2e::{free_port, wait_until};
use serde_json::Value;

pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// A process that ends with the test.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One replica.
pub(crate) struct Replica {
    process: Process,
    pub(crate) grpc: u16,
    http: u16,
}

impl Replica {
    /// Whether it says that it leads; an error while it is not there.
    pub(crate) fn leads(&self) -> Result<bool> {
        Ok(self.get("/metrics")?.lines().any(|line| line == "forebay_operator_leads 1"))
    }

    /// As the kernel ends what is out of memory.
    pub(crate) fn kill(self) {
        drop(self.process);
    }

    /// As Kubernetes ends a pod; fails when it does not end well.
    pub(crate) fn terminate(mut self) -> Result<()> {
        let status = Command::new("kill").args(["-TERM", &self.process.0.id().to_string()]).status()?;
        ensure!(status.success(), "kill: {status}");
        let ended = wait_until("the operator to end", PATIENCE, || Ok(self.process.0.try_wait()?))?;
        ensure!(ended.success(), "the operator ended with {ended}");
        Ok(())
    }

    fn get(&self, path: &str) -> Result<String> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.http))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(answer)
    }
}

pub(crate) struct Setup {
    pub(crate) cluster: Cluster,
    dir: tempfile::TempDir,
}

impl Setup {
    pub(crate) fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let options = ClusterOptions { network: 86, ..ClusterOptions::new(dir.path().join("cluster")) };
        let cluster = Cluster::start(&options)?;
        for namespace in [NAMESPACE, "ml"] {
            cluster.kubectl(&["create", "namespace", namespace])?;
        }
        let chart = chart();
        let chart = chart.to_str().context("the chart's path is text")?;
        let shown = ["crds", "operator/rbac", "operator/kept"].map(|file| format!("--show-only=templates/{file}.yaml"));
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        let parts = [&["template", "forebay", chart, "--namespace", NAMESPACE], &shown[..]].concat();
        cluster.apply(&cluster.helm(&parts)?)?;
        cluster.kubectl(&["-n", NAMESPACE, "create", "serviceaccount", "forebay-agent"])?;
        let setup = Self { cluster, dir };
        setup.write_kubeconfig()?;
        Ok(setup)
    }

    /// The operator's ServiceAccount, instead of the administrator.
    fn write_kubeconfig(&self) -> Result<()> {
        let mut config = self.cluster.command("kubectl")?;
        let config = config.args(["config", "view", "--raw", "--flatten", "-o", "json"]).output()?;
        let mut config: Value = serde_json::from_slice(&config.stdout)?;
        let token = self.cluster.kubectl(&["-n", NAMESPACE, "create", "token", "forebay-operator", "--duration", "2h"])?;
        config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
        fs::write(self.kubeconfig(), config.to_string())?;
        Ok(())
    }

    fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("operator.kubeconfig")
    }

    fn log(&self, name: &str) -> Result<File> {
        let path = self.dir.path().join(format!("{name}.log"));
        Ok(File::options().create(true).append(true).open(path)?)
    }

    /// What a process has printed.
    pub(crate) fn printed(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.dir.path().join(format!("{name}.log")))?)
    }

    /// Starts a replica and waits until it is ready.
    pub(crate) fn replica(&self, name: &str) -> Result<Replica> {
        wait_until("a replica to be ready", PATIENCE, || self.try_replica(name))
            .with_context(|| self.printed(name).unwrap_or_default())
    }

    /// `None`: it ended, as it does when another process took one of its ports meanwhile.
    fn try_replica(&self, name: &str) -> Result<Option<Replica>> {
        let (grpc, http) = (free_port()?, free_port()?);
        let process = Command::new(env!("CARGO_BIN_EXE_forebay-operator"))
            .env("KUBECONFIG", self.kubeconfig())
            .args(["--namespace", NAMESPACE, "--identity", name, "--agent-image", "localhost/none:1"])
            .args(["--agent-image-pull-policy", "Never", "--secret-refresh", "1", "--lease-duration", "6"])
            .args(["--grpc-addr", &format!("127.0.0.1:{grpc}"), "--http-addr", &format!("127.0.0.1:{http}")])
            .stdout(Stdio::null())
            .stderr(self.log(name)?)
            .spawn()?;
        let mut replica = Replica { process: Process(process), grpc, http };
        let ready = wait_until("a replica to be ready or to end", PATIENCE, || {
            let ended = replica.process.0.try_wait()?.is_some();
            Ok(if ended { Some(false) } else { replica.get("/readyz").ok().map(|_| true) })
        })?;
        Ok(ready.then_some(replica))
    }

    /// An agent for the pod that a runtime has on a node, with `mounts` of each Dataset. Its prints are named like it.
    pub(crate) fn agent(&self, name: &str, pod: &str, replicas: &[&Replica], mounts: u32) -> Result<Process> {
        let token = self.cluster.kubectl(&[
            "-n",
            NAMESPACE,
            "create",
            "token",
            "forebay-agent",
            "--audience",
            "forebay-operator",
            "--bound-object-kind",
            "Pod",
            "--bound-object-name",
            pod,
            "--duration",
            "1h",
        ])?;
        let ca = self.cluster.get(&["-n", NAMESPACE, "configmap", "forebay-ca"])?;
        let (token_file, ca_file) = (self.dir.path().join(format!("{name}.token")), self.dir.path().join("ca.crt"));
        fs::write(&token_file, token)?;
        fs::write(&ca_file, ca["data"]["ca.crt"].as_str().context("the authority's certificate is published")?)?;
        let operator: Vec<String> = replicas.iter().map(|replica| format!("127.0.0.1:{}", replica.grpc)).collect();
        let program = Path::new(env!("CARGO_BIN_EXE_forebay-operator")).with_file_name("examples").join("pretend_agent");
        let process = Command::new(&program)
            .args(["--operator", &operator.join(","), "--fetch", "1", "--mounts", &mounts.to_string()])
            .arg("--ca")
            .arg(&ca_file)
            .arg("--token")
            .arg(&token_file)
            .stdout(self.log(name)?)
            .spawn()
            .with_context(|| format!("run {}: it is built by `cargo test -p forebay-operator`", program.display()))?;
        Ok(Process(process))
    }

    /// Name and node of each pod of a runtime that is not on its way out.
    pub(crate) fn pods(&self, runtime: &str) -> Result<Vec<(String, String)>> {
        let pods = self.cluster.get(&["-n", NAMESPACE, "pods", "-l", &format!("forebay.io/runtime={runtime}")])?;
        let items = pods["items"].as_array().into_iter().flatten();
        let there = items.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let mut pods: Vec<(String, String)> = there
            .filter_map(|pod| {
                let text = |value: &Value| value.as_str().map(str::to_owned);
                Some((text(&pod["metadata"]["name"])?, text(&pod["spec"]["nodeName"])?))
            })
            .collect();
        pods.sort();
        Ok(pods)
    }

    pub(crate) fn wait_for_pods(&self, runtime: &str, count: usize) -> Result<Vec<(String, String)>> {
        let what = format!("{runtime} to have {count} pods");
        wait_until(&what, PATIENCE, || Ok(Some(self.pods(runtime)?).filter(|pods| pods.len() == count)))
    }

    /// Waits until an object is as `wanted`, and returns it.
    pub(crate) fn wait_for(&self, object: &[&str], what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let what = format!("{} {what}", object.join(" "));
        let found = wait_until(&what, PATIENCE, || Ok(Some(self.cluster.get(object)?).filter(&wanted)));
        found.with_context(|| format!("it is now {}", self.cluster.get(object).unwrap_or_default()))
    }

    /// Waits until a condition of an object is False for a reason; returns its message.
    pub(crate) fn wait_for_reason(&self, object: &[&str], kind: &str, reason: &str) -> Result<String> {
        let found = self.wait_for(object, &format!("{kind} to be False: {reason}"), |object| {
            let condition = condition(object, kind);
            condition["status"] == "False" && condition["reason"] == reason
        })?;
        Ok(condition(&found, kind)["message"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn wait_until_gone(&self, object: &[&str]) -> Result<()> {
        let what = format!("{} to be gone", object.join(" "));
        let args: Vec<&str> = [&["get", "--ignore-not-found", "-o", "name"], object].concat();
        wait_until(&what, PATIENCE, || Ok(self.cluster.kubectl(&args)?.trim().is_empty().then_some(())))
    }
}

/// The condition of a type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}
