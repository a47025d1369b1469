#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails tells where")]

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use forebay_crds::manifest::{Redacted, SecretData};
use forebay_crds::names::Eviction;
use forebay_crds::{CacheRuntimeSpec, DatasetSpec, DatasetStatus};
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::{DatasetReport, operator as wire};

const WORD: &str = "hunter2-hunter2";

fn imagenet() -> DatasetName {
    DatasetName::new("ml", "imagenet")
}

fn dataset_spec() -> DatasetSpec {
    serde_json::from_value(json!({
        "runtime": "gpu",
        "mounts": [
            {"path": "/", "source": "s3://imagenet/train", "secretRef": {"name": "obs"}, "options": {"requestTimeout": "10s"}},
            {"path": "/labels", "source": "https://files.example/labels/"}
        ],
        "prefetch": {"policy": "Eager", "tier": "ram"},
        "quota": "1.5Gi",
        "allowedNamespaces": ["research", "*"]
    }))
    .unwrap()
}

fn runtime_spec() -> CacheRuntimeSpec {
    serde_json::from_value(json!({
        "nodeSelector": {"role": "gpu"},
        "tolerations": [{"operator": "Exists"}],
        "replicas": 3,
        "tiers": [
            {"name": "ram", "medium": "Memory", "capacity": "1Gi"},
            {"name": "ssd", "medium": "Disk", "path": "/var/cache", "capacity": 123456789, "reserve": "5%"}
        ],
        "allowedHostPaths": ["/data"]
    }))
    .unwrap()
}

fn state() -> DatasetState {
    let entries = BTreeMap::from([("accessKeyId".into(), Redacted::new("AKIA")), ("x".into(), Redacted::new(WORD))]);
    DatasetState {
        dataset: imagenet(),
        uid: "u-1".into(),
        generation: 7,
        spec: dataset_spec(),
        secrets: vec![SecretData::new("ml", "obs", entries), SecretData::new("ml", "empty", BTreeMap::new())],
        refresh: Some("now".into()),
        evict: Some(Eviction { id: "then".into(), paths: vec!["/a b".parse().unwrap()] }),
    }
}

fn desired() -> Vec<OperatorMessage> {
    vec![
        OperatorMessage::Runtime(RuntimeState { name: "gpu".into(), generation: 3, spec: runtime_spec(), leaving: true }),
        OperatorMessage::Dataset(state()),
        OperatorMessage::Dataset(DatasetState { secrets: vec![], refresh: None, evict: None, ..state() }),
        OperatorMessage::Removed(Removed { uid: "u-1".into(), dataset: imagenet() }),
        OperatorMessage::Synced,
        OperatorMessage::Peers(PeersChange {
            anew: true,
            there: vec![
                PeerState {
                    node: "n1".into(),
                    zone: Some("a".into()),
                    address: "10.0.0.1:9102".parse().unwrap(),
                    leaving: true,
                    since: u64::MAX,
                },
                PeerState { node: "n2".into(), zone: None, address: "[fd00::1]:9102".parse().unwrap(), leaving: false, since: 0 },
            ],
            gone: vec!["n3".into()],
        }),
    ]
}

fn progress() -> DatasetProgress {
    let mut status = DatasetStatus::default();
    status.summarize();
    let report = DatasetReport {
        namespace: "ml".into(),
        name: "imagenet".into(),
        at: "/mnt/imagenet".into(),
        mounted: true,
        since: UNIX_EPOCH,
        listing: Some(9),
        status,
        not_native: Some("switched off".into()),
    };
    DatasetProgress { uid: "u-1".into(), report, refreshed: Some("now".into()), evicted: Some("then".into()), mounts: 2 }
}

fn tier(fault: Option<String>) -> TierHealth {
    TierHealth { name: "ram".into(), capacity_bytes: u64::MAX, used_bytes: 2, pinned_bytes: 1, fault }
}

fn reports() -> Vec<AgentMessage> {
    vec![
        AgentMessage::Hello(Hello { version: "0.1.0".into(), pod_name: "forebay-agent-gpu-x".into() }),
        AgentMessage::Dataset(progress()),
        AgentMessage::Dataset(DatasetProgress { refreshed: None, evicted: None, ..progress() }),
        AgentMessage::Health(Health {
            tiers: vec![tier(None), tier(Some(String::new())), tier(Some("read-only".into()))],
            age: Some(Duration::from_secs(u64::MAX)),
        }),
        AgentMessage::Health(Health::default()),
        AgentMessage::Released(Released { uid: "u-1".into(), dataset: imagenet() }),
    ]
}

#[test]
fn what_is_desired_comes_out_as_it_went_in() {
    for message in desired() {
        let bytes = wire::OperatorMessage::from(message.clone()).encode_to_vec();
        let read = wire::OperatorMessage::decode(&*bytes).unwrap();
        assert_eq!(OperatorMessage::try_from(read).unwrap(), message);
    }
}

#[test]
fn reports_come_out_as_they_went_in() {
    for message in reports() {
        let bytes = wire::AgentMessage::from(message.clone()).encode_to_vec();
        let read = wire::AgentMessage::decode(&*bytes).unwrap();
        assert_eq!(AgentMessage::try_from(read).unwrap(), message);
    }
}

#[test]
fn an_agent_that_has_just_begun_has_an_age_and_one_that_says_none_has_not() {
    let new = Health { tiers: vec![], age: Some(Duration::from_millis(1)) };
    let sent = wire::Health::from(new);
    assert_eq!(sent.age_seconds, 1, "0 is not known");
    assert_eq!(Health::try_from(sent).unwrap().age, Some(Duration::from_secs(1)));
    assert_eq!(Health::try_from(wire::Health::default()).unwrap().age, None);
}

#[test]
fn credentials_are_in_the_message_and_in_no_print_of_it() {
    let message = OperatorMessage::Dataset(state());
    let sent = wire::OperatorMessage::from(message.clone());
    assert!(sent.encode_to_vec().windows(WORD.len()).any(|w| w == WORD.as_bytes()), "the agent gets it");
    let enrol = wire::EnrolRequest { token: WORD.into(), csr_pem: "pem".into() };
    let entry = format!("{:?}", WORD.as_bytes());
    for print in [format!("{message:?}"), format!("{sent:?}"), format!("{enrol:?}"), format!("{sent:#?}")] {
        assert!(!print.contains(WORD) && !print.contains(&entry), "{print}");
    }
    assert!(format!("{sent:?}").contains("obs"), "which Secret it is may be seen");
}

#[test]
fn what_the_operator_says_without_sense_is_refused_by_field() {
    use wire::operator_message::Message;
    let dataset = |damage: fn(&mut wire::DatasetState)| {
        let mut state = wire::DatasetState::from(state());
        damage(&mut state);
        Message::Dataset(state)
    };
    let cases = [
        ("dataset", dataset(|m| m.dataset = None)),
        ("dataset.uid", dataset(|m| m.uid.clear())),
        ("dataset.specJson", dataset(|m| m.spec_json.clear())),
        ("dataset.specJson", dataset(|m| m.spec_json = br#"{"mounts":[{"path":"x","source":"/"}]}"#.to_vec())),
        ("dataset.secrets.name", dataset(|m| m.secrets[0].name.clear())),
        (
            "runtime.name",
            Message::Runtime(wire::Runtime { name: String::new(), generation: 1, spec_json: vec![], leaving: false }),
        ),
        (
            "runtime.specJson",
            Message::Runtime(wire::Runtime { name: "gpu".into(), generation: 1, spec_json: b"7".to_vec(), leaving: false }),
        ),
        ("removed.uid", Message::Removed(wire::Removed { uid: String::new(), dataset: Some(imagenet().into()) })),
        ("dataset", Message::Removed(wire::Removed { uid: "u".into(), dataset: None })),
    ];
    for (field, message) in cases {
        let error = OperatorMessage::try_from(wire::OperatorMessage { message: Some(message) }).expect_err(field);
        assert_eq!(error.field(), field);
        assert!(!error.to_string().contains(WORD), "{error}");
    }
    assert_eq!(OperatorMessage::try_from(wire::OperatorMessage { message: None }).unwrap_err().field(), "message");
    let bad = wire::DatasetState { spec_json: b"{}".to_vec(), ..state().into() };
    let error = DatasetState::try_from(bad).unwrap_err().to_string();
    assert!(error.contains("Dataset ml/imagenet") && error.contains("mounts"), "{error}");
}

#[test]
fn what_an_agent_says_without_sense_is_refused_by_field() {
    use wire::agent_message::Message;
    let cases = [
        ("progress.uid", Message::Dataset(wire::DatasetProgress { uid: String::new(), ..progress().into() })),
        ("progress.report", Message::Dataset(wire::DatasetProgress { report: None, ..progress().into() })),
        ("health.tiers.name", Message::Health(wire::Health { tiers: vec![wire::Tier::default()], age_seconds: 1 })),
        ("released.uid", Message::Released(wire::Released { uid: String::new(), dataset: Some(imagenet().into()) })),
        ("dataset", Message::Released(wire::Released { uid: "u".into(), dataset: None })),
    ];
    for (field, message) in cases {
        let error = AgentMessage::try_from(wire::AgentMessage { message: Some(message) }).expect_err(field);
        assert_eq!(error.field(), field);
    }
    assert_eq!(AgentMessage::try_from(wire::AgentMessage { message: None }).unwrap_err().field(), "message");
}

#[test]
fn a_spec_of_a_newer_operator_is_read_without_what_is_new() {
    let mut spec = serde_json::to_value(dataset_spec()).unwrap();
    spec["invented"] = json!({"later": 1});
    let message = wire::DatasetState { spec_json: serde_json::to_vec(&spec).unwrap(), ..state().into() };
    assert_eq!(DatasetState::try_from(message).unwrap(), state());
}

#[test]
fn an_identity_is_its_uri() {
    for (runtime, node) in [("default", "n1"), ("gpu.big", "ip-10-0-0-1.eu.internal"), ("node", "node")] {
        let agent = AgentIdentity { runtime: runtime.parse().unwrap(), node: node.parse().unwrap() };
        let uri = agent.to_string();
        assert_eq!(uri, format!("spiffe://forebay.io/runtime/{runtime}/node/{node}"));
        assert_eq!(uri.parse::<AgentIdentity>().unwrap(), agent);
    }
    for wrong in [
        "",
        "spiffe://forebay.io/runtime/a",
        "spiffe://forebay.io/runtime//node/n",
        "spiffe://forebay.io/runtime/a/node/",
        "spiffe://forebay.io/runtime/a/node/n/x",
        "spiffe://forebay.io/runtime/a/b/node/n",
        "spiffe://other.io/runtime/a/node/n",
        "https://forebay.io/runtime/a/node/n",
        "spiffe://forebay.io/runtime/A/node/n",
    ] {
        assert!(wrong.parse::<AgentIdentity>().is_err(), "{wrong}");
    }
}
