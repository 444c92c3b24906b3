//! The exchange as calls through the C table, in an httpd child.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rwsgi_embedding::guest::{HostExchange, HostLog};
use rwsgi_wire::response::{AbortReason, File, Log};

use super::{BodyFailure, Exchange, Flushed, Gone, Wait};
use crate::cpython::Lent;

/// What an exchange needs of the host.
pub trait Calls {
    /// Reads up to `limit` body bytes and gives them to `into`; their number, 0 at the end.
    fn read(&mut self, limit: usize, into: &mut dyn FnMut(&[u8])) -> Result<usize, BodyFailure>;
    /// Hands over an encoded `Response`.
    fn response(&mut self, payload: &[u8]) -> Result<(), Gone>;
    /// Hands over body bytes; with `flush` they are on their way when it returns.
    fn data(&mut self, bytes: &[u8], flush: bool) -> Result<(), Gone>;
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

/// One request of an httpd child. httpd's functions may be called on the request's own thread only: on another one, reading and
/// writing fail with a sentence, and log lines go to the log of the server.
pub struct Carrier {
    host: Arc<Lent>,
    log: HostLog,
    has_body: bool,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    head: Option<Vec<u8>>,
    data: Vec<u8>,
    begun: bool,
    gone: bool,
}

impl Carrier {
    /// For a host that is lent during the request.
    pub fn new(host: &Arc<Lent>, log: HostLog, has_body: bool) -> Self {
        Self {
            host: Arc::clone(host),
            log,
            has_body,
            held: Mutex::default(),
        }
    }

    fn held_back(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over what is held back, then `data`.
    fn deliver(&self, data: &[u8], flush: bool) -> Result<(), Gone> {
        let mut held = self.held_back();
        if held.gone {
            return Err(Gone);
        }
        let delivered = self.host.with(|host| {
            if let Some(head) = held.head.take() {
                held.begun = true;
                host.response(&head)?;
            }
            let late = std::mem::take(&mut held.data);
            if !late.is_empty() || (data.is_empty() && flush) {
                host.data(&late, flush && data.is_empty())?;
            }
            if data.is_empty() {
                Ok(())
            } else {
                host.data(data, flush)
            }
        });
        let result = delivered.unwrap_or(Err(Gone));
        held.gone = result.is_err();
        result
    }
}

impl Exchange for Carrier {
    fn read(&self, credit: usize, into: &mut dyn FnMut(&[u8])) -> Result<usize, BodyFailure> {
        if !self.has_body {
            return Ok(0);
        }
        let read = |host: &mut dyn Calls| host.read(credit.max(1), into);
        self.host.with(read).unwrap_or_else(|| {
            let text = "in embedded mode the body can be read on the thread of the request only";
            Err(BodyFailure {
                fault: None,
                text: text.into(),
            })
        })
    }

    fn head(&self, payload: &[u8]) {
        self.held_back().head = Some(payload.to_vec());
    }

    fn verdict(&self, payload: &[u8]) {
        // On another thread there is nobody to take it, and the call has no answer.
        let _ = self.host.with(|host| host.verdict(payload));
    }

    fn ssl_variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.host.with(|host| host.ssl_variable(name)).flatten()
    }

    fn push(&self, data: &[u8]) {
        self.held_back().data.extend_from_slice(data);
    }

    fn held(&self) -> usize {
        self.held_back().data.len()
    }

    fn flush(&self, wait: Wait) -> Result<Flushed, Gone> {
        match wait {
            // httpd may write to a slow client whenever it is given something.
            Wait::No => Ok(Flushed::Part),
            Wait::Yes => self.deliver(&[], true).map(|()| Flushed::All),
        }
    }

    fn flush_soon(&self, _last: bool) -> Result<Flushed, Gone> {
        // Only the thread of the request may call httpd, and it is about to go on.
        self.flush(Wait::No)
    }

    fn write(&self, data: &[u8]) -> Result<(), Gone> {
        self.deliver(data, true)
    }

    fn file(&self, fd: BorrowedFd<'_>, part: File) -> Result<(), Gone> {
        self.deliver(&[], false)?;
        let sent = self.host.with(|host| host.file(fd, part)).unwrap_or(Err(Gone));
        self.held_back().gone |= sent.is_err();
        sent
    }

    fn log_line(&self, log: &Log<'_>) {
        if self.host.with(|host| host.log(log)).is_none() {
            self.log.log(log);
        }
    }

    fn has_begun(&self) -> bool {
        self.held_back().begun
    }

    fn end(&self) -> Result<(), Gone> {
        self.deliver(&[], false)
    }

    fn abort(&self, _reason: AbortReason, _text: &str) {
        let mut held = self.held_back();
        // The host learns the reason as the result of the call.
        (held.head, held.gone) = (None, true);
        held.data.clear();
    }
}
