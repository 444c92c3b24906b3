//! `mod_ssl.is_https()` and `mod_ssl.var_lookup(name)`.

use std::sync::Arc;

use rwsgi_wire::head::Head;

use crate::cpython::{Attached, Call, Class, Exception, Function, Method, Object, Payload, PyResult, Raise};
use crate::wsgi::request::Request;

/// What is known of the connection: the receiver of both functions.
pub struct Connection {
    request: Arc<Request>,
    is_https: bool,
    /// What httpd sent along, for a worker cannot ask mod_ssl.
    sent: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Payload for Connection {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.SSL";
}

/// The functions, in one interpreter.
pub struct Functions {
    class: Class<Connection>,
    is_https: Function<Connection>,
    var_lookup: Function<Connection>,
}

impl Functions {
    /// Makes them.
    pub fn new(py: Attached<'_>) -> PyResult<'_, Self> {
        Ok(Self {
            class: Class::new(py, vec![], vec![])?,
            is_https: Function::new(Method::new(c"is_https", is_https)),
            var_lookup: Function::new(Method::new(c"var_lookup", var_lookup)),
        })
    }

    /// Puts both into an environ.
    pub fn add<'py>(
        &self,
        py: Attached<'py>,
        environ: &Object<'py>,
        request: &Arc<Request>,
        head: &Head<'_>,
    ) -> PyResult<'py, ()> {
        let sent = head
            .ssl
            .iter()
            .map(|(name, value)| (name.to_vec(), value.to_vec()));
        let connection = Connection {
            request: Arc::clone(request),
            is_https: head.https,
            sent: sent.collect(),
        };
        let connection = self.class.make(py, connection)?;
        let is_https = self.class.bind(self.is_https, &connection)?;
        environ.set(&py.text("mod_ssl.is_https")?, &is_https)?;
        let var_lookup = self.class.bind(self.var_lookup, &connection)?;
        environ.set(&py.text("mod_ssl.var_lookup")?, &var_lookup)
    }
}

fn is_https<'py>(call: Call<'_, 'py, Connection>) -> PyResult<'py, Object<'py>> {
    match call.args {
        [] => call.py.int(call.this.is_https.into()),
        _ => Err(call.wrong_count("is_https", "0")),
    }
}

fn var_lookup<'py>(call: Call<'_, 'py, Connection>) -> PyResult<'py, Object<'py>> {
    let py = call.py;
    let [name] = call.args else {
        return Err(call.wrong_count("var_lookup", "1"));
    };
    if !name.is_text() {
        let message = format!("var_lookup() takes a str, not {}", name.type_name());
        return Err(Exception::new(py, Raise::Type, &message));
    }
    let name = name.to_utf8()?.as_bytes();
    let exchange = call.this.request.exchange(py, "var_lookup")?;
    let sent = call.this.sent.iter().find(|(known, _)| known == name);
    let value = sent
        .map(|(_, value)| value.clone())
        .or_else(|| exchange.ssl_variable(name));
    match value {
        Some(value) => py.latin1(&value),
        // As mod_ssl says it itself, which is there if it sent anything.
        None if !call.this.sent.is_empty() => py.text(""),
        None => Ok(py.none()),
    }
}
