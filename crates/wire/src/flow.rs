//! How many lines go to a log of what a worker says, on whichever way it says them.

use std::time::{Duration, Instant};

/// Longest line, bytes before escaping; longer ones are cut, or count as several.
pub const LINE_MAX: usize = 3000;

/// Lines per second in the long run.
pub const RATE: f64 = 1000.0;
/// Lines at once.
const BURST: f64 = 5000.0;
/// Messages of one of httpd's children in the audit log: per second in the long run, and at once.
pub const AUDIT_RATE: f64 = 10.0;
/// See [`AUDIT_RATE`].
pub const AUDIT_BURST: f64 = 100.0;
/// How often a loss is told while it goes on.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Lets so many lines through per second, after a burst, and counts the others.
#[derive(Debug)]
pub struct Flow {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
    dropped: u64,
    /// Before that it is not tried again to tell of a loss.
    again: Option<Instant>,
}

impl Flow {
    /// Full.
    pub fn new(now: Instant) -> Self {
        Self::of(RATE, BURST, now)
    }

    /// So many a second in the long run, and so many at once.
    pub fn of(rate: f64, burst: f64, now: Instant) -> Self {
        Self {
            rate,
            burst,
            tokens: burst,
            at: now,
            dropped: 0,
            again: None,
        }
    }

    fn gain(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        if gained >= 1.0 {
            self.tokens = (self.tokens + gained).min(self.burst);
            self.at = now;
        }
    }

    /// Whether a line may pass now; if not it is counted.
    pub fn admits(&mut self, now: Instant) -> bool {
        self.gain(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return true;
        }
        self.dropped += 1;
        false
    }

    /// Counts a line that was lost elsewhere (a log that takes nothing now).
    pub fn lost(&mut self) {
        self.dropped += 1;
    }

    /// How many were dropped, if any, counting anew; ask when `told` was long enough ago.
    pub fn take_dropped(&mut self) -> Option<u64> {
        self.again = None;
        Some(std::mem::take(&mut self.dropped)).filter(|n| *n > 0)
    }

    /// So many could not be told of: the log does not take that either. Answers when to try again.
    pub fn not_told(&mut self, dropped: u64, now: Instant) -> Instant {
        self.dropped += dropped;
        *self.again.insert(Self::tell_at(now))
    }

    /// Whether it may be tried to tell of a loss: no other try is waited for.
    pub fn may_tell(&self, now: Instant) -> bool {
        self.again.is_none_or(|again| again <= now)
    }

    /// Whether some loss has not been told.
    pub fn has_dropped(&self) -> bool {
        self.dropped > 0
    }

    /// Whether it is as a new one: nothing was said for a while, and nothing is to be told.
    pub fn is_at_rest(&mut self, now: Instant) -> bool {
        self.gain(now);
        self.dropped == 0 && self.tokens >= self.burst
    }

    /// When to tell of a loss.
    pub fn tell_at(now: Instant) -> Instant {
        now + TELL_EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // R64
    #[test]
    fn a_flood_is_cut_to_the_rate_and_the_loss_is_counted() {
        let t = Instant::now();
        let mut flow = Flow::new(t);
        let passed = (0..8000).filter(|_| flow.admits(t)).count();
        assert_eq!(passed, BURST as usize);
        assert!(!flow.is_at_rest(t));
        assert_eq!(flow.take_dropped(), Some(3000));
        // F41: a full disk takes that neither. It is tried again, once a second.
        let again = flow.not_told(3000, t);
        assert!(flow.has_dropped() && !flow.may_tell(t) && flow.may_tell(again));
        assert_eq!(flow.take_dropped(), Some(3000));
        assert!(flow.may_tell(t));
        assert_eq!(flow.take_dropped(), None);
        let later = t + Duration::from_secs(1);
        assert_eq!((0..5000).filter(|_| flow.admits(later)).count(), RATE as usize);
        let much_later = later + Duration::from_secs(10);
        assert!(!flow.is_at_rest(much_later), "a loss is to be told");
        flow.take_dropped();
        assert!(flow.is_at_rest(much_later));
    }
}
