//! How long to wait after failures: 1, 2, 4 … 60 seconds with jitter, forgotten after a steady minute; and how many sudden deaths
//! are too many.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Longest pause.
pub const LONGEST: Duration = Duration::from_secs(60);
/// So long without a failure, and earlier ones are forgotten.
const STEADY: Duration = Duration::from_secs(60);
/// More deaths of ready workers than this within [`CRASH_WINDOW`] are too many.
const CRASHES_MAX: usize = 5;
const CRASH_WINDOW: Duration = Duration::from_secs(10);

/// The pause before the next try after `failures` (1 is the first), `jitter` being anything from 0 to 255: up to a quarter is
/// added, so that pools which failed together do not come back together.
pub fn pause(failures: u32, jitter: u8) -> Duration {
    let seconds = 1u64
        .checked_shl(failures.saturating_sub(1).min(16))
        .unwrap_or(u64::MAX);
    let base = Duration::from_secs(seconds).min(LONGEST);
    (base + base.mul_f64(f64::from(jitter) / 256.0 / 4.0)).min(LONGEST)
}

/// The failures of one pool.
#[derive(Debug, Default)]
pub struct BackOff {
    failures: u32,
    until: Option<Instant>,
    resting: bool,
    last: Option<Instant>,
    crashes: VecDeque<Instant>,
}

impl BackOff {
    /// A start failed: wait. Answers how long.
    pub fn failed(&mut self, now: Instant, jitter: u8) -> Duration {
        if self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) > STEADY + LONGEST)
        {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.resting = false;
        self.last = Some(now);
        let pause = pause(self.failures, jitter);
        self.until = Some(now + pause);
        pause
    }

    /// Ready workers die too often: rest for a moment. No longer each time: what makes them die may be a request that anybody can send,
    /// and must not close the site for a minute.
    pub fn rests(&mut self, now: Instant, jitter: u8) -> Duration {
        let pause = pause(1, jitter);
        self.resting = true;
        self.until = Some(now + pause);
        pause
    }

    /// A ready worker died: `true` if that happens too often.
    pub fn crashed(&mut self, now: Instant) -> bool {
        self.crashes.push_back(now);
        while self
            .crashes
            .front()
            .is_some_and(|t| now.saturating_duration_since(*t) > CRASH_WINDOW)
        {
            self.crashes.pop_front();
        }
        let too_often = self.crashes.len() > CRASHES_MAX;
        if too_often {
            self.crashes.clear();
        }
        too_often
    }

    /// A worker is ready: no need to wait any longer. The count is kept for a while, in case it dies again at once.
    pub fn recovered(&mut self) {
        self.until = None;
        self.resting = false;
    }

    /// What failed is another thing now: nobody waits any longer, and failures are counted from the beginning. `true`.
    pub fn ends(&mut self, now: Instant) -> bool {
        (self.until, self.resting, self.failures) = (Some(now), false, 0);
        true
    }

    /// The wait is a short rest: connections may wait too.
    pub fn is_resting(&self) -> bool {
        self.resting
    }

    /// Until when to wait, if that is not over.
    pub fn waiting(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// Since the last failure no worker has become ready: try with one.
    pub fn is_doubtful(&self) -> bool {
        self.until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // R63, F6, F46
    #[test]
    fn pauses_double_up_to_a_minute_and_jitter_adds_at_most_a_quarter() {
        let seconds: Vec<u64> = (1..=9).map(|n| pause(n, 0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(pause(3, 255) < Duration::from_secs(5) && pause(3, 255) > Duration::from_millis(4900));
        assert_eq!(pause(u32::MAX, 255), LONGEST);
    }

    #[test]
    fn failures_add_up_until_a_steady_time_has_passed() {
        let mut b = BackOff::default();
        let t = Instant::now();
        assert_eq!(b.failed(t, 0).as_secs(), 1);
        assert!(b.waiting(t).is_some() && b.waiting(t + Duration::from_secs(1)).is_none());
        assert!(b.is_doubtful());
        b.ends(t);
        assert!(b.waiting(t).is_none() && b.is_doubtful());
        assert_eq!(b.failed(t, 0).as_secs(), 1);
        b.recovered();
        assert!(!b.is_doubtful());
        assert_eq!(b.failed(t + Duration::from_secs(30), 0).as_secs(), 2);
        assert_eq!(b.failed(t + Duration::from_secs(600), 0).as_secs(), 1);
    }

    #[test]
    fn the_sixth_death_in_ten_seconds_is_one_too_many() {
        let mut b = BackOff::default();
        let t = Instant::now();
        assert!((0..5).all(|i| !b.crashed(t + Duration::from_secs(i))));
        assert!(b.crashed(t + Duration::from_secs(9)));
        assert!((0..9).all(|_| b.rests(t, 255) < Duration::from_millis(1250)));
        let mut b = BackOff::default();
        assert!((0..20).all(|i| !b.crashed(t + Duration::from_secs(3 * i))));
    }
}
