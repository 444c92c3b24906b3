//! Workers that not even SIGKILL ends: they sleep in the kernel, on a file system that does not answer, until it does.
//!
//! Such a one is nobody's to end, so it is told of, keeps its place in every number of workers, and others take over what it did: its pool may
//! start as many more as it has processes, and no further. Those that come of a broken disk are bounded by that.

use std::time::{Duration, Instant};

use rwsgi_wire::control::DeathKind;
use rwsgi_wire::response::Level;

use crate::codes;
use crate::deaths::Cause;
use crate::pools::Pool;
use crate::supervise::Manager;
use crate::workers::State;

/// Ending a process takes the kernel some time, more so one with much memory.
const PATIENCE: Duration = Duration::from_secs(5);
/// Seconds after which a client of a pool whose workers all are so may come again.
pub(crate) const RETRY: u32 = 10;

/// What has become of the kill of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kill {
    /// There was none.
    #[default]
    None,
    /// It is to have ended by then.
    Until(Instant),
    /// It has not.
    InVain,
}

impl Kill {
    /// A kill, again perhaps; when to look what has become of it.
    pub(crate) fn begins(&mut self) -> Instant {
        let until = Instant::now() + PATIENCE;
        match *self {
            Self::None => {
                *self = Self::Until(until);
                until
            }
            Self::Until(earlier) => earlier,
            Self::InVain => until,
        }
    }
}

impl Manager {
    /// Whether a killed worker should have ended by now.
    pub(crate) fn look_after_kill(&mut self, id: u64, now: Instant) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if !matches!(worker.kill, Kill::Until(until) if until <= now) {
            return;
        }
        worker.kill = Kill::InVain;
        let (pid, pool_id) = (worker.pid, worker.pool);
        let has_started = matches!(worker.state, State::Ready | State::Leaving);
        let why = worker.known.killed.clone().unwrap_or_default();
        let Some(pool) = self.pools.get_mut(&pool_id) else {
            return;
        };
        pool.undying += 1;
        let text = format!(
            "worker {pid} of {} was killed because it {why}, and has not ended {} s later: it sleeps in the kernel, most likely on a file system \
             that does not answer",
            pool.title(),
            PATIENCE.as_secs()
        );
        let cause = Cause {
            kind: DeathKind::TimeLimit,
            text: text.clone(),
        };
        if let Some(worker) = self.workers.remove(&id) {
            self.died(&worker, &cause, Level::Error, codes::NOT_ENDED.number, &text);
            self.workers.insert(id, worker);
        }
        match has_started {
            true => self.tend(pool_id, false),
            false => self.back_off(pool_id, "its worker hangs in the kernel while it starts"),
        }
    }

    /// Nothing is left to wait for: all that have not ended cannot be.
    pub(crate) fn all_are_undying(&self) -> bool {
        self.workers.values().all(|worker| worker.kill == Kill::InVain)
    }
}

impl Pool {
    /// As many of its workers as it may have hang in the kernel.
    pub(crate) fn hangs(&self) -> bool {
        self.undying >= self.settings.group.processes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // F11
    #[test]
    fn a_kill_that_is_repeated_is_not_waited_for_anew() {
        let mut kill = Kill::default();
        let until = kill.begins();
        assert_eq!(kill.begins(), until);
        assert_eq!(kill, Kill::Until(until));
        kill = Kill::InVain;
        kill.begins();
        assert_eq!(kill, Kill::InVain);
    }
}
