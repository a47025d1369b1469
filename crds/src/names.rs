//! The words by which Forebay's objects are found and asked, for all who talk to the API server.

use std::fmt;
use std::str::FromStr;

use crate::values::{TreePath, ValueError};

/// The CSI driver.
pub const DRIVER: &str = "csi.forebay.io";
/// Label that tells which program a pod or what makes it is of.
pub const APP: &str = "app.kubernetes.io/name";
/// `APP` of agents.
pub const AGENT: &str = "forebay-agent";
/// `APP` of the operator; also the field manager of all that it applies.
pub const OPERATOR: &str = "forebay-operator";
/// `APP` of the CSI driver on nodes.
pub const CSI: &str = "forebay-csi";
/// Label of agents' pods and DaemonSets: the CacheRuntime's name.
pub const RUNTIME: &str = "forebay.io/runtime";
/// Label of volumes and claims: the Dataset's uid.
pub const DATASET_UID: &str = "forebay.io/dataset-uid";

/// Startup taint of nodes that are not warm yet, whatever its value and effect: the operator takes it away.
pub const WARMING: &str = "forebay.io/warming";

/// Annotation of a Dataset: any new value asks for a new listing. `status.handled.refresh` repeats it when all nodes have made it.
pub const REFRESH: &str = "forebay.io/refresh";
/// Annotation of a Dataset: an [`Eviction`]. `status.handled.evict` repeats its id when all nodes have done it.
pub const EVICT: &str = "forebay.io/evict";

/// A wish that cached data be dropped. As text: the id on a line of its own, then one path a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    /// Not empty, one line. A new one is a new wish.
    pub id: String,
    /// What is dropped, with all below it. Empty: the whole Dataset.
    pub paths: Vec<TreePath>,
}

impl fmt::Display for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        self.paths.iter().try_for_each(|path| write!(f, "\n{}", path.as_str()))
    }
}

impl FromStr for Eviction {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut lines = text.lines();
        let id = lines.next().unwrap_or_default().trim().to_owned();
        if id.is_empty() {
            return Err(ValueError::new("the first line is empty", "write a new text there, such as the time of day"));
        }
        let paths = lines.filter(|line| !line.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { id, paths })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

    use super::*;

    #[test]
    fn an_eviction_is_read_as_it_was_written_and_as_people_write_it() {
        let paths = ["/", "/a b", "/tief/er"].map(|path| path.parse().unwrap());
        for paths in [&paths[..0], &paths[..1], &paths[..]] {
            let wish = Eviction { id: "2026-01-01T00:00:00Z".into(), paths: paths.to_vec() };
            assert_eq!(wish.to_string().parse(), Ok(wish));
        }
        assert_eq!("now\n".parse(), Ok(Eviction { id: "now".into(), paths: vec![] }), "as `echo` ends a line");
    }

    #[test]
    fn what_is_no_eviction_is_refused_and_drops_nothing() {
        for text in ["", "\n/a", "  ", "now\nrelative", "now\n/a/../b"] {
            assert!(text.parse::<Eviction>().is_err(), "{text:?}");
        }
    }
}
