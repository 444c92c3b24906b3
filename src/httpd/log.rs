//! httpd's error log. Level first: nothing is formatted for a level that nobody wants.

use core::ffi::{CStr, c_int};
use std::ffi::CString;

use super::bindings as c;
use super::module;
use super::request::Request;
use super::server::Server;

/// httpd's log levels, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Level {
    Crit = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
    Trace1 = 8,
}

/// A place in our source, or in that of an application, for `%F` of `ErrorLogFormat`.
#[derive(Clone, Copy)]
pub struct Site<'s> {
    /// Source file.
    pub file: &'s CStr,
    /// Line in it.
    pub line: u32,
}

/// The place where it is written.
macro_rules! site {
    () => {
        $crate::httpd::Site {
            file: match core::ffi::CStr::from_bytes_with_nul(concat!(file!(), "\0").as_bytes()) {
                Ok(file) => file,
                Err(_) => c"?",
            },
            line: line!(),
        }
    };
}
pub(crate) use site;

/// Logs for the whole process (the main server's log).
pub fn process(level: Level, site: Site<'_>, text: &str) {
    // SAFETY: H1: httpd sets this pointer before it loads modules and changes it only while a configuration is read.
    let s = unsafe { c::ap_server_conf };
    write_error(s, level, site, text, 0);
}

fn write_error(s: *const c::server_rec, level: Level, site: Site<'_>, text: &str, flags: c_int) {
    let text = c_text(text);
    let level = level as c_int | c::APLOG_NOERRNO as c_int | flags;
    // SAFETY: H2: `s` is null or a server of this configuration; "%s" takes exactly the one string given.
    unsafe {
        c::ap_log_error_(
            site.file.as_ptr(),
            site.line as c_int,
            module::index(),
            level,
            0,
            s,
            c"%s".as_ptr(),
            text.as_ptr(),
        );
    }
}

/// A C string of `text`; a NUL in it becomes a visible mark.
fn c_text(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|_| CString::new(text.replace('\0', "\\x00")).unwrap_or_default())
}

impl Server<'_> {
    /// Would a message of this level be written?
    pub fn wants(&self, level: Level) -> bool {
        // SAFETY: H1: `self` is a live server.
        let limit = unsafe { c::ap_get_server_module_loglevel(self.raw(), module::index()) };
        level as c_int <= limit
    }

    /// Writes one message to this server's error log.
    pub fn log(&self, level: Level, site: Site<'_>, text: &str) {
        if self.wants(level) {
            write_error(self.raw(), level, site, text, 0);
        }
    }
}

/// Where the person is who starts httpd: its terminal, while the configuration is read.
pub struct Terminal<'s>(pub Server<'s>);

impl Terminal<'_> {
    /// Would a message of this level be written?
    pub fn wants(&self, level: Level) -> bool {
        self.0.wants(level)
    }

    /// Writes one line, without date and level.
    pub fn log(&self, level: Level, site: Site<'_>, text: &str) {
        write_error(self.0.raw(), level, site, text, c::APLOG_STARTUP as c_int);
    }
}

impl Request<'_> {
    /// The level from which on messages of this module are written for this request, in httpd's numbers.
    pub fn log_level(&self) -> u8 {
        // SAFETY: H1: `self` is a live request.
        let limit = unsafe { c::ap_get_request_module_loglevel(self.raw(), module::index()) };
        u8::try_from(limit).unwrap_or(0)
    }

    /// Would a message of this level be written for this request?
    pub fn wants(&self, level: Level) -> bool {
        level as u8 <= self.log_level()
    }

    /// Writes one message for this request.
    pub fn log(&self, level: Level, site: Site<'_>, text: &str) {
        if !self.wants(level) {
            return;
        }
        let text = c_text(text);
        let level = level as c_int | c::APLOG_NOERRNO as c_int;
        // SAFETY: H1: `self` is a live request; "%s" takes exactly the one string given.
        unsafe {
            c::ap_log_rerror_(
                site.file.as_ptr(),
                site.line as c_int,
                module::index(),
                level,
                0,
                self.raw(),
                c"%s".as_ptr(),
                text.as_ptr(),
            );
        }
    }
}
