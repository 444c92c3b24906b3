//! What a handler says about its answer before the body: status, type, length, headers.

use super::bindings as c;
use super::request::Request;

impl Request<'_> {
    /// Sets status and reason of the answer.
    pub fn set_status(&self, status: u16, line: &[u8]) {
        let line = self.pool().c_string(line);
        let rec = self.raw();
        // SAFETY: H1: the handler owns the answer.
        unsafe { (*rec).status = status.into() };
        // SAFETY: H1.
        unsafe { (*rec).status_line = line };
    }

    /// Sets the answer's content type.
    pub fn set_content_type(&self, value: &[u8]) {
        let value = self.pool().c_string(value);
        // SAFETY: H1; the value is in the request's pool.
        unsafe { c::ap_set_content_type(self.raw(), value) };
    }

    /// Adds a header to the answer. `even_on_errors`: httpd's own error pages carry it too.
    pub fn add_header(&self, name: &[u8], value: &[u8], even_on_errors: bool) {
        let pool = self.pool();
        let (name, value) = (pool.c_string(name), pool.c_string(value));
        let table = if even_on_errors {
            self.rec().err_headers_out
        } else {
            self.rec().headers_out
        };
        // SAFETY: H1; both strings are in the request's pool.
        unsafe { c::apr_table_addn(table, name, value) };
    }

    /// Sets the length of the answer's body.
    pub fn set_content_length(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        // SAFETY: H1.
        unsafe { c::ap_set_content_length(self.raw(), bytes) };
    }

    /// Nobody waits for `100 Continue` any more.
    pub fn forget_continue(&self) {
        // SAFETY: H1.
        unsafe { (*self.raw()).expecting_100 = 0 };
    }
}
