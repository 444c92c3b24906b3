//! Who looks for requests: one thread at a time, the leader. It runs short requests itself, one after the other, so that they need not
//! hand Python's lock and the processor to each other. What a thread costs to wake is paid only where it helps:
//!
//! - A request that takes long must not hold up the others. While requests run, one more thread watches the leader, and leads in its
//!   place when it has been with one request for [`GLANCE`].
//! - Where requests have taken long, the next ones will: then the leader gives its place away before each request.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where requests take longer on average, they are long.
const LONG: Duration = Duration::from_millis(1);

/// How often the leader is looked at, and how long it may be with one request at least.
const GLANCE: Duration = Duration::from_millis(2);

/// So many glances must find nothing before nobody looks any more: to wake who looks costs more than a few of them.
const GLANCES: u32 = 3;

/// A request counts for so much at most, so that one very long one is forgotten soon.
const LONGEST: Duration = Duration::from_millis(16);

/// The average follows the last requests, about so many.
const REMEMBERED: u32 = 8;

/// The place of the leader.
#[derive(Default)]
pub struct Lead {
    place: Mutex<Place>,
    /// There is no leader, nobody watches it, or all is over.
    vacant: Condvar,
}

#[derive(Default)]
struct Place {
    leader: Option<usize>,
    /// The leader runs a request.
    busy: bool,
    /// Counts the requests of leaders.
    turn: u64,
    watch: Watch,
    /// Threads that have nothing to do.
    waiting: usize,
    /// Connections on which something has arrived.
    ready: VecDeque<u64>,
    /// How long the last requests took, on average.
    average: Duration,
    over: bool,
}

/// Who watches the leader.
#[derive(Default, PartialEq)]
enum Watch {
    #[default]
    Nobody,
    /// A thread was woken for it.
    Called,
    Somebody,
}

impl Lead {
    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, mut place: MutexGuard<'a, Place>) -> MutexGuard<'a, Place> {
        place.waiting += 1;
        let mut place = self.vacant.wait(place).unwrap_or_else(PoisonError::into_inner);
        place.waiting -= 1;
        place
    }

    /// Waits until the thread `me` leads; false once all is over.
    pub fn take(&self, me: usize) -> bool {
        let mut place = self.lock();
        loop {
            if place.over {
                return false;
            }
            if place.leader.is_none() || place.leader == Some(me) {
                place.leader = Some(me);
                return true;
            }
            place = if place.watch == Watch::Called {
                self.watch(place, me)
            } else {
                self.wait(place)
            };
        }
    }

    /// Looks at the leader now and then for as long as it has requests; leads in its place when it is held up.
    fn watch<'a>(&self, mut place: MutexGuard<'a, Place>, me: usize) -> MutexGuard<'a, Place> {
        place.watch = Watch::Somebody;
        let mut quiet = 0;
        while !place.over && place.leader.is_some() && quiet < GLANCES {
            let (turn, busy) = (place.turn, place.busy);
            let waited = self.vacant.wait_timeout(place, GLANCE);
            let (after, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            place = after;
            if place.turn != turn {
                quiet = 0;
            } else if waited.timed_out() && busy && place.busy && place.leader.is_some() {
                place.leader = Some(me);
                place.busy = false;
                break;
            } else if waited.timed_out() {
                quiet += 1;
            }
        }
        place.watch = Watch::Nobody;
        place
    }

    /// Connections that the leader has found ready.
    pub fn found(&self, tokens: impl Iterator<Item = u64>) {
        self.lock().ready.extend(tokens);
    }

    /// The next ready connection, for the leader.
    pub fn next(&self) -> Option<u64> {
        self.lock().ready.pop_front()
    }

    /// The leader is about to run a request. Somebody else leads meanwhile, or watches.
    pub fn begin(&self) {
        let mut place = self.lock();
        place.turn += 1;
        if place.average >= LONG {
            place.leader = None;
        } else {
            place.busy = true;
            if place.watch != Watch::Nobody {
                return;
            }
            if place.waiting > 0 {
                place.watch = Watch::Called;
            }
        }
        if place.waiting > 0 {
            drop(place);
            self.vacant.notify_one();
        }
    }

    /// The request that thread `me` began took so long; whether the thread still leads.
    pub fn end(&self, me: usize, took: Duration) -> bool {
        let mut place = self.lock();
        // A short one may take long now and then, when the machine is busy.
        place.average = (place.average * (REMEMBERED - 1) + took.min(LONGEST)) / REMEMBERED;
        if place.leader == Some(me) {
            place.busy = false;
            return !place.over;
        }
        false
    }

    /// Nobody leads any more.
    pub fn finish(&self) {
        self.lock().over = true;
        self.vacant.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Waits until so many threads have nothing to do.
    fn until_waiting(lead: &Lead, threads: usize) {
        while lead.lock().waiting != threads {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_leader_that_is_held_up_is_replaced_and_does_not_lead_on() {
        let lead = Lead::default();
        assert!(lead.take(0));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| lead.take(1));
            until_waiting(&lead, 1);
            lead.begin();
            assert!(other.join().unwrap(), "leads though the other is not done");
        });
        assert!(!lead.end(0, LONG));
    }

    #[test]
    fn a_leader_between_short_requests_keeps_its_place() {
        let lead = Lead::default();
        assert!(lead.take(0));
        let led = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if lead.take(1) {
                    led.fetch_add(1, Ordering::Relaxed);
                }
            });
            until_waiting(&lead, 1);
            lead.begin();
            assert!(lead.end(0, Duration::ZERO));
            // Who watches sees nothing to do, and sleeps again.
            until_waiting(&lead, 1);
            lead.finish();
        });
        assert_eq!(led.into_inner(), 0);
    }

    #[test]
    fn where_requests_take_long_the_place_is_given_away_before_them() {
        let lead = Lead::default();
        assert!(lead.take(0));
        lead.begin();
        assert!(lead.end(0, LONG), "one is none");
        for _ in 0..REMEMBERED {
            lead.begin();
            lead.end(0, 2 * LONG);
        }
        lead.begin();
        assert!(lead.take(1), "nobody has to be waited for");
        assert!(!lead.end(0, Duration::ZERO));
        for _ in 0..REMEMBERED {
            lead.begin();
            lead.end(1, Duration::ZERO);
            assert!(lead.take(1));
        }
        lead.begin();
        assert!(lead.end(1, Duration::ZERO), "they are short again");
    }
}
