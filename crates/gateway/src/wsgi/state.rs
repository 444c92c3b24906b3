//! What an interpreter keeps between requests.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rwsgi_wire::base::ScriptOwner;
use rwsgi_wire::python::Python;
use rwsgi_wire::response::Level;

use super::adapter::Adapters;
use super::environ::{Constants, Environs, version};
use super::errors::Logs;
use super::input::Input;
use super::request::ProcessLog;
use super::restrict::restrict;
use crate::api::events::Events;
use crate::calls::ssl;
use crate::codes;
use crate::cpython::{Attached, Class, Object, PyResult, Stored, free_function, guard_forks};
use crate::exchange::socket::become_copy;
use crate::script::Scripts;
use crate::script::case::Case;

/// Types, caches and loaded scripts of one interpreter.
pub struct State {
    /// The type of `wsgi.input`.
    pub input: Class<Input>,
    /// `start_response` and `write`.
    pub adapters: Adapters,
    /// `wsgi.errors` and the standard streams.
    pub logs: Logs,
    /// `environ`.
    pub environs: Environs,
    /// Loaded scripts.
    pub scripts: Scripts,
    /// `mod_ssl.*` of the scripts that httpd asks.
    pub ssl: ssl::Functions,
    /// The type offered as `wsgi.file_wrapper`.
    pub file_wrapper: Stored,
    /// Number of the interpreter in this process.
    pub number: u64,
    /// Callbacks for events.
    pub events: Rc<Events>,
    /// The class `mod_wsgi.RequestTimeout`.
    pub request_timeout: Stored,
    /// Function that finds the file in one of those.
    pub regular_file: Stored,
    /// Names of the keys that are set for each request.
    pub keys: Keys,
    /// `MemoryError` has left an application.
    pub memory_error: Cell<bool>,
}

/// Interned names.
pub struct Keys {
    /// `wsgi.input`
    pub input: Stored,
    /// `wsgi.errors`
    pub errors: Stored,
    /// `apache.version`
    pub httpd_version: Stored,
    /// `mod_wsgi.request_start`
    pub request_start: Stored,
    /// `mod_wsgi.queue_start`
    pub queue_start: Stored,
    /// `mod_wsgi.daemon_start`
    pub daemon_start: Stored,
    /// `mod_wsgi.application_start`
    pub application_start: Stored,
    /// `mod_wsgi.thread_id`
    pub thread_id: Stored,
    /// `close`
    pub close: Stored,
}

/// How the interpreter is to be set up.
pub struct SetUp<'a> {
    /// Constants of the environ.
    pub constants: Constants,
    /// `mod_wsgi.process_group`
    pub process_group: &'a [u8],
    /// `mod_wsgi.application_group`
    pub application_group: &'a [u8],
    /// `mod_wsgi.maximum_processes`
    pub processes: u32,
    /// `mod_wsgi.threads_per_process`; 0 in a service.
    pub threads: u32,
    /// Whose the scripts must be.
    pub script_owner: ScriptOwner,
    /// What the configuration says of interpreters.
    pub python: &'a Python,
    /// Where the signals of a worker with requests are to be announced: the writing end of a pipe, for ever.
    pub signals: Option<RawFd>,
    /// Asks httpd for its scoreboard: encoded, empty when it may not be seen. Blocks.
    pub scoreboard: fn() -> Vec<u8>,
    /// Where lines go that belong to no request.
    pub log: Arc<dyn ProcessLog>,
}

/// The module `mod_wsgi`, in Python.
const MODULE: &str = include_str!("mod_wsgi.py");

impl State {
    /// Sets up the interpreter: streams, `sys.argv`, the module `mod_wsgi`, signals.
    pub fn new<'py>(py: Attached<'py>, with: &SetUp<'_>) -> PyResult<'py, Self> {
        let key = |name| py.interned(name).map(Object::store);
        guard_forks(py)?;
        let logs = Logs::new(py)?;
        let sys = py.import(c"sys")?;
        sys.set_attribute(c"stderr", &logs.standard(py, "<stderr>", &with.log)?)?;
        sys.set_attribute(c"stdout", &logs.standard(py, "<stdout>", &with.log)?)?;
        let argv = py.list()?;
        argv.append(&py.text("mod_wsgi")?)?;
        sys.set_attribute(c"argv", &argv)?;
        // Early and on this thread, so that `threading.main_thread()` is right.
        py.import(c"threading")?;
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let module = builtin_module(py, with, number)?;
        let mut settled = with.python.interpreters.of(with.application_group);
        // The signals of a service are its own.
        settled.restrict_signal &= with.threads > 0;
        restrict(py, &settled, &with.log)?;
        Ok(Self {
            input: Input::class(py)?,
            adapters: Adapters::new(py)?,
            environs: Environs::new(py, &with.constants, &module.attribute(c"FileWrapper")?)?,
            logs,
            file_wrapper: module.attribute(c"FileWrapper")?.store(),
            number,
            events: Rc::new(Events::new(py, &module)?),
            request_timeout: module.attribute(c"RequestTimeout")?.store(),
            regular_file: module.attribute(c"_regular")?.store(),
            scripts: Scripts::new(Case::new(with.python.fold_case), with.script_owner),
            ssl: ssl::Functions::new(py)?,
            memory_error: Cell::default(),
            keys: Keys {
                input: key(c"wsgi.input")?,
                errors: key(c"wsgi.errors")?,
                httpd_version: key(c"apache.version")?,
                request_start: key(c"mod_wsgi.request_start")?,
                queue_start: key(c"mod_wsgi.queue_start")?,
                daemon_start: key(c"mod_wsgi.daemon_start")?,
                application_start: key(c"mod_wsgi.application_start")?,
                thread_id: key(c"mod_wsgi.thread_id")?,
                close: key(c"close")?,
            },
        })
    }
}

impl State {
    /// Loads a script before the first request; whether it is loaded. What fails is logged.
    pub fn preload(&self, py: Attached<'_>, script: &[u8], log: &dyn ProcessLog) -> bool {
        let loaded = self.scripts.preload(py, script, &[]);
        if let Err(failure) = &loaded {
            let text = format!(
                "{}: a script could not be loaded in advance",
                codes::PRELOAD_FAILED
            );
            log.line(Level::Error, text.as_bytes());
            for line in failure
                .describe(script)
                .lines()
                .filter(|line| !line.trim().is_empty())
            {
                log.line(Level::Error, line.as_bytes());
            }
        }
        loaded.is_ok()
    }
}

fn builtin_module<'py>(py: Attached<'py>, with: &SetUp<'_>, number: u64) -> PyResult<'py, Object<'py>> {
    let name = py.text("mod_wsgi")?;
    let path = py.text("<mod_wsgi>")?;
    let code = py
        .import(c"builtins")?
        .call_method(c"compile", &[&py.text(MODULE)?, &path, &py.text("exec")?])?;
    let module = py.execute_module(&name, &code, &path)?;
    module.set_attribute(c"version", &version(py)?)?;
    module.set_attribute(c"process_group", &py.latin1(with.process_group)?)?;
    module.set_attribute(c"application_group", &py.latin1(with.application_group)?)?;
    module.set_attribute(c"maximum_processes", &py.int(with.processes.into())?)?;
    module.set_attribute(c"threads_per_process", &py.int(with.threads.into())?)?;
    crate::api::install(py, &module, with, number)?;
    if let Some(pipe) = with.signals {
        let forked = free_function(py, c"become_copy", |py, _| Ok(py.bool(become_copy())))?;
        module.call_method(c"_watch_signals", &[&py.int(pipe.into())?, &forked])?;
    }
    Ok(module)
}
