//! Files that the kernel reads without this agent: csi registers them, and all agents that serve a mount share its table.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use forebay_api::node::{BackingClient, MountId, opens_file};
use forebay_fuse::{Registrar, Shared};

/// How mounts get what they need for native reads.
#[derive(Debug)]
pub(crate) struct Natives {
    csi: BackingClient,
    run: PathBuf,
}

#[derive(Debug)]
struct ByCsi {
    csi: BackingClient,
    mount: MountId,
}

impl Natives {
    /// `run`: the directory that csi and agents share.
    pub(crate) fn new(csi: BackingClient, run: PathBuf) -> Self {
        Self { csi, run }
    }

    pub(crate) fn csi(&self) -> BackingClient {
        self.csi.clone()
    }

    /// For one mount. `None` where csi, or a server that it had, does not know of it.
    pub(crate) fn of(&self, mount: MountId) -> Option<Shared> {
        let at = opens_file(&self.run, mount);
        match OpenOptions::new().read(true).write(true).open(&at) {
            Ok(table) => Some(Shared { registrar: Box::new(ByCsi { csi: self.csi.clone(), mount }), table }),
            Err(error) => {
                tracing::warn!(%mount, at = %at.display(), %error, "what is open on it is not known: its files are read through this agent");
                None
            }
        }
    }
}

impl Registrar for ByCsi {
    fn register(&self, file: BorrowedFd<'_>) -> io::Result<u32> {
        self.csi.register(self.mount, file)
    }

    fn close(&self, id: u32) -> io::Result<()> {
        self.csi.close(self.mount, id)
    }
}
