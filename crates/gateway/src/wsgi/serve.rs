//! One request, from its head to the end of its answer.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rwsgi_wire::head::Head;

use super::fault::{Fault, report};
use super::input::Input;
use super::iterate::{Answer, send_all};
use super::output::Length;
use super::request::{About, Id, Request, lock};
use super::state::State;
use crate::api::events::Watch;
use crate::codes;
use crate::cpython::{Attached, Object, PyResult};
use crate::exchange::Exchange;
use crate::metrics::{self, Moments};
use crate::threads;

/// What the carrier knows besides the head.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances {
    /// `mod_wsgi.thread_id`
    pub thread_id: i64,
    /// When the worker took the request, in microseconds since 1970; 0 in embedded mode.
    pub daemon_start: i64,
    /// `apache.request_rec`: the address of httpd's record, if the application may have it.
    pub record: Option<NonNull<c_void>>,
}

impl Circumstances {
    /// Puts `apache.request_rec` into an environ, if it may be there.
    pub fn add_record<'py>(&self, py: Attached<'py>, environ: &Object<'py>) -> PyResult<'py, ()> {
        match self.record {
            Some(record) => environ.set(&py.text("apache.request_rec")?, &py.capsule(record)?),
            None => Ok(()),
        }
    }
}

/// Runs the application. What it produced is sent or held back in `exchange`, which the caller ends or aborts, detached.
pub fn serve<'py>(
    py: Attached<'py>,
    state: &State,
    exchange: &Arc<dyn Exchange>,
    head: &Head<'_>,
    circumstances: Circumstances,
) -> Result<(), Fault> {
    let request = Request::new(Arc::clone(exchange), about(state, head));
    let serving = threads::serve(&request, circumstances.thread_id);
    state.events.begin(py, &request);
    let outcome = run(py, state, &request, &**exchange, head, circumstances);
    request.finish(py);
    state.events.end(py, &request);
    drop(serving);
    outcome
}

fn about(state: &State, head: &Head<'_>) -> About {
    About {
        id: Id::new(head.variable(b"mod_wsgi.request_id").unwrap_or_default()),
        interpreter: state.number,
        log_level: head.log_level,
    }
}

fn run<'py>(
    py: Attached<'py>,
    state: &State,
    request: &Arc<Request>,
    exchange: &dyn Exchange,
    head: &Head<'_>,
    circumstances: Circumstances,
) -> Result<(), Fault> {
    let application = state.scripts.application(py, request, head)?;
    let answer = Answer {
        request,
        exchange,
        script: head.script,
        head_only: head.head_only,
        state,
    };
    let watch = Watch {
        events: &state.events,
        request,
        head,
        circumstances,
        application_start: now(),
    };
    let raised = |exception| answer.raised(&exception);
    let errors = state.logs.errors(py, request).map_err(raised)?;
    let environ = environ(py, state, &watch, &errors.stream).map_err(raised)?;
    let outcome = call(py, &answer, &watch, application, environ);
    request.flush_lines();
    state.logs.give_back(errors);
    let outcome = match outcome {
        Ok(()) => complete(py, &answer, head),
        Err(fault) => answer.interrupted(py, fault),
    };
    if metrics::is_recording() || state.events.are_wanted(py) {
        finished(py, &answer, &watch, outcome);
    }
    outcome
}

/// Records and tells what the request was.
fn finished(py: Attached<'_>, answer: &Answer<'_>, watch: &Watch<'_>, outcome: Result<(), Fault>) {
    let (status, used, finish) = (answer.status(py, outcome), answer.request.used(py), now());
    let moments = Moments {
        request: watch.head.request_start,
        queue: watch.head.queue_start,
        daemon: watch.circumstances.daemon_start,
        application: watch.application_start,
        finish,
    };
    if metrics::is_recording() {
        let thread = watch.circumstances.thread_id;
        metrics::record(answer.request, &used, moments, status, thread);
    }
    if answer.state.events.are_wanted(py) {
        // Fails only by RequestTimeout, which comes too late.
        let _ = watch.finished(py, status, &used, finish);
    }
}

/// Calls the application and sends what it returns.
fn call<'py>(
    py: Attached<'py>,
    answer: &Answer<'_>,
    watch: &Watch<'_>,
    mut application: Object<'py>,
    environ: Object<'py>,
) -> Result<(), Fault> {
    let state = answer.state;
    let raised = |exception| answer.raised(&exception);
    if metrics::is_recording() {
        answer.request.measure();
    }
    if state.events.are_wanted(py) {
        answer.request.measure();
        application = watch.started(py, application, &environ).map_err(raised)?;
    }
    let start_response = state
        .adapters
        .start_response(py, answer.request, &state.events)
        .map_err(raised)?;
    let result = application.call(&[&environ, &start_response]);
    drop((environ, start_response));
    match result {
        Ok(result) => send_all(py, answer, &result, state),
        Err(exception) => Err(raised(exception)),
    }
}

fn environ<'py>(
    py: Attached<'py>,
    state: &State,
    watch: &Watch<'_>,
    errors: &Object<'py>,
) -> PyResult<'py, Object<'py>> {
    let (request, head, circumstances) = (watch.request, watch.head, watch.circumstances);
    let environ = state.environs.build(py, head)?;
    let keys = &state.keys;
    let set = |key: &crate::cpython::Stored, value: &Object<'py>| key.with(py, |key| environ.set(key, value));
    set(
        &keys.input,
        &state.input.make(py, Input::new(Arc::clone(request)))?,
    )?;
    set(&keys.errors, errors)?;
    let [major, minor, patch] = head.httpd_version.map(i64::from);
    set(
        &keys.httpd_version,
        &py.tuple(&[&py.int(major)?, &py.int(minor)?, &py.int(patch)?])?,
    )?;
    set(&keys.request_start, &py.float(seconds(head.request_start))?)?;
    set(&keys.queue_start, &py.float(seconds(head.queue_start))?)?;
    set(
        &keys.daemon_start,
        &py.float(seconds(circumstances.daemon_start))?,
    )?;
    set(
        &keys.application_start,
        &py.float(seconds(watch.application_start))?,
    )?;
    set(&keys.thread_id, &py.int(circumstances.thread_id)?)?;
    circumstances.add_record(py, &environ)?;
    Ok(environ)
}

/// The iterable has ended: commits a head without body, and compares the length.
fn complete(py: Attached<'_>, answer: &Answer<'_>, head: &Head<'_>) -> Result<(), Fault> {
    let mut output = lock(py, &answer.request.output);
    if !output.has_head() {
        return Err(answer.no_start_response());
    }
    output.commit(answer.exchange);
    if output.is_gone() {
        return Ok(());
    }
    match output.length(head.head_only) {
        Length::Right => Ok(()),
        Length::Short { declared, produced } => {
            let text = format!(
                "the application in '{}' declared Content-Length {declared} and produced {produced} bytes",
                answer.script()
            );
            report(answer.request, &codes::SHORT_BODY, &text);
            Err(Fault(rwsgi_wire::response::AbortReason::Application))
        }
        Length::Long { declared, produced } => {
            let text = format!(
                "the application in '{}' declared Content-Length {declared} and produced {produced} bytes; the rest was dropped",
                answer.script()
            );
            report(answer.request, &codes::LONG_BODY, &text);
            Ok(())
        }
    }
}

/// Now, in microseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Microseconds since 1970 as seconds.
pub fn seconds(microseconds: i64) -> f64 {
    // Exact to the microsecond until the year 2255.
    microseconds as f64 / 1e6
}
