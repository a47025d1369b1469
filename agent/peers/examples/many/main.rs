//! Many agents that read one object whole at the same moment, cold: how much of it leaves the store, how much each of them sends, and how much
//! crosses zones, once with zones that nobody was told and once with zones that all know. All in this process, with TLS on loopback; what takes
//! how long says nothing.
//!
//! `cargo run --release -p forebay-peers --example many -- [AGENTS] [MIB] [ZONES]`, by default 100, 64 and 3. The caches lie in the directory for
//! temporary files (`TMPDIR`), AGENTS times MIB MiB of them until a round ends: not on a file system in memory. Each agent takes some dozens of
//! descriptors (`ulimit -n`).

mod agent;
#[path = "../shared/authority.rs"]
mod authority;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Result, ensure};
use bytes::Bytes;
use forebay_store::failing::FailingStore;
use forebay_store::memory::MemoryStore;
use tokio_util::sync::CancellationToken;

use agent::{Agent, World};
use authority::Authority;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: usize| args.next().map_or(Ok(default), |number| number.parse());
    let (agents, mib, zones) = (number(100)?, number(64)?, number(3)?);
    ensure!(agents > 0 && mib > 0 && zones > 0, "give numbers of agents, MiB and zones, each 1 at least");
    let runtime = tokio::runtime::Runtime::new()?;
    for told in [false, true] {
        let Figures { from_store, sent, crossed } = runtime.block_on(round(agents, mib, zones, told))?;
        let gave = sent.iter().filter(|copies| **copies > 0.0).count();
        let (most, median, least) = (sent[sent.len() - 1], sent[sent.len() / 2], sent[0]);
        let known = if told { "known" } else { "not known" };
        say(&format!("{agents} agents read {mib} MiB, {zones} zones, {known}:"))?;
        say(&format!("  {from_store:.3} copies left the store"))?;
        say(&format!("  an agent sent {most:.2} copies at most, {median:.2} in the median, {least:.2} at least; {gave} gave"))?;
        if zones > 1 {
            say(&format!("  each byte crossed into each further zone {:.2} times", crossed / (zones - 1) as f64))?;
        }
    }
    Ok(())
}

fn say(line: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(format!("{line}\n").as_bytes())?)
}

/// In copies of the object.
struct Figures {
    from_store: f64,
    /// By each agent, the least first.
    sent: Vec<f64>,
    crossed: f64,
}

async fn round(agents: usize, mib: usize, zones: usize, told: bool) -> Result<Figures> {
    let size = mib << 20;
    let bytes: Bytes = (0..size).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect::<Vec<u8>>().into();
    let memory = MemoryStore::new("memory://many");
    let meta = memory.put("object", bytes.clone());
    let store = Arc::new(FailingStore::new(Arc::new(memory)));
    let dir = tempfile::tempdir()?;
    let world = World {
        dir: dir.path().to_owned(),
        room: 2 * meta.size + (64 << 20),
        store: store.clone(),
        authority: Authority::new()?,
        stop: CancellationToken::new(),
    };
    let mut all = Vec::new();
    for n in 0..agents {
        all.push(Agent::start(&world, format!("node-{n}"), format!("zone-{}", n % zones)).await?);
    }
    let neighbours: Vec<_> = all.iter().map(|agent| agent.neighbour(told)).collect();
    all.iter().for_each(|agent| agent.net.set_neighbours(neighbours.clone()));
    let reads: Vec<_> = all
        .iter()
        .map(|agent| {
            let (reader, meta, bytes) = (agent.reader.clone(), meta.clone(), bytes.clone());
            tokio::spawn(async move { reader.read_all(&meta, &bytes).await })
        })
        .collect();
    for read in reads {
        read.await??;
    }
    let copies = |bytes: u64| bytes as f64 / meta.size as f64;
    let (sent, crossed) = sent(&all);
    let mut sent: Vec<f64> = sent.into_values().map(copies).collect();
    sent.sort_by(f64::total_cmp);
    world.stop.cancel();
    for agent in all {
        agent.server.await?;
    }
    Ok(Figures { from_store: copies(store.bytes_requested()), sent, crossed: copies(crossed) })
}

/// Bytes that each agent sent, and those that went to another zone.
fn sent(agents: &[Agent]) -> (BTreeMap<&str, u64>, u64) {
    let zones: BTreeMap<&str, &str> = agents.iter().map(|agent| (&*agent.node, &*agent.zone)).collect();
    let mut sent: BTreeMap<&str, u64> = zones.keys().map(|node| (*node, 0)).collect();
    let mut crossed = 0;
    for agent in agents {
        for (giver, bytes) in agent.net.given() {
            if let Some(sent) = sent.get_mut(&*giver) {
                *sent += bytes;
            }
            if zones.get(&*giver) != Some(&&*agent.zone) {
                crossed += bytes;
            }
        }
    }
    (sent, crossed)
}
