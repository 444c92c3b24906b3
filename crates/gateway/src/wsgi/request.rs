//! What the objects of one request share: the exchange until the request has ended, the body, the answer, the log.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use rwsgi_wire::response::{Level, Log, Origin};

use super::input::Body;
use super::lines::{Block, Lines, cut};
use super::output::Output;
use crate::cpython::{Attached, Exception, PyResult, Raise};
use crate::exchange::Exchange;

/// Where lines go that belong to no request.
pub trait ProcessLog: Send + Sync {
    /// One line, without its end.
    fn log(&self, log: &Log<'_>);
    /// Whether messages of this level are logged at all.
    fn wants(&self, level: Level) -> bool;
    /// A line that comes from no place of the application's source.
    fn line(&self, level: Level, text: &[u8]) {
        let origin = Origin::default();
        self.log(&Log { level, origin, text });
    }
}

/// One request. Python objects of it may outlive it; then `exchange` is gone and they raise.
pub struct Request {
    /// `None` once the request has ended.
    exchange: Mutex<Option<Arc<dyn Exchange>>>,
    /// Held while the body is read.
    pub body: Mutex<Body>,
    /// Held while the answer is written.
    pub output: Mutex<Output>,
    lines: Mutex<Lines>,
    /// Level from which on its messages are logged, in httpd's numbers.
    pub log_level: u8,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Request>>> = const { RefCell::new(None) };
}

impl Request {
    /// A request that begins.
    pub fn new(exchange: Arc<dyn Exchange>, log_level: u8) -> Arc<Self> {
        Arc::new(Self {
            exchange: Mutex::new(Some(exchange)),
            body: Mutex::default(),
            output: Mutex::default(),
            lines: Mutex::default(),
            log_level,
        })
    }

    /// The request that this thread is serving.
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Makes this the request of the thread until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> Serving {
        Serving(CURRENT.replace(Some(Arc::clone(self))))
    }

    /// The exchange, or `RuntimeError` after the end of the request. `what` was called.
    pub fn exchange<'py>(&self, py: Attached<'py>, what: &str) -> PyResult<'py, Arc<dyn Exchange>> {
        self.if_open().ok_or_else(|| {
            Exception::new(
                py,
                Raise::Runtime,
                &format!("{what}() was called after the request had ended"),
            )
        })
    }

    /// The exchange, unless the request has ended.
    pub fn if_open(&self) -> Option<Arc<dyn Exchange>> {
        self.exchange
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends the request: waits for other threads that read or write it, lets the last unfinished log line out, and takes the
    /// exchange away from its objects.
    pub fn finish(&self, py: Attached<'_>) {
        let _body = lock(py, &self.body);
        let _output = lock(py, &self.output);
        self.flush_lines();
        *self.exchange.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Text for the error log of the request, as the application wrote it. False when the request has ended.
    pub fn write_log(&self, text: &[u8]) -> bool {
        let Some(exchange) = self.if_open() else {
            return false;
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut block = Block::new(|text| exchange.log(Level::Error, text));
        lines.push(text, |line| block.push(line));
        true
    }

    /// Lets an unfinished log line out.
    pub fn flush_lines(&self) {
        if let Some(exchange) = self.if_open() {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.flush(|line| exchange.log(Level::Error, line));
        }
    }

    /// Our own message about the request, line by line.
    pub fn report(&self, level: Level, text: &str) {
        if let Some(exchange) = self.if_open() {
            let mut block = Block::new(|text| exchange.log(level, text));
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                cut(line.as_bytes(), &mut |piece| block.push(piece));
            }
        }
    }
}

/// Until dropped, the thread serves a request; then what it served before.
pub struct Serving(Option<Arc<Request>>);

impl Drop for Serving {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Locks without keeping the GIL from the thread that holds the lock.
pub fn lock<'a, T: Send>(py: Attached<'_>, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            // Wait for the other thread, then try again: the guard itself must be taken attached.
            Err(TryLockError::WouldBlock) => py.detach(|| drop(mutex.lock())),
        }
    }
}
