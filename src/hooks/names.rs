//! What `%{…}` stands for in a request.

use std::ffi::CString;

use crate::httpd::Request;
use crate::request::target::{name_and_port, script_name};
use crate::request::template::Names;

/// The names of one request.
pub struct RequestNames<'a, 'r>(pub &'a Request<'r>);

impl RequestNames<'_, '_> {
    /// The port of the server's own configuration, or the one that it was reached at; never what a client says.
    fn port(&self) -> u16 {
        match self.0.server().named_port() {
            0 => self.0.connection().local_port(),
            port => port,
        }
    }
}

impl Names for RequestNames<'_, '_> {
    fn server(&self) -> String {
        name_and_port(&String::from_utf8_lossy(self.0.server().name()), self.port())
    }

    fn host(&self) -> String {
        let host = self.0.hostname().unwrap_or_else(|| self.0.server().name());
        name_and_port(&String::from_utf8_lossy(host), self.port())
    }

    fn resource(&self) -> String {
        let mut script = script_name(self.0.uri().to_bytes(), self.0.path_info()).into_owned();
        if self
            .0
            .server()
            .config()
            .is_some_and(|config| config.site.folds_case())
        {
            script.make_ascii_lowercase();
        }
        format!("{}|{}", self.server(), String::from_utf8_lossy(&script))
    }

    fn variable(&self, name: &str) -> Option<String> {
        let c_name = CString::new(name).ok()?;
        let found = self.0.note(&c_name).or_else(|| self.0.variable(&c_name));
        match found {
            Some(value) => Some(String::from_utf8_lossy(value).into_owned()),
            None => std::env::var(name).ok(),
        }
    }
}
