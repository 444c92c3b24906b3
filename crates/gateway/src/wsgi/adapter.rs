//! `start_response` and `write`.

use std::borrow::Cow;
use std::fmt::Display;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use rwsgi_wire::limits::RESPONSE_HEADERS_MAX;

use super::head::Head;
use super::request::{Request, lock};
use super::validate;
use crate::api::events::Events;
use crate::cpython::{Attached, Call, Class, Exception, Function, Method, Object, Payload, PyResult, Raise};

/// The payload of the type `mod_wsgi.Adapter`: the receiver of both functions.
pub struct Adapter {
    request: Arc<Request>,
    /// Weak, since callbacks may keep an adapter, and types like this one take no part in garbage collection.
    events: Weak<Events>,
    write: Function<Self>,
}

impl Payload for Adapter {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Adapter";
}

/// The type and its two functions, in one interpreter.
pub struct Adapters {
    class: Class<Adapter>,
    start_response: Function<Adapter>,
    write: Function<Adapter>,
}

impl Adapters {
    /// Makes them.
    pub fn new(py: Attached<'_>) -> PyResult<'_, Self> {
        Ok(Self {
            class: Class::new(py, vec![], vec![])?,
            start_response: Function::new(Method::new(c"start_response", start_response)),
            write: Function::new(Method::new(c"write", write)),
        })
    }

    /// `start_response` for a request.
    pub fn start_response<'py>(
        &self,
        py: Attached<'py>,
        request: &Arc<Request>,
        events: &Rc<Events>,
    ) -> PyResult<'py, Object<'py>> {
        let adapter = Adapter {
            request: Arc::clone(request),
            events: Rc::downgrade(events),
            write: self.write,
        };
        let adapter = self.class.make(py, adapter)?;
        self.class.bind(self.start_response, &adapter)
    }
}

fn start_response<'py>(call: Call<'_, 'py, Adapter>) -> PyResult<'py, Object<'py>> {
    let py = call.py;
    let request = &call.this.request;
    request.exchange(py, "start_response")?;
    let (status, headers, exc_info) = match call.args {
        [status, headers] => (status, headers, None),
        [status, headers, exc_info] => (status, headers, Some(exc_info).filter(|info| !info.is_none())),
        _ => return Err(call.wrong_count("start_response", "2 or 3")),
    };
    if !headers.is_list() {
        let message = format!(
            "headers must be a list, not {} (PEP 3333: \"The response_headers argument is a list of (header_name, \
             header_value) tuples. It must be a Python list; i.e. type(response_headers) is ListType\")",
            headers.type_name()
        );
        return Err(Exception::new(py, Raise::Type, &message));
    }
    if exc_info.is_some_and(|info| !info.is_tuple()) {
        return Err(Exception::new(
            py,
            Raise::Runtime,
            "exc_info must be None or a sys.exc_info() tuple",
        ));
    }
    if lock(py, &request.output).is_committed() {
        return Err(too_late(py, exc_info));
    }
    if let Some(events) = call.this.events.upgrade() {
        if events.are_wanted(py) {
            let none = py.none();
            events.response_started(py, request, [status, headers, exc_info.unwrap_or(&none)])?;
        }
    }
    let head = head(py, status, headers)?;
    let mut output = lock(py, &request.output);
    if output.is_committed() {
        return Err(too_late(py, exc_info));
    }
    output.set_head(head);
    drop(output);
    call.this.write.bind_to(&call)
}

/// The headers are on their way: with `exc_info` its exception is raised again, as PEP 3333 demands.
fn too_late<'py>(py: Attached<'py>, exc_info: Option<&Object<'py>>) -> Exception<'py> {
    let Some(info) = exc_info else {
        let text = "start_response was called again after the headers had been sent (PEP 3333: \"it is a fatal error to call \
                    start_response without the exc_info argument if start_response has already been called\")";
        return Exception::new(py, Raise::Runtime, text);
    };
    let value = if info.len() == 3 { info.item(1) } else { None };
    match value.map(Exception::from_instance) {
        Some(Ok(exception)) => exception,
        _ => Exception::new(
            py,
            Raise::Type,
            "exc_info must be a tuple (type, value, traceback)",
        ),
    }
}

/// Checks status and headers. Subclasses of `str` may run code of the application meanwhile.
fn head<'py>(py: Attached<'py>, status: &Object<'py>, headers: &Object<'py>) -> PyResult<'py, Head> {
    let refuse = |rule: &dyn Display| Exception::new(py, Raise::Value, &rule.to_string());
    let status = latin1(status, "status")?;
    let status = validate::status(&status).map_err(|violation| refuse(&violation))?;
    let count = headers.len();
    if count > RESPONSE_HEADERS_MAX {
        return Err(refuse(&format_args!(
            "{count} headers; at most {RESPONSE_HEADERS_MAX} can be sent"
        )));
    }
    let mut head = Head::new(status);
    for index in 0..count {
        let Some(header) = headers.item(index) else { break };
        let Some((name, value)) = header.pair() else {
            return Err(no_pair(&header));
        };
        let (name, value) = (latin1(&name, "header name")?, latin1(&value, "header value")?);
        head.add(&name, &value).map_err(|refused| refuse(&refused))?;
    }
    Ok(head)
}

fn no_pair<'py>(header: &Object<'py>) -> Exception<'py> {
    let (raise, message) = if header.is_tuple() {
        let message = format!("each header must be a tuple of 2 items, not {}", header.len());
        (Raise::Value, message)
    } else {
        let class = header.type_name();
        (
            Raise::Type,
            format!("each header must be a tuple (name, value), not {class}"),
        )
    };
    Exception::new(header.py(), raise, &message)
}

/// A `str` that fits ISO-8859-1, as bytes: those that it has itself when it is ASCII.
fn latin1<'t, 'py>(text: &'t Object<'py>, what: &str) -> PyResult<'py, Cow<'t, [u8]>> {
    if let Some(ascii) = text.as_ascii() {
        return Ok(Cow::Borrowed(ascii));
    }
    let py = text.py();
    if !text.is_text() {
        let message = format!(
            "{what} must be str, not {} (PEP 3333: \"native strings\", which in Python 3 are str)",
            text.type_name()
        );
        return Err(Exception::new(py, Raise::Type, &message));
    }
    // What is not ISO-8859-1 raises Python's own UnicodeEncodeError.
    let bytes = text.call_method(c"encode", &[&py.text("latin-1")?])?;
    Ok(Cow::Owned(bytes.as_bytes().unwrap_or_default().to_vec()))
}

fn write<'py>(call: Call<'_, 'py, Adapter>) -> PyResult<'py, Object<'py>> {
    let py = call.py;
    let [data] = call.args else {
        return Err(call.wrong_count("write", "1"));
    };
    let Some(bytes) = data.as_bytes() else {
        let message = format!(
            "write() takes bytes, not {} (PEP 3333: \"all strings ... yielded by the application or passed to write() must be \
             bytestrings\")",
            data.type_name()
        );
        return Err(Exception::new(py, Raise::Type, &message));
    };
    let mut output = lock(py, &call.this.request.output);
    let exchange = call.this.request.exchange(py, "write")?;
    let start = call.this.request.call_start();
    let now = !bytes.is_empty();
    if output.is_gone() || output.add(py, &*exchange, bytes, now, start).is_err() {
        return Err(Exception::new(py, Raise::Os, "mod_wsgi client connection closed"));
    }
    Ok(py.none())
}
