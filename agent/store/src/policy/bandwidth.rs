use std::time::Duration;

use super::Priority;

/// How much of the time not used may be made up for at once.
const BURST: Duration = Duration::from_millis(100);

/// A token bucket with two lanes. Pure: time comes in, counted from any fixed point.
///
/// Each lane holds when the bytes taken so far are paid off. Prefetch waits until everyone's are; a reader only until
/// the readers' are, so it never waits for prefetch, and prefetch gets what readers leave.
#[derive(Debug)]
pub struct Bandwidth {
    bytes_per_second: u64,
    readers: Duration,
    all: Duration,
}

impl Bandwidth {
    /// So many bytes a second.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, readers: Duration::ZERO, all: Duration::ZERO }
    }

    /// Takes `bytes`; the answer is how long to hold them back.
    pub fn take(&mut self, priority: Priority, bytes: usize, now: Duration) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.max(1) as f64);
        // Time that nobody used is lost, but for the burst.
        let oldest = now.saturating_sub(BURST);
        self.all = self.all.max(oldest) + cost;
        let paid_off = match priority {
            Priority::Prefetch => self.all,
            Priority::Reader => {
                self.readers = self.readers.max(oldest) + cost;
                self.readers
            }
        };
        paid_off.saturating_sub(now)
    }

    /// When what readers have taken is paid off.
    pub fn readers_paid_off(&self) -> Duration {
        self.readers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1_000_000;

    /// Takes chunks one after the other, waiting as told; when the last was handed out.
    fn run(bandwidth: &mut Bandwidth, priority: Priority, chunks: usize) -> Duration {
        let mut now = Duration::from_secs(1);
        for _ in 0..chunks {
            now += bandwidth.take(priority, 10_000, now);
        }
        now - Duration::from_secs(1)
    }

    #[test]
    fn the_rate_holds_over_time_but_for_a_burst() {
        for priority in [Priority::Reader, Priority::Prefetch] {
            let time = run(&mut Bandwidth::new(RATE), priority, 1000);
            assert_eq!(time.as_millis(), 10_000 - 100, "{priority:?}");
        }
    }

    #[test]
    fn a_reader_does_not_wait_for_prefetch_but_prefetch_for_readers() {
        let now = Duration::from_secs(1);
        let mut bandwidth = Bandwidth::new(RATE);
        assert!(bandwidth.take(Priority::Prefetch, 50_000_000, now) > Duration::from_secs(49));
        assert_eq!(bandwidth.take(Priority::Reader, 100_000, now), Duration::ZERO);
        let mut bandwidth = Bandwidth::new(RATE);
        bandwidth.take(Priority::Reader, 5_000_000, now);
        assert!(bandwidth.take(Priority::Prefetch, 1, now) > Duration::from_secs(4));
    }

    #[test]
    fn unused_time_is_not_saved_up() {
        let mut bandwidth = Bandwidth::new(RATE);
        let hour = Duration::from_secs(3600);
        assert_eq!(bandwidth.take(Priority::Reader, 1_100_000, hour), Duration::from_secs(1));
    }
}
