//! What the objects of one request share: the exchange until the request has ended, the body, the answer, the log.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rwsgi_os::usage::{self, Usage};
use rwsgi_wire::response::{Level, Log, Origin};

use super::input::Body;
use super::lines::{Block, Lines, cut};
use super::output::Output;
use crate::cpython::{Attached, Exception, PyResult, Raise, Waits, waits};
use crate::exchange::Exchange;
use crate::threads::current_request;

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
    /// What it is known by.
    pub about: About,
    /// The application, or a callback, has asked for the dict that belongs to it.
    pub has_data: AtomicBool,
    /// What its thread had used when its application was called, if anybody will want to know what it has used.
    start: OnceLock<Start>,
}

/// What is remembered of the moment when an application was called.
#[derive(Clone, Copy)]
struct Start {
    at: Instant,
    cpu: Usage,
    waits: Waits,
}

/// What is known of a request from its beginning.
#[derive(Debug, Clone, Copy, Default)]
pub struct About {
    /// httpd's name for it.
    pub id: Id,
    /// The interpreter that it runs in.
    pub interpreter: u64,
    /// Level from which on its messages are logged, in httpd's numbers.
    pub log_level: u8,
}

/// A short name, without an allocation.
#[derive(Debug, Clone, Copy)]
pub struct Id {
    bytes: [u8; 63],
    length: u8,
}

impl Default for Id {
    fn default() -> Self {
        Self {
            bytes: [0; 63],
            length: 0,
        }
    }
}

impl Id {
    /// The first bytes of a name; httpd's are shorter.
    pub fn new(name: &[u8]) -> Self {
        let mut id = Self::default();
        let length = name.len().min(id.bytes.len());
        if let (Some(place), Some(name)) = (id.bytes.get_mut(..length), name.get(..length)) {
            place.copy_from_slice(name);
        }
        id.length = u8::try_from(length).unwrap_or(0);
        id
    }

    /// The name.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// How much went one way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Meter {
    /// Calls.
    pub times: u64,
    /// Bytes.
    pub bytes: u64,
    /// Time in those calls; measured only if the request is.
    pub time: Duration,
}

impl Meter {
    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.times += other.times;
        self.bytes += other.bytes;
        self.time += other.time;
    }

    /// One more call, which began at `start`.
    pub fn count(&mut self, bytes: usize, start: Option<Instant>) {
        self.times += 1;
        self.bytes += bytes as u64;
        self.time += start.map(|start| start.elapsed()).unwrap_or_default();
    }
}

/// What a request has used.
pub struct Used {
    /// Body bytes that arrived.
    pub input: Meter,
    /// Blocks of the answer.
    pub output: Meter,
    /// Waiting for the GIL.
    pub waits: Waits,
    /// Processor time of its thread.
    pub cpu: Usage,
}

impl Request {
    /// A request that begins.
    pub fn new(exchange: Arc<dyn Exchange>, about: About) -> Arc<Self> {
        Arc::new(Self {
            exchange: Mutex::new(Some(exchange)),
            body: Mutex::default(),
            output: Mutex::default(),
            lines: Mutex::default(),
            about,
            has_data: AtomicBool::new(false),
            start: OnceLock::new(),
        })
    }

    /// The request that this thread is serving.
    pub fn current() -> Option<Arc<Self>> {
        current_request()
    }

    /// When a call begins, if its time is measured.
    pub fn call_start(&self) -> Option<Instant> {
        self.start.get().is_some().then(Instant::now)
    }

    /// From now on what it uses is measured. On its own thread.
    pub fn measure(&self) {
        self.start.get_or_init(|| Start {
            at: Instant::now(),
            cpu: usage::of_thread(),
            waits: waits(),
        });
    }

    /// When its application was called, if it is measured.
    pub fn begun(&self) -> Option<Instant> {
        self.start.get().map(|start| start.at)
    }

    /// What it has used since it began. On its own thread.
    pub fn used(&self, py: Attached<'_>) -> Used {
        let (cpu_now, waited_now) = (usage::of_thread(), waits());
        let (cpu, waited) = match self.start.get() {
            Some(start) => (start.cpu, start.waits),
            None => (cpu_now, waited_now),
        };
        Used {
            input: lock(py, &self.body).meter,
            output: lock(py, &self.output).meter,
            waits: Waits {
                times: waited_now.times - waited.times,
                time: waited_now.time.saturating_sub(waited.time),
            },
            cpu: Usage {
                user: cpu_now.user.saturating_sub(cpu.user),
                system: cpu_now.system.saturating_sub(cpu.system),
                max_resident: cpu_now.max_resident,
            },
        }
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
