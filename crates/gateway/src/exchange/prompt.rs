//! Blocks that follow each other quickly travel together, and none waits for long: while the application makes the next block, a thread of this
//! process sends the ones before it. PEP 3333 ("Buffering and Streaming") allows that: "use a different thread to ensure that the block continues
//! to be transmitted while the application produces the next block".

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rwsgi_os::signal;

/// How long a block may wait for the next one. What was promised while others were being sent waits up to twice as long.
pub const PROMPT: Duration = Duration::from_micros(400);
/// How soon it is tried again to send what there was no room for, or whose request had the exchange for itself; twice as long each time.
const FULL: Duration = Duration::from_millis(1);
const FULL_LONGEST: Duration = Duration::from_millis(50);

/// Whose blocks wait.
pub trait Waiting: Send + Sync {
    /// Sends what waits, without blocking; false: some of it must wait longer. Called on the sending thread.
    fn send_waiting(&self) -> bool;
}

/// The sending thread and what it is asked for.
struct Sender {
    state: Mutex<State>,
    asked: Condvar,
}

/// What could not be sent.
struct Full {
    of: Arc<dyn Waiting>,
    /// It is tried again then, and after so long once more.
    at: Instant,
    pause: Duration,
}

#[derive(Default)]
struct State {
    waiting: Vec<Arc<dyn Waiting>>,
    /// The thread sleeps until it is asked.
    resting: bool,
}

/// Sees to it that what waits there is sent in time; false if that cannot be promised.
pub fn promise(of: Arc<dyn Waiting>) -> bool {
    static SENDER: OnceLock<Option<&Sender>> = OnceLock::new();
    let Some(sender) = SENDER.get_or_init(Sender::start) else {
        return false;
    };
    let mut state = sender.lock();
    state.waiting.push(of);
    let is_resting = std::mem::take(&mut state.resting);
    drop(state);
    if is_resting {
        sender.asked.notify_one();
    }
    true
}

impl Sender {
    /// Starts the thread. It lives as long as the process.
    fn start() -> Option<&'static Self> {
        let sender: &'static Self = Box::leak(Box::new(Self {
            state: Mutex::default(),
            asked: Condvar::new(),
        }));
        let started = signal::without_signals("rwsgi prompt", || sender.run());
        started.is_ok().then_some(sender)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut full: Vec<Full> = Vec::new();
        loop {
            let next = full.iter().map(|full| full.at).min();
            let fresh = self.next(next.map(|at| at.saturating_duration_since(Instant::now())));
            if !fresh.is_empty() {
                thread::sleep(PROMPT);
            }
            let now = Instant::now();
            full.retain_mut(|full| full.at > now || !full.try_again(now));
            full.extend(fresh.into_iter().filter_map(|of| Full::unless_sent(of, now)));
        }
    }

    /// Rests until something is promised, at most so long.
    fn next(&self, limit: Option<Duration>) -> Vec<Arc<dyn Waiting>> {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            state.resting = true;
            let rests = |state: &mut State| state.resting;
            state = match limit {
                None => self
                    .asked
                    .wait_while(state, rests)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(limit) => {
                    let waited = self.asked.wait_timeout_while(state, limit, rests);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.resting = false;
        }
        std::mem::take(&mut state.waiting)
    }
}

impl Full {
    /// Sends it; itself when that cannot be now.
    fn unless_sent(of: Arc<dyn Waiting>, now: Instant) -> Option<Self> {
        let (at, pause) = (now + FULL, 2 * FULL);
        (!of.send_waiting()).then_some(Self { of, at, pause })
    }

    /// Each has its own pauses: a client that takes nothing delays nobody else.
    fn try_again(&mut self, now: Instant) -> bool {
        self.at = now + self.pause;
        self.pause = (2 * self.pause).min(FULL_LONGEST);
        self.of.send_waiting()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Can be sent once it was tried so often.
    struct After(u32, AtomicU32);

    impl Waiting for After {
        fn send_waiting(&self) -> bool {
            self.1.fetch_add(1, Ordering::Relaxed) + 1 >= self.0
        }
    }

    fn promised(tries: u32) -> Arc<After> {
        let of = Arc::new(After(tries, AtomicU32::new(0)));
        assert!(promise(Arc::clone(&of) as _));
        of
    }

    fn wait_for(of: &After) {
        while of.1.load(Ordering::Relaxed) < of.0 {
            thread::sleep(FULL);
        }
    }

    /// Beside one that has waited for so long that it is tried every 50 ms only, others are tried again as soon as ever.
    #[test]
    fn who_takes_nothing_delays_nobody_else() {
        let stuck = promised(u32::MAX);
        while stuck.1.load(Ordering::Relaxed) < 8 {
            thread::sleep(FULL);
        }
        // On a busy machine some are late.
        assert!((0..50).any(|_| {
            let begun = Instant::now();
            wait_for(&promised(2));
            begun.elapsed() < FULL_LONGEST / 4
        }));
        wait_for(&promised(1));
    }
}
