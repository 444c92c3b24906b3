//! Python in an httpd child. One thread of the child starts Python and ends it, and is what Python takes for its main thread;
//! requests run on httpd's threads, in the main interpreter or in one per application group.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rwsgi_embedding::guest::{GuestSide, HostExchange, HostLog};
use rwsgi_embedding::host::Outcome;
use rwsgi_embedding::settings::Settings;
use rwsgi_os::process;
use rwsgi_wire::call::Call;
use rwsgi_wire::head::Head;
use rwsgi_wire::python::Python;
use rwsgi_wire::response::{AbortReason, Level, Log, Origin};

use crate::api::events::process_stopping;
use crate::api::install_apache;
use crate::calls;
use crate::codes;
use crate::cpython::{
    Attached, Embedded, End, Gil, Interpreter, Others, PyResult, StartUp, another, free_function, halt, lend,
    own_gil_is_possible,
};
use crate::environment::{Snapshot, set_egg_cache, take_out_hash_seed};
use crate::exchange::Exchange;
use crate::exchange::host::{Calls, Carrier, Manner};
use crate::exchange::socket::{become_copy, is_copy};
use crate::wsgi::environ::Constants;
use crate::wsgi::request::ProcessLog;
use crate::wsgi::serve::{Circumstances, serve};
use crate::wsgi::settle::{add_paths, set_switch_interval};
use crate::wsgi::state::{SetUp, State};

/// The functions behind the C table.
pub struct Guest;

/// Python in this process. The table has no place for it, and a process has one Python at most.
struct Runtime {
    settings: Settings,
    log: HostLog,
    main: Interpreter<State>,
    /// By application group.
    others: Mutex<HashMap<Vec<u8>, Other>>,
    /// What `os.environ` of new interpreters begins with.
    environment: Snapshot,
    /// That GILs cannot be had has been said.
    told_of_gil: AtomicBool,
}

/// An interpreter besides the main one.
struct Other {
    interpreter: Interpreter<State>,
    gil: Gil,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

thread_local! {
    /// On the thread that opened.
    static STARTED: RefCell<Option<Embedded>> = const { RefCell::new(None) };
    /// `mod_wsgi.thread_id`
    static NUMBER: Cell<i64> = const { Cell::new(0) };
}

/// The child's log as what is not of a request.
struct ServerLog {
    log: HostLog,
    level: u8,
}

impl ProcessLog for ServerLog {
    fn log(&self, log: &Log<'_>) {
        if self.wants(log.level) {
            self.log.log(log);
        }
    }

    fn wants(&self, level: Level) -> bool {
        level as u8 <= self.level
    }
}

impl GuestSide for Guest {
    fn open(settings: Settings, log: HostLog) -> Result<(), String> {
        let failed = |why: String| format!("{}: {why}", codes::PYTHON_NOT_STARTED);
        let start_up = StartUp {
            program: settings.program.clone(),
            home: settings.home.clone(),
            utf8: is_c_locale(|name| std::env::var_os(name).map(std::ffi::OsString::into_encoded_bytes)),
            optimize: settings.python.optimize,
            dont_write_bytecode: settings.python.dont_write_bytecode,
            warnings: settings.python.warnings.clone(),
            hash_seed: settings.python.hash_seed.clone(),
        };
        let hash_seed_before = std::env::var_os("PYTHONHASHSEED").map(std::ffi::OsString::into_encoded_bytes);
        panic_log(log);
        let mut python = Embedded::start(&start_up).map_err(failed)?;
        let (main, environment) = python
            .attach(|py| {
                let environment = begin(py, &settings.python, hash_seed_before.as_deref())
                    .map_err(|exception| exception.sentence())?;
                let main = Interpreter::current(py, |py| set_up(py, &settings, log, b""))?;
                Ok((main, environment))
            })
            .map_err(failed)?;
        STARTED.set(Some(python));
        let runtime = Runtime {
            settings,
            log,
            main,
            others: Mutex::default(),
            environment,
            told_of_gil: AtomicBool::new(false),
        };
        RUNTIME
            .set(runtime)
            .map_err(|_| failed("it was started twice".into()))?;
        RUNTIME.get().into_iter().for_each(Runtime::preload);
        Ok(())
    }

    fn serve(mut exchange: HostExchange<'_>, head: &[u8]) -> Outcome {
        let Some(runtime) = RUNTIME.get() else {
            return Outcome::Aborted(AbortReason::Internal);
        };
        let head = match Head::decode(head) {
            Ok(head) => head,
            Err(error) => {
                let text = format!("the request cannot be read: {error}");
                exchange.log(&plain(Level::Error, &text));
                return Outcome::Aborted(AbortReason::Internal);
            }
        };
        let interpreter = match runtime.interpreter(head.application_group) {
            Ok(interpreter) => interpreter,
            Err(why) => {
                exchange.log(&plain(Level::Error, &why));
                return Outcome::Aborted(AbortReason::Internal);
            }
        };
        let record = exchange.record();
        let calls: &mut dyn Calls = &mut exchange;
        lend(calls, |host| {
            let manner = Manner {
                has_body: head.has_body,
                may_wait: runtime.settings.multithread && record.is_none(),
            };
            let carrier: Arc<dyn Exchange> = Carrier::new(host, |log: &Log<'_>| runtime.log.log(log), manner);
            let circumstances = Circumstances {
                thread_id: thread_number(),
                daemon_start: 0,
                record,
            };
            let served = interpreter.enter(|py, state| match head.call {
                Call::Application => serve(py, state, &carrier, &head, circumstances),
                _ => calls::serve(py, state, &carrier, &head, circumstances),
            });
            if is_copy() {
                // The application forked and came back here: this is the copy, and the answer is the other's to give.
                process::exit_now(i32::from(!matches!(served, Ok(Ok(())))));
            }
            match served {
                // A client that has gone is not a failure of the application.
                Ok(Ok(())) => {
                    let _ = carrier.end();
                    Outcome::Done
                }
                Ok(Err(fault)) => {
                    carrier.abort(fault.0, "");
                    Outcome::Aborted(fault.0)
                }
                Err(_) => Outcome::Aborted(AbortReason::Draining),
            }
        })
    }

    fn close(seconds: u32) {
        let (Some(runtime), Some(mut python)) = (RUNTIME.get(), STARTED.take()) else {
            return;
        };
        let deadline = Instant::now() + Duration::from_secs(seconds.into());
        let others = std::mem::take(&mut *runtime.others.lock().unwrap_or_else(PoisonError::into_inner));
        // The original has no reason for the end of an httpd child either.
        let tell = |py: Attached<'_>| process_stopping(py, "");
        let leave = runtime.settings.python.leave_interpreters;
        let mut end = |other: &Other| {
            let end = if leave {
                python.leave(&other.interpreter, deadline, tell)
            } else {
                python.end(&other.interpreter, deadline, tell)
            };
            if end == End::Stays && other.gil == Gil::Own {
                halt(&other.interpreter, deadline);
            }
            end
        };
        let ends: Vec<End> = others.values().map(&mut end).collect();
        let others = match () {
            () if leave => Others::Leave,
            () if ends.contains(&End::Stays) => Others::Stay,
            () => Others::Ended,
        };
        let main = if ends.contains(&End::Busy) {
            End::Busy
        } else {
            python.finalise(&runtime.main, others, deadline, tell)
        };
        if main == End::Busy {
            let text = format!(
                "{}: requests were still running when the httpd child ended, so Python was not finalised",
                codes::INTERPRETERS_LEFT
            );
            runtime.log.log(&plain(Level::Warn, &text));
        }
    }
}

impl Runtime {
    /// Loads scripts before the first request; what fails is logged. The calling thread is not attached.
    fn preload(&self) {
        let log = ServerLog {
            log: self.log,
            level: self.settings.log_level,
        };
        for load in self.settings.preload.chunks_exact(2) {
            let [group, script] = load else { continue };
            let load = || match self.interpreter(group) {
                // It ends only after this thread has begun to end it.
                Ok(interpreter) => drop(interpreter.enter(|py, state| state.preload(py, script, &log))),
                Err(why) => log.line(Level::Error, why.as_bytes()),
            };
            if group.is_empty() {
                load();
            } else {
                // A new interpreter takes the thread that makes it for its main thread. This one ends it later with another thread
                // state, which `threading` would not recognise.
                std::thread::scope(|scope| drop(scope.spawn(load).join()));
            }
        }
    }

    /// The interpreter of an application group, made when it is first needed. The calling thread is not attached.
    fn interpreter(&self, group: &[u8]) -> Result<Interpreter<State>, String> {
        if group.is_empty() {
            return Ok(self.main.clone());
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = others.get(group) {
            return Ok(other.interpreter.clone());
        }
        let gil = self.gil_for(group);
        let make = |py: Attached<'_>| {
            self.environment
                .put(py)
                .map_err(|exception| exception.sentence())?;
            let state = set_up(py, &self.settings, self.log, group)?;
            self.set_own_interval(py, group, gil)?;
            Ok(state)
        };
        let made = another(&self.main, gil, make).map_err(|why| {
            let group = String::from_utf8_lossy(group);
            format!(
                "{}: no interpreter for application group '{group}': {why}",
                codes::INTERPRETER_NOT_MADE
            )
        })?;
        others.insert(
            group.to_vec(),
            Other {
                interpreter: made.clone(),
                gil,
            },
        );
        Ok(made)
    }

    /// Which GIL the interpreter of an application group gets. What cannot be had is said once.
    fn gil_for(&self, group: &[u8]) -> Gil {
        if !self.settings.python.interpreters.of(group).own_gil {
            return Gil::Shared;
        }
        if own_gil_is_possible() {
            return Gil::Own;
        }
        if !self.told_of_gil.swap(true, Ordering::Relaxed) {
            let text = format!(
                "{}: WSGIPerInterpreterGIL needs Python 3.12 or newer: the interpreters of this httpd child share one GIL; use a newer \
                 Python, or process groups",
                codes::NO_OWN_GIL
            );
            self.log.log(&plain(Level::Warn, &text));
        }
        Gil::Shared
    }

    /// The switch interval belongs to a GIL: that of the main interpreter has been set with it.
    fn set_own_interval(&self, py: Attached<'_>, group: &[u8], gil: Gil) -> Result<(), String> {
        let settled = self.settings.python.interpreters.of(group);
        if gil == Gil::Own {
            return set_switch_interval(py, &settled).map_err(|exception| exception.sentence());
        }
        if settled.switch_interval_is_own {
            let text = format!(
                "{}: WSGISwitchInterval for application group '{}' is not applied: its interpreter shares the GIL with the others of this \
                 httpd child; set it outside of the section, or use WSGIPerInterpreterGIL or a process group",
                codes::INTERVAL_NOT_SET,
                String::from_utf8_lossy(group)
            );
            self.log.log(&plain(Level::Warn, &text));
        }
        Ok(())
    }
}

fn set_up(py: Attached<'_>, settings: &Settings, log: HostLog, group: &[u8]) -> Result<State, String> {
    let server_log = Arc::new(ServerLog {
        log,
        level: settings.log_level,
    });
    let with = SetUp {
        constants: Constants {
            multithread: settings.multithread,
            multiprocess: settings.multiprocess,
            run_once: false,
        },
        process_group: b"",
        application_group: group,
        processes: settings.httpd.processes,
        threads: settings.httpd.threads,
        script_owner: Default::default(),
        python: &settings.python,
        signals: None,
        scoreboard: || {
            let runtime = RUNTIME.get();
            runtime
                .map(|runtime| runtime.log.scoreboard())
                .unwrap_or_default()
        },
        log: server_log.clone(),
    };
    let state = State::new(py, &with).map_err(|exception| exception.sentence())?;
    let interpreters = &settings.python.interpreters;
    add_paths(py, interpreters, group, "WSGIPythonPath", &*server_log)
        .map_err(|exception| exception.sentence())?;
    install_apache(py, &settings.httpd, true).map_err(|exception| exception.sentence())?;
    know_copies(py).map_err(|exception| exception.sentence())?;
    Ok(state)
}

/// A process that the application forks knows that it is a copy: the answers under way are not its to give.
fn know_copies(py: Attached<'_>) -> PyResult<'_, ()> {
    let forked = free_function(py, c"become_copy", |py, _| Ok(py.bool(become_copy())))?;
    let hooks = py.dict()?;
    hooks.set(&py.text("after_in_child")?, &forked)?;
    let register = py.import(c"os")?.attribute(c"register_at_fork")?;
    register.call_with(&[], &hooks).map(drop)
}

/// The first thing in the main interpreter, before any application; gives what `os.environ` of the others begins with.
fn begin<'py>(
    py: Attached<'py>,
    python: &Python,
    hash_seed_before: Option<&[u8]>,
) -> PyResult<'py, Snapshot> {
    if !python.hash_seed.is_empty() {
        take_out_hash_seed(py, hash_seed_before)?;
    }
    set_egg_cache(py, &python.eggs)?;
    set_switch_interval(py, &python.interpreters.of(b""))?;
    Snapshot::take(py)
}

fn thread_number() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    if NUMBER.get() == 0 {
        NUMBER.set(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    NUMBER.get()
}

/// Whether the locale is the one in which the command line turns UTF-8 mode on.
fn is_c_locale(variable: impl Fn(&str) -> Option<Vec<u8>>) -> bool {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let locale = names
        .iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()));
    locale.is_none_or(|locale| locale == b"C" || locale == b"POSIX")
}

/// A line of our own.
fn plain(level: Level, text: &str) -> Log<'_> {
    let (origin, text) = (Origin::default(), text.as_bytes());
    Log { level, origin, text }
}

/// A panic is a defect of rwsgi: it is logged with its place, and the request under way fails.
fn panic_log(log: HostLog) {
    std::panic::set_hook(Box::new(move |panic| {
        log.log(&plain(Level::Crit, &crate::codes::panicked(panic)));
    }));
}

#[cfg(test)]
mod tests {
    use super::is_c_locale;

    #[test]
    fn utf8_mode_is_on_where_the_command_line_has_it_on() {
        let locale = |all: &'static str, lang: &'static str| {
            is_c_locale(|name| match name {
                "LC_ALL" => Some(all.into()),
                "LANG" => Some(lang.into()),
                _ => None,
            })
        };
        assert!(is_c_locale(|_| None));
        assert!(locale("", "C") && locale("POSIX", "de_DE.UTF-8") && locale("", ""));
        assert!(!locale("", "de_DE.UTF-8") && !locale("C.UTF-8", "C"));
    }
}
