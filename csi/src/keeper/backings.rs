//! Files that the kernel reads by itself, on behalf of agents, which may not register them. Of what they register nothing is remembered
//! here: it stands in each mount's table, which outlives every process.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use forebay_api::node::{Agent, BackingRequest, MountId, Reason, Refusal, opens_dir, opens_file};

use super::Keeper;
use crate::records::Kind;

/// Makes the table of a mount that nobody has served yet.
pub(super) fn make_table(run: &Path, mount: MountId) -> io::Result<()> {
    fs::create_dir_all(opens_dir(run))?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(opens_file(run, mount))?;
    file.set_len(forebay_backing::TABLE_BYTES)
}

/// Takes a mount's table away: from now on nobody who begins to serve it opens anything natively. Not being there is fine.
pub(super) fn remove_table(run: &Path, mount: MountId) -> io::Result<()> {
    match fs::remove_file(opens_file(run, mount)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Keeper {
    /// Does what `agent` asks about a mount that it serves.
    pub(super) async fn backing(&self, agent: &Agent, request: BackingRequest) -> Result<io::Result<u32>, Refusal> {
        match request {
            // Neither waits for a disk: the file is open.
            BackingRequest::Register { mount, file } => {
                Ok(forebay_backing::register(self.served_by(agent, mount)?.as_fd(), file.as_fd()))
            }
            BackingRequest::Close { mount, id } => {
                let device = self.served_by(agent, mount)?;
                // The last user of a deleted file gives its space back.
                let closed = tokio::task::spawn_blocking(move || forebay_backing::close(device.as_fd(), id)).await;
                Ok(closed.map_err(io::Error::other).flatten().map(|()| id))
            }
        }
    }

    /// The descriptor of a mount, for one who serves it.
    pub(super) fn served_by(&self, agent: &Agent, mount: MountId) -> Result<Arc<OwnedFd>, Refusal> {
        let kept = self.kept();
        let there = kept.values().find(|kept| kept.mount == mount);
        let served = there.filter(|kept| kept.servers.iter().chain(&kept.asked).any(|server| server.is(agent)));
        served.map(|kept| Arc::clone(&kept.device)).ok_or_else(|| {
            Refusal::new(Reason::NotReady, format!("mount {mount} is not known here as one that this agent serves"))
        })
    }

    /// Takes the tables of mounts away that are gone.
    pub(super) fn clear_tables(&self) -> io::Result<()> {
        let there = match fs::read_dir(opens_dir(&self.places.run)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?,
        };
        // Looked at after the directory: a mount is recorded before its table is made.
        let mounts = self.records.list().into_iter().filter_map(|record| match record.kind {
            Kind::Mount { id, .. } => Some(opens_file(&self.places.run, MountId(id))),
            Kind::Stage | Kind::Publish { .. } => None,
        });
        let known: BTreeSet<_> = mounts.collect();
        for gone in there.into_iter().filter(|path| !known.contains(path)) {
            fs::remove_file(gone)?;
        }
        Ok(())
    }

    /// Before `agent` serves a mount: one that does not count what it opens leaves its next server in the dark.
    pub(super) fn before_serving(&self, agent: &Agent, mount: MountId) {
        if !agent.counts_opens()
            && let Err(error) = remove_table(&self.places.run, mount)
        {
            tracing::warn!(%mount, %error, "the next agent may answer opens that the kernel refuses");
        }
    }
}
