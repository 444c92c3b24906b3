//! What the Python parts of the modules ask of this process: methods of one object, `mod_wsgi._native`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rwsgi_wire::response::{Level, Log, Origin};

use super::events;
use crate::cpython::{Attached, Call, Class, Method, Object, Payload, PyResult};
use crate::metrics;
use crate::threads;
use crate::wsgi::lines::cut;
use crate::wsgi::request::{ProcessLog, Request};
use crate::wsgi::state::SetUp;

/// The payload of that object.
pub struct Native {
    log: Arc<dyn ProcessLog>,
    interpreter: u64,
    /// Threads of this process that can serve at once.
    threads: u32,
    scoreboard: fn() -> Vec<u8>,
}

impl Payload for Native {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Native";
}

type This<'a, 'py> = Call<'a, 'py, Native>;

impl Native {
    /// For one interpreter.
    pub fn new(with: &SetUp<'_>, interpreter: u64) -> Self {
        metrics::begin_process();
        Self {
            log: Arc::clone(&with.log),
            interpreter,
            threads: with.threads,
            scoreboard: with.scoreboard,
        }
    }

    /// The object.
    pub fn make(self, py: Attached<'_>) -> PyResult<'_, Object<'_>> {
        let methods = vec![
            Method::new(c"wants", wants),
            Method::new(c"log", log),
            Method::new(c"use", start_use),
            Method::new(c"current", current),
            Method::new(c"active", active),
            Method::new(c"start_recording_metrics", |call: This<'_, '_>| {
                call.no_arguments("start_recording_metrics")?;
                metrics::start_recording();
                Ok(call.py.none())
            }),
            Method::new(c"process_metrics", |call: This<'_, '_>| {
                call.no_arguments("process_metrics")?;
                Ok(metrics::of_process(call.py)?.unwrap_or_else(|| call.py.none()))
            }),
            Method::new(c"request_metrics", |call: This<'_, '_>| {
                call.no_arguments("request_metrics")?;
                let found = metrics::of_requests(call.py, call.this.threads)?;
                Ok(found.unwrap_or_else(|| call.py.none()))
            }),
            Method::new(c"server_metrics", |call: This<'_, '_>| {
                call.no_arguments("server_metrics")?;
                let scoreboard = call.this.scoreboard;
                metrics::of_server(call.py, &call.py.detach(scoreboard))
            }),
        ];
        Class::new(py, methods, vec![])?.make(py, self)
    }
}

/// `use()`: from now on requests look whether somebody wants to know of them.
fn start_use<'py>(call: This<'_, 'py>) -> PyResult<'py, Object<'py>> {
    events::start_use();
    Ok(call.py.none())
}

/// `current()`: the id of the request that the thread serves, or `None`. The request will have its data removed at its end.
fn current<'py>(call: This<'_, 'py>) -> PyResult<'py, Object<'py>> {
    match Request::current() {
        Some(request) => {
            request.has_data.store(true, Ordering::Relaxed);
            call.py.latin1(request.about.id.bytes())
        }
        None => Ok(call.py.none()),
    }
}

/// `active()`: the ids of the requests that run in this interpreter, which will have their data removed at their ends.
fn active<'py>(call: This<'_, 'py>) -> PyResult<'py, Object<'py>> {
    let list = call.py.list()?;
    for thread in threads::all() {
        let Some(request) = thread.current() else { continue };
        if request.about.interpreter == call.this.interpreter {
            request.has_data.store(true, Ordering::Relaxed);
            list.append(&call.py.latin1(request.about.id.bytes())?)?;
        }
    }
    Ok(list)
}

fn level_of<'py>(level: &Object<'py>) -> PyResult<'py, Level> {
    let level = u8::try_from(level.to_int()?).unwrap_or_default();
    Ok(Level::from_wire(level).unwrap_or(Level::Error))
}

/// `wants(level)`: whether a line of this level would be logged here and now.
fn wants<'py>(call: This<'_, 'py>) -> PyResult<'py, Object<'py>> {
    let [level] = call.args else {
        return Err(call.wrong_count("wants", "1"));
    };
    let level = level_of(level)?;
    let wanted = match Request::current() {
        Some(request) => level as u8 <= request.about.log_level,
        None => call.this.log.wants(level),
    };
    Ok(call.py.bool(wanted))
}

/// `log(level, file, line, text)`: each line of the text is an entry of the request that the thread serves, else of the process.
fn log<'py>(call: This<'_, 'py>) -> PyResult<'py, Object<'py>> {
    let [level, file, line, text] = call.args else {
        return Err(call.wrong_count("log", "4"));
    };
    let (level, file, text) = (level_of(level)?, file.to_text()?, text.to_text()?);
    let origin = Origin {
        file: file.as_bytes(),
        line: u32::try_from(line.to_int()?).unwrap_or(0),
    };
    let exchange = Request::current().and_then(|request| request.if_open());
    for line in text.lines().filter(|line| !line.is_empty()) {
        cut(line.as_bytes(), &mut |text| {
            let line = Log { level, origin, text };
            match &exchange {
                Some(exchange) => exchange.log_line(&line),
                None => call.this.log.log(&line),
            }
        });
    }
    Ok(call.py.none())
}
