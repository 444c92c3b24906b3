//! The main thread of a worker while it serves: waits for the manager, signals and time limits; then the way out.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rwsgi_os::poll::{Events, Watch, poll};
use rwsgi_os::process;
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::Level;

use super::control::{Control, Said};
use super::limits::{self, Limits};
use super::pulse::Pulse;
use super::{Worker, accept, events, seat, signals, stacks};
use crate::codes;

/// Stack of a serving thread in bytes: as much as a main thread has, since Python's recursion limit was chosen for that.
const STACK: u64 = 8 << 20;
/// The least: with less, already the way to the application may not fit.
const STACK_MIN: u64 = 256 << 10;
/// How long threads that are about to end are waited for.
const MOMENT: Duration = Duration::from_secs(1);
/// How often a draining worker looks for a signal.
const GLANCE: Duration = Duration::from_millis(100);

/// Serves until the worker has to leave and everything has ended. The calling thread is detached.
pub fn run(worker: &Worker, pipe: &OwnedFd) {
    worker.control.outlive_manager();
    std::thread::scope(|scope| {
        let threads =
            start_threads(scope, worker).unwrap_or_else(|error| without_threads(&worker.control, &error));
        worker.control.ready();
        let at_once = serve(worker, pipe);
        drain(worker, pipe, patience(worker, at_once));
        worker.pulse.end();
        end_by_force_later(&worker.control, worker.start.life.shutdown_timeout);
        events::stopping(&worker.interpreter, &*worker.control, worker.reason());
        // A request that does not end is ended with the process. Joining, unlike the end of the scope, also waits until the
        // thread has given up its thread state.
        for thread in threads {
            let _ = thread.join();
        }
    });
    if !worker.interpreter.shut(Instant::now() + MOMENT) {
        end_by_force(&worker.control, "a thread is still waiting for the GIL");
    }
}

/// The acceptor comes last: what it takes can be served.
fn start_threads<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    worker: &'env Worker,
) -> io::Result<Vec<ScopedJoinHandle<'scope, ()>>> {
    let mut threads = Vec::new();
    let stack = match worker.start.stack {
        0 => STACK,
        bytes => bytes.max(STACK_MIN),
    };
    let stack = usize::try_from(stack).unwrap_or(usize::MAX);
    for index in 0..worker.seats.count() {
        let thread = Builder::new()
            .stack_size(stack)
            .name(format!("rwsgi-{}", index + 1));
        threads.push(thread.spawn_scoped(scope, move || seat::run(worker, index))?);
    }
    if worker.start.life.deadlock_timeout > 0 {
        let pulse = Builder::new().name("rwsgi-pulse".into());
        threads.push(pulse.spawn_scoped(scope, || Pulse::run(worker))?);
    }
    let acceptor = Builder::new().name("rwsgi-accept".into());
    threads.push(acceptor.spawn_scoped(scope, || accept::run(worker))?);
    Ok(threads)
}

/// Nothing has been served, and nothing will be. Not by leaving, which would have another one start at once: the manager sees that a start has
/// failed, and waits.
fn without_threads(control: &Control, error: &io::Error) -> ! {
    let text = format!(
        "{}: the worker cannot start its threads ({error}), and ends: the limits on processes of its user, its application (\
         application-processes-limit, user-processes-limit) or httpd's service (TasksMax) leave no room for them",
        codes::NO_THREADS
    );
    control.say(Level::Crit, &text);
    process::exit_now(1)
}

/// Waits for a reason to leave; whether it was a signal that asks to end at once.
fn serve(worker: &Worker, pipe: &OwnedFd) -> bool {
    let mut limits = Limits::new();
    while !worker.is_leaving() {
        let mut watches = [
            Watch::new(worker.control.as_fd(), Events::READ),
            Watch::new(pipe.as_fd(), Events::READ),
            Watch::new(worker.wake.as_fd(), Events::READ),
            Watch::new(worker.idleness.as_fd(), Events::READ),
        ];
        let waited = poll(&mut watches, limits.pause(worker));
        let [control, signal, _, _] = watches.map(|watch| watch.found().is_readable());
        let said = if control {
            worker.control.hear()
        } else {
            Said::Nothing
        };
        match said {
            Said::Keep(script, mtime) => worker.renewal.keep(&script, mtime),
            Said::Others(script, there) => worker.firsts.answered(script, there),
            Said::Drain(reason) if reason.is_for_idle() => worker.leave_if_idle(reason),
            Said::Drain(reason) => worker.leave(reason),
            Said::Gone => worker.leave(LeaveReason::ShutdownSignal),
            Said::Repeat => worker.repeat(),
            Said::Nothing => {}
        }
        if waited.is_err() {
            worker.leave(LeaveReason::SignalPipeError);
        }
        if signal {
            if let Some(reason) = asked_by_signal(worker, pipe) {
                worker.leave(reason);
                return reason == LeaveReason::ShutdownSignal;
            }
        }
        limits.look(worker);
    }
    false
}

/// Reads all signals that have come, up to one that asks to leave; the application is told of those that are for it.
fn asked_by_signal(worker: &Worker, pipe: &OwnedFd) -> Option<LeaveReason> {
    loop {
        match signals::next(pipe) {
            Ok(Some(signal)) => {
                if let Some(reason) = signals::reason(signal, &worker.start.life) {
                    return Some(reason);
                }
                events::signal(worker, signal);
            }
            Ok(None) => return None,
            Err(()) => return Some(LeaveReason::SignalPipeError),
        }
    }
}

/// How long the requests under way may take; `None`: as long as they do.
fn patience(worker: &Worker, at_once: bool) -> Option<Duration> {
    match worker.reason() {
        Some(reason) if !at_once => worker.start.life.patience(reason),
        _ => Some(Duration::ZERO),
    }
}

/// Waits for the requests under way, unless a signal says that the worker must end soon.
fn drain(worker: &Worker, pipe: &OwnedFd, patience: Option<Duration>) {
    let deadline = patience.map(|patience| Instant::now() + patience);
    loop {
        let left = deadline.map_or(GLANCE, |at| at.saturating_duration_since(Instant::now()));
        if worker.seats.wait_until_quiet(left.min(GLANCE)) || left.is_zero() {
            return;
        }
        if let Some(LeaveReason::ShutdownSignal | LeaveReason::SignalPipeError) =
            asked_by_signal(worker, pipe)
        {
            return;
        }
        limits::requests(worker);
    }
}

/// From now on the process has so many seconds to end by itself; 0 is no limit.
pub fn end_by_force_later(control: &Arc<Control>, limit: u32) {
    if limit == 0 {
        return;
    }
    let control = Arc::clone(control);
    let reaper = Builder::new().name("rwsgi-reaper".into());
    // Without this thread the manager does it, a little later.
    let _ = reaper.spawn(move || {
        std::thread::sleep(Duration::from_secs(limit.into()));
        end_by_force(
            &control,
            &format!("requests, scripts, threads or exit functions did not end within {limit} s"),
        );
    });
}

fn end_by_force(control: &Control, why: &str) -> ! {
    control.say(
        Level::Warn,
        &format!(
            "{}: the worker is ended by force: {why}; its threads are here:",
            codes::EXIT_FORCED
        ),
    );
    stacks::show_all();
    process::exit_now(1)
}
