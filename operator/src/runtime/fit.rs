//! Whether the tiers fit into a node's memory: pure.

use forebay_crds::values::human;
use forebay_crds::{Medium, Tier};

use super::observe::NodeFacts;

/// Bytes of memory that an agent takes: its memory tiers, since a tmpfs counts as the memory of who writes to it, and what the
/// agent itself needs.
pub(super) fn memory(tiers: &[Tier], own: u64) -> u64 {
    let tiers = tiers.iter().filter(|tier| tier.medium == Medium::Memory);
    tiers.map(|tier| tier.capacity.bytes()).fold(own, u64::saturating_add)
}

/// Why the tiers do not fit on a node, and what to do; `None`: they do, as far as can be known.
pub(super) fn misfit(tiers: &[Tier], own: u64, node: &NodeFacts) -> Option<String> {
    let (need, have) = (memory(tiers, own), node.memory?);
    if need <= have {
        return None;
    }
    let names: Vec<&str> = tiers.iter().filter(|tier| tier.medium == Medium::Memory).map(|tier| &*tier.name).collect();
    let name = &node.name;
    let room = have.saturating_sub(own);
    Some(if names.is_empty() {
        format!("node {name} has {} of memory for pods, and an agent alone needs {}", human(have), human(need))
    } else {
        format!(
            "node {name} has {} of memory for pods, but the agent needs {} ({} of them its own): lower the capacity of {} by {}, to {} in \
             all, or choose larger nodes by nodeSelector",
            human(have),
            human(need),
            human(own),
            names.join(" and "),
            human(need - have),
            human(room)
        )
    })
}
