//! What a backend needs of the request it answers. Implemented over httpd's request; in tests over a list.

use std::os::fd::{BorrowedFd, OwnedFd};

pub use rwsgi_embedding::host::Offered;
use rwsgi_os::region::Bytes;
use rwsgi_wire::response::{BodyFault, Level, Log, Response};

/// What one read of the body gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRead {
    /// At least one byte, and there may be more.
    More,
    /// The body has ended; bytes may have come with the end.
    End,
}

/// The client is gone, or a filter broke: nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Why pieces of an answer were not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// As there.
    Gone,
    /// The file among them cannot be handed over, for want of a descriptor: nothing was sent, and something else may be.
    NoDescriptor,
}

/// Part of a regular file that is open for reading.
#[derive(Clone, Copy, Debug)]
pub struct FilePart<'a> {
    /// The file. Its position is not to be relied on: the other side may share it.
    pub fd: BorrowedFd<'a>,
    /// From where, in bytes.
    pub from: u64,
    /// How many bytes; there were as many when it was looked at last.
    pub length: u64,
}

/// A part of an answer.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// Bytes of the body.
    Data(&'a [u8]),
    /// Bytes of the body that are in memory which others may change.
    Shared(Bytes<'a>),
    /// Bytes of the body that are in a file.
    File(FilePart<'a>),
    /// Send what you have.
    Flush,
    /// The answer is complete.
    End,
    /// The answer breaks off here: the client shall see it.
    Abort,
}

/// What the head of an answer promises of its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// `Content-Length`, in bytes.
    pub length: Option<u64>,
    /// The answer has no body, whatever the application yields (HEAD, 204, 304).
    pub bodiless: bool,
    /// httpd answers in the application's place, once this answer has ended or been given up: nothing of it is sent.
    pub is_replaced: bool,
}

/// The request being answered, and its client.
pub trait Client {
    /// Reads at most `limit` bytes of the body and gives them to `into`, in one or more pieces. Blocks until there is one or the end; what has arrived
    /// behind it goes along, as far as there is room, and what breaks off there is a fault of the next call. The sentence of a fault is for the
    /// application.
    fn read_body(
        &mut self,
        limit: usize,
        into: &mut dyn FnMut(&[u8]),
    ) -> Result<BodyRead, (BodyFault, String)>;
    /// Takes status and headers, after checking them; the sentence says which rule they break. Nothing is sent yet.
    fn start(&mut self, response: &Response<'_>) -> Result<Promise, String>;
    /// Passes pieces of the body on. Blocks when the client is slow.
    fn send(&mut self, pieces: &[Piece<'_>]) -> Result<(), Unsent>;
    /// Passes bytes of a body on, as far as that goes without waiting for the client, after what it was sent before; `None` when nobody knows how
    /// far that would be, and nothing was passed. Once something has been sent, on any thread that has the request for itself.
    fn offer(&mut self, bytes: &[u8]) -> Result<Option<Offered>, Gone>;
    /// When the request is over, however late that is: should its client have been left without the end of it, and the file be shorter
    /// than `end` bytes, then `why` is logged.
    fn watch_file(&mut self, file: OwnedFd, end: u64, why: super::Message);
    /// Whether lines of this level are logged for this request.
    fn wants(&self, level: Level) -> bool;
    /// Logs lines for this request, without a code of their own.
    fn log(&mut self, log: &Log<'_>);
    /// Logs a coded warning for this request.
    fn warn(&mut self, message: &super::Message);
    /// A variable of mod_ssl for this request.
    fn ssl_variable(&self, name: &[u8]) -> Option<Vec<u8>>;
    /// The client's socket, to be watched for its end; `None` when it is not this request's alone (HTTP/2).
    fn socket(&self) -> Option<BorrowedFd<'_>>;
    /// httpd's scoreboard, encoded; empty when the application may not see it.
    fn scoreboard(&self) -> Vec<u8> {
        Vec::new()
    }
    /// httpd has found out that the client is gone.
    fn is_gone(&self) -> bool;
}
