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

    /// All whose time has come. One that is set while these are woken, even for this moment, comes the next time: so whoever sets it again and
    /// again keeps nobody else from being heard.
    pub fn due(&mut self, now: Instant) -> Vec<T> {
        let mut due = Vec::new();
        while let Some(Reverse((_, who))) = self.0.peek().filter(|Reverse((at, _))| *at <= now) {
            due.push(*who);
            self.0.pop();
        }
        due
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
        assert_eq!(timers.due(t), ['a']);
        assert_eq!(timers.due(t), []);
        assert_eq!(timers.next_in(t), Some(Duration::from_secs(2)));
        timers.set(t + Duration::from_secs(1), 'c');
        assert_eq!(timers.due(t + Duration::from_secs(3)), ['c', 'b']);
        assert_eq!(timers.next_in(t), None);
    }

    #[test]
    fn who_sets_a_timer_for_this_moment_while_woken_is_not_woken_for_ever() {
        let t = Instant::now();
        let mut timers = Timers::new();
        timers.set(t, 'a');
        let mut woken = 0;
        for who in timers.due(t) {
            woken += 1;
            timers.set(t, who);
        }
        assert_eq!(woken, 1);
        assert_eq!(timers.next_in(t), Some(Duration::ZERO));
    }
}
