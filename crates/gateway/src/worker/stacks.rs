//! Where threads are: one of them as text, or all of them as lines of standard error.

use std::sync::mpsc;
use std::time::Duration;

use rwsgi_os::process;
use rwsgi_os::signal::{self, Signal};

use super::Worker;
use crate::cpython::{Attached, PyResult};
use crate::wsgi::state::State;

/// How long the GIL is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes Python write the stacks of all threads to standard error at [`Signal::STACKS`]. It does that without the GIL, in whatever
/// thread gets the signal; the manager, too, sends it before it kills.
pub fn arrange(py: Attached<'_>) -> PyResult<'_, ()> {
    let arguments = [&py.int(Signal::STACKS.0.into())?, &py.int(2)?, &py.bool(true)];
    py.import(c"faulthandler")?
        .call_method(c"register", &arguments)
        .map(drop)
}

/// Writes the stacks of all threads to standard error, from which the manager logs them. Needs no GIL.
pub fn show_all() {
    // Unless it is caught it would end the process.
    if signal::is_caught(process::this(), Signal::STACKS) {
        let _ = signal::raise(Signal::STACKS);
    }
}

/// The stack of one thread, by Python's number of it; empty when it has none. `None`: the GIL is not free. Another thread asks, since
/// it may never be.
pub fn of_thread(worker: &Worker, thread: i64) -> Option<String> {
    attached(worker, move |py, _| stack(py, thread).unwrap_or_default())
}

/// Runs `f` attached, in a thread of its own; `None`: the GIL is not free, and `f` will run when it is.
pub fn attached<R: Send + 'static>(
    worker: &Worker,
    f: impl for<'py> FnOnce(Attached<'py>, &'py State) -> R + Send + 'static,
) -> Option<R> {
    let (sender, receiver) = mpsc::channel();
    let interpreter = worker.interpreter.clone();
    let asking = std::thread::Builder::new()
        .name("rwsgi-stack".into())
        .spawn(move || {
            if let Ok(result) = interpreter.enter(f) {
                let _ = sender.send(result);
            }
        });
    asking.ok()?;
    receiver.recv_timeout(PATIENCE).ok()
}

/// The stack of a thread; empty when it has none.
pub fn stack<'py>(py: Attached<'py>, thread: i64) -> PyResult<'py, String> {
    let frames = py.import(c"sys")?.call_method(c"_current_frames", &[])?;
    let Some(frame) = frames.lookup(&py.int(thread)?)? else {
        return Ok(String::new());
    };
    let lines = py.import(c"traceback")?.call_method(c"format_stack", &[&frame])?;
    py.text("")?.call_method(c"join", &[&lines])?.to_text()
}
