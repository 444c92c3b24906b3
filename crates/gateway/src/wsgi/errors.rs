//! `wsgi.errors`, `sys.stderr` and `sys.stdout`: a `TextIOWrapper` over a buffer that writes log lines.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError};

use rwsgi_wire::response::Level;

use super::lines::{Block, Lines};
use super::request::{ProcessLog, Request};
use crate::cpython::{
    Attached, Call, Class, Exception, Getter, Method, Object, Payload, PyResult, Raise, Stored,
};

/// The payload of the type `mod_wsgi.Log`.
pub struct Log {
    name: &'static str,
    target: Target,
    closed: Cell<bool>,
}

enum Target {
    /// `wsgi.errors` of one request; the next one when the object is reused.
    Request(RefCell<Arc<Request>>),
    /// A standard stream: the request that the writing thread serves, else the log of the process.
    Thread {
        process: Arc<dyn ProcessLog>,
        lines: Mutex<Lines>,
    },
}

impl Payload for Log {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Log";
}

/// Makes the streams of one interpreter and reuses those that nobody kept.
pub struct Logs {
    class: Class<Log>,
    wrapper: Stored,
    options: Stored,
    idle: RefCell<Vec<(Stored, Stored)>>,
}

/// `wsgi.errors` of one request.
pub struct Errors<'py> {
    log: Object<'py>,
    /// What the application sees.
    pub stream: Object<'py>,
}

/// So many streams are kept for reuse.
const IDLE_MAX: usize = 64;

impl Logs {
    /// Prepares for one interpreter.
    pub fn new(py: Attached<'_>) -> PyResult<'_, Self> {
        let options = py.dict()?;
        for (name, value) in [
            ("encoding", py.text("utf-8")?),
            ("errors", py.text("replace")?),
            ("newline", py.text("")?),
            // Not line buffered as well: that would flush, and so cut, what follows the last line end of a write.
            ("write_through", py.bool(true)),
        ] {
            options.set(&py.text(name)?, &value)?;
        }
        Ok(Self {
            class: class(py)?,
            wrapper: py.import(c"io")?.attribute(c"TextIOWrapper")?.store(),
            options: options.store(),
            idle: RefCell::default(),
        })
    }

    /// The stream of a request.
    pub fn errors<'py>(&self, py: Attached<'py>, request: &Arc<Request>) -> PyResult<'py, Errors<'py>> {
        // Dropping a stored pair would run Python code with the pool borrowed, so it is taken out first.
        let idle = self.idle.try_borrow_mut().ok().and_then(|mut idle| idle.pop());
        if let Some((log, stream)) = idle {
            let (log, stream) = (log.get(py), stream.get(py));
            if let Some(Log {
                target: Target::Request(target),
                closed,
                ..
            }) = self.class.payload(&log)
            {
                target.replace(Arc::clone(request));
                closed.set(false);
                return Ok(Errors { log, stream });
            }
        }
        let target = Target::Request(RefCell::new(Arc::clone(request)));
        let (log, stream) = self.open(
            py,
            Log {
                name: "<wsgi.errors>",
                target,
                closed: Cell::new(false),
            },
        )?;
        Ok(Errors { log, stream })
    }

    /// Takes a stream back after its request; it is reused if the application kept neither it nor its buffer.
    pub fn give_back(&self, errors: Errors<'_>) {
        let Errors { log, stream } = errors;
        // The log is known to us and to the stream, the stream to us alone.
        if log.references() != 2 || stream.references() != 1 {
            return;
        }
        if let Ok(mut idle) = self.idle.try_borrow_mut() {
            if idle.len() < IDLE_MAX {
                idle.push((log.store(), stream.store()));
            }
        }
    }

    /// A standard stream.
    pub fn standard<'py>(
        &self,
        py: Attached<'py>,
        name: &'static str,
        process: &Arc<dyn ProcessLog>,
    ) -> PyResult<'py, Object<'py>> {
        let target = Target::Thread {
            process: Arc::clone(process),
            lines: Mutex::default(),
        };
        self.open(
            py,
            Log {
                name,
                target,
                closed: Cell::new(false),
            },
        )
        .map(|(_, stream)| stream)
    }

    fn open<'py>(&self, py: Attached<'py>, log: Log) -> PyResult<'py, (Object<'py>, Object<'py>)> {
        let log = self.class.make(py, log)?;
        let stream = self.wrapper.get(py).call_with(&[&log], &self.options.get(py))?;
        Ok((log, stream))
    }
}

fn class(py: Attached<'_>) -> PyResult<'_, Class<Log>> {
    type This<'a, 'py> = Call<'a, 'py, Log>;
    let methods = vec![
        Method::new(c"write", |call: This<'_, '_>| match call.args {
            [data] => call.this.write(call.py, data),
            _ => Err(call.wrong_count("write", "1")),
        }),
        Method::new(c"flush", |call: This<'_, '_>| {
            call.this.flush();
            Ok(call.py.none())
        }),
        Method::new(c"close", |call: This<'_, '_>| {
            call.this.flush();
            // A standard stream is everybody's, and stays open.
            call.this
                .closed
                .set(matches!(call.this.target, Target::Request(_)));
            Ok(call.py.none())
        }),
        Method::new(c"writelines", |call: This<'_, '_>| {
            let [lines] = call.args else {
                return Err(call.wrong_count("writelines", "1"));
            };
            let lines = lines.iterate()?;
            while let Some(line) = lines.advance()? {
                call.this.write(call.py, &line)?;
            }
            Ok(call.py.none())
        }),
        Method::new(c"writable", |call: This<'_, '_>| Ok(call.py.bool(true))),
        Method::new(c"readable", |call: This<'_, '_>| Ok(call.py.bool(false))),
        Method::new(c"seekable", |call: This<'_, '_>| Ok(call.py.bool(false))),
        Method::new(c"isatty", |call: This<'_, '_>| Ok(call.py.bool(false))),
        Method::new(c"fileno", |call: This<'_, '_>| {
            Err(Exception::new(
                call.py,
                Raise::Os,
                "this stream writes to the error log and has no descriptor",
            ))
        }),
    ];
    let getters = vec![
        Getter::new(c"closed", |call: This<'_, '_>| {
            Ok(call.py.bool(call.this.closed.get()))
        }),
        Getter::new(c"name", |call: This<'_, '_>| call.py.text(call.this.name)),
        Getter::new(c"mode", |call: This<'_, '_>| call.py.text("wb")),
    ];
    Class::new(py, methods, getters)
}

impl Log {
    fn write<'py>(&self, py: Attached<'py>, data: &Object<'py>) -> PyResult<'py, Object<'py>> {
        let copy;
        let bytes = match data.as_bytes() {
            Some(bytes) => bytes,
            None => {
                let view = py.import(c"builtins")?.call_method(c"memoryview", &[data])?;
                copy = view.call_method(c"tobytes", &[])?;
                copy.as_bytes().unwrap_or_default()
            }
        };
        match &self.target {
            Target::Request(request) => {
                let request = Arc::clone(&request.borrow());
                if !request.write_log(bytes) {
                    let text = "wsgi.errors was written to after the request had ended";
                    return Err(Exception::new(py, Raise::Runtime, text));
                }
            }
            Target::Thread { process, lines } => {
                if !Request::current().is_some_and(|request| request.write_log(bytes)) {
                    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                    let mut block = Block::new(|text| process.line(Level::Error, text));
                    lines.push(bytes, |line| block.push(line));
                }
            }
        }
        py.int(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
    }

    fn flush(&self) {
        match &self.target {
            Target::Request(request) => request.borrow().flush_lines(),
            Target::Thread { process, lines } => match Request::current() {
                Some(request) => request.flush_lines(),
                None => {
                    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                    lines.flush(|line| process.line(Level::Error, line));
                }
            },
        }
    }
}
