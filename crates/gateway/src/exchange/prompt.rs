//! Blocks that follow each other quickly travel together, and none waits for long: while the application makes the next block, a thread of this
//! process sends the ones before it. PEP 3333 ("Buffering and Streaming") allows that: "use a different thread to ensure that the block continues
//! to be transmitted while the application produces the next block".

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a block may wait for the next one. What was promised while others were being sent waits up to twice as long.
pub const PROMPT: Duration = Duration::from_micros(400);
/// How soon it is tried again to send what there was no room for; twice as long each time.
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
        let thread = thread::Builder::new().name("rwsgi-prompt".into());
        thread.spawn(|| sender.run()).is_ok().then_some(sender)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let (mut full, mut pause) = (Vec::new(), FULL);
        loop {
            let fresh = self.next((!full.is_empty()).then_some(pause));
            if !fresh.is_empty() {
                thread::sleep(PROMPT);
            }
            let before = full.len();
            full.extend(fresh);
            full.retain(|of: &Arc<dyn Waiting>| !of.send_waiting());
            pause = match full.is_empty() || full.len() < before {
                true => FULL,
                false => (2 * pause).min(FULL_LONGEST),
            };
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
