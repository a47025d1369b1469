use std::fmt;

use forebay_cache::{Medium, Reason, Stats, TierHealth, TierState, TierUsage};
use forebay_fetch::StatsSnapshot;

use super::names;
use super::page::Page;

/// Writes the tiers: what they hold and how they do.
pub(super) fn tiers(page: &mut Page<'_>, usage: &[TierUsage], health: &[TierHealth]) -> fmt::Result {
    let mut held = |metric: &names::Metric, value: fn(&TierUsage) -> u64| {
        page.write(metric, usage.iter().map(|tier| ([&*tier.name, medium(tier.medium)], value(tier))))
    };
    held(&names::TIER_CAPACITY, |tier| tier.capacity)?;
    held(&names::TIER_CHARGED, |tier| tier.charged)?;
    held(&names::TIER_BYTES, |tier| tier.bytes)?;
    held(&names::TIER_PINNED, |tier| tier.pinned)?;
    held(&names::TIER_OBJECTS, |tier| tier.objects)?;
    held(&names::TIER_BLOCKS, |tier| tier.blocks)?;
    page.write(
        &names::TIER_STATE,
        health.iter().flat_map(|tier| {
            let now = state(&tier.state);
            STATES.map(|word| ([&*tier.name, medium(tier.medium), word], word == now))
        }),
    )?;
    let mut does = |metric: &names::Metric, value: fn(&TierHealth) -> u64| {
        page.write(metric, health.iter().map(|tier| ([&*tier.name, medium(tier.medium)], value(tier))))
    };
    does(&names::TIER_FREE, |tier| tier.free)?;
    does(&names::TIER_RESERVE, |tier| tier.reserve)?;
    does(&names::TIER_ERRORS, |tier| tier.errors)
}

/// Writes what the cache did. `usage` names the tiers that the hits are counted by.
pub(super) fn cache(page: &mut Page<'_>, usage: &[TierUsage], stats: &Stats) -> fmt::Result {
    let Stats {
        hits,
        misses,
        hit_bytes,
        inserted,
        inserted_bytes,
        evictions,
        promotions,
        demotions,
        moves_dropped,
        refused,
        verify_failures,
        verified,
        index_errors,
    } = stats;
    page.write(&names::CACHE_NATIVE, usage.iter().map(|tier| ([&*tier.name], tier.native)))?;
    let hits = usage.iter().enumerate().map(|(i, tier)| ([&*tier.name], hits.get(i).copied().unwrap_or(0)));
    page.write(&names::CACHE_HITS, hits)?;
    page.one(&names::CACHE_MISSES, *misses)?;
    page.one(&names::CACHE_HIT_BYTES, *hit_bytes)?;
    page.one(&names::CACHE_INSERTED, *inserted)?;
    page.one(&names::CACHE_INSERTED_BYTES, *inserted_bytes)?;
    page.one(&names::CACHE_EVICTED, *evictions)?;
    page.one(&names::CACHE_PROMOTED, *promotions)?;
    page.one(&names::CACHE_DEMOTED, *demotions)?;
    page.one(&names::CACHE_MOVES_DROPPED, *moves_dropped)?;
    let refused = Reason::ALL.map(|reason| ([reason.as_str()], refused.get(&reason).copied().unwrap_or(0)));
    page.write(&names::CACHE_REFUSED, refused)?;
    page.one(&names::CACHE_VERIFIED, *verified)?;
    page.one(&names::CACHE_DAMAGED, *verify_failures)?;
    page.one(&names::CACHE_INDEX_ERRORS, *index_errors)
}

/// Writes what was fetched from the stores.
pub(super) fn fetch(page: &mut Page<'_>, stats: &StatsSnapshot) -> fmt::Result {
    let StatsSnapshot {
        reader_gets,
        background_gets,
        reader_bytes,
        background_bytes,
        peer_gets,
        peer_bytes,
        failed_gets,
        joined,
        refused,
    } = *stats;
    page.write(&names::STORE_GETS, [(["reader"], reader_gets), (["background"], background_gets)])?;
    page.write(&names::STORE_BYTES, [(["reader"], reader_bytes), (["background"], background_bytes)])?;
    page.one(&names::PEER_GETS, peer_gets)?;
    page.one(&names::PEER_BYTES, peer_bytes)?;
    page.one(&names::STORE_FAILED, failed_gets)?;
    page.one(&names::FETCH_JOINED, joined)?;
    page.one(&names::FETCH_REFUSED, refused)
}

fn medium(medium: Medium) -> &'static str {
    match medium {
        Medium::Memory => "memory",
        Medium::Disk => "disk",
    }
}

const STATES: [&str; 3] = ["ready", "recovering", "faulted"];

fn state(state: &TierState) -> &'static str {
    match state {
        TierState::Ready => "ready",
        TierState::Recovering => "recovering",
        TierState::Faulted { .. } => "faulted",
    }
}
