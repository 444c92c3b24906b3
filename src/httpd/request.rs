//! A request of httpd.

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_void};
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::bindings as c;
use super::connection::Connection;
use super::module;
use super::pool::Pool;
use super::server::Server;
use super::table;
use crate::directives::Scoped;

/// What a mapped file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// There is nothing.
    Missing,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// A request, lent for one hook. Not sendable, and nothing borrowed from it can leave the hook.
///
/// ```compile_fail
/// fn sendable<T: Send>() {}
/// sendable::<mod_rwsgi::httpd::Request<'static>>();
/// ```
pub struct Request<'r> {
    raw: NonNull<c::request_rec>,
    pub(super) brigade: Cell<Option<NonNull<c::apr_bucket_brigade>>>,
    life: PhantomData<&'r mut &'r ()>,
}

impl<'r> Request<'r> {
    /// Lends a request to `body` (H1).
    pub(super) fn lend<T>(raw: *mut c::request_rec, otherwise: T, body: impl FnOnce(&Request<'_>) -> T) -> T {
        match NonNull::new(raw) {
            Some(raw) => body(&Request {
                raw,
                brigade: Cell::new(None),
                life: PhantomData,
            }),
            None => otherwise,
        }
    }

    /// The address of httpd's record, for a Python that may do what it likes with it.
    pub fn address(&self) -> NonNull<c_void> {
        self.raw.cast()
    }

    pub(super) fn raw(&self) -> *mut c::request_rec {
        self.raw.as_ptr()
    }

    pub(super) fn rec(&self) -> &c::request_rec {
        // SAFETY: H1: live, and nobody else changes it while the hook runs; no method keeps this reference while httpd is called.
        unsafe { self.raw.as_ref() }
    }

    /// The request's pool.
    pub fn pool(&self) -> Pool<'r> {
        // SAFETY: H1, H3: lives as long as the request.
        match unsafe { Pool::lend(self.rec().pool) } {
            Some(pool) => pool,
            // H5: httpd makes no request without a pool.
            None => unreachable!("a request without a pool"),
        }
    }

    /// The server that answers.
    pub fn server(&self) -> Server<'r> {
        // SAFETY: H1: a request's server outlives it.
        unsafe { Server::lend(self.rec().server) }
    }

    /// The connection it came over.
    pub fn connection(&self) -> Connection<'r> {
        Connection {
            raw: self.rec().connection,
            life: PhantomData,
        }
    }

    /// The settings of the directory (location, file) that httpd merged for this request.
    pub fn scoped(&self) -> Option<&Scoped> {
        // SAFETY: H6.
        let slot = unsafe { c::ap_get_module_config(self.rec().per_dir_config, module::record()) };
        // SAFETY: H6: `create_dir` and `merge_dir` store a `Scoped`.
        unsafe { slot.cast::<Scoped>().as_ref() }
    }

    /// Value of a request header.
    pub fn header(&self, name: &CStr) -> Option<&'r [u8]> {
        // SAFETY: H2: the header table outlives the request.
        unsafe { table::get(self.rec().headers_in, name) }
    }

    /// All request headers.
    pub fn headers(&self) -> Vec<(&'r [u8], &'r [u8])> {
        // SAFETY: H2; nothing changes the table while the handler runs.
        unsafe { table::entries(self.rec().headers_in) }
    }

    /// httpd's environment of this request (SetEnv and friends).
    pub fn environment(&self) -> Vec<(&'r [u8], &'r [u8])> {
        // SAFETY: H2; nothing changes the table while the handler runs.
        unsafe { table::entries(self.rec().subprocess_env) }
    }

    /// One variable of that environment.
    pub fn variable(&self, name: &CStr) -> Option<&'r [u8]> {
        // SAFETY: H2.
        unsafe { table::get(self.rec().subprocess_env, name) }
    }

    /// A note that a module left on the request.
    pub fn note(&self, name: &CStr) -> Option<&'r [u8]> {
        // SAFETY: H2.
        unsafe { table::get(self.rec().notes, name) }
    }

    /// Leaves a note.
    pub fn set_note(&self, name: &CStr, value: &[u8]) {
        let value = self.pool().c_string(value);
        // SAFETY: H1; the name is static and the value in the request's pool.
        unsafe { c::apr_table_setn(self.rec().notes, name.as_ptr(), value) };
    }

    /// `r->handler`.
    pub fn handler(&self) -> &'r [u8] {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().handler) }.unwrap_or_default()
    }

    /// Maps the request to a path, whose beginning is perhaps a file and the rest what follows it, and to our handler.
    pub fn map_to(&self, file: &[u8], rest: &[u8], handler: &'static CStr) {
        self.set_file(file, rest);
        self.set_handler(handler);
    }

    /// As [`map_to`](Self::map_to), when it was mapped before, and httpd has not looked at that; to our handler if one is given.
    pub fn map_anew(&self, file: &[u8], rest: &[u8], handler: Option<&'static CStr>) {
        let filename = self.set_file(file, rest);
        // SAFETY: H1: map_to_storage may set the file name, in both places where httpd keeps it.
        unsafe { (*self.raw.as_ptr()).canonical_filename = filename };
        if let Some(handler) = handler {
            self.set_handler(handler);
        }
    }

    /// Sets the file name. httpd finds out where the file ends, and asks the system about each directory before it, unless it knows that it is
    /// a file: then it asks only about links that it may not follow, and for `.htaccess`.
    fn set_file(&self, file: &[u8], rest: &[u8]) -> *mut c_char {
        let rec = self.raw.as_ptr();
        let begins_component = rest.is_empty() || rest.starts_with(b"/");
        if begins_component && is_canonical(file) && (rest.is_empty() || is_canonical(rest)) {
            let filename = self.pool().c_string(file);
            // SAFETY: H1: the record's own place for what is known of the file.
            let place = unsafe { &raw mut (*rec).finfo };
            // SAFETY: H5; the name lives in the request's pool.
            let known = unsafe { c::apr_stat(place, filename, c::APR_FINFO_MIN as i32, self.pool().raw()) };
            // SAFETY: H1.
            if known == 0 && unsafe { (*rec).finfo.filetype } == c::APR_REG {
                // SAFETY: H1: translate_name and map_to_storage may set the file name,
                unsafe { (*rec).filename = filename };
                // SAFETY: and what follows it, to which httpd adds nothing.
                unsafe { (*rec).path_info = self.pool().c_string(rest) };
                return filename;
            }
        }
        let filename = self.pool().c_string(&[file, rest].concat());
        // SAFETY: H1: as above.
        unsafe { (*rec).filename = filename };
        // SAFETY: as above: what follows the file is found out,
        unsafe { (*rec).path_info = core::ptr::null_mut() };
        // SAFETY: and so is what the file is.
        unsafe { (*rec).finfo.filetype = c::APR_NOFILE };
        filename
    }

    /// Sets `r->handler`.
    pub fn set_handler(&self, handler: &'static CStr) {
        // SAFETY: H1: hooks before the handler may; the name is static.
        unsafe { (*self.raw.as_ptr()).handler = handler.as_ptr() };
    }

    /// `r->uri`, decoded path.
    pub fn uri(&self) -> &'r CStr {
        let uri = self.rec().uri;
        if uri.is_null() {
            return c"";
        }
        // SAFETY: H2.
        unsafe { CStr::from_ptr(uri) }
    }

    /// `r->unparsed_uri`.
    pub fn unparsed_uri(&self) -> &'r [u8] {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().unparsed_uri) }.unwrap_or_default()
    }

    /// The mapped file.
    pub fn filename(&self) -> &'r [u8] {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().filename) }.unwrap_or_default()
    }

    /// What follows the file in the path.
    pub fn path_info(&self) -> &'r [u8] {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().path_info) }.unwrap_or_default()
    }

    /// Query string.
    pub fn query(&self) -> Option<&'r [u8]> {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().args) }
    }

    /// The request line as it came.
    pub fn request_line(&self) -> &'r [u8] {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().the_request) }.unwrap_or_default()
    }

    /// `GET`, `POST`, …
    pub fn method(&self) -> &'r [u8] {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().method) }.unwrap_or_default()
    }

    /// `HTTP/1.1`, …
    pub fn protocol(&self) -> &'r [u8] {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().protocol) }.unwrap_or_default()
    }

    /// The Host header's host as httpd normalised it.
    pub fn hostname(&self) -> Option<&'r [u8]> {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().hostname) }
    }

    /// Authenticated user.
    pub fn user(&self) -> Option<&'r [u8]> {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().user) }
    }

    /// How it was authenticated.
    pub fn auth_type(&self) -> Option<&'r [u8]> {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().ap_auth_type) }
    }

    /// The request that was internally redirected to this one: its path and its query.
    pub fn redirected_from(&self) -> Option<(&'r [u8], Option<&'r [u8]>)> {
        // SAFETY: H1: previous requests live as long as this one.
        let previous = unsafe { self.rec().prev.as_ref() }?;
        // SAFETY: H2.
        let uri = unsafe { table::bytes(previous.uri) }.unwrap_or_default();
        // SAFETY: H2.
        let query = unsafe { table::bytes(previous.args) };
        Some((uri, query))
    }

    /// The user of the last of the requests that led to this one by internal redirects and had one.
    pub fn redirected_user(&self) -> Option<&'r [u8]> {
        let mut next = self.rec().prev;
        // SAFETY: H1: previous requests live as long as this one.
        while let Some(previous) = unsafe { next.as_ref() } {
            // SAFETY: H2.
            let user = unsafe { table::bytes(previous.user) };
            if user.is_some() {
                return user;
            }
            next = previous.prev;
        }
        None
    }

    /// The user agent's address in text form and port.
    pub fn client(&self) -> (&'r [u8], u16) {
        // SAFETY: H2.
        let ip = unsafe { table::bytes(self.rec().useragent_ip) }.unwrap_or_default();
        // SAFETY: H1: live as long as the request.
        let port = unsafe { self.rec().useragent_addr.as_ref() }.map_or(0, |address| address.port);
        (ip, port)
    }

    /// The request is HEAD.
    pub fn is_head(&self) -> bool {
        self.rec().header_only != 0
    }

    /// When httpd received it, in microseconds since 1970.
    pub fn start(&self) -> i64 {
        self.rec().request_time
    }

    /// What the mapped file is.
    pub fn file_kind(&self) -> FileKind {
        match self.rec().finfo.filetype {
            c::APR_NOFILE => FileKind::Missing,
            c::APR_DIR => FileKind::Directory,
            _ => FileKind::Other,
        }
    }

    /// Modification time of the mapped file, in microseconds since 1970.
    pub fn file_mtime(&self) -> i64 {
        self.rec().finfo.mtime
    }

    /// `AcceptPathInfo Off` covers it.
    pub fn rejects_path_info(&self) -> bool {
        self.rec().used_path_info == c::AP_REQ_REJECT_PATH_INFO as i32
    }

    /// `Options ExecCGI` covers it.
    pub fn may_execute(&self) -> bool {
        // SAFETY: H1.
        let options = unsafe { c::ap_allow_options(self.raw()) };
        options & c::OPT_EXECCGI as i32 != 0
    }

    /// `LimitRequestBody` in bytes; `None` for no limit.
    pub fn body_limit(&self) -> Option<u64> {
        // SAFETY: H1.
        let limit = unsafe { c::ap_get_limit_req_body(self.raw()) };
        u64::try_from(limit).ok().filter(|limit| *limit > 0)
    }

    /// The first output filter makes or changes content (a compressor, say), so a HEAD answer needs the body that GET would give.
    pub fn filters_change_content(&self) -> bool {
        // SAFETY: H1: the filter chain is this request's.
        let Some(first) = (unsafe { self.rec().output_filters.as_ref() }) else {
            return false;
        };
        // SAFETY: every filter in a chain has its record.
        unsafe { first.frec.as_ref() }.is_some_and(|record| record.ftype < c::AP_FTYPE_PROTOCOL)
    }

    /// Names of the input filters that deal with the content of bodies, not with protocols; the one that is asked first is the first.
    pub fn content_input_filters(&self) -> Vec<&'r [u8]> {
        let mut names = Vec::new();
        let mut next = self.rec().input_filters;
        while next != self.rec().proto_input_filters {
            // SAFETY: H1: the filter chain is this request's; it ends with null.
            let Some(filter) = (unsafe { next.as_ref() }) else {
                break;
            };
            // SAFETY: every filter in a chain has its record, which lives as long as the configuration.
            let name = unsafe { (*filter.frec).name };
            // SAFETY: as above.
            names.extend(unsafe { table::bytes(name) });
            next = filter.next;
        }
        names
    }

    /// `CGIPassAuth On` covers it.
    pub fn passes_auth(&self) -> bool {
        // SAFETY: H1.
        unsafe { c::rw_cgi_pass_auth(self.raw()) != 0 }
    }

    /// `CGIVar REQUEST_URI current-uri` covers it.
    pub fn wants_current_uri(&self) -> bool {
        // SAFETY: H1.
        unsafe { c::rw_request_uri_is_current(self.raw()) != 0 }
    }

    /// Port as httpd tells applications (from the Host header with default settings).
    pub fn port(&self) -> u16 {
        // SAFETY: H1.
        unsafe { c::ap_get_server_port(self.raw()) }
    }

    /// Name as httpd tells applications, HTML-escaped.
    pub fn server_name(&self) -> &'r [u8] {
        // SAFETY: H1.
        let name = unsafe { c::ap_get_server_name_for_url(self.raw()) };
        // SAFETY: H5: escapes into the request's pool.
        let name = unsafe { c::ap_escape_html2(self.rec().pool, name, 0) };
        // SAFETY: H2.
        unsafe { table::bytes(name) }.unwrap_or_default()
    }

    /// `DocumentRoot`.
    pub fn document_root(&self) -> &'r [u8] {
        // SAFETY: H1.
        let root = unsafe { c::ap_document_root(self.raw()) };
        // SAFETY: H2.
        unsafe { table::bytes(root) }.unwrap_or_default()
    }

    /// The URL prefix and directory of the alias that mapped the request.
    pub fn context(&self) -> (&'r [u8], &'r [u8]) {
        // SAFETY: H1.
        let prefix = unsafe { c::ap_context_prefix(self.raw()) };
        // SAFETY: H1.
        let root = unsafe { c::ap_context_document_root(self.raw()) };
        // SAFETY: H2.
        let prefix = unsafe { table::bytes(prefix) }.unwrap_or_default();
        // SAFETY: H2.
        let root = unsafe { table::bytes(root) }.unwrap_or_default();
        (prefix, root)
    }

    /// URL scheme as httpd sees it.
    pub fn scheme(&self) -> &'r [u8] {
        // SAFETY: H1.
        let scheme = unsafe { c::ap_run_http_scheme(self.raw()) };
        // SAFETY: H2.
        unsafe { table::bytes(scheme) }.unwrap_or(b"http")
    }

    /// The request's log id, made if it has none yet.
    pub fn log_id(&self) -> &'r [u8] {
        if self.rec().log_id.is_null() {
            // SAFETY: H1: the hook stores its result where httpd itself would.
            let place = unsafe { &raw mut (*self.raw()).log_id };
            // SAFETY: H1.
            unsafe { c::ap_run_generate_log_id(self.rec().connection, self.raw(), place) };
        }
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().log_id) }.unwrap_or_default()
    }
}

/// An absolute path that httpd and the system understand as it is written. (Others may be, too: what begins with a dot is not looked at.)
fn is_canonical(path: &[u8]) -> bool {
    let mut after_slash = false;
    let odd = |byte: &u8| {
        let odd = after_slash && matches!(byte, b'/' | b'.');
        after_slash = *byte == b'/';
        odd
    };
    path.first() == Some(&b'/') && !path.iter().any(odd)
}
