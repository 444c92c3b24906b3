//! What the application is told of the worker's life. Callbacks run on threads of their own, since they may take long.

use rwsgi_os::signal::Signal;
use rwsgi_wire::response::Level;

use super::Worker;
use crate::api::events::{process_signal, process_stopping};
use crate::wsgi::request::ProcessLog;

/// `process_stopping`; returns when all callbacks have.
pub fn stopping(worker: &Worker) {
    let reason = worker.reason().map(|reason| reason.name()).unwrap_or_default();
    let interpreter = worker.interpreter.clone();
    let teller = std::thread::Builder::new().name("rwsgi-stopping".into());
    match teller.spawn(move || interpreter.enter(|py, _| process_stopping(py, reason))) {
        Ok(thread) => drop(thread.join()),
        Err(error) => not_told(worker, "process_stopping", &error),
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
        not_told(worker, "process_signal", &error);
    }
}

/// Without threads the process has other worries, which are logged as they show.
fn not_told(worker: &Worker, event: &str, error: &std::io::Error) {
    let text = format!("no thread for the event {event}: {error}");
    worker.control.line(Level::Info, text.as_bytes());
}
