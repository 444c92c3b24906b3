//! How long ago a request arrived. httpd notes the time of day for it, and that may be set meanwhile (F46).

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Who lets a clock drift by this much lets it jump, in microseconds.
const JUMP: i64 = 1_000_000;

/// The time of day beside a clock that nobody sets.
#[derive(Debug)]
pub struct Arrivals {
    begin: Instant,
    /// The time of day at `begin`, as seen last.
    day: AtomicI64,
    /// The time of day when it was noticed last that it was set: what is earlier was noted before that.
    set: AtomicI64,
}

impl Arrivals {
    /// As the clock is now.
    pub fn new() -> Self {
        Self {
            begin: Instant::now(),
            day: AtomicI64::new(now()),
            set: AtomicI64::new(i64::MIN),
        }
    }

    /// The time since `arrived`, in microseconds since 1970; none where the clock was set since.
    pub fn since(&self, arrived: i64) -> Duration {
        let passed = i64::try_from(self.begin.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.between(arrived, now(), passed)
    }

    /// As [`since`](Self::since), at `now`, and `passed` after the beginning.
    fn between(&self, arrived: i64, now: i64, passed: i64) -> Duration {
        let day = now.saturating_sub(passed);
        if day.abs_diff(self.day.load(Ordering::Acquire)) >= JUMP.unsigned_abs() {
            self.set.store(now, Ordering::Relaxed);
            self.day.store(day, Ordering::Release);
        }
        if arrived < self.set.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        let waited = u64::try_from(now.saturating_sub(arrived)).unwrap_or(0);
        Duration::from_micros(waited)
    }
}

/// The time of day, in microseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3600 * SECOND;

    fn at(day: i64) -> Arrivals {
        let arrivals = Arrivals::new();
        arrivals.day.store(day, Ordering::Release);
        arrivals
    }

    fn seconds(arrivals: &Arrivals, arrived: i64, now: i64, passed: i64) -> u64 {
        arrivals.between(arrived, now, passed).as_secs()
    }

    #[test]
    fn while_nobody_sets_the_clock_it_is_the_difference() {
        let arrivals = at(HOUR);
        assert_eq!(
            seconds(&arrivals, HOUR + SECOND, HOUR + 9 * SECOND, 9 * SECOND),
            8
        );
        assert_eq!(seconds(&arrivals, HOUR - SECOND, HOUR + SECOND, SECOND), 2);
        assert_eq!(seconds(&arrivals, HOUR + 9 * SECOND, HOUR + SECOND, SECOND), 0);
    }

    #[test]
    fn over_a_jump_nothing_is_counted_and_after_it_all_is() {
        for jump in [HOUR, -HOUR] {
            let arrivals = at(9 * HOUR);
            // It arrived one second after the beginning, and the clock was set two seconds after that.
            let (before, now) = (9 * HOUR + SECOND, 9 * HOUR + 3 * SECOND + jump);
            assert_eq!(seconds(&arrivals, before, now, 3 * SECOND), 0);
            // Another of those, later.
            assert_eq!(seconds(&arrivals, before, now + SECOND, 4 * SECOND), 0);
            assert_eq!(seconds(&arrivals, now, now + 5 * SECOND, 8 * SECOND), 5);
        }
    }
}
