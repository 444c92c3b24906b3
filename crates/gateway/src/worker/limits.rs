//! The time limits on a worker and its requests, looked at by the main thread, which never takes the GIL: whatever Python does, they
//! hold.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rwsgi_os::process;
use rwsgi_wire::code::Code;
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::{AbortReason, Level};

use super::pulse::Stillness;
use super::seats::Overdue;
use super::{Worker, stacks};
use crate::codes;
use crate::exchange::Exchange;

/// How often requests are looked at.
const TICK: Duration = Duration::from_secs(1);

/// What has been seen so far.
pub struct Limits {
    born: Instant,
    stillness: Stillness,
    /// No script has been loaded yet.
    starting: bool,
}

fn seconds(number: u32) -> Option<Duration> {
    (number > 0).then(|| Duration::from_secs(number.into()))
}

impl Limits {
    /// The worker begins.
    pub fn new() -> Self {
        Self {
            born: Instant::now(),
            stillness: Stillness::new(),
            starting: true,
        }
    }

    /// How long until the next look; `None` without a limit. A limit that counts from the first request is looked at after its own
    /// length: sooner it cannot be over.
    pub fn pause(&self, worker: &Worker) -> Option<Duration> {
        let life = &worker.start.life;
        let activity = worker.seats.activity();
        let left = |since: Option<Instant>, limit: Option<Duration>| {
            limit.map(|limit| limit.saturating_sub(since.map_or(Duration::ZERO, |since| since.elapsed())))
        };
        let startup = seconds(life.startup_timeout).filter(|_| self.starting);
        let all = [
            (life.request_timeout > 0).then_some(TICK),
            (life.deadlock_timeout > 0).then(|| life.pulse()),
            left(activity.and_then(|a| a.first), startup),
            // A busy worker is looked at again after a full period.
            left(
                activity.map(|a| a.last).filter(|_| !worker.seats.is_busy()),
                seconds(life.inactivity_timeout),
            ),
            left(Some(self.born), seconds(life.restart_interval)),
            worker.idleness.pause(worker),
        ];
        all.into_iter().flatten().min().map(|pause| pause.max(PRECISION))
    }

    /// Looks at all limits; the worker leaves when one has passed.
    pub fn look(&mut self, worker: &Worker) {
        requests(worker);
        self.lock(worker);
        self.startup(worker);
        worker.idleness.look(worker, self.born);
        let life = &worker.start.life;
        if let (Some(limit), Some(activity)) = (seconds(life.inactivity_timeout), worker.seats.activity()) {
            if activity.last.elapsed() >= limit && !worker.seats.is_busy() {
                worker.leave(LeaveReason::InactivityTimeout);
            }
        }
        if seconds(life.restart_interval).is_some_and(|limit| self.born.elapsed() >= limit) {
            worker.leave(LeaveReason::RestartInterval);
        }
    }

    /// Python's lock: nothing can end in order without it, so the process ends at once. What it had not begun is repeated elsewhere.
    fn lock(&mut self, worker: &Worker) {
        let life = &worker.start.life;
        let still = self.stillness.look(&worker.pulse, life);
        hold(worker, still);
        if seconds(life.deadlock_timeout).is_none_or(|limit| still < limit) {
            return;
        }
        let text = format!(
            "{}: nothing could take Python's lock (GIL) for {} s (deadlock-timeout): the worker is replaced; its threads are here:",
            codes::DEADLOCKED,
            still.as_secs()
        );
        worker.control.say(Level::Error, &text);
        stacks::show_all();
        let why = "Python's lock (GIL) is not free";
        give_up_all(worker, &codes::DEADLOCKED, AbortReason::Timeout, why);
        worker.leave(LeaveReason::DeadlockTimeout);
        process::exit_now(1)
    }

    fn startup(&mut self, worker: &Worker) {
        self.starting = self.starting && worker.versions.is_empty();
        let (true, Some(limit)) = (self.starting, seconds(worker.start.life.startup_timeout)) else {
            return;
        };
        if worker
            .seats
            .activity()
            .and_then(|activity| activity.first)
            .is_none_or(|first| first.elapsed() < limit)
        {
            return;
        }
        let text = format!(
            "{}: no script was loaded within {} s after the first request came (startup-timeout): the worker is replaced; its \
             threads are here:",
            codes::NOT_STARTED,
            limit.as_secs()
        );
        worker.control.say(Level::Error, &text);
        stacks::show_all();
        // Nothing of the application has run, and the next worker may load it.
        let why = "its script is not loaded yet";
        give_up_all(worker, &codes::NOT_STARTED, AbortReason::Starting, why);
        worker.leave(LeaveReason::StartupTimeout);
    }
}

/// While nothing can take Python's lock, no request begins here: other workers may have it, or the one that comes after this.
fn hold(worker: &Worker, still: Duration) {
    let held = still >= worker.start.life.pulse();
    if !worker.seats.hold(held) {
        return;
    }
    let text = match held {
        true => format!(
            "worker {} takes no new requests: nothing could take Python's lock (GIL) for {} s",
            worker.pid,
            still.as_secs()
        ),
        false => format!("worker {} takes requests again", worker.pid),
    };
    worker.control.say(Level::Info, &text);
}

/// Timers are not more exact than this.
const PRECISION: Duration = Duration::from_millis(10);

/// Breaks off all requests under way.
fn give_up_all(worker: &Worker, code: &Code, reason: AbortReason, why: &str) {
    for request in worker.seats.overdue(Duration::ZERO, None) {
        let text = format!(
            "{code}: the request is given up after {:.0} s: {why}",
            request.age.as_secs_f64()
        );
        request.connection.log(Level::Error, text.as_bytes());
        request.connection.break_off(reason, "");
    }
}

/// Requests that run longer than request-timeout allows: given up, and the worker leaves.
pub fn requests(worker: &Worker) {
    let Some(limit) = worker.start.life.request_limit(worker.start.threads) else {
        return;
    };
    let grace = seconds(worker.start.life.interrupt_timeout);
    for overdue in worker.seats.overdue(Duration::from_secs_f64(limit), grace) {
        match (overdue.interruption, overdue.thread) {
            (Some(interruption), Some(thread)) => interrupt(worker, &overdue, interruption, thread),
            (Some(_), None) => {}
            (None, _) => give_up(worker, &overdue),
        }
    }
}

/// Raises `mod_wsgi.RequestTimeout` in the thread of a request. It is raised when the thread next runs Python code, so a call into a
/// library goes on; then the request is given up when its grace is over.
fn interrupt(worker: &Worker, overdue: &Overdue, interruption: Instant, thread: i64) {
    let (seats, index) = (Arc::clone(&worker.seats), overdue.index);
    let stack = stacks::attached(worker, move |py, state| {
        let stack = stacks::stack(py, thread).unwrap_or_default();
        seats.interrupt(index, interruption, || {
            state
                .request_timeout
                .with(py, |class| py.raise_in_thread(thread, class));
        });
        stack
    });
    let text = format!(
        "the request has run for {:.0} s, longer than request-timeout allows: mod_wsgi.RequestTimeout is raised here:\n{}",
        overdue.age.as_secs_f64(),
        stack.unwrap_or_default()
    );
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        overdue.connection.log(Level::Info, line.as_bytes());
    }
}

fn give_up(worker: &Worker, overdue: &Overdue) {
    let stack = match overdue.thread.map(|thread| stacks::of_thread(worker, thread)) {
        Some(Some(stack)) if !stack.is_empty() => format!("it is here:\n{stack}"),
        Some(None) => {
            stacks::show_all();
            "its thread keeps the GIL, and the stacks of all threads are in the log of the worker".into()
        }
        _ => "its thread runs no Python".into(),
    };
    let text = format!(
        "{}: the request has run for {:.0} s, longer than request-timeout allows; {stack}",
        codes::REQUEST_TIMED_OUT,
        overdue.age.as_secs_f64()
    );
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        overdue.connection.log(Level::Error, line.as_bytes());
    }
    overdue.connection.break_off(AbortReason::Timeout, "");
    worker.leave(LeaveReason::RequestTimeout);
}
