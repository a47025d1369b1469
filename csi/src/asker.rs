//! Asks mounts whether somebody serves them.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rustix::fs::StatVfs;
use rustix::io::Errno;

/// Questions to one mount that may be open at once: each holds a thread until it is answered.
const OPEN: usize = 4;

/// Whether a mount has somebody who answers for it.
pub(crate) enum Answer {
    /// It answered.
    Alive(StatVfs),
    /// Nobody has its descriptor any more, and nobody ever will.
    Dead,
    /// It did not answer in time: its server is slow, or is being replaced.
    Silent,
    /// Asking failed in another way.
    Failed(io::Error),
}

/// Asks mounts. Clones share the bound.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asker {
    open: Arc<Mutex<HashMap<PathBuf, usize>>>,
}

/// A question, as long as it is open.
struct Question {
    asker: Asker,
    at: PathBuf,
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut open = self.asker.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.at);
            }
        }
    }
}

impl Asker {
    fn begin(&self, at: &Path) -> Option<Question> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(at.to_owned()).or_default();
        if *count >= OPEN {
            return None;
        }
        *count += 1;
        Some(Question { asker: self.clone(), at: at.to_owned() })
    }

    /// Asks the mount at `at` by `statfs(2)`, which the kernel never answers from what it remembers. On a thread of its own, for
    /// a mount whose server hangs would hold the caller for ever; the thread ends with the answer, or with the mount. Blocks.
    pub(crate) fn ask(&self, at: &Path, within: Duration) -> Answer {
        let Some(question) = self.begin(at) else { return Answer::Silent };
        let (send, receive) = mpsc::sync_channel(1);
        let spawned = std::thread::Builder::new().name("statfs".into()).spawn(move || {
            let _ = send.send(rustix::fs::statvfs(&question.at));
        });
        if let Err(error) = spawned {
            return Answer::Failed(error);
        }
        match receive.recv_timeout(within) {
            Ok(Ok(found)) => Answer::Alive(found),
            Ok(Err(Errno::NOTCONN | Errno::CONNABORTED)) => Answer::Dead,
            Ok(Err(error)) => Answer::Failed(error.into()),
            Err(_) => Answer::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_that_nobody_answers_are_bounded() {
        let asker = Asker::default();
        let at = Path::new("/");
        let open: Vec<_> = (0..OPEN).filter_map(|_| asker.begin(at)).collect();
        assert_eq!(open.len(), OPEN);
        assert!(matches!(asker.ask(at, Duration::from_secs(60)), Answer::Silent));
        drop(open);
        assert!(matches!(asker.ask(at, Duration::from_secs(60)), Answer::Alive(_)));
    }
}
