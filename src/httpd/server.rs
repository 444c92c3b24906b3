//! A (virtual) server of httpd, and what we keep with it.

use core::ffi::c_int;
use core::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::bindings as c;
use super::module;
use super::regex::Regex;
use super::table;
use crate::config::ServerConfig;
use crate::directives::RawServer;

/// What a server's configuration slot holds.
#[derive(Default)]
pub struct ServerSlot {
    /// As written.
    pub raw: RawServer,
    /// As meant; filled once the whole configuration has been read.
    pub config: OnceLock<Arc<ServerConfig>>,
    /// The compiled pattern of each of `config`'s aliases that has one, in their order.
    pub patterns: OnceLock<Vec<Option<Regex>>>,
}

/// A server, lent for a callback.
#[derive(Clone, Copy)]
pub struct Server<'s> {
    raw: *mut c::server_rec,
    life: PhantomData<&'s mut &'s ()>,
}

impl<'s> Server<'s> {
    /// # Safety
    /// * `raw` is a live server for at least `'s` (H1).
    pub(super) unsafe fn lend(raw: *mut c::server_rec) -> Self {
        Self {
            raw,
            life: PhantomData,
        }
    }

    pub(super) fn raw(&self) -> *mut c::server_rec {
        self.raw
    }

    fn rec(&self) -> &'s c::server_rec {
        // SAFETY: H1: the promise of `lend`.
        unsafe { &*self.raw }
    }

    /// This server and all that follow it; from the main server: all.
    pub fn and_following(self) -> Vec<Self> {
        let mut all = vec![self];
        let mut next = self.rec().next;
        while !next.is_null() {
            // SAFETY: H1: the list is fixed once the configuration has been read.
            let server = unsafe { Self::lend(next) };
            all.push(server);
            next = server.rec().next;
        }
        all
    }

    /// What we keep with it.
    pub fn slot(&self) -> Option<&'s ServerSlot> {
        // SAFETY: H6.
        let slot = unsafe { c::ap_get_module_config(self.rec().module_config, module::record()) };
        // SAFETY: H6: `create_server` and `merge_server` store a `ServerSlot`.
        unsafe { slot.cast::<ServerSlot>().as_ref() }
    }

    /// Its resolved configuration.
    pub fn config(&self) -> Option<&'s Arc<ServerConfig>> {
        self.slot()?.config.get()
    }

    /// It is a `<VirtualHost>`.
    pub fn is_virtual(&self) -> bool {
        self.rec().is_virtual != 0
    }

    /// `ServerName`, without port.
    pub fn name(&self) -> &'s [u8] {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().server_hostname) }.unwrap_or_default()
    }

    /// The port in `ServerName`, or 0.
    pub fn named_port(&self) -> u16 {
        self.rec().port
    }

    /// `ServerAdmin`.
    pub fn admin(&self) -> Option<&'s [u8]> {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().server_admin) }
    }

    /// httpd's `Timeout`.
    pub fn timeout(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.rec().timeout).unwrap_or(0))
    }

    /// The open error log; `None` when it is syslog.
    pub fn error_log(&self) -> Option<BorrowedFd<'s>> {
        let file = self.rec().error_log;
        if file.is_null() {
            return None;
        }
        let mut fd: c_int = -1;
        // SAFETY: H1: an open file of the configuration.
        let status = unsafe { c::apr_os_file_get(&raw mut fd, file) };
        if status != 0 || fd < 0 {
            return None;
        }
        // SAFETY: open as long as the configuration.
        Some(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// The log level for this module, in httpd's numbers.
    pub fn log_level(&self) -> u8 {
        // SAFETY: H1.
        let level = unsafe { c::ap_get_server_module_loglevel(self.raw, module::index()) };
        u8::try_from(level).unwrap_or(0)
    }

    /// The pool of the process: lives over restarts. For plain data only: functions in it would dangle (H7).
    pub(super) fn process_pool(&self) -> *mut c::apr_pool_t {
        // SAFETY: H1: every server points to the process record.
        unsafe { (*self.rec().process).pool }
    }
}
