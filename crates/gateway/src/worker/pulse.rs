//! A thread that takes the GIL now and then, as a sign that it can be had. Who counts the signs never takes it: the main thread, and
//! the manager.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rwsgi_wire::life::Life;

use super::Worker;

/// The signs of life.
#[derive(Default)]
pub struct Pulse {
    /// Counted at the beginning of each and at its end: odd while the GIL is waited for.
    beats: AtomicU64,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Pulse {
    /// Takes the GIL again and again until [`end`](Self::end).
    pub fn run(worker: &Worker) {
        let pulse = &worker.pulse;
        let pause = worker.start.life.pulse();
        let mut ended = pulse.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            drop(ended);
            pulse.beats.fetch_add(1, Ordering::Relaxed);
            let taken = worker.interpreter.enter(|_, _| ());
            pulse.beats.fetch_add(1, Ordering::Relaxed);
            if taken.is_err() {
                return;
            }
            let served = worker.served.load(Ordering::Relaxed);
            worker.control.alive(served, worker.seats.running());
            ended = pulse.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = pulse.end.wait_timeout_while(ended, pause, |ended| !*ended);
            ended = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// No more beats.
    pub fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.notify_all();
    }
}

/// How long a beat has waited for the GIL, in time in which this process ran: one that was stopped, or a machine that slept, is not stuck. Nor
/// is one whose next beat is not due yet, or late.
pub struct Stillness {
    beats: u64,
    still: Duration,
    looked: Instant,
}

impl Stillness {
    /// None yet.
    pub fn new() -> Self {
        Self {
            beats: 0,
            still: Duration::ZERO,
            looked: Instant::now(),
        }
    }

    /// Looks at the beats; how long one has waited. To be called about as often as there is one.
    pub fn look(&mut self, pulse: &Pulse, life: &Life) -> Duration {
        let beats = pulse.beats.load(Ordering::Relaxed);
        self.count(beats, Instant::now(), life.pulse())
    }

    fn count(&mut self, beats: u64, now: Instant, pause: Duration) -> Duration {
        let passed = now.saturating_duration_since(std::mem::replace(&mut self.looked, now));
        let is_waiting = beats % 2 == 1;
        if std::mem::replace(&mut self.beats, beats) == beats && is_waiting {
            self.still += passed.min(2 * pause);
        } else {
            self.still = Duration::ZERO;
        }
        self.still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_ends_stillness_and_a_sleep_of_the_machine_is_none() {
        let second = Duration::from_secs(1);
        let mut stillness = Stillness::new();
        let mut now = stillness.looked;
        for expected in [0, 1, 2, 3] {
            now += second;
            assert_eq!(stillness.count(1, now, second), expected * second);
        }
        now += 3600 * second;
        assert_eq!(stillness.count(1, now, second), 5 * second);
        assert_eq!(stillness.count(3, now + second, second), Duration::ZERO);
    }

    // Each beat comes a little later than a pause after the last one, and a look may fall just before it.
    #[test]
    fn a_beat_that_is_not_due_yet_or_late_is_no_stillness() {
        let second = Duration::from_secs(1);
        let mut stillness = Stillness::new();
        let mut now = stillness.looked;
        for beats in [2, 2, 4, 4, 4] {
            now += second;
            assert_eq!(stillness.count(beats, now, second), Duration::ZERO);
        }
    }
}
