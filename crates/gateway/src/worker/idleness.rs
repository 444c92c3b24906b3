//! What the manager is told of a worker's use, where the number of workers follows the requests: once when it has become idle, once when
//! it is used again. In between nobody wakes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rwsgi_os::{OsError, fd};
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::script::Script;

use super::Worker;

/// So long without a request, and the worker says that it is idle.
const IDLE_AFTER: Duration = Duration::from_millis(250);

/// What has been said.
pub struct Idleness {
    /// The manager takes the worker for idle.
    told: AtomicBool,
    /// Since when it was said to be; the main thread's own.
    since: Mutex<Option<Instant>>,
    /// Readable when a request has come meanwhile.
    stirred: OwnedFd,
}

impl Idleness {
    /// Nothing has been said.
    pub fn new() -> Result<Self, OsError> {
        Ok(Self {
            told: AtomicBool::new(false),
            since: Mutex::new(None),
            stirred: fd::event()?,
        })
    }

    /// What to wait for in `poll`.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.stirred.as_fd()
    }

    /// A request begins, which the seats know already; `counts`: it is activity.
    pub fn stir(&self, counts: bool) {
        // The table of the seats was locked in between, so either this sees what was told or who tells sees the request.
        if counts && self.told.load(Ordering::Relaxed) {
            fd::notify(&self.stirred);
        }
    }

    /// How long until the next look; `None`: until a request comes.
    pub fn pause(&self, worker: &Worker) -> Option<Duration> {
        (worker.start.tells_idle && !self.told.load(Ordering::Relaxed)).then_some(IDLE_AFTER)
    }

    /// Says what has changed. The main thread does. `born`: when the worker became ready.
    pub fn look(&self, worker: &Worker, born: Instant) {
        if !worker.start.tells_idle || worker.is_leaving() {
            return;
        }
        let last_use = || worker.seats.activity().map_or(born, |activity| activity.last);
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if self.told.load(Ordering::Relaxed) {
            fd::clear(&self.stirred);
            if *since != Some(last_use()) {
                self.told.store(!worker.control.used(), Ordering::Relaxed);
            }
            return;
        }
        if worker.seats.is_busy() || last_use().elapsed() < IDLE_AFTER {
            return;
        }
        self.told.store(true, Ordering::Relaxed);
        // A request that began before this is seen now; a later one notifies.
        let last = last_use();
        let is_idle = !worker.seats.is_busy() && last.elapsed() >= IDLE_AFTER;
        if is_idle && worker.control.idle(last.elapsed()) {
            *since = Some(last);
        } else {
            self.told.store(false, Ordering::Relaxed);
        }
    }
}

impl Worker {
    /// Another manager listens now, and knows nothing that only this one can know.
    pub(super) fn repeat(&self) {
        self.control.ready_still();
        self.idleness.told.store(false, Ordering::Relaxed);
        let scripts = self.versions.scripts();
        let given = |script: &&Script| !script.callables.is_empty();
        scripts
            .iter()
            .filter(given)
            .for_each(|script| self.control.given(script));
        self.renewal.repeat(&self.control, &scripts);
    }

    /// Leaves, unless a request runs or has arrived: then it says so and stays.
    pub(super) fn leave_if_idle(&self, reason: LeaveReason) {
        if self.seats.drain_if_idle() {
            self.leave(reason);
        } else {
            self.idleness.told.store(false, Ordering::Relaxed);
            // If it cannot be said, the manager asks again.
            self.control.used();
        }
    }
}
