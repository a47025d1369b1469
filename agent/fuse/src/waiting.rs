//! Requests that cannot be answered at once: they wait on the runtime, never on a thread that serves the kernel.

use std::sync::Arc;
use std::time::Duration;

use forebay_fs::FsError;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How often a wait looks whether anybody still wants its result.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whose death ends a wait early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    /// The thread that waits, by the number that the kernel gives: one of the mounter's process namespace, so only right where
    /// that is this process's.
    Readers,
    /// Nobody's: the numbers mean other threads here.
    Nobody,
}

/// Where requests wait. Their number is bounded by the kernel, which has one for each blocked thread and a fixed number of
/// read-aheads; how many of them work at once is bounded here.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    runtime: Handle,
    turns: Arc<Semaphore>,
    watch: Watch,
    closing: CancellationToken,
}

impl Waiting {
    pub(crate) fn new(runtime: Handle, at_once: usize, watch: Watch) -> Self {
        let turns = at_once.clamp(1, Semaphore::MAX_PERMITS);
        Self { runtime, turns: Arc::new(Semaphore::new(turns)), watch, closing: CancellationToken::new() }
    }

    /// Runs `work` in its turn and hands its result to `answer`. When the thread `tid` that waits for it has died or is being
    /// killed, or the mount ends, `work` is dropped and the answer is [`FsError::Interrupted`]: a thread that is being
    /// killed stays until its request is answered, and the kernel's own notice of it does not reach us through `fuser`.
    pub(crate) fn spawn<A: Send + 'static>(
        &self,
        tid: u32,
        work: impl Future<Output = Result<A, FsError>> + Send + 'static,
        answer: impl FnOnce(Result<A, FsError>) + Send + 'static,
    ) {
        let Self { turns, closing, watch, .. } = self.clone();
        let tid = if watch == Watch::Readers { tid } else { 0 };
        self.runtime.spawn(async move {
            let in_turn = async {
                let _turn = turns.acquire().await.map_err(|_| FsError::Interrupted)?;
                work.await
            };
            let result = tokio::select! {
                result = in_turn => result,
                () = gone(tid) => Err(FsError::Interrupted),
                () = closing.cancelled() => Err(FsError::Interrupted),
            };
            answer(result);
        });
    }

    /// Ends all waits, now and later.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }
}

/// Returns once thread `tid` wants nothing any more. 0 stands for a thread that this process cannot see.
async fn gone(tid: u32) {
    if tid == 0 {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // A file of /proc never waits, so it may be read in place.
        match std::fs::read_to_string(format!("/proc/{tid}/status")) {
            Ok(status) if !is_dying(&status) => {}
            Ok(_) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            // Unknown is not gone.
            Err(_) => {}
        }
    }
}

/// Whether a `/proc/TID/status` is that of a dead thread, or of one with SIGKILL pending - as the kernel notes every deadly
/// signal for each thread of the process.
fn is_dying(status: &str) -> bool {
    const SIGKILL_BIT: u64 = 1 << 8;
    status.lines().any(|line| match line.split_once(':') {
        Some(("State", state)) => matches!(state.trim().chars().next(), Some('Z' | 'X')),
        Some(("SigPnd" | "ShdPnd", mask)) => u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & SIGKILL_BIT != 0),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::is_dying;

    #[test]
    fn dying_is_read_from_the_status() {
        for (status, dying) in [
            ("Name:\tcat\nState:\tD (disk sleep)\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n", false),
            ("State:\tD (disk sleep)\nSigPnd:\t0000000000000100\n", true),
            ("State:\tS (sleeping)\nSigPnd:\t0\nShdPnd:\t0000000000000100\n", true),
            ("State:\tS (sleeping)\nSigPnd:\t0000000000004000\nShdPnd:\t0000000000000002\n", false),
            ("State:\tZ (zombie)\n", true),
            ("SigBlk:\t0000000000000100\nSigCgt:\t0000000000000100\n", false),
            ("SigPnd:\tnonsense\n", false),
            ("", false),
        ] {
            assert_eq!(is_dying(status), dying, "{status}");
        }
    }
}
