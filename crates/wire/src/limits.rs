//! Every bound of the protocol.

/// Largest payload of a `Head` frame, in bytes. httpd's own limits on a request's head are far below.
pub const HEAD_MAX: usize = 16 << 20;
/// Largest payload of a `Scoreboard` frame, in bytes.
pub const SCOREBOARD_MAX: usize = 16 << 20;
/// Largest payload of a `Response` frame, in bytes.
pub const RESPONSE_MAX: usize = 1 << 20;
/// Most headers in a `Response` frame.
pub const RESPONSE_HEADERS_MAX: usize = 1024;
/// Largest payload of a `Body` or `Data` frame, in bytes.
pub const CHUNK_MAX: usize = 64 << 10;
/// Largest credit of a `Want` frame, in bytes. Of that only [`CHUNK_MAX`] go through the socket, which always has room for them, so answering never blocks.
pub const WANT_MAX: usize = crate::region::ROOM;
/// Largest text of a `Log` or `Abort` frame, in bytes. Longer text is split or cut by the sender.
pub const TEXT_MAX: usize = 32 << 10;
/// Largest control message, in bytes (one SEQPACKET packet).
pub const CONTROL_MAX: usize = 64 << 10;
/// Largest script of a user, in bytes; nobody writes one by hand.
pub const SCRIPT_MAX: u64 = 16 << 20;
