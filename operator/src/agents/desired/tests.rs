#![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

use forebay_api::DatasetName;
use forebay_api::session::PeerState;
use forebay_crds::values::{ByteSize, TreePath};
use forebay_crds::{DatasetSpec, Mount, Tier};

use super::*;

fn runtime(generation: i64) -> Arc<RuntimeState> {
    let tiers = vec![Tier::memory("ram".parse().unwrap(), ByteSize::from_bytes(1 << 30))];
    let spec = forebay_crds::CacheRuntimeSpec {
        node_selector: Default::default(),
        tolerations: vec![],
        replicas: None,
        tiers,
        allowed_host_paths: vec![],
        warm_up: Default::default(),
        peers: Default::default(),
    };
    Arc::new(RuntimeState { name: "r".into(), generation, spec, leaving: false })
}

fn state(uid: &str, generation: i64) -> (String, Arc<DatasetState>) {
    let mount = Mount::of(TreePath::root(), "s3://bucket".parse().unwrap());
    let state = DatasetState {
        dataset: DatasetName::new("ml", uid),
        uid: uid.into(),
        generation,
        spec: DatasetSpec::of(vec![mount]),
        secrets: vec![],
        refresh: None,
        evict: None,
    };
    (uid.into(), Arc::new(state))
}

fn desired(datasets: &[(&str, i64)], complete: bool) -> Desired {
    let datasets = datasets.iter().map(|(uid, generation)| state(uid, *generation)).collect();
    Desired { runtime: Some(runtime(1)), datasets: Arc::new(datasets), complete, ..Desired::default() }
}

/// Words in short: `+uid` a Dataset, `-uid` removed, `R`, `S`, `P` who is there and who is gone.
fn short(words: Vec<Word>) -> Vec<String> {
    let short = |word| match word {
        Word::Runtime(_) => "R".to_owned(),
        Word::Dataset(state) => format!("+{}", state.uid),
        Word::Removed(removed) => format!("-{}", removed.uid),
        Word::Synced => "S".to_owned(),
        Word::Peers(change) => {
            let PeersChange { anew, there, gone } = &*change;
            let there: Vec<_> = there.iter().map(|peer| format!("{}@{}", peer.node, peer.address)).collect();
            format!("P{} {} -{}", if *anew { "!" } else { "" }, there.join(" "), gone.join(" "))
        }
    };
    words.into_iter().map(short).collect()
}

#[test]
fn a_session_begins_with_everything_and_goes_on_with_changes() {
    let mut told = Told::default();
    assert_eq!(short(told.next(&desired(&[("a", 1), ("b", 1)], true))), ["R", "+a", "+b", "S"]);
    assert_eq!(short(told.next(&desired(&[("a", 1), ("b", 1)], true))), [""; 0]);
    assert_eq!(short(told.next(&desired(&[("a", 2), ("b", 1)], true))), ["+a"]);
    assert_eq!(short(told.next(&desired(&[("b", 1), ("c", 1)], true))), ["-a", "+c"]);
}

#[test]
fn while_a_secret_is_not_read_nothing_is_given_up_and_synced_waits() {
    let mut told = Told::default();
    assert_eq!(short(told.next(&desired(&[("a", 1)], false))), ["R", "+a"]);
    assert_eq!(short(told.next(&desired(&[], false))), [""; 0], "a is only not known now");
    assert_eq!(short(told.next(&desired(&[("a", 1), ("b", 1)], true))), ["+b", "S"]);
}

#[test]
fn what_is_deleted_while_a_secret_is_not_read_is_given_up_afterwards() {
    let mut told = Told::default();
    told.next(&desired(&[("a", 1), ("b", 1)], true));
    assert_eq!(short(told.next(&desired(&[("b", 1)], false))), [""; 0]);
    assert_eq!(short(told.next(&desired(&[("b", 1), ("c", 1)], false))), ["+c"]);
    assert_eq!(short(told.next(&desired(&[("b", 1), ("c", 1)], true))), ["-a"]);
    assert_eq!(short(told.next(&desired(&[("b", 1), ("c", 1)], true))), [""; 0]);
}

#[test]
fn an_agent_that_is_to_go_and_one_of_a_removed_runtime_let_go_of_everything() {
    let mut told = Told::default();
    let all = desired(&[("a", 1)], true);
    told.next(&all);
    let leaving = Desired { leaving: BTreeSet::from(["n1".to_owned()]), ..all.clone() };
    assert_eq!(short(told.next(&leaving.on("n2"))), [""; 0]);
    assert_eq!(short(told.next(&leaving.on("n1"))), ["R", "-a"], "it is to give its tiers back as well");
    assert!(told.runtime.as_ref().unwrap().leaving);
    assert_eq!(short(told.next(&all.on("n1"))), ["R", "+a"], "it stays after all");
    assert!(!told.runtime.as_ref().unwrap().leaving);
    let gone = Desired { complete: true, ..Desired::default() };
    assert_eq!(short(told.next(&gone)), ["-a"]);
    assert_eq!(short(Told::default().next(&gone)), ["S"], "what it has from before is given up");
    assert_eq!(short(Told::default().next(&Desired::default())), [""; 0], "nothing is known yet");
}

#[test]
fn a_changed_secret_is_a_changed_dataset() {
    let mut told = Told::default();
    let first = desired(&[("a", 1)], true);
    told.next(&first);
    let mut changed = (*first.datasets["a"]).clone();
    changed.secrets.push(forebay_crds::manifest::SecretData::new("ml", "s", Default::default()));
    let second = Desired { datasets: Arc::new(BTreeMap::from([("a".to_owned(), Arc::new(changed))])), ..first };
    assert_eq!(short(told.next(&second)), ["+a"]);
}

#[test]
fn an_agent_hears_who_is_there_and_then_only_what_changes() {
    let peers = |peers: &[(&str, &str)]| {
        let peer = |(node, address): &(&str, &str)| PeerState {
            node: (*node).into(),
            zone: None,
            address: address.parse().unwrap(),
            leaving: false,
            since: 0,
        };
        let peers = peers.iter().map(|one| ((one.0).to_owned(), peer(one))).collect();
        Desired { peers: Arc::new(Peers::new(peers)), ..desired(&[], true) }
    };
    let mut told = Told::default();
    assert_eq!(short(told.next(&peers(&[]))), ["R", "S"], "of nobody nothing is said");
    let one = peers(&[("n1", "10.0.0.1:9102")]);
    assert_eq!(short(told.next(&one)), ["P! n1@10.0.0.1:9102 -"], "it may know others of its former session");
    let mut told = Told::default();
    let two = peers(&[("n1", "10.0.0.1:9102"), ("n2", "10.0.0.2:9102")]);
    assert_eq!(short(told.next(&two)), ["R", "P! n1@10.0.0.1:9102 n2@10.0.0.2:9102 -", "S"]);
    assert_eq!(short(told.next(&two)), [""; 0]);
    let moved = peers(&[("n1", "10.0.0.1:9102"), ("n2", "10.0.0.9:9102"), ("n3", "10.0.0.3:9102")]);
    assert_eq!(short(told.next(&moved)), ["P n2@10.0.0.9:9102 n3@10.0.0.3:9102 -"]);
    assert_eq!(short(told.next(&two)), ["P n2@10.0.0.2:9102 -n3"]);
    assert_eq!(short(told.next(&peers(&[]))), ["P  -n1 n2"]);
}
