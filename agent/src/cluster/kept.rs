//! What was last desired of this agent, on disk, so that it serves before and without the operator. No secrets.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use forebay_api::DatasetName;
use forebay_api::session::{DatasetState, RuntimeState};
use forebay_crds::{CacheRuntimeSpec, DatasetSpec};
use serde::{Deserialize, Serialize};

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) runtime: Option<KeptRuntime>,
    /// By `namespace/name`.
    pub(crate) datasets: BTreeMap<String, KeptDataset>,
}

/// The CacheRuntime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptRuntime {
    pub(crate) name: String,
    pub(crate) generation: i64,
    pub(crate) spec: CacheRuntimeSpec,
}

/// A Dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptDataset {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) spec: DatasetSpec,
    /// The newest wish for a listing.
    pub(crate) refresh: Option<String>,
    /// The newest of them that was carried out.
    pub(crate) refreshed: Option<String>,
    /// The newest wish to evict, as text.
    pub(crate) evict: Option<String>,
    /// The id of the newest of them that was carried out.
    pub(crate) evicted: Option<String>,
}

/// The newest wishes for a Dataset that were carried out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Handled {
    /// A listing: the wish.
    pub(crate) refreshed: Option<String>,
    /// An eviction: its id.
    pub(crate) evicted: Option<String>,
}

impl From<&RuntimeState> for KeptRuntime {
    fn from(RuntimeState { name, generation, spec, leaving: _ }: &RuntimeState) -> Self {
        Self { name: name.clone(), generation: *generation, spec: spec.clone() }
    }
}

impl KeptDataset {
    /// What is kept of `state`: all but its secrets.
    pub(crate) fn of(state: &DatasetState, Handled { refreshed, evicted }: Handled) -> Self {
        let DatasetState { dataset, uid, generation, spec, secrets: _, refresh, evict } = state;
        let DatasetName { namespace, name } = dataset.clone();
        Self {
            namespace,
            name,
            uid: uid.clone(),
            generation: *generation,
            spec: spec.clone(),
            refresh: refresh.clone(),
            refreshed,
            evict: evict.as_ref().map(ToString::to_string),
            evicted,
        }
    }

    /// What of its wishes was carried out.
    pub(crate) fn handled(&self) -> Handled {
        Handled { refreshed: self.refreshed.clone(), evicted: self.evicted.clone() }
    }

    /// As the operator would say it, without secrets.
    pub(crate) fn state(&self) -> DatasetState {
        DatasetState {
            dataset: DatasetName::new(&*self.namespace, &*self.name),
            uid: self.uid.clone(),
            generation: self.generation,
            spec: self.spec.clone(),
            secrets: Vec::new(),
            refresh: self.refresh.clone(),
            evict: self.evict.as_ref().and_then(|wish| wish.parse().ok()),
        }
    }
}

/// Where [`Kept`] is kept.
#[derive(Debug, Clone)]
pub(crate) struct KeptFile(PathBuf);

impl KeptFile {
    pub(crate) fn in_dir(state: &Path) -> Self {
        Self(state.join("desired.json"))
    }

    /// What a former agent kept; nothing if there is none or it cannot be read: the operator will say it anew.
    pub(crate) fn load(&self) -> Kept {
        let read = || -> anyhow::Result<Option<Kept>> {
            match fs::read(&self.0) {
                Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        match read() {
            Ok(kept) => kept.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(file = %self.0.display(), %error, "what was desired before cannot be read; the operator will say it");
                Kept::default()
            }
        }
    }

    /// Replaces the file. Torn by a crash, it is the old or the new one.
    pub(crate) fn save(&self, kept: &Kept) -> anyhow::Result<()> {
        let new = self.0.with_extension("new");
        let write = || -> anyhow::Result<()> {
            let mut file = fs::File::create(&new)?;
            file.write_all(&serde_json::to_vec(kept)?)?;
            file.sync_all()?;
            Ok(fs::rename(&new, &self.0)?)
        };
        write().with_context(|| format!("keep what is desired in {}", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails tells where")]

    use std::collections::BTreeMap;

    use forebay_crds::dataset::Mount;
    use forebay_crds::manifest::{Redacted, SecretData};
    use forebay_crds::names::Eviction;

    use super::*;

    #[test]
    fn what_is_kept_reads_back_and_holds_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeptFile::in_dir(dir.path());
        assert_eq!(file.load(), Kept::default());
        let entries = BTreeMap::from([("secretAccessKey".to_owned(), Redacted::new("hush-hush"))]);
        let state = DatasetState {
            dataset: DatasetName::new("ml", "imagenet"),
            uid: "u-1".into(),
            generation: 3,
            spec: DatasetSpec::of(vec![Mount::of("/".parse().unwrap(), "s3://imagenet/train".parse().unwrap())]),
            secrets: vec![SecretData::new("ml", "obs", entries)],
            refresh: Some("1".into()),
            evict: Some(Eviction { id: "2".into(), paths: vec!["/a".parse().unwrap()] }),
        };
        let kept = Kept {
            runtime: None,
            datasets: BTreeMap::from([("ml/imagenet".to_owned(), KeptDataset::of(&state, Handled::default()))]),
        };
        file.save(&kept).unwrap();
        assert!(!fs::read_to_string(&file.0).unwrap().contains("hush"));
        assert_eq!(file.load(), kept);
        assert_eq!(file.load().datasets["ml/imagenet"].state(), DatasetState { secrets: Vec::new(), ..state });
    }

    #[test]
    fn a_torn_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeptFile::in_dir(dir.path());
        fs::write(&file.0, br#"{"runtime": nul"#).unwrap();
        assert_eq!(file.load(), Kept::default());
    }
}
