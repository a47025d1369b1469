//! Readers with open files go on, whatever of ours is killed, upgraded or out of reach.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use forebay_e2e::wait_until;
use forebay_promises::{NAMESPACE, Reader, SOON, Site};

use crate::Promise;

pub(crate) const PROMISES: &[Promise] = &[
    ("faults::readers_go_on_while_the_agent_is_killed_again_and_again", agent_killed),
    ("faults::readers_go_on_while_the_agent_is_upgraded", agent_upgraded),
    ("faults::readers_go_on_while_csi_is_killed", csi_killed),
    ("faults::readers_go_on_while_agent_and_csi_are_replaced_at_once", both_replaced),
    ("faults::readers_and_status_go_on_while_the_operator_is_killed", operator_killed),
    ("faults::readers_go_on_while_the_api_server_is_away", api_server_away),
];

const MODES: [&str; 3] = ["buffered", "mmap", "direct"];

/// How often each thing is done: FOREBAY_ROUNDS at most, as in the gate, which has an hour for everything.
fn rounds(all: usize) -> usize {
    std::env::var("FOREBAY_ROUNDS").ok().and_then(|most| most.parse().ok()).map_or(all, |most: usize| most.min(all))
}

/// Pods on node n1 that read Dataset `first` and compare. Those of a promise that was broken go at the next one's start.
struct Readers(Vec<Reader>);

impl Readers {
    fn start(site: &Site) -> Result<Self> {
        let source = site.store.source.display().to_string();
        let program = include_str!("reader.py").replace('\'', "'\\''");
        let readers: Vec<Reader> = MODES
            .iter()
            .map(|mode| {
                Reader::inline("default", &format!("reads-{mode}"), "first")
                    .on("n1")
                    .script(&format!(
                        "printf %s '{program}' > /tmp/reader.py && exec /usr/bin/python3 -u /tmp/reader.py /data /source {mode}"
                    ))
                    .host_path("source", &source, "/source")
                    .host_path("usr", "/usr", "/usr")
                    .host_path("lib", "/usr/lib", "/lib")
                    .host_path("lib64", "/usr/lib64", "/lib64")
            })
            .collect();
        let before = site.opens_on("n1", "first")?.native;
        for reader in &readers {
            reader.remove(site)?;
            reader.start(site)?;
        }
        for reader in &readers {
            reader.wait_printed(site, "reading")?;
        }
        // What is open natively must outlive all the same.
        let native = site.opens_on("n1", "first")?.native - before;
        ensure!(native > 0, "none of the readers' files is read natively");
        Ok(Self(readers))
    }

    /// All must be at it still: one that met an error has ended.
    fn check(&self, site: &Site) -> Result<()> {
        for reader in &self.0 {
            ensure!(reader.phase(site)? == "Running", "a reader met an error: {}", reader.printed(site)?);
        }
        Ok(())
    }

    /// Ends them; the longest that a read took is told.
    fn end(self, site: &Site, what: &str) -> Result<()> {
        self.check(site)?;
        for reader in &self.0 {
            // It may end, and its container with it, before `touch` has: whether it did is asked below.
            let _ = reader.exec(site, &["touch", "/tmp/end"]);
        }
        for (reader, mode) in self.0.iter().zip(MODES) {
            let printed = reader.finish(site)?;
            crate::say(&format!("          {what}, {mode}: {}", printed.lines().last().unwrap_or_default()));
            reader.remove(site)?;
        }
        Ok(())
    }
}

fn pods(site: &Site, selector: &str) -> Result<Vec<(String, String)>> {
    let fields = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{\"\\n\"}{end}";
    let all = site.cluster.kubectl(&["get", "pods", "-n", NAMESPACE, "-l", selector, "-o", fields])?;
    Ok(all.lines().filter_map(|line| line.split_once(' ')).map(|(name, node)| (name.to_owned(), node.to_owned())).collect())
}

/// Waits until another agent than `before` is ready on n1.
fn wait_next_agent(site: &Site, before: &str) -> Result<()> {
    wait_until("the next agent to be ready", SOON, || {
        let Ok(now) = site.agent_on("n1") else { return Ok(None) };
        if now == before {
            return Ok(None);
        }
        let ready = site.field(&["pod", "-n", NAMESPACE, &now], "/status/containerStatuses/0/ready")?;
        Ok((ready == true).then_some(()))
    })
}

fn agent_killed(site: &Site) -> Result<()> {
    let readers = Readers::start(site)?;
    for _ in 0..rounds(50) {
        let agent = site.agent_on("n1")?;
        site.cluster.node("n1")?.exec(&["pkill", "-KILL", "-x", "forebay-agent"])?;
        // kubelet would wait longer with each crash; a new pod begins at once.
        site.cluster.kubectl(&["delete", "pod", "-n", NAMESPACE, &agent, "--grace-period=0", "--force"])?;
        wait_next_agent(site, &agent)?;
        readers.check(site)?;
    }
    readers.end(site, &format!("agent killed {} times", rounds(50)))
}

fn agent_upgraded(site: &Site) -> Result<()> {
    let readers = Readers::start(site)?;
    for round in 0..rounds(10) {
        let agent = site.agent_on("n1")?;
        site.upgrade(&[&format!("agent.log=info,round{round}=info")])?;
        wait_next_agent(site, &agent)?;
        readers.check(site)?;
    }
    site.upgrade(&["agent.log=info"])?;
    site.wait_agents_log("info")?;
    readers.end(site, &format!("agent upgraded {} times", rounds(10)))
}

/// The pod of csi on n1.
fn csi_pod(site: &Site) -> Result<String> {
    let all = pods(site, "app.kubernetes.io/name=forebay-csi")?;
    all.into_iter().find(|(_, node)| node == "n1").map(|(name, _)| name).context("no csi on n1")
}

fn csi_killed(site: &Site) -> Result<()> {
    let readers = Readers::start(site)?;
    for _ in 0..rounds(2) {
        let name = csi_pod(site)?;
        site.cluster.node("n1")?.exec(&["pkill", "-KILL", "-x", "forebay-csi"])?;
        site.cluster.kubectl(&["delete", "pod", "-n", NAMESPACE, &name, "--grace-period=0", "--force"])?;
        readers.check(site)?;
        // The next csi works: a new pod gets its volume.
        let expected = forebay_promises::sums_of(&site.store.source)?;
        ensure!(Reader::of_claim("default", "after-csi", "first").on("n1").run(site)? == expected);
    }
    readers.end(site, "csi killed")
}

/// Told to end, one of the two stays until the next one of the other has come. Killed at once, both take the mount with them.
fn both_replaced(site: &Site) -> Result<()> {
    let readers = Readers::start(site)?;
    for _ in 0..rounds(2) {
        let (agent, csi) = (site.agent_on("n1")?, csi_pod(site)?);
        site.cluster.kubectl(&["delete", "pod", "-n", NAMESPACE, &agent, &csi, "--wait=false"])?;
        site.wait_gone(&["pod", "-n", NAMESPACE, &agent])?;
        site.wait_gone(&["pod", "-n", NAMESPACE, &csi])?;
        wait_next_agent(site, &agent)?;
        wait_until("the next csi to be ready", SOON, || {
            let Ok(now) = csi_pod(site) else { return Ok(None) };
            Ok((site.field(&["pod", "-n", NAMESPACE, &now], "/status/containerStatuses/0/ready")? == true).then_some(()))
        })?;
        readers.check(site)?;
    }
    readers.end(site, "agent and csi replaced at once")
}

fn operator_killed(site: &Site) -> Result<()> {
    let readers = Readers::start(site)?;
    for _ in 0..rounds(1) {
        let leader = site.field(&["lease", "-n", NAMESPACE, "forebay-operator"], "/spec/holderIdentity")?;
        let leader = leader.as_str().context("nobody leads")?.to_owned();
        site.cluster.kubectl(&["delete", "pod", "-n", NAMESPACE, &leader, "--grace-period=0", "--force"])?;
        site.wait_for("another leader", &["lease", "-n", NAMESPACE, "forebay-operator"], |lease| {
            lease["spec"]["holderIdentity"].as_str().is_some_and(|holder| !holder.is_empty() && holder != leader)
        })?;
        site.wait_phase("default", "first", "Ready")?;
        readers.check(site)?;
    }
    readers.end(site, "operator killed")
}

fn api_server_away(site: &Site) -> Result<()> {
    let readers = Readers::start(site)?;
    site.cluster.stop_api_server()?;
    std::thread::sleep(Duration::from_secs(60));
    site.cluster.start_api_server()?;
    wait_until("the API server to answer", SOON, || Ok(site.cluster.kubectl(&["get", "--raw", "/readyz"]).ok()))?;
    site.wait_phase("default", "first", "Ready")?;
    readers.end(site, "API server away for a minute")
}
