//! What tests of the whole need: real servers, a proxy that breaks things on request, the program itself, and
//! checksums of whole trees.
//!
//! Everything started here listens on a free loopback port, writes into a directory that the caller gives, and ends
//! when its handle is dropped. `xtask` uses the same pieces for the demo and the benchmark.

mod agent;
mod data;
mod manifest;
mod parts;
mod process;
mod proxy;
mod servers;
mod tree;
mod wait;

pub use agent::{Agent, AgentFiles, agent_binary, mounts_below, unmount_below};
pub use data::{TreeSize, build_tree};
pub use manifest::{Manifest, MountSpec};
pub use parts::{part, part_files, parts_bin};
pub use process::Process;
pub use proxy::{Fault, FaultProxy, RequestKind, Rule, RuleId, Seen};
pub use servers::{HttpServer, S3Client, S3Server};
pub use tree::{FileSum, TreeSum};
pub use wait::{free_port, free_port_on, wait_until};
