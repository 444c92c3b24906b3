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

    /// Answers with what httpd has at `path` (a path of this server, with or without a query): a GET request without a body, that goes
    /// through all phases anew. Nothing may have been sent. `LimitInternalRecursion` is kept by httpd.
    pub fn redirect(&self, path: &[u8]) {
        let path = self.pool().c_string(path);
        self.leave_body();
        let raw = self.raw();
        // SAFETY: H1; a static string.
        unsafe { (*raw).method = c"GET".as_ptr() };
        // SAFETY: H1.
        unsafe { (*raw).method_number = c::M_GET as _ };
        for framing in [c"Content-Length", c"Transfer-Encoding"] {
            // SAFETY: H1.
            unsafe { c::apr_table_unset(self.rec().headers_in, framing.as_ptr()) };
        }
        // SAFETY: H1: a handler may; the path is in the request's pool. Type and handler of this request do not go along.
        unsafe { c::ap_internal_redirect(path, raw) };
    }

    /// What is left of the request body is read and thrown away, or its connection is closed after the answer: the redirected request
    /// has no headers that would tell where the body ends.
    fn leave_body(&self) {
        // SAFETY: H1.
        let asked_to_wait = unsafe { (*self.raw()).expecting_100 } != 0;
        // SAFETY: H1.
        if asked_to_wait || unsafe { c::ap_discard_request_body(self.raw()) } != 0 {
            self.forget_continue();
            self.connection().close_after_response();
        }
    }

    /// httpd answers no `Range` of this answer. What an application computes is its own to cut: whether httpd could depends on how the
    /// pieces come, and two parts of what is made anew each time do not fit together.
    pub fn keep_whole(&self) {
        // SAFETY: H1: the filters are this request's; a static string. That there is no such filter is as good.
        unsafe { c::ap_remove_output_filter_byhandle(self.rec().output_filters, c"BYTERANGE".as_ptr()) };
    }

    /// Nobody waits for `100 Continue` any more.
    pub fn forget_continue(&self) {
        // SAFETY: H1.
        unsafe { (*self.raw()).expecting_100 = 0 };
    }
}
