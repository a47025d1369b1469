use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

/// A signature that is refused is the clock's fault only beyond this, well within the quarter of an hour that stores allow.
const FAULTY_MS: u64 = 4 * 60 * 1000;

/// How far the store's clock is ahead of ours, as its last answer told: a signature holds only near the time in it.
#[derive(Debug, Default)]
pub(super) struct Clock {
    ahead_ms: AtomicI64,
}

impl Clock {
    /// The store's time.
    pub(super) fn now(&self) -> SystemTime {
        let now = SystemTime::now();
        let ahead = self.ahead_ms.load(Ordering::Relaxed);
        let by = Duration::from_millis(ahead.unsigned_abs());
        if ahead < 0 { now.checked_sub(by) } else { now.checked_add(by) }.unwrap_or(now)
    }

    /// Learns from an answer to a request sent at `sent`. An answer out of a cache (`Age`) tells old time, and none is told
    /// without a date.
    pub(super) fn learn(&self, headers: &HeaderMap, sent: SystemTime) {
        let told = headers.get(header::DATE).filter(|_| !headers.contains_key(header::AGE));
        let Some(theirs) = told.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok()) else { return };
        let halfway = sent + sent.elapsed().unwrap_or_default() / 2;
        let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let ahead = match theirs.duration_since(halfway) {
            Ok(ahead) => ms(ahead),
            Err(behind) => -ms(behind.duration()),
        };
        self.ahead_ms.store(ahead, Ordering::Relaxed);
    }

    /// Whether a request that was refused with this code was signed at a wrong time, and a new one may be signed right.
    pub(super) fn was_wrong(&self, code: &str, signed: SystemTime) -> bool {
        let now = self.now();
        let off = now.duration_since(signed).unwrap_or_else(|later| later.duration());
        matches!(code, "RequestTimeTooSkewed" | "SignatureDoesNotMatch" | "AuthFailure") && off > Duration::from_millis(FAULTY_MS)
    }
}
