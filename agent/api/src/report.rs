use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::time::SystemTime;

use forebay_crds::DatasetStatus;

use crate::{InvalidMessage, v1};

/// Names a Dataset: `namespace/name` when printed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A Dataset as one agent serves it.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where its tree is, or will be, mounted.
    pub at: PathBuf,
    /// Whether the tree is mounted there now.
    pub mounted: bool,
    /// Since when this agent process serves it.
    pub since: SystemTime,
    /// Objects that the listing under way has seen; `None` when none is.
    pub listing: Option<u64>,
    /// Its status on this node.
    pub status: DatasetStatus,
    /// Why complete files are not read natively, or not all: words for people. `None` when they are, or nothing is mounted.
    pub not_native: Option<String>,
}

impl DatasetName {
    /// A name of its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl DatasetReport {
    /// The Dataset's full name.
    pub fn full_name(&self) -> DatasetName {
        DatasetName::new(&*self.namespace, &*self.name)
    }
}

impl From<DatasetName> for v1::DatasetName {
    fn from(DatasetName { namespace, name }: DatasetName) -> Self {
        Self { namespace, name }
    }
}

impl TryFrom<v1::DatasetName> for DatasetName {
    type Error = InvalidMessage;

    fn try_from(v1::DatasetName { namespace, name }: v1::DatasetName) -> Result<Self, InvalidMessage> {
        if namespace.is_empty() {
            return Err(InvalidMessage::missing("dataset.namespace"));
        }
        if name.is_empty() {
            return Err(InvalidMessage::missing("dataset.name"));
        }
        Ok(Self { namespace, name })
    }
}

impl From<DatasetReport> for v1::DatasetReport {
    fn from(DatasetReport { namespace, name, at, mounted, since, listing, status, not_native }: DatasetReport) -> Self {
        Self {
            dataset: Some(v1::DatasetName { namespace, name }),
            at: at.into_os_string().as_bytes().to_vec(),
            mounted,
            since: Some(since.into()),
            listing,
            status: Some(status.into()),
            not_native,
        }
    }
}

impl TryFrom<v1::DatasetReport> for DatasetReport {
    type Error = InvalidMessage;

    fn try_from(report: v1::DatasetReport) -> Result<Self, InvalidMessage> {
        let v1::DatasetReport { dataset, at, mounted, since, listing, status, not_native } = report;
        let DatasetName { namespace, name } = dataset.ok_or(InvalidMessage::missing("dataset"))?.try_into()?;
        let since = since.ok_or(InvalidMessage::missing("since"))?;
        Ok(Self {
            namespace,
            name,
            at: OsString::from_vec(at).into(),
            mounted,
            since: since.try_into().map_err(|_| InvalidMessage::new("since", "it is not a point in time"))?,
            listing,
            status: status.ok_or(InvalidMessage::missing("status"))?.try_into()?,
            not_native,
        })
    }
}
