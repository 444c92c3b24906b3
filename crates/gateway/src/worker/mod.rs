//! A worker: the site's own Python, serving one pool. `serve` is all that its bootstrap calls. That of a service takes no requests, and
//! has but two threads ([`service`]). All others:
//!
//! | thread | does |
//! |---|---|
//! | main | starts the others, waits for the manager, signals and time limits ([`supervise`]), ends Python |
//! | acceptor | gives each new connection to a seat ([`accept`]) |
//! | pulse | takes Python's lock now and then, as a sign that it can be had ([`pulse`]) |
//! | one per seat | serves one connection at a time ([`seat`]) |
//!
//! - [`service`]: a worker without requests
//! - [`template`]: a worker that serves nobody and forks those that do
//! - [`seats`]: who is free, idle or busy
//! - [`idleness`]: what the manager is told of that
//! - [`events`]: what the application is told of the worker's life
//! - [`first`]: the first load of a script, beside workers that have it
//! - [`renewal`]: what happens when a script has changed
//! - [`limits`]: the limits on time; [`pulse`]: whether Python's lock can be had; [`stacks`]: where threads are; [`signals`]
//! - [`control`]: the link to the manager; [`checks`]: what a worker verifies about itself; [`title`]: its name in `ps`

mod accept;
mod checks;
mod control;
mod events;
mod first;
mod idleness;
mod limits;
mod pulse;
mod renewal;
mod seat;
mod seats;
mod service;
mod signals;
mod stacks;
mod supervise;
mod template;
mod title;

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use rwsgi_os::fd;
use rwsgi_wire::control::Start;
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::Level;
use rwsgi_wire::script::Script;

use crate::api::install_apache;
use crate::codes;
use crate::cpython::{Attached, Exception, Interpreter, Object, PyResult, Raise};
use crate::script::packages::Packages;
use crate::script::version::{Versions, path_of};
use crate::wsgi::environ::Constants;
use crate::wsgi::request::ProcessLog;
use crate::wsgi::settle::{add_paths, set_switch_interval};
use crate::wsgi::state::{SetUp, State};
use control::Control;
use first::Firsts;
use idleness::Idleness;
use pulse::Pulse;
use renewal::Renewal;
use seats::Seats;

/// What the threads of a worker share.
struct Worker {
    start: Start,
    pid: u32,
    listener: OwnedFd,
    control: Arc<Control>,
    interpreter: Interpreter<State>,
    versions: Arc<Versions>,
    renewal: Renewal,
    firsts: Firsts,
    seats: Arc<Seats>,
    /// Requests that have ended.
    served: AtomicU64,
    pulse: Pulse,
    idleness: Idleness,
    /// Readable once the worker is leaving.
    wake: OwnedFd,
    leaving: Mutex<Option<LeaveReason>>,
}

impl Worker {
    /// No new request from now on. The first reason counts.
    fn leave(&self, reason: LeaveReason) {
        {
            let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
            if leaving.is_some() {
                return;
            }
            *leaving = Some(reason);
        }
        self.control.leaving(reason);
        self.seats.drain();
        self.renewal.stop_waiting();
        fd::notify(&self.wake);
    }

    fn reason(&self) -> Option<LeaveReason> {
        *self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_leaving(&self) -> bool {
        self.reason().is_some()
    }
}

/// Serves until the manager, a signal or a limit says to leave; then returns, and Python ends as any program does. The two
/// numbers are descriptors that the manager opened: the pool's listening socket and the control connection.
pub fn serve<'py>(py: Attached<'py>, listener: i64, control: i64) -> PyResult<'py, Object<'py>> {
    let failed = |text: String| Exception::new(py, Raise::Os, &text);
    let adopt = |number: i64| {
        let number = RawFd::try_from(number).map_err(|_| failed(format!("{number} is not a descriptor")))?;
        fd::adopt(number).map_err(|error| failed(error.to_string()))
    };
    let listener = adopt(listener)?;
    let (control, mut start) = {
        let control = adopt(control)?;
        py.detach(|| Control::begin(control)).map_err(failed)?
    };
    let control = Arc::new(control);
    panic_log(&control);
    checks::leave_unless_as_ordered(&control, &start.identity);
    title::set(&start.display_name);
    stacks::arrange(py)?;
    if start.is_service() {
        return service::run(py, &start, &control);
    }
    fd::set_nonblocking(&listener, true).map_err(|error| failed(error.to_string()))?;
    let (signals, signals_in) = fd::pipe().map_err(|error| failed(error.to_string()))?;
    for end in [&signals, &signals_in] {
        fd::set_nonblocking(end, true).map_err(|error| failed(error.to_string()))?;
    }
    let interpreter = Interpreter::current(py, |py| {
        set_up(py, &start, &control, Some(signals_in.as_raw_fd()))
    })?;
    if let Err(why) = preload(py, &interpreter, &start, &control) {
        control.cannot_serve(&why);
        return end(py, &start, &interpreter, [signals, signals_in]);
    }
    if start.template {
        start = match template::run(py, &start, &control, [&signals, &signals_in]) {
            Ok(Some(start)) => start,
            Ok(None) => leave(py),
            Err(why) => {
                control.cannot_fork(&why);
                leave(py)
            }
        };
    }
    let versions = interpreter
        .state(py)
        .map(|state| state.scripts.versions())
        .unwrap_or_default();
    let teller = Arc::clone(&control);
    versions.tell_given(move |script| teller.given(script));
    let worker = Worker {
        pid: std::process::id(),
        listener,
        seats: Arc::new(Seats::new(start.threads as usize)),
        start,
        control,
        interpreter,
        versions,
        renewal: Renewal::default(),
        firsts: Firsts::default(),
        served: AtomicU64::new(0),
        pulse: Pulse::default(),
        idleness: Idleness::new().map_err(|error| failed(error.to_string()))?,
        wake: fd::event().map_err(|error| failed(error.to_string()))?,
        leaving: Mutex::new(None),
    };
    greet(py, &worker.start, &worker.control);
    py.detach(|| supervise::run(&worker, &signals));
    end(py, &worker.start, &worker.interpreter, [signals, signals_in])
}

/// The last of ours; Python's own end follows.
fn end<'py>(
    py: Attached<'py>,
    start: &Start,
    interpreter: &Interpreter<State>,
    signals: [OwnedFd; 2],
) -> PyResult<'py, Object<'py>> {
    if start.python.leave_interpreters {
        leave(py);
    }
    interpreter.clear(py);
    // Python's handlers go on writing to the pipe until it has ended, so it stays open.
    std::mem::forget(signals);
    Ok(py.none())
}

fn set_up<'py>(
    py: Attached<'py>,
    start: &Start,
    control: &Arc<Control>,
    signals: Option<RawFd>,
) -> PyResult<'py, State> {
    let log: Arc<dyn ProcessLog> = control.clone();
    let state = State::new(
        py,
        &SetUp {
            constants: Constants {
                multithread: start.threads != 1,
                multiprocess: start.multiprocess,
                run_once: start.threads == 1 && start.life.maximum_requests == 1,
            },
            process_group: &start.group,
            application_group: &start.application_group,
            processes: start.processes,
            threads: start.threads,
            script_owner: start.script_owner,
            python: &start.python,
            signals,
            scoreboard: || {
                let exchange = crate::wsgi::request::Request::current().and_then(|request| request.if_open());
                exchange.map(|exchange| exchange.scoreboard()).unwrap_or_default()
            },
            log,
        },
    )?;
    let interpreters = &start.python.interpreters;
    set_switch_interval(py, &interpreters.of(&start.application_group))?;
    add_paths(
        py,
        interpreters,
        &start.application_group,
        "python-path",
        &**control,
    )?;
    if !start.home.is_empty() {
        let path = py.import(c"sys")?.attribute(c"path")?;
        path.call_method(c"insert", &[&py.int(0)?, &py.file_name(&start.home)?])?;
    }
    install_apache(py, &start.httpd, false)?;
    if let Some(packages) = packages(py)? {
        state.scripts.versions().renew_with(packages);
    }
    Ok(state)
}

/// Those of the virtual environment that this Python is of.
fn packages(py: Attached<'_>) -> PyResult<'_, Option<Packages>> {
    let sys = py.import(c"sys")?;
    let prefix = sys.attribute(c"prefix")?.to_text()?;
    let version = sys.attribute(c"version_info")?;
    let part = |name| version.attribute(name)?.to_int();
    Ok(Packages::of(
        Path::new(&prefix),
        (part(c"major")?, part(c"minor")?),
    ))
}

/// The process ends without Python's own end (`WSGIDestroyInterpreter Off`, and a template). What was written is not lost.
fn leave(py: Attached<'_>) -> ! {
    flush(py);
    rwsgi_os::process::exit_now(0)
}

/// Writes what the standard streams hold back.
fn flush(py: Attached<'_>) {
    for stream in [c"stdout", c"stderr"] {
        let stream = py.import(c"sys").and_then(|sys| sys.attribute(stream));
        // A stream that cannot be flushed has nothing that could be saved.
        let _ = stream.and_then(|stream| stream.call_method(c"flush", &[]));
    }
}

/// Loads scripts before the first request. `Err`: this worker must not serve.
fn preload(
    py: Attached<'_>,
    interpreter: &Interpreter<State>,
    start: &Start,
    control: &Control,
) -> Result<(), String> {
    let Some(state) = interpreter.state(py) else {
        return Ok(());
    };
    for (index, script) in start.preload.iter().enumerate() {
        let path = &script.path;
        if !start.renews && !start.template {
            // So that it is known what was loaded if that ends the process.
            control.loads(path, state.scripts.versions().on_disk(path).files());
            if state.preload(py, path, control) {
                control.given(&Script::at(path));
            }
            continue;
        }
        let Err(failure) = state.scripts.preload(py, path, &script.callables) else {
            continue;
        };
        control.say(Level::Error, &failure.describe(path));
        // One that is not needed any more may have been removed, but not the one that has changed.
        if index == 0 || path_of(path).exists() {
            return Err(format!(
                "script '{}': {}",
                String::from_utf8_lossy(path),
                failure.sentence(path)
            ));
        }
    }
    Ok(())
}

fn greet(py: Attached<'_>, start: &Start, control: &Control) {
    if control.wants(Level::Info) {
        let version = py
            .import(c"platform")
            .and_then(|m| m.call_method(c"python_version", &[]));
        let version = version.and_then(|v| v.to_text()).unwrap_or_default();
        let text = format!(
            "worker {} of process group '{}', application group '{}' {} with Python {version}{}",
            std::process::id(),
            String::from_utf8_lossy(&start.group),
            String::from_utf8_lossy(&start.application_group),
            match start {
                _ if start.is_service() => "runs its scripts",
                _ if start.template => "is a template",
                _ => "serves",
            },
            match start.threads {
                _ if start.template => String::new(),
                0 => String::new(),
                threads => format!(" and {threads} threads"),
            },
        );
        control.say(Level::Info, &text);
    }
}

/// A panic is a defect of rwsgi: it is logged with its place, and the request under way fails.
fn panic_log(control: &Arc<Control>) {
    let control = Arc::clone(control);
    std::panic::set_hook(Box::new(move |panic| {
        control.say(Level::Crit, &codes::panicked(panic));
    }));
}
