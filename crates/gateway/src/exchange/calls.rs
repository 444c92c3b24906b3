//! What the host of embedded mode can be asked, as the C table has it.

use std::os::fd::BorrowedFd;

use rwsgi_embedding::guest::HostExchange;
use rwsgi_embedding::host::Offered;
use rwsgi_wire::response::{File, Log};

use super::{BodyFailure, Gone};

/// What an exchange needs of the host.
pub trait Calls {
    /// Reads up to `limit` body bytes and gives them to `into`; their number, 0 at the end.
    fn read(&mut self, limit: usize, into: &mut dyn FnMut(&[u8])) -> Result<usize, BodyFailure>;
    /// Hands over an encoded `Response`.
    fn response(&mut self, payload: &[u8]) -> Result<(), Gone>;
    /// Hands over body bytes; with `flush` they are on their way when it returns.
    fn data(&mut self, bytes: &[u8], flush: bool) -> Result<(), Gone>;
    /// Hands over body bytes, behind the head, as far as they can be sent without waiting for the client; `None` when that cannot be had. Once some
    /// have been sent, another thread than that of the request may call this, and nothing else.
    fn offer(&mut self, bytes: &[u8]) -> Result<Option<Offered>, Gone>;
    /// Hands over part of a regular file as the rest of the answer.
    fn file(&mut self, fd: BorrowedFd<'_>, part: File) -> Result<(), Gone>;
    /// Logs a line for the request.
    fn log(&mut self, log: &Log<'_>);
    /// Hands over an encoded `Verdict`.
    fn verdict(&mut self, payload: &[u8]);
    /// A variable of mod_ssl.
    fn ssl_variable(&mut self, name: &[u8]) -> Option<Vec<u8>>;
}

impl Calls for HostExchange<'_> {
    fn read(&mut self, limit: usize, into: &mut dyn FnMut(&[u8])) -> Result<usize, BodyFailure> {
        HostExchange::read(self, limit, into).map_err(|(fault, text)| BodyFailure {
            fault: Some(fault),
            text,
        })
    }
    fn response(&mut self, payload: &[u8]) -> Result<(), Gone> {
        HostExchange::response(self, payload).map_err(|_| Gone)
    }
    fn data(&mut self, bytes: &[u8], flush: bool) -> Result<(), Gone> {
        HostExchange::data(self, bytes, flush).map_err(|_| Gone)
    }
    fn offer(&mut self, bytes: &[u8]) -> Result<Option<Offered>, Gone> {
        HostExchange::offer(self, bytes).map_err(|_| Gone)
    }
    fn file(&mut self, fd: BorrowedFd<'_>, part: File) -> Result<(), Gone> {
        HostExchange::file(self, fd, part).map_err(|_| Gone)
    }
    fn log(&mut self, log: &Log<'_>) {
        HostExchange::log(self, log);
    }
    fn verdict(&mut self, payload: &[u8]) {
        HostExchange::verdict(self, payload);
    }
    fn ssl_variable(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        HostExchange::ssl_variable(self, name)
    }
}
