//! A worker of a service (`threads=0`): runs the scripts that it loads, one after the other, in the main thread; then it ends.
//!
//! SIGTERM raises `SystemExit` in the script that runs. A thread of ours listens to the manager and has that happen when it says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rwsgi_os::poll::readable;
use rwsgi_os::process::{self, Pid};
use rwsgi_os::signal::{self, Mask, Signal};
use rwsgi_wire::control::Start;
use rwsgi_wire::life::{LeaveReason, Life};
use rwsgi_wire::response::Level;

use super::control::{Control, Said};
use super::supervise::end_by_force_later;
use super::{events, greet, leave, set_up, signals};
use crate::codes;
use crate::cpython::{Attached, Exception, Interpreter, Object, PyResult, Raise, free_function};
use crate::script::load::NotLoaded;
use crate::wsgi::state::State;

/// How long other threads may stay in the interpreter at the end.
const MOMENT: Duration = Duration::from_secs(1);

/// The service of this process, for the handler of its signals.
static SERVICE: OnceLock<Service> = OnceLock::new();

/// What its two threads share.
struct Service {
    /// Not a process that a script has forked, which is on its own.
    pid: Pid,
    control: Arc<Control>,
    life: Life,
    /// A script runs, in which an exception can be raised.
    is_running: AtomicBool,
    leaving: Mutex<Option<LeaveReason>>,
}

impl Service {
    /// This process was forked by a script: the manager is not to hear of its end.
    fn is_copy(&self) -> bool {
        process::this() != self.pid
    }

    /// It is to end; the first reason counts.
    fn leave(&self, reason: LeaveReason) {
        if self.is_copy() {
            return;
        }
        {
            let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
            if leaving.is_some() {
                return;
            }
            *leaving = Some(reason);
        }
        self.control.leaving(reason);
        end_by_force_later(&self.control, self.life.shutdown_timeout);
    }

    fn reason(&self) -> Option<LeaveReason> {
        *self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` in the main thread, where signals now raise `SystemExit`; `None` when there is a reason to leave already.
    fn run<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        self.is_running.store(true, Ordering::SeqCst);
        let result = self.reason().is_none().then(f);
        self.is_running.store(false, Ordering::SeqCst);
        result
    }

    /// Listens to the manager until there is a reason to leave.
    fn listen(&self) {
        let born = Instant::now();
        let limit = Some(self.life.restart_interval).filter(|seconds| *seconds > 0);
        let limit = limit.map(|seconds| Duration::from_secs(seconds.into()));
        let reason = loop {
            let left = limit.map(|limit| limit.saturating_sub(born.elapsed()));
            let said = match readable(self.control.as_fd(), left) {
                Ok(true) => self.control.hear(),
                Ok(false) => Said::Drain(LeaveReason::RestartInterval),
                Err(_) => Said::Gone,
            };
            match said {
                Said::Drain(reason) => break reason,
                Said::Gone => break LeaveReason::ShutdownSignal,
                Said::Repeat => self.control.ready_still(),
                Said::Keep(..) | Said::Others(..) | Said::Nothing => {}
            }
        };
        self.leave(reason);
        // To the process, so that the main thread is woken. Without it, shutdown-timeout ends the process.
        let _ = process::open(process::this()).and_then(|own| process::signal(&own, Signal::TERM));
    }
}

/// Runs the scripts; then Python ends as any program does.
pub fn run<'py>(py: Attached<'py>, start: &Start, control: &Arc<Control>) -> PyResult<'py, Object<'py>> {
    let interpreter = Interpreter::current(py, |py| set_up(py, start, control, None))?;
    let service = SERVICE.get_or_init(|| Service {
        pid: process::this(),
        control: Arc::clone(control),
        life: start.life,
        is_running: AtomicBool::new(false),
        leaving: Mutex::new(None),
    });
    let names = names(py)?;
    names.call(py, "watch", &[&free_function(py, c"leave", asked)?])?;
    control.outlive_manager();
    control.ready();
    greet(py, start, control);
    let listener = std::thread::Builder::new().name("rwsgi-service".into());
    let listener = listener.spawn(|| {
        // Signals are for the main thread.
        let _ = signal::block(&Mask::of(&[Signal::TERM, Signal::INT, Signal::XCPU]));
        service.listen();
    });
    if let Err(error) = listener {
        control.cannot_serve(&format!("no thread could be started: {error}"));
        return Ok(py.none());
    }
    let mut reason = LeaveReason::ServiceEnded;
    if let Some(state) = interpreter.state(py) {
        for script in &start.preload {
            if !run_script(py, service, state, &script.path) {
                reason = LeaveReason::ServiceFailed;
            }
            if service.is_copy() {
                return Ok(py.none());
            }
        }
    }
    if let Some(Err(exception)) = service.run(|| names.call(py, "wait", &[])) {
        if !exception.is(Raise::SystemExit) {
            failed(control, "its threads were waited for", &exception.traceback());
        }
    }
    service.leave(reason);
    py.detach(|| events::stopping(&interpreter, &**control, service.reason()));
    if start.python.leave_interpreters {
        leave(py);
    }
    if interpreter.shut(Instant::now() + MOMENT) {
        interpreter.clear(py);
    }
    Ok(py.none())
}

/// Runs one script, unless there is a reason to leave; whether it has ended well.
fn run_script(py: Attached<'_>, service: &Service, state: &State, script: &[u8]) -> bool {
    let Some(Err(failure)) = service.run(|| state.scripts.preload(py, script, &[])) else {
        return true;
    };
    let path = String::from_utf8_lossy(script);
    let how = match &failure {
        NotLoaded::NotRead(_) | NotLoaded::NotOwn(_) | NotLoaded::NoCallable(..) => String::new(),
        NotLoaded::NotCompiled(exception) | NotLoaded::Raised(exception)
            if exception.is(Raise::SystemExit) =>
        {
            let Some(status) = status(exception) else {
                return true;
            };
            failed(
                &service.control,
                &format!("script '{path}' has called sys.exit({status})"),
                "",
            );
            return false;
        }
        NotLoaded::NotCompiled(exception) | NotLoaded::Raised(exception) => exception.traceback(),
    };
    let what = format!("script '{path}' has failed: {}", failure.sentence(script));
    failed(&service.control, &what, &how);
    false
}

/// The status that a `SystemExit` asks for, as it was written; `None` when that means "all is well".
fn status(exception: &Exception<'_>) -> Option<String> {
    let code = exception.value().attribute(c"code").ok()?;
    let is_well = code.is_none() || code.to_int().is_ok_and(|code| code == 0);
    (!is_well).then(|| code.to_repr(200))
}

fn failed(control: &Control, what: &str, how: &str) {
    control.say(Level::Error, &format!("{}: {what}\n{how}", codes::SERVICE_FAILED));
}

/// What a signal does, in the main thread: it raises `SystemExit` where a script runs.
fn asked<'py>(py: Attached<'py>, args: &[Object<'py>]) -> PyResult<'py, Object<'py>> {
    let Some(service) = SERVICE.get() else {
        return Ok(py.none());
    };
    let number = args.first().and_then(|number| number.to_int().ok());
    let number = number.and_then(|number| i32::try_from(number).ok());
    let reason = number.and_then(|number| signals::reason(Signal(number), &service.life));
    service.leave(reason.unwrap_or(LeaveReason::ShutdownSignal));
    if !service.is_running.load(Ordering::SeqCst) {
        return Ok(py.none());
    }
    // Without a status, which the words of an exception made from here would be.
    let exit = py.import(c"builtins")?.call_method(c"SystemExit", &[])?;
    Err(Exception::from_instance(exit).unwrap_or_else(|_| Exception::new(py, Raise::SystemExit, "")))
}

/// The Python half of this.
struct Names<'py>(Object<'py>);

fn names(py: Attached<'_>) -> PyResult<'_, Names<'_>> {
    let builtins = py.import(c"builtins")?;
    let arguments = [
        &py.text(include_str!("service.py"))?,
        &py.text("<mod_wsgi>")?,
        &py.text("exec")?,
    ];
    let code = builtins.call_method(c"compile", &arguments)?;
    let names = py.dict()?;
    builtins.call_method(c"exec", &[&code, &names])?;
    Ok(Names(names))
}

impl<'py> Names<'py> {
    fn call(&self, py: Attached<'py>, name: &str, args: &[&Object<'py>]) -> PyResult<'py, ()> {
        match self.0.lookup(&py.text(name)?)? {
            Some(function) => function.call(args).map(drop),
            None => Ok(()),
        }
    }
}
