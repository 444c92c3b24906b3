//! One request and its answer, whoever carries it: frames over a socket ([`socket`]) or calls through the C table ([`host`]).
//!
//! Nothing here knows Python. What blocks says so: callers detach first.

mod calls;
pub mod host;
mod prompt;
mod shared;
pub mod socket;

use std::os::fd::BorrowedFd;

use rwsgi_wire::response::{AbortReason, BodyFault, File, Level, Log, Origin};

/// So many bytes of small blocks wait for others at most.
pub const HOLD: usize = 64 << 10;

/// The other side is gone: nobody waits for this answer any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Why no more body bytes will come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyFailure {
    /// Which fault; `None` when the other side is gone altogether.
    pub fault: Option<BodyFault>,
    /// A sentence.
    pub text: String,
}

/// Whether a call may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It returns at once.
    No,
    /// It may block: detach first.
    Yes,
}

/// What is left after a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing: all is on its way.
    All,
    /// It would have had to wait.
    Part,
}

/// One request and its answer. Any thread may call, one at a time per direction (the callers' locks see to it), `log` always.
///
/// An answer is **held back** by [`head`](Self::head) and [`push`](Self::push) and goes out with the next
/// [`flush`](Self::flush), [`write`](Self::write) or [`end`](Self::end). As long as [`has_begun`](Self::has_begun) is false an
/// [`abort`](Self::abort) still yields a proper error page.
pub trait Exchange: Send + Sync {
    /// Reads body bytes, at most `credit`, and gives them to `into`; their number, 0 at the end of the body. Blocks.
    fn read(&self, credit: usize, into: &mut dyn FnMut(&[u8])) -> Result<usize, BodyFailure>;
    /// Holds back status and headers: an encoded `Response`.
    fn head(&self, payload: &[u8]);
    /// Holds back body bytes.
    fn push(&self, data: &[u8]);
    /// How many bytes are held back.
    fn held(&self) -> usize;
    /// Sends what is held back.
    fn flush(&self, wait: Wait) -> Result<Flushed, Gone>;
    /// As [`flush`](Self::flush) without waiting, but what follows soon may go out together with it: within about a millisecond it is on its way,
    /// whatever the caller does meanwhile.
    fn flush_soon(&self) -> Result<Flushed, Gone>;
    /// Sends what is held back and then `data`, without copying it. Blocks.
    fn write(&self, data: &[u8]) -> Result<(), Gone>;
    /// Sends what is held back and then part of a regular file, which is the rest of the answer. With `part.wait` nothing reads the file
    /// any more when it returns. Blocks.
    fn file(&self, fd: BorrowedFd<'_>, part: File) -> Result<(), Gone>;
    /// Holds back an encoded `Verdict`, the whole answer to a call other than `Application`.
    fn verdict(&self, payload: &[u8]);
    /// A variable of mod_ssl, where it can be asked; on the thread of the request only.
    fn ssl_variable(&self, name: &[u8]) -> Option<Vec<u8>>;
    /// A line for the error log of this request; longer ones are cut by the caller.
    fn log_line(&self, log: &Log<'_>);
    /// A line that comes from no place of the application's source.
    fn log(&self, level: Level, text: &[u8]) {
        let origin = Origin::default();
        self.log_line(&Log { level, origin, text });
    }
    /// httpd's scoreboard, encoded; empty when the application may not see it. Blocks.
    fn scoreboard(&self) -> Vec<u8> {
        Vec::new()
    }
    /// Whether any of the answer may have reached the client.
    fn has_begun(&self) -> bool;
    /// The answer is complete. Blocks.
    fn end(&self) -> Result<(), Gone>;
    /// No (complete) answer will come. Blocks.
    fn abort(&self, reason: AbortReason, text: &str);
}
