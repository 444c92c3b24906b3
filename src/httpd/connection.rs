//! The client's connection.

use core::ffi::c_int;
use core::marker::PhantomData;
use std::os::fd::BorrowedFd;

use super::bindings as c;
use super::table;
use crate::backend::client::Gone;

/// The connection of a request: for HTTP/2 the stream's own, whose socket belongs to the primary connection.
#[derive(Clone, Copy)]
pub struct Connection<'r> {
    pub(super) raw: *mut c::conn_rec,
    pub(super) life: PhantomData<&'r ()>,
}

impl<'r> Connection<'r> {
    pub(super) fn rec(&self) -> &'r c::conn_rec {
        // SAFETY: H1: made from a live request, whose connection outlives it.
        unsafe { &*self.raw }
    }

    /// httpd has found out that the client is gone.
    pub fn is_aborted(&self) -> bool {
        self.rec().aborted != 0
    }

    /// httpd will look for another request on it.
    pub(super) fn is_kept_alive(&self) -> bool {
        self.rec().keepalive == c::AP_CONN_KEEPALIVE
    }

    /// Sends what httpd keeps for the client, as far as there is room; whether that was all.
    pub(super) fn send_kept(&self) -> Result<bool, Gone> {
        // SAFETY: H1.
        let status = unsafe { c::rw_send_kept(self.raw) };
        if status != 0 || self.is_aborted() {
            return Err(Gone);
        }
        Ok(self.rec().data_in_output_filters == 0)
    }

    /// This connection has no socket of its own (an HTTP/2 stream).
    pub fn is_secondary(&self) -> bool {
        !self.rec().master.is_null()
    }

    /// The client's socket, to be watched for a hang-up only; `None` when it is not this request's alone.
    pub fn socket(&self) -> Option<BorrowedFd<'r>> {
        if self.is_secondary() {
            return None;
        }
        // SAFETY: H1; returns null for connections without a socket.
        let socket = unsafe { c::ap_get_conn_socket(self.raw) };
        if socket.is_null() {
            return None;
        }
        let mut fd: c_int = -1;
        // SAFETY: a live socket of APR; `fd` is writable.
        let status = unsafe { c::apr_os_sock_get(&raw mut fd, socket) };
        if status != 0 || fd < 0 {
            return None;
        }
        // SAFETY: the descriptor stays open while the request is served, which is `'r`.
        Some(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// Sets how long a read or write may wait, in microseconds, and answers what it was before; `None` for a connection without a socket
    /// of its own, where nothing is set.
    pub fn set_timeout(&self, microseconds: i64) -> Option<i64> {
        if self.is_secondary() {
            return None;
        }
        // SAFETY: H1; returns null for connections without a socket.
        let socket = unsafe { c::ap_get_conn_socket(self.raw) };
        if socket.is_null() {
            return None;
        }
        let mut before = 0;
        // SAFETY: a live socket of APR; `before` is writable.
        let known = unsafe { c::apr_socket_timeout_get(socket, &raw mut before) } == 0;
        // SAFETY: a live socket of APR, which is this thread's while it serves a request.
        let done = known && unsafe { c::apr_socket_timeout_set(socket, microseconds) } == 0;
        done.then_some(before)
    }

    /// Makes httpd close the connection after this response.
    pub fn close_after_response(&self) {
        // SAFETY: H1: the connection is this thread's while it serves one of its requests.
        unsafe { (*self.raw).keepalive = c::AP_CONN_CLOSE };
    }

    /// The client counts as gone: it gets nothing more, not even the end of an answer.
    pub fn abandon(&self) {
        self.close_after_response();
        // SAFETY: H1: as above.
        unsafe { (*self.raw).aborted = 1 };
    }

    /// Local address in text form.
    pub fn local_ip(&self) -> &'r [u8] {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().local_ip) }.unwrap_or_default()
    }

    /// The host that the listener was configured with (`Listen host:port`); empty when with a port alone.
    pub fn local_host(&self) -> &'r [u8] {
        // SAFETY: H1: set when the connection was accepted.
        let address = unsafe { self.rec().local_addr.as_ref() };
        // SAFETY: H2.
        address
            .and_then(|address| unsafe { table::bytes(address.hostname) })
            .unwrap_or_default()
    }

    /// The port that the client connected to.
    pub fn local_port(&self) -> u16 {
        // SAFETY: H1: set when the connection was accepted.
        unsafe { self.rec().local_addr.as_ref() }.map_or(0, |address| address.port)
    }

    /// The connection's log id, if a log format asked for it.
    pub fn log_id(&self) -> Option<&'r [u8]> {
        // SAFETY: H2.
        unsafe { table::bytes(self.rec().log_id) }
    }

    /// The connection came over TLS, as mod_ssl says.
    pub fn is_https(&self) -> bool {
        // SAFETY: H1.
        unsafe { c::rw_is_https(self.raw) != 0 }
    }
}
