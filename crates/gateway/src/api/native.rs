//! What the Python parts of the modules ask of this process: methods of one object, `mod_wsgi._native`.

use std::sync::Arc;

use rwsgi_wire::response::{Level, Log, Origin};

use crate::cpython::{Attached, Call, Class, Method, Object, Payload, PyResult};
use crate::wsgi::lines::cut;
use crate::wsgi::request::{ProcessLog, Request};
use crate::wsgi::state::SetUp;

/// The payload of that object.
pub struct Native {
    log: Arc<dyn ProcessLog>,
}

impl Payload for Native {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Native";
}

type This<'a, 'py> = Call<'a, 'py, Native>;

impl Native {
    /// For one interpreter.
    pub fn new(with: &SetUp<'_>) -> Self {
        Self {
            log: Arc::clone(&with.log),
        }
    }

    /// The object.
    pub fn make(self, py: Attached<'_>) -> PyResult<'_, Object<'_>> {
        let methods = vec![Method::new(c"wants", wants), Method::new(c"log", log)];
        Class::new(py, methods, vec![])?.make(py, self)
    }
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
        Some(request) => level as u8 <= request.log_level,
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
