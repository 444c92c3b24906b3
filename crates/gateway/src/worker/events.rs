//! What the application is told of the worker's life. Callbacks run on threads of their own, since they may take long.

use rwsgi_os::signal::Signal;
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::Level;

use super::Worker;
use crate::api::events::{process_signal, process_stopping};
use crate::cpython::Interpreter;
use crate::wsgi::request::ProcessLog;
use crate::wsgi::state::State;

/// `process_stopping`; returns when all callbacks have. The calling thread is detached.
pub fn stopping(interpreter: &Interpreter<State>, log: &dyn ProcessLog, reason: Option<LeaveReason>) {
    let reason = reason.map(LeaveReason::name).unwrap_or_default();
    let interpreter = interpreter.clone();
    let teller = std::thread::Builder::new().name("rwsgi-stopping".into());
    match teller.spawn(move || interpreter.enter(|py, _| process_stopping(py, reason))) {
        Ok(thread) => drop(thread.join()),
        Err(error) => not_told(log, "process_stopping", &error),
    }
}

/// `process_signal`, for the signals that applications may have for themselves; does not wait.
pub fn signal(worker: &Worker, signal: Signal) {
    let name = match signal {
        Signal::HUP => "SIGHUP",
        Signal::USR2 => "SIGUSR2",
        _ => return,
    };
    let interpreter = worker.interpreter.clone();
    let teller = std::thread::Builder::new().name("rwsgi-signal".into());
    if let Err(error) = teller.spawn(move || interpreter.enter(|py, _| process_signal(py, name, signal.0))) {
        not_told(&*worker.control, "process_signal", &error);
    }
}

/// Without threads the process has other worries, which are logged as they show.
fn not_told(log: &dyn ProcessLog, event: &str, error: &std::io::Error) {
    let text = format!("no thread for the event {event}: {error}");
    log.line(Level::Info, text.as_bytes());
}
