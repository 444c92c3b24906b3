//! The main thread of a worker while it serves: waits for the manager, signals and time limits; then the way out.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rwsgi_os::poll::{self, Events, Watch, poll};
use rwsgi_os::process;
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::{AbortReason, Level};

use super::control::{Control, Said};
use super::seats::Overdue;
use super::{Worker, accept, seat};
use crate::codes;
use crate::cpython::PyResult;
use crate::exchange::Exchange;

/// Stack of a serving thread in bytes: as much as a main thread has, since Python's recursion limit was chosen for that.
const STACK: usize = 8 << 20;
/// How often time limits are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often a draining worker looks for a signal.
const GLANCE: Duration = Duration::from_millis(100);

/// Serves until the worker has to leave and everything has ended. The calling thread is detached.
pub fn run(worker: &Worker, signals: &OwnedFd) {
    let served = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for index in 0..worker.seats.count() {
            let thread = std::thread::Builder::new()
                .stack_size(STACK)
                .name(format!("rwsgi-{}", index + 1));
            let served = &served;
            threads.push(thread.spawn_scoped(scope, move || seat::run(worker, index, served)));
        }
        let acceptor = std::thread::Builder::new().name("rwsgi-accept".into());
        threads.push(acceptor.spawn_scoped(scope, || accept::run(worker)));
        if threads.iter().all(Result::is_ok) {
            worker.control.ready();
            serve(worker, signals);
            drain(worker, signals);
        } else {
            worker
                .control
                .say(Level::Crit, "the worker cannot start its threads");
            worker.leave(LeaveReason::ShutdownSignal);
        }
        end_by_force_later(worker);
        // A request that does not end is ended with the process. Joining, unlike the end of the scope, also waits until the
        // thread has given up its thread state.
        for thread in threads.into_iter().flatten() {
            let _ = thread.join();
        }
    });
    if !worker.interpreter.shut(Instant::now() + TICK) {
        end_by_force(&worker.control, "a thread is still waiting for the GIL");
    }
}

/// Waits for a reason to leave.
fn serve(worker: &Worker, signals: &OwnedFd) {
    let tick = (worker.start.life.request_timeout > 0).then_some(TICK);
    while !worker.is_leaving() {
        let mut watches = [
            Watch::new(worker.control.as_fd(), Events::READ),
            Watch::new(signals.as_fd(), Events::READ),
            Watch::new(worker.wake.as_fd(), Events::READ),
        ];
        let waited = poll(&mut watches, tick);
        let [control, signal, _] = watches.map(|watch| watch.found().is_readable());
        let said = if control {
            worker.control.hear()
        } else {
            Said::Nothing
        };
        match said {
            Said::Keep(script, mtime) => worker.renewal.keep(&script, mtime),
            Said::Drain(reason) => worker.leave(reason),
            Said::Gone => worker.leave(LeaveReason::ShutdownSignal),
            Said::Nothing => {}
        }
        if waited.is_err() || signal {
            worker.leave(LeaveReason::ShutdownSignal);
        }
        check_time(worker);
    }
}

/// Gives the requests under way `graceful-timeout`, unless a signal says that the worker must end soon.
fn drain(worker: &Worker, signals: &OwnedFd) {
    let deadline = Instant::now() + Duration::from_secs(worker.start.life.graceful_timeout.into());
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let signalled = poll::readable(signals, Some(Duration::ZERO)).unwrap_or(true);
        if signalled || worker.seats.wait_until_quiet(left.min(GLANCE)) || left.is_zero() {
            return;
        }
        check_time(worker);
    }
}

/// From now on the process has `shutdown-timeout` to end by itself.
fn end_by_force_later(worker: &Worker) {
    let limit = worker.start.life.shutdown_timeout;
    if limit == 0 {
        return;
    }
    let control = Arc::clone(&worker.control);
    let reaper = std::thread::Builder::new().name("rwsgi-reaper".into());
    // Without this thread the manager does it, a little later.
    let _ = reaper.spawn(move || {
        std::thread::sleep(Duration::from_secs(limit.into()));
        end_by_force(
            &control,
            &format!("requests, threads or exit functions did not end within {limit} s"),
        );
    });
}

fn end_by_force(control: &Control, why: &str) -> ! {
    control.say(
        Level::Warn,
        &format!("{}: the worker is ended by force: {why}", codes::EXIT_FORCED),
    );
    process::exit_now(1)
}

/// Breaks off requests that run too long, and leaves.
fn check_time(worker: &Worker) {
    let limit = worker.start.life.request_timeout;
    if limit == 0 {
        return;
    }
    // The more threads, the more of them may wait for one another: the original's rule.
    let threads = f64::from(worker.start.threads.max(1));
    let limit = Duration::from_secs_f64(f64::from(limit) * (1.0 + threads.ln()));
    for overdue in worker.seats.overdue(limit) {
        let stack = stack_of(worker, &overdue);
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
}

/// Where the thread is. Another thread asks, since the GIL may never be free again.
fn stack_of(worker: &Worker, overdue: &Overdue) -> String {
    let Some(thread) = overdue.thread else {
        return String::new();
    };
    let (sender, receiver) = mpsc::channel();
    let interpreter = worker.interpreter.clone();
    let asking = std::thread::Builder::new()
        .name("rwsgi-stack".into())
        .spawn(move || {
            let stack = interpreter.enter(|py, _| {
                let stack = || -> PyResult<'_, String> {
                    let frames = py.import(c"sys")?.call_method(c"_current_frames", &[])?;
                    let Some(frame) = frames.lookup(&py.int(thread)?)? else {
                        return Ok(String::new());
                    };
                    let lines = py.import(c"traceback")?.call_method(c"format_stack", &[&frame])?;
                    py.text("")?.call_method(c"join", &[&lines])?.to_text()
                };
                stack().unwrap_or_default()
            });
            let _ = sender.send(stack.unwrap_or_default());
        });
    match asking.map(|_| receiver.recv_timeout(TICK)) {
        Ok(Ok(stack)) if !stack.is_empty() => format!("it is here:\n{stack}"),
        _ => "its stack cannot be shown, since its thread keeps the GIL".into(),
    }
}
