//! The tables as C sees them.

use std::ffi::c_void;

/// Version of both tables.
pub const ABI: u32 = 5;

/// Returned by any function whose side panicked or failed in itself.
pub const FAILED: i32 = -1;

/// Name of the function that `_rwsgi` exports, a [`GuestEntry`].
pub const GUEST_ENTRY: &std::ffi::CStr = c"rwsgi_guest";

/// Type of the function named [`GUEST_ENTRY`]: returns a table that lives as long as the library.
pub type GuestEntry = extern "C" fn() -> *const GuestTable;

/// Takes `len` bytes, which are lent for this call; `taker` is what [`HostTable::read`] was given with it.
pub type Take = extern "C" fn(taker: *mut c_void, bytes: *const u8, len: usize);

/// What the host provides.
#[repr(C)]
pub struct HostTable {
    /// [`ABI`].
    pub abi: u32,
    /// Size of this struct in bytes.
    pub size: u32,
    /// Reads up to `limit` body bytes and gives them to `take`, in one or more pieces; none at the end of the body. 0, or a `BodyFault`,
    /// with a UTF-8 text of `*text_len` bytes in `text` (room for [`TEXT_ROOM`] bytes). Blocks.
    pub read: extern "C" fn(
        exchange: *mut c_void,
        limit: usize,
        take: Take,
        taker: *mut c_void,
        text: *mut u8,
        text_len: *mut usize,
    ) -> i32,
    /// Takes an encoded `Response`. 0, or [`FAILED`] when it breaks a rule.
    pub response: extern "C" fn(exchange: *mut c_void, payload: *const u8, len: usize) -> i32,
    /// Takes body bytes of the answer; with `flush` non-zero they are on their way to the client when it returns. 0, or a
    /// [`crate::host::WriteFault`]. Blocks.
    pub data: extern "C" fn(exchange: *mut c_void, bytes: *const u8, len: usize, flush: u8) -> i32,
    /// Takes part of the regular file behind the descriptor, which is lent for this call, as the rest of the answer: `length` bytes at
    /// `from`. With `wait` non-zero the client has them when it returns. 0, or a [`crate::host::WriteFault`]. Blocks.
    pub file: extern "C" fn(exchange: *mut c_void, fd: i32, from: u64, length: u64, wait: u8) -> i32,
    /// Takes an encoded `Verdict`, of a call other than `Application`.
    pub verdict: extern "C" fn(exchange: *mut c_void, payload: *const u8, len: usize),
    /// Asks mod_ssl for a variable of this request: its length, and as much of it as fits into the `room` bytes at `value`. Minus one when
    /// there is none.
    pub ssl_variable: extern "C" fn(
        exchange: *mut c_void,
        name: *const u8,
        len: usize,
        value: *mut u8,
        room: usize,
    ) -> isize,
    /// One line for the error log of the request: an encoded `Log`.
    pub log: extern "C" fn(exchange: *mut c_void, log: *const u8, len: usize),
    /// One line for the error log of the server: an encoded `Log`.
    pub process_log: extern "C" fn(log: *const u8, len: usize),
    /// Calls `take` with `sink` and an encoded `Scoreboard`, lent for that call, or not at all when applications may not see it.
    pub scoreboard: extern "C" fn(sink: *mut c_void, take: extern "C" fn(*mut c_void, *const u8, usize)),
    /// Takes body bytes of the answer, behind its head, as far as they can be sent without waiting for the client, and what it kept of those before. 0: all of
    /// them are on their way; [`SOME_LEFT`]: the first `*taken` bytes are the host's from now on, and some of what there is waits for the
    /// client; [`NOT_HERE`]: this cannot be had for this answer, and nothing was taken; else a [`crate::host::WriteFault`].
    pub offer: extern "C" fn(exchange: *mut c_void, bytes: *const u8, len: usize, taken: *mut usize) -> i32,
}

/// Answer of [`HostTable::offer`].
pub const SOME_LEFT: i32 = 3;
/// Answer of [`HostTable::offer`].
pub const NOT_HERE: i32 = 4;

/// Room for a fault's text in [`HostTable::read`] and a refusal in [`GuestTable::open`], in bytes.
pub const TEXT_ROOM: usize = 1024;

/// What the guest provides.
#[repr(C)]
pub struct GuestTable {
    /// [`ABI`].
    pub abi: u32,
    /// Size of this struct in bytes.
    pub size: u32,
    /// Starts Python. 0, or [`FAILED`] with a UTF-8 sentence of `*text_len` bytes in `text` (room for [`TEXT_ROOM`] bytes).
    pub open: extern "C" fn(
        host: *const HostTable,
        settings: *const u8,
        len: usize,
        text: *mut u8,
        text_len: *mut usize,
    ) -> i32,
    /// Runs one request: `head` is an encoded `Head`, `record` the address of httpd's record of the request for the application, or null.
    /// 0 when the answer is complete, an `AbortReason`, or [`FAILED`].
    pub serve: extern "C" fn(exchange: *mut c_void, head: *const u8, len: usize, record: *mut c_void) -> i32,
    /// Ends Python within `seconds`, after the last `serve` has returned.
    pub close: extern "C" fn(seconds: u32),
}
