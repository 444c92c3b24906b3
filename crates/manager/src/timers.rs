//! Wake-up times. An entry is a hint: whoever is woken looks at its own state, so stale entries do no harm.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Times and whom to wake. The same hint twice is one: whoever is woken often and sets the next time each time fills no memory.
#[derive(Debug)]
pub struct Timers<T> {
    by_time: BTreeSet<(Instant, T)>,
    /// The same the other way round.
    by_who: BTreeSet<(T, Instant)>,
    /// No time is before this.
    origin: Instant,
}

impl<T: Ord + Copy> Timers<T> {
    /// None.
    pub fn new() -> Self {
        Self {
            by_time: BTreeSet::new(),
            by_who: BTreeSet::new(),
            origin: Instant::now(),
        }
    }

    /// Wakes `who` at `at`.
    pub fn set(&mut self, at: Instant, who: T) {
        let at = at.max(self.origin);
        self.by_time.insert((at, who));
        self.by_who.insert((who, at));
    }

    /// `who` is gone, and need not be woken.
    pub fn forget(&mut self, who: T) {
        let times = self.by_who.range((who, self.origin)..);
        let its: Vec<_> = times.copied().take_while(|(other, _)| *other == who).collect();
        for (_, at) in its {
            self.by_who.remove(&(who, at));
            self.by_time.remove(&(at, who));
        }
    }

    /// How long until the next one; zero if it is over already.
    pub fn next_in(&self, now: Instant) -> Option<Duration> {
        self.by_time
            .first()
            .map(|(at, _)| at.saturating_duration_since(now))
    }

    /// All whose time has come. One that is set while these are woken, even for this moment, comes the next time: so whoever sets it again and
    /// again keeps nobody else from being heard.
    pub fn due(&mut self, now: Instant) -> Vec<T> {
        let mut due = Vec::new();
        while let Some((at, who)) = self.by_time.first().copied().filter(|(at, _)| *at <= now) {
            self.by_time.pop_first();
            self.by_who.remove(&(who, at));
            due.push(who);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_the_order_of_their_times_and_not_before() {
        let mut timers = Timers::new();
        let t = Instant::now();
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
        let mut timers = Timers::new();
        let t = Instant::now();
        timers.set(t, 'a');
        let mut woken = 0;
        for who in timers.due(t) {
            woken += 1;
            timers.set(t, who);
        }
        assert_eq!(woken, 1);
        assert_eq!(timers.next_in(t), Some(Duration::ZERO));
    }

    // R67, F57
    #[test]
    fn who_sets_the_same_time_each_time_it_is_woken_has_one_entry() {
        let mut timers = Timers::new();
        let t = Instant::now();
        for n in 0..1000 {
            timers.set(t + Duration::from_millis(n), 'a');
        }
        for _ in timers.due(t + Duration::from_secs(1)) {
            timers.set(t + Duration::from_secs(9), 'a');
        }
        assert_eq!(timers.by_time.len(), 1);
    }

    // F57: a worker has five minutes to become ready, and may live for a second.
    #[test]
    fn who_is_gone_leaves_no_time_behind() {
        let mut timers = Timers::new();
        let t = Instant::now();
        for who in 0..1000 {
            timers.set(t - Duration::from_secs(1), who);
            timers.set(t + Duration::from_secs(300), who);
            timers.set(t + Duration::from_secs(360), who);
            if who != 7 {
                timers.forget(who);
            }
        }
        assert_eq!((timers.by_time.len(), timers.by_who.len()), (3, 3));
        assert_eq!(timers.due(t + Duration::from_secs(301)), [7, 7]);
        timers.forget(7);
        timers.forget(8);
        assert_eq!((timers.by_time.len(), timers.by_who.len()), (0, 0));
    }
}
