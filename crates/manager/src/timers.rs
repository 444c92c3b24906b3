//! Wake-up times. An entry is a hint: whoever is woken looks at its own state, so stale entries do no harm.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Times and whom to wake.
#[derive(Debug)]
pub struct Timers<T>(BinaryHeap<Reverse<(Instant, T)>>);

impl<T: Ord + Copy> Timers<T> {
    /// None.
    pub fn new() -> Self {
        Self(BinaryHeap::new())
    }

    /// Wakes `who` at `at`.
    pub fn set(&mut self, at: Instant, who: T) {
        self.0.push(Reverse((at, who)));
    }

    /// How long until the next one; zero if it is over already.
    pub fn next_in(&self, now: Instant) -> Option<Duration> {
        self.0
            .peek()
            .map(|Reverse((at, _))| at.saturating_duration_since(now))
    }

    /// The next one whose time has come.
    pub fn due(&mut self, now: Instant) -> Option<T> {
        if self.0.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            return self.0.pop().map(|Reverse((_, who))| who);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_the_order_of_their_times_and_not_before() {
        let t = Instant::now();
        let mut timers = Timers::new();
        timers.set(t + Duration::from_secs(2), 'b');
        timers.set(t, 'a');
        assert_eq!(timers.due(t), Some('a'));
        assert_eq!(timers.due(t), None);
        assert_eq!(timers.next_in(t), Some(Duration::from_secs(2)));
        assert_eq!(timers.due(t + Duration::from_secs(3)), Some('b'));
        assert_eq!(timers.next_in(t), None);
    }
}
