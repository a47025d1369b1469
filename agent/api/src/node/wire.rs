//! Between packets and exact types.

use super::error::{Reason, Refusal};
use super::types::{MountId, Negotiated};
use crate::generated::node::v1;
use crate::{DatasetName, InvalidMessage};

pub(crate) use v1::answer::Outcome;
pub(crate) use v1::packet::Body;

impl From<Negotiated> for v1::Negotiated {
    fn from(Negotiated { minor, flags, max_readahead }: Negotiated) -> Self {
        Self { minor, flags, max_readahead }
    }
}

impl From<v1::Negotiated> for Negotiated {
    fn from(v1::Negotiated { minor, flags, max_readahead }: v1::Negotiated) -> Self {
        Self { minor, flags, max_readahead }
    }
}

impl From<Refusal> for v1::Refusal {
    fn from(Refusal { reason, mut message }: Refusal) -> Self {
        // A message that fills a packet would end the connection.
        let end = (0..=message.len().min(4096)).rev().find(|at| message.is_char_boundary(*at));
        message.truncate(end.unwrap_or(0));
        let reason = match reason {
            Reason::UnknownDataset => v1::Reason::UnknownDataset,
            Reason::NotReady => v1::Reason::NotReady,
            Reason::NotGranted => v1::Reason::NotGranted,
            Reason::Unsupported => v1::Reason::Unsupported,
            Reason::Failed => v1::Reason::Unspecified,
        };
        Self { reason: reason.into(), message }
    }
}

impl From<v1::Refusal> for Refusal {
    fn from(refusal: v1::Refusal) -> Self {
        let reason = match refusal.reason() {
            v1::Reason::UnknownDataset => Reason::UnknownDataset,
            v1::Reason::NotReady => Reason::NotReady,
            v1::Reason::NotGranted => Reason::NotGranted,
            v1::Reason::Unsupported => Reason::Unsupported,
            v1::Reason::Unspecified => Reason::Failed,
        };
        Self { reason, message: refusal.message }
    }
}

pub(crate) fn dataset(name: Option<crate::v1::DatasetName>) -> Result<DatasetName, InvalidMessage> {
    let name = DatasetName::try_from(name.ok_or_else(|| InvalidMessage::missing("dataset"))?)?;
    for (field, value) in [("dataset.namespace", &name.namespace), ("dataset.name", &name.name)] {
        label(field, value)?;
    }
    Ok(name)
}

/// Names become segments of paths, so that they are looked at where they come in.
pub(crate) fn label(field: &'static str, value: &str) -> Result<(), InvalidMessage> {
    if super::is_label(value) {
        return Ok(());
    }
    Err(InvalidMessage::new(field, format!("{value:?} is not a name of a Kubernetes object")))
}

pub(crate) fn mount(number: u64) -> MountId {
    MountId(number)
}

/// An answer to a call, from what became of it.
pub(crate) fn answer(outcome: Result<Outcome, Refusal>) -> v1::Answer {
    v1::Answer { outcome: Some(outcome.unwrap_or_else(|refusal| Outcome::Refusal(refusal.into()))) }
}

pub(crate) fn unsupported() -> Refusal {
    Refusal::new(Reason::Unsupported, "this program does not know the request: use csi and agent of one version")
}
