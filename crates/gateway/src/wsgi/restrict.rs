//! `WSGIRestrictStdin`, `WSGIRestrictStdout` and `WSGIRestrictSignal`.

use std::sync::Arc;

use rwsgi_wire::python::Settled;
use rwsgi_wire::response::Level;

use super::lines::cut;
use super::request::{ProcessLog, Request};
use crate::codes;
use crate::cpython::{Attached, Call, Class, Method, Object, Payload, PyResult};

/// Where calls of `signal.signal` are noted.
struct Ignored(Arc<dyn ProcessLog>);

impl Payload for Ignored {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.SignalIntercept";
}

/// The restrictions, in Python.
const SOURCE: &str = include_str!("restrict.py");

/// Applies them to the interpreter that this thread is attached to, after its streams are in place.
pub fn restrict<'py>(
    py: Attached<'py>,
    settled: &Settled<'_>,
    log: &Arc<dyn ProcessLog>,
) -> PyResult<'py, ()> {
    if !(settled.restrict_stdin || settled.restrict_stdout || settled.restrict_signal) {
        return Ok(());
    }
    let builtins = py.import(c"builtins")?;
    let path = py.text("<mod_wsgi>")?;
    let code = builtins.call_method(c"compile", &[&py.text(SOURCE)?, &path, &py.text("exec")?])?;
    let globals = py.dict()?;
    globals.set(&py.text("__name__")?, &py.text("mod_wsgi")?)?;
    builtins.call_method(c"exec", &[&code, &globals])?;
    let call = |name: &str, argument: &Object<'py>| -> PyResult<'py, ()> {
        match globals.lookup(&py.text(name)?)? {
            Some(function) => function.call(&[argument]).map(drop),
            None => Ok(()),
        }
    };
    if settled.restrict_stdin {
        call("stream", &py.text("stdin")?)?;
    }
    if settled.restrict_stdout {
        call("stream", &py.text("stdout")?)?;
    }
    if settled.restrict_signal {
        let class = Class::new(py, vec![Method::new(c"log", log_ignored)], vec![])?;
        let ignored = class.make(py, Ignored(Arc::clone(log)))?;
        call("signals", &ignored.attribute(c"log")?)?;
    }
    Ok(())
}

/// To the log of the request that the thread serves, else to that of the process.
fn log_ignored<'py>(call: Call<'_, 'py, Ignored>) -> PyResult<'py, Object<'py>> {
    let [text] = call.args else {
        return Err(call.wrong_count("log", "1"));
    };
    let text = format!("{}: {}", codes::SIGNAL_HANDLER_IGNORED, text.to_text()?);
    match Request::current() {
        Some(request) => request.report(Level::Info, &text),
        None => {
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                cut(line.as_bytes(), &mut |piece| call.this.0.line(Level::Info, piece));
            }
        }
    }
    Ok(call.py.none())
}
