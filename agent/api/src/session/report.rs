use std::time::Duration;

use super::{name, some, uid};
use crate::convert::{all, every};
use crate::{DatasetName, DatasetReport, InvalidMessage, operator as wire};

/// What an agent tells the operator; first of all `Hello`.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentMessage {
    /// Who speaks.
    Hello(Hello),
    /// How a Dataset does on this node.
    Dataset(DatasetProgress),
    /// How the tiers do: the sign of life.
    Health(Health),
    /// A Dataset was let go of.
    Released(Released),
}

/// An agent's first words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Version of its program.
    pub version: String,
    /// Name of its pod.
    pub pod_name: String,
}

/// How a Dataset does on one node.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetProgress {
    /// `metadata.uid` of the Dataset.
    pub uid: String,
    /// Its status there.
    pub report: DatasetReport,
    /// The newest `DatasetState::refresh` that was carried out.
    pub refreshed: Option<String>,
    /// The id of the newest `DatasetState::evict` that was carried out.
    pub evicted: Option<String>,
    /// Mounts of it on the node now.
    pub mounts: u32,
}

/// How an agent's tiers do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Fastest first.
    pub tiers: Vec<TierHealth>,
    /// For how long the node may have had data; whole seconds cross the wire, one at least. `None`: not known.
    pub age: Option<Duration>,
}

/// One tier on one node. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierHealth {
    /// Its name.
    pub name: String,
    /// Space lent, after the reserve.
    pub capacity_bytes: u64,
    /// Space in use.
    pub used_bytes: u64,
    /// Space that nothing evicts.
    pub pinned_bytes: u64,
    /// Why it is not used; `None`: it works.
    pub fault: Option<String>,
}

/// The Dataset is unmounted on the node and its bytes are freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// `metadata.uid` of the Dataset.
    pub uid: String,
    /// Its namespace and name.
    pub dataset: DatasetName,
}

impl From<AgentMessage> for wire::AgentMessage {
    fn from(message: AgentMessage) -> Self {
        use wire::agent_message::Message;
        Self {
            message: Some(match message {
                AgentMessage::Hello(hello) => Message::Hello(hello.into()),
                AgentMessage::Dataset(progress) => Message::Dataset(progress.into()),
                AgentMessage::Health(health) => Message::Health(health.into()),
                AgentMessage::Released(released) => Message::Released(released.into()),
            }),
        }
    }
}

impl TryFrom<wire::AgentMessage> for AgentMessage {
    type Error = InvalidMessage;

    fn try_from(wire::AgentMessage { message }: wire::AgentMessage) -> Result<Self, InvalidMessage> {
        use wire::agent_message::Message;
        Ok(match message.ok_or(InvalidMessage::missing("message"))? {
            Message::Hello(hello) => Self::Hello(hello.into()),
            Message::Dataset(progress) => Self::Dataset(progress.try_into()?),
            Message::Health(health) => Self::Health(health.try_into()?),
            Message::Released(released) => Self::Released(released.try_into()?),
        })
    }
}

impl From<Hello> for wire::Hello {
    fn from(Hello { version, pod_name }: Hello) -> Self {
        Self { version, pod_name }
    }
}

impl From<wire::Hello> for Hello {
    fn from(wire::Hello { version, pod_name }: wire::Hello) -> Self {
        Self { version, pod_name }
    }
}

impl From<DatasetProgress> for wire::DatasetProgress {
    fn from(DatasetProgress { uid, report, refreshed, evicted, mounts }: DatasetProgress) -> Self {
        let (refreshed, evicted) = (refreshed.unwrap_or_default(), evicted.unwrap_or_default());
        Self { uid, report: Some(report.into()), refreshed, evicted, mounts }
    }
}

impl TryFrom<wire::DatasetProgress> for DatasetProgress {
    type Error = InvalidMessage;

    fn try_from(progress: wire::DatasetProgress) -> Result<Self, InvalidMessage> {
        let wire::DatasetProgress { uid: id, report, refreshed, evicted, mounts } = progress;
        Ok(Self {
            uid: uid("progress.uid", id)?,
            report: report.ok_or(InvalidMessage::missing("progress.report"))?.try_into()?,
            refreshed: some(refreshed),
            evicted: some(evicted),
            mounts,
        })
    }
}

impl From<Health> for wire::Health {
    fn from(Health { tiers, age }: Health) -> Self {
        Self { tiers: every(tiers), age_seconds: age.map_or(0, |age| age.as_secs().max(1)) }
    }
}

impl TryFrom<wire::Health> for Health {
    type Error = InvalidMessage;

    fn try_from(wire::Health { tiers, age_seconds }: wire::Health) -> Result<Self, InvalidMessage> {
        Ok(Self { tiers: all(tiers)?, age: (age_seconds > 0).then_some(Duration::from_secs(age_seconds)) })
    }
}

impl From<TierHealth> for wire::Tier {
    fn from(TierHealth { name, capacity_bytes, used_bytes, pinned_bytes, fault }: TierHealth) -> Self {
        Self { name, capacity_bytes, used_bytes, pinned_bytes, fault }
    }
}

impl TryFrom<wire::Tier> for TierHealth {
    type Error = InvalidMessage;

    fn try_from(tier: wire::Tier) -> Result<Self, InvalidMessage> {
        let wire::Tier { name, capacity_bytes, used_bytes, pinned_bytes, fault } = tier;
        if name.is_empty() {
            return Err(InvalidMessage::missing("health.tiers.name"));
        }
        Ok(Self { name, capacity_bytes, used_bytes, pinned_bytes, fault })
    }
}

impl From<Released> for wire::Released {
    fn from(Released { uid, dataset }: Released) -> Self {
        Self { uid, dataset: Some(dataset.into()) }
    }
}

impl TryFrom<wire::Released> for Released {
    type Error = InvalidMessage;

    fn try_from(wire::Released { uid: id, dataset }: wire::Released) -> Result<Self, InvalidMessage> {
        Ok(Self { uid: uid("released.uid", id)?, dataset: name(dataset)? })
    }
}
