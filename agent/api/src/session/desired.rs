use forebay_crds::manifest::SecretData;
use forebay_crds::names::Eviction;
use forebay_crds::values::ValueError;
use forebay_crds::{CacheRuntimeSpec, DatasetSpec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{PeersChange, name, secret, some, uid};
use crate::{DatasetName, InvalidMessage, operator as wire};

/// What the operator tells an agent. First `Runtime`, then a `Dataset` for each, then `Synced`; after that, changes.
#[derive(Debug, Clone, PartialEq)]
pub enum OperatorMessage {
    /// The runtime that the agent is of.
    Runtime(RuntimeState),
    /// A Dataset is to be served so.
    Dataset(DatasetState),
    /// A Dataset is not to be served any more.
    Removed(Removed),
    /// All that is desired has been said; what was not named since the session began is to be let go of.
    Synced,
    /// Who else serves the runtime has changed.
    Peers(PeersChange),
}

/// A CacheRuntime as the agents of it need it.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeState {
    /// Its name.
    pub name: String,
    /// `metadata.generation` of it.
    pub generation: i64,
    /// What it is to be.
    pub spec: CacheRuntimeSpec,
    /// Whether the agent is to go for good: at its end it gives back its tiers and its state, if no Dataset is left in them.
    pub leaving: bool,
}

/// A Dataset as the agents that serve it need it.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetState {
    /// Its namespace and name.
    pub dataset: DatasetName,
    /// `metadata.uid`: one made anew under the same name has another.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// What it is to be.
    pub spec: DatasetSpec,
    /// The Secrets that its mounts name and that exist, each once. In memory only.
    pub secrets: Vec<SecretData>,
    /// Changes when somebody asks for a new listing; `None` when nobody ever has.
    pub refresh: Option<String>,
    /// Changes when somebody asks for cached data to be dropped; `None` when nobody ever has.
    pub evict: Option<Eviction>,
}

/// The Dataset is not served by this runtime any more: unmount it, free its bytes, then say `Released`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// `metadata.uid` of the Dataset.
    pub uid: String,
    /// Its namespace and name.
    pub dataset: DatasetName,
}

impl From<OperatorMessage> for wire::OperatorMessage {
    fn from(message: OperatorMessage) -> Self {
        use wire::operator_message::Message;
        Self {
            message: Some(match message {
                OperatorMessage::Runtime(runtime) => Message::Runtime(runtime.into()),
                OperatorMessage::Dataset(dataset) => Message::Dataset(dataset.into()),
                OperatorMessage::Removed(removed) => Message::Removed(removed.into()),
                OperatorMessage::Synced => Message::Synced(wire::Synced {}),
                OperatorMessage::Peers(change) => Message::Peers(change.into()),
            }),
        }
    }
}

impl TryFrom<wire::OperatorMessage> for OperatorMessage {
    type Error = InvalidMessage;

    fn try_from(wire::OperatorMessage { message }: wire::OperatorMessage) -> Result<Self, InvalidMessage> {
        use wire::operator_message::Message;
        Ok(match message.ok_or(InvalidMessage::missing("message"))? {
            Message::Runtime(runtime) => Self::Runtime(runtime.try_into()?),
            Message::Dataset(dataset) => Self::Dataset(dataset.try_into()?),
            Message::Removed(removed) => Self::Removed(removed.try_into()?),
            Message::Synced(wire::Synced {}) => Self::Synced,
            Message::Peers(change) => Self::Peers(change.try_into()?),
        })
    }
}

impl From<RuntimeState> for wire::Runtime {
    fn from(RuntimeState { name, generation, spec, leaving }: RuntimeState) -> Self {
        Self { name, generation, spec_json: json(&spec), leaving }
    }
}

impl TryFrom<wire::Runtime> for RuntimeState {
    type Error = InvalidMessage;

    fn try_from(wire::Runtime { name, generation, spec_json, leaving }: wire::Runtime) -> Result<Self, InvalidMessage> {
        if name.is_empty() {
            return Err(InvalidMessage::missing("runtime.name"));
        }
        let spec = spec("runtime.specJson", &format!("CacheRuntime {name}"), &spec_json)?;
        Ok(Self { name, generation, spec, leaving })
    }
}

impl From<DatasetState> for wire::DatasetState {
    fn from(DatasetState { dataset, uid, generation, spec, secrets, refresh, evict }: DatasetState) -> Self {
        Self {
            dataset: Some(dataset.into()),
            uid,
            generation,
            spec_json: json(&spec),
            secrets: secrets.iter().map(secret::to_wire).collect(),
            refresh: refresh.unwrap_or_default(),
            evict: evict.map(|wish| wish.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<wire::DatasetState> for DatasetState {
    type Error = InvalidMessage;

    fn try_from(state: wire::DatasetState) -> Result<Self, InvalidMessage> {
        let wire::DatasetState { dataset, uid: id, generation, spec_json, secrets, refresh, evict } = state;
        let dataset = name(dataset)?;
        let secrets = secrets.into_iter().map(|message| secret::from_wire(&dataset.namespace, message));
        Ok(Self {
            uid: uid("dataset.uid", id)?,
            generation,
            spec: spec("dataset.specJson", &format!("Dataset {dataset}"), &spec_json)?,
            secrets: secrets.collect::<Result<_, _>>()?,
            refresh: some(refresh),
            evict: some(evict).map(|wish| wish.parse()).transpose().map_err(|error| eviction(&dataset, &error))?,
            dataset,
        })
    }
}

impl From<Removed> for wire::Removed {
    fn from(Removed { uid, dataset }: Removed) -> Self {
        Self { uid, dataset: Some(dataset.into()) }
    }
}

impl TryFrom<wire::Removed> for Removed {
    type Error = InvalidMessage;

    fn try_from(wire::Removed { uid: id, dataset }: wire::Removed) -> Result<Self, InvalidMessage> {
        Ok(Self { uid: uid("removed.uid", id)?, dataset: name(dataset)? })
    }
}

fn eviction(dataset: &DatasetName, error: &ValueError) -> InvalidMessage {
    InvalidMessage::new("dataset.evict", format!("the wish to evict of Dataset {dataset}: {error}"))
}

fn json(spec: &impl Serialize) -> Vec<u8> {
    // Specs are structs of texts, numbers and maps by text: nothing in them that JSON cannot say. If one day there is, the
    // receiver names the empty field.
    serde_json::to_vec(spec).unwrap_or_default()
}

fn spec<T: DeserializeOwned>(field: &'static str, object: &str, json: &[u8]) -> Result<T, InvalidMessage> {
    serde_json::from_slice(json).map_err(|error| InvalidMessage::new(field, format!("the spec of {object}: {error}")))
}
