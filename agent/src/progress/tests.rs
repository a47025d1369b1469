#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use std::time::Duration;

use forebay_crds::k8s::jiff::Timestamp;
use forebay_crds::k8s::{Condition, Time};
use forebay_crds::{DatasetStatus, Phase};

use super::bars::Bars;
use super::console::Console;
use super::line::line;
use super::stage::ListingRate;
use super::teller::Teller;
use crate::view::DatasetView;
use crate::view::twin::{dataset, start};

fn now() -> Timestamp {
    Timestamp::try_from(start()).unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn view(phase: Phase, change: impl FnOnce(&mut DatasetView)) -> DatasetView {
    let mut status = DatasetStatus { phase, ..DatasetStatus::default() };
    (status.catalog.files, status.catalog.bytes) = (4000, 14 << 30);
    let mut view = dataset("ml", "imagenet", status);
    change(&mut view);
    view
}

fn because(message: &str) -> Condition {
    Condition {
        last_transition_time: Time(now()),
        message: message.into(),
        observed_generation: None,
        reason: "Why".into(),
        status: "False".into(),
        type_: "StoresReachable".into(),
    }
}

fn listing(seen: u64) -> DatasetView {
    view(Phase::Listing, |view| {
        view.mounted = false;
        view.listing = Some(seen);
    })
}

fn prefetching(done: u64) -> DatasetView {
    view(Phase::Prefetching, |view| {
        let prefetch = &mut view.status.prefetch;
        (prefetch.done_bytes, prefetch.total_bytes) = (done << 20, 100 << 20);
        (prefetch.done_files, prefetch.total_files) = (done, 100);
        prefetch.bytes_per_second = 10 << 20;
        prefetch.failed_files = 2;
    })
}

#[test]
fn lines() {
    let cases = [
        (listing(0), "ml/imagenet: listing: 0 objects seen"),
        (view(Phase::Listing, |v| v.status.conditions.push(because("7 so far"))), "ml/imagenet: listing: 7 so far"),
        (view(Phase::Pending, |v| v.listing = Some(1)), "ml/imagenet: listing: 1 object seen"),
        (view(Phase::Pending, |v| v.status.conditions.push(because("no such runtime"))), "ml/imagenet: waiting: no such runtime"),
        (prefetching(40), "ml/imagenet: prefetching at /mnt/imagenet: 40%: 40.0Mi of 100Mi, 40 of 100 files, 10.0Mi/s, 2 failed"),
        (view(Phase::Ready, |_| {}), "ml/imagenet: ready at /mnt/imagenet: 4000 files, 14.0Gi"),
        (view(Phase::Ready, |v| v.mounted = false), "ml/imagenet: ready: 4000 files, 14.0Gi"),
        (
            view(Phase::Degraded, |v| v.status.conditions.push(because("store a\nis away"))),
            "ml/imagenet: degraded at /mnt/imagenet: store a\\nis away",
        ),
        (view(Phase::Failed, |v| v.status.conditions.push(because("403"))), "ml/imagenet: failed: 403"),
    ];
    for (view, expected) in cases {
        assert_eq!(line(&view, 0, now()), expected);
    }
    assert_eq!(line(&listing(7), 500, now()), "ml/imagenet: listing: 7 objects seen, 500/s");
}

#[test]
fn a_log_is_told_stages_at_once_and_progress_now_and_then() {
    let mut teller = Teller::default();
    let mut tell = |at: u64, view: DatasetView| teller.tell(&[view], secs(at), now()).len();
    assert_eq!(tell(0, view(Phase::Pending, |_| {})), 0, "nothing has begun");
    assert_eq!(tell(1, listing(10)), 1, "listing begins");
    assert_eq!(tell(2, listing(20)), 0, "too soon");
    assert_eq!(tell(6, listing(60)), 1, "it moves");
    assert_eq!(tell(7, prefetching(0)), 1, "another stage");
    assert_eq!(tell(20, prefetching(0)), 0, "nothing moved");
    assert_eq!(tell(21, prefetching(1)), 1);
    assert_eq!(tell(22, view(Phase::Ready, |v| v.mounted = false)), 1, "another stage");
    assert_eq!(tell(23, view(Phase::Ready, |_| {})), 1, "it is mounted");
    assert_eq!(tell(999, view(Phase::Ready, |_| {})), 0, "and rests");
}

#[test]
fn a_dataset_that_left_and_came_back_is_told_anew() {
    let mut teller = Teller::default();
    assert_eq!(teller.tell(&[view(Phase::Ready, |_| {})], secs(0), now()).len(), 1);
    assert_eq!(teller.tell(&[], secs(1), now()).len(), 0);
    assert_eq!(teller.tell(&[view(Phase::Ready, |_| {})], secs(2), now()).len(), 1);
}

#[test]
fn the_listings_rate_is_that_of_the_last_seconds() {
    let mut rate = ListingRate::default();
    assert_eq!(rate.sample(secs(0), 0), 0, "nothing to compare with");
    assert_eq!(rate.sample(secs(1), 1000), 1000);
    for at in 2..=20 {
        assert_eq!(rate.sample(secs(at), at * 1000), 1000, "at {at}");
    }
    for at in 21..=27 {
        rate.sample(secs(at), 20_000);
    }
    assert_eq!(rate.sample(secs(28), 20_000), 0, "a stall shows");
    assert_eq!(rate.sample(secs(29), 5), 0, "another listing begins");
    assert_eq!(rate.sample(secs(31), 205), 100);
}

#[test]
fn bars_are_drawn_through_a_whole_life() {
    // Under a test the error output may be a terminal or not: both must do.
    let mut bars = Bars::new(Console::stderr());
    let life = [listing(1), listing(2), prefetching(0), prefetching(100), view(Phase::Ready, |_| {}), listing(1)];
    for (at, view) in life.into_iter().enumerate() {
        bars.draw(&[view], secs(at as u64), now());
    }
    assert_eq!(bars.moving(), 1, "a new listing has a bar again");
    bars.draw(&[view(Phase::Ready, |_| {})], secs(9), now());
    assert_eq!(bars.moving(), 0, "what rests has none");
    bars.draw(&[listing(1)], secs(10), now());
    bars.draw(&[], secs(11), now());
    assert_eq!(bars.moving(), 0, "what left has none");
    bars.clear();
}
