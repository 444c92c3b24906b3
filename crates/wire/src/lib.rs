//! The exchange and the control messages of rwsgi as bytes: no I/O, no unsafe, no dependency.
//!
//! An **exchange** is one request and its answer between an httpd child and a worker, over a stream socket:
//!
//! ```text
//!  child                                   worker
//!    Head ────────────────────────────────>        not taken yet: may be repeated elsewhere
//!         <──────────────────────────────── Taken  from here on the application may have run
//!         <──────────────────────────────── Want   only when the application reads its input
//!    Body / BodyEnd / BodyAbort ──────────>
//!         <──────────────────────────────── Log*   at any time after Taken
//!         <──────────────────────────────── Response, Data*, File?
//!    Sent ────────────────────────────────>        only when File asks for it
//!         <──────────────────────────────── Ask    server_metrics(), at any time after Taken
//!    Scoreboard ──────────────────────────>        nothing in it unless server-metrics is On
//!         <──────────────────────────────── End | Abort
//! ```
//!
//! Instead of `Taken` a worker may say `Stale` (it has older code than what is on disk and is being replaced) or `Abort` (it, or the
//! manager in its place, cannot serve). An answer ends with `End` or `Abort`, never by closing: a closed connection is a death.
//!
//! - [`frame`]: length-prefixed frames, [`frame::Decoder`]; [`region`]: bytes that lie in shared memory instead
//! - [`head`], [`response`]: what is in `Head`, `Response`, `Abort`, `Taken`, `Log`
//! - [`mod@httpd`]: what applications may ask about httpd; [`scoreboard`]: what it is doing
//! - [`call`]: what is asked of scripts besides answering requests; the answer is one `Verdict` in place of `Response` and `Data`
//! - [`control`]: httpd to manager, child to manager, manager to worker; one message per SEQPACKET packet
//! - [`admin`]: what the tool for administrators asks the manager
//! - [`base`]: applications that run as the user below whose directory they are
//! - [`python`]: how a Python is to be started, set up and ended
//! - [`script`]: a script that a worker has loaded or is to load
//! - [`life`], [`scale`]: what limits the life of workers, and how many there are
//! - [`limits`]: every bound in one place; [`flow`]: how many lines of a worker go to a log
//! - [`pairs`]: names and values as they travel; [`field`]: what header fields may consist of; [`text`]: what others have named, as text
//! - [`code`]: the message catalogue entry
//!
//! If you read only one test: `frame::tests::every_truncation_point_waits_for_more`.
#![forbid(unsafe_code)]

pub mod admin;
pub mod base;
pub mod bytes;
pub mod call;
pub mod code;
pub mod control;
pub mod field;
pub mod flow;
pub mod frame;
pub mod head;
pub mod httpd;
pub mod identity;
pub mod life;
pub mod limits;
pub mod pairs;
pub mod python;
pub mod quota;
pub mod region;
pub mod response;
pub mod scale;
pub mod scoreboard;
pub mod script;
pub mod text;

use std::fmt;

/// Version of everything in this crate. Peers of different versions refuse each other.
pub const VERSION: u16 = 6;

/// Bytes that are not what they should be. The only remedy is to close the connection and log this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// A message ended before `field`.
    Short {
        /// The field that was expected.
        field: &'static str,
    },
    /// `field` has a value outside its range.
    Value {
        /// The field.
        field: &'static str,
        /// What was found.
        found: u64,
    },
    /// `field` is larger than its limit.
    TooLarge {
        /// The field.
        field: &'static str,
        /// Its size in bytes or entries.
        size: u64,
        /// The largest size allowed.
        limit: u64,
    },
    /// Bytes were left after the last field of a message.
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The peer speaks another version.
    Version {
        /// The version the peer speaks.
        theirs: u16,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { field } => write!(f, "message ends before {field}"),
            Self::Value { field, found } => write!(f, "{field} has the impossible value {found}"),
            Self::TooLarge { field, size, limit } => write!(f, "{field} is {size}, the limit is {limit}"),
            Self::Trailing { bytes } => write!(f, "{bytes} bytes follow the last field of a message"),
            Self::Version { theirs } => {
                write!(
                    f,
                    "the other side speaks protocol version {theirs}, this side {VERSION}: parts of different rwsgi builds are mixed"
                )
            }
        }
    }
}

impl std::error::Error for WireError {}
