//! How an answer is to be passed on, as the process group says.

use std::time::Duration;

/// How answers are passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relaying {
    /// How long to wait for more before what there is is sent.
    pub flush_delay: Duration,
    /// Bytes after which it is sent in any case; 0: no limit.
    pub flush_after: u64,
    /// Longest header, name and value, in bytes; 0: no limit.
    pub header_limit: u64,
}
