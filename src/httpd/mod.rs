//! Door 1: httpd's C API. The only unsafe code of the Apache half.
//!
//! What httpd guarantees, and what every `SAFETY:` comment in this folder cites:
//!
//! * **H1** pointers given to a hook are valid, and ours alone on this thread, until the hook returns (or on a thread of ours in its place,
//!   which has them to itself: see [`Request::offer`]);
//! * **H2** strings reached from a `request_rec`, `server_rec` or `conn_rec` end in NUL (or are null), live as long as that
//!   structure's pool, and are bytes, not UTF-8;
//! * **H3** a pool is used on one thread at a time only, except configuration pools, which nobody changes while requests are served;
//! * **H4** cleanups run in reverse order when their pool is destroyed and may not touch a younger pool;
//! * **H5** pool allocation does not return null: httpd aborts instead;
//! * **H6** our slot in a configuration vector holds what our create or merge function stored, or null;
//! * **H7** `post_config` may run twice, with this library unloaded in between: no static survives, or every one does;
//! * **H8** no panic may leave us: every function that httpd calls is one line around [`entry::guard`];
//! * **H9** after a fork only the forking thread exists.
//!
//! Outside this folder nothing sees a raw pointer. To add a binding: the whole API is bound by `build.rs`; a macro or inline
//! function gets a line in `shim.h`; then a safe method on the type it belongs to.
#![allow(unsafe_code)]

mod answer;
mod auth;
mod bindings;
mod brigade;
mod command;
mod connection;
mod entry;
mod file;
mod log;
mod module;
mod mpm;
mod next_request;
mod offer;
mod other_child;
mod pool;
mod regex;
mod request;
mod scoreboard;
mod server;
mod table;
mod together;

pub use brigade::BodyError;
pub use connection::Connection;
pub use entry::log_panics_of_this_process;
pub(crate) use log::site;
pub use log::{Level, Site, Terminal, process as log_for_process};
pub use module::{BesideUs, beside_us, loaded_as, own_path};
pub use mpm::{
    Mpm, RunState, add_version_component, banner, facts, httpd_version, in_runtime_dir, in_server_root,
    unix_identity,
};
pub use next_request::prepare_child as expect_next_requests;
pub use other_child::{Counting, Memory, watch_child, with_main_server};
pub use pool::Pool;
pub use regex::Regex;
pub use request::{FileKind, Request};
pub use scoreboard::scoreboard;
pub use server::{Server, ServerSlot};

/// What a hook tells httpd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ours, done.
    Ok,
    /// Not ours.
    Declined,
    /// Ours, refused or failed with this HTTP status: httpd makes the error page.
    Status(u16),
}

impl Verdict {
    fn code(self) -> core::ffi::c_int {
        match self {
            Self::Ok => bindings::OK as core::ffi::c_int,
            Self::Declined => bindings::DECLINED,
            Self::Status(status) => status.into(),
        }
    }
}
