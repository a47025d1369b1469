//! The cluster does what tests of the product rely on: pods run on every node, find each other and the machine by name and
//! address, see hostPaths and mounts, and nothing of it is left afterwards.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use forebay_cluster::{Cluster, ClusterOptions};
use forebay_e2e::wait_until;

const PATIENCE: Duration = Duration::from_secs(300);

/// A pod that runs a shell script, on one node.
fn pod(name: &str, node: &str, script: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: {node}}}
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: localhost/busybox:1
    args: [{script:?}]
    volumeMounts: [{{name: host, mountPath: /host, mountPropagation: HostToContainer}}]
  volumes: [{{name: host, hostPath: {{path: /var/shared, type: DirectoryOrCreate}}}}]
---
"
    )
}

fn logs_of_finished(cluster: &Cluster, name: &str) -> Result<String> {
    let what = format!("pod {name} to succeed");
    wait_until(&what, PATIENCE, || {
        let phase = cluster.kubectl(&["get", "pod", name, "-o", "jsonpath={.status.phase}"])?;
        anyhow::ensure!(phase != "Failed", "{}", cluster.kubectl(&["logs", name])?);
        Ok((phase == "Succeeded").then_some(()))
    })
    .with_context(|| cluster.kubectl(&["describe", "pod", name]).unwrap_or_default())?;
    cluster.kubectl(&["logs", name])
}

/// Answers each connection with one line, for ever.
fn serve(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.write_all(b"the machine\n");
            let _ = stream.read(&mut [0]);
        }
    });
}

#[test]
fn two_nodes_run_pods_that_reach_each_other_the_machine_and_the_nodes_disks_and_leave_nothing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let options = ClusterOptions { network: 87, ..ClusterOptions::new(dir.path().join("cluster")) };
    let cluster = Cluster::start(&options)?;
    let host = cluster.addresses().host();
    let listener = TcpListener::bind((host, 0))?;
    let port = listener.local_addr()?.port();
    serve(listener);

    let server = "while true; do echo from-n2 | nc -l -p 8000; done";
    let service = "apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {selector: {app: echo}, ports: [{port: 80, targetPort: 8000}]}
";
    cluster.apply(&format!("{}{service}", pod("echo", "n2", server)))?;
    cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", "pod/echo"])?;
    let script = format!(
        "for i in $(seq 60); do nc -w 5 echo.default.svc 80 </dev/null && break; sleep 1; done; \
         nc -w 5 {host} {port} </dev/null; echo written > /host/file; hostname"
    );
    cluster.apply(&pod("asks", "n1", &script))?;
    let said = logs_of_finished(&cluster, "asks")?;
    assert_eq!(said.lines().filter(|l| !l.contains("resolving")).collect::<Vec<_>>(), ["from-n2", "the machine", "asks"]);

    // What a pod wrote stands in its node's own directory, and in no other's.
    let (n1, n2) = (cluster.node("n1")?, cluster.node("n2")?);
    assert_eq!(n1.exec(&["cat", "/var/shared/file"])?, "written\n");
    assert!(n2.exec(&["cat", "/var/shared/file"]).is_err());
    assert_eq!(std::fs::read_to_string(n1.var().join("shared/file"))?, "written\n");

    // A mount made in the node reaches a pod that runs already: what CSI volumes of agents rest on.
    n2.exec(&["mkdir", "-p", "/var/shared/later"])?;
    n2.exec(&["mount", "-t", "tmpfs", "tmpfs", "/var/shared/later"])?;
    n2.exec(&["touch", "/var/shared/later/in-the-mount"])?;
    assert_eq!(cluster.kubectl(&["exec", "echo", "--", "ls", "/host/later"])?, "in-the-mount\n");
    assert!(n2.mounts()?.iter().any(|mount| mount.at == "/var/shared/later"));

    a_node_dies_and_comes_back(&cluster)?;
    the_api_server_goes_and_comes_back(&cluster)?;

    assert!(Cluster::start(&options).is_err(), "a cluster in use was taken away");
    cluster.stop()?;
    nothing_is_left(&options)
}

#[test]
fn what_a_killed_program_left_is_taken_away_by_the_next_start_and_a_persons_is_not() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let options = |name: &str| ClusterOptions { network: 85, nodes: 1, ..ClusterOptions::new(dir.path().join(name)) };
    let left = Cluster::start(&options("left"))?;
    left.kubectl(&["create", "namespace", "of-the-former"])?;
    // A program that is killed does not get to drop anything. Its process is none that runs.
    std::fs::write(left.dir().join("owner.json"), r#"{"Program":{"pid":1,"began":1152921504606846976}}"#)?;
    std::mem::forget(left);

    let next = Cluster::start(&options("next"))?;
    assert!(next.kubectl(&["get", "namespace", "of-the-former"]).is_err());
    assert_eq!(names(&dir.path().join("left"))?, ["log"]);

    let path = next.dir().to_owned();
    next.hand_over()?;
    let refused = Cluster::start(&options("another")).unwrap_err();
    assert!(format!("{refused:#}").contains("stop it first"), "{refused:#}");
    assert_eq!(Cluster::open(&path)?.nodes()?.len(), 1);
    Cluster::remove(&path)?;
    Cluster::remove(&path)?;
    nothing_is_left(&options("next"))
}

fn names(dir: &Path) -> Result<Vec<std::ffi::OsString>> {
    Ok(std::fs::read_dir(dir)?.flatten().map(|entry| entry.file_name()).collect())
}

fn a_node_dies_and_comes_back(cluster: &Cluster) -> Result<()> {
    let n1 = cluster.node("n1")?;
    n1.kill()?;
    assert!(!n1.is_up() && n1.exec(&["true"]).is_err());
    wait_until("the dead node to be noticed", PATIENCE, || {
        let node = cluster.get(&["node", "n1"])?;
        let conditions = node["status"]["conditions"].as_array().context("no conditions")?;
        Ok(conditions.iter().any(|c| c["type"] == "Ready" && c["status"] != "True").then_some(()))
    })?;
    n1.start()?;
    cluster.wait_for_nodes(&["n1"])?;
    // Its disk is the one it had.
    assert_eq!(n1.exec(&["cat", "/var/shared/file"])?, "written\n");
    cluster.apply(&pod("again", "n1", "echo again"))?;
    assert_eq!(logs_of_finished(cluster, "again")?, "again\n");
    Ok(())
}

fn the_api_server_goes_and_comes_back(cluster: &Cluster) -> Result<()> {
    cluster.stop_api_server()?;
    assert!(cluster.kubectl(&["get", "nodes", "--request-timeout=2s"]).is_err());
    cluster.start_api_server()?;
    assert_eq!(cluster.kubectl(&["get", "pod", "echo", "-o", "jsonpath={.status.phase}"])?, "Running");
    Ok(())
}

fn nothing_is_left(options: &ClusterOptions) -> Result<()> {
    let dir = options.dir.to_str().context("UTF-8")?;
    let bridge = format!("fb{}", options.network);
    assert!(!std::fs::read_to_string("/proc/self/mountinfo")?.contains(dir));
    for place in ["/sys/class/net", "/run/netns", "/sys/fs/cgroup", "/sys/fs/cgroup/memory"] {
        let Ok(entries) = std::fs::read_dir(place) else { continue };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let left: Vec<_> = names.filter(|name| name.starts_with(&bridge)).collect();
        assert!(left.is_empty(), "{place} holds {left:?}");
    }
    for process in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(!line.contains(dir), "{} runs still: {line}", process.path().display());
    }
    assert_eq!(names(&options.dir)?, ["log"]);
    Ok(())
}
