//! A request answered by Python in this httpd child.
//!
//! Python starts in a thread of its own, which it takes for its main thread: httpd's main thread is not ours to park, and in threaded
//! MPMs it never serves. Requests run on httpd's threads.

use std::cell::Cell;
use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rwsgi_embedding::host::{
    Guest, Host, Look, Offered, Outcome, ProcessLog, ReadFault, Refused, WriteFault,
};
use rwsgi_embedding::settings::Settings;
use rwsgi_os::{process, signal};
use rwsgi_wire::control::Preload;
use rwsgi_wire::httpd::Httpd;
use rwsgi_wire::response::{self, AbortReason, Log, Response};

use super::client::{Client, Piece};
use super::file::File;
use super::libpython;
use super::relay::Relay;
use super::{Failure, Fault};

/// What Python's settings take from httpd and its configuration.
pub struct Start {
    /// `WSGIPythonHome`.
    pub python_home: Option<PathBuf>,
    /// How it is started, set up and ended.
    pub python: rwsgi_wire::python::Python,
    /// `_rwsgi.abi3.so`, opened by root.
    pub gateway: Option<std::fs::File>,
    /// What applications may ask about httpd.
    pub httpd: Httpd,
    /// Log level of the main server for this module.
    pub log_level: u8,
    /// Scripts to be loaded before the first request.
    pub preload: Vec<Preload>,
    /// Takes lines that belong to no request.
    pub log: ProcessLog,
    /// Looks at the scoreboard, if applications may.
    pub look: Option<Look>,
}

/// Python, running.
pub struct Python {
    guest: Guest,
    end: Mutex<Option<MainThread>>,
}

/// The thread that started Python, parked.
struct MainThread {
    end: SyncSender<()>,
    is_done: Receiver<()>,
    thread: JoinHandle<()>,
}

thread_local! {
    /// This thread is running Python for a request. (Needs no destructor, so the library stays unloadable.)
    static SERVES: Cell<bool> = const { Cell::new(false) };
}

/// How long Python may take to end with its child.
const END_LIMIT: Duration = Duration::from_secs(2);

impl Python {
    /// Opens libpython and the Python half, and starts it. Blocks until it serves or has failed; the sentence says why.
    pub fn start(start: &Start) -> Result<Self, String> {
        let gateway = start
            .gateway
            .as_ref()
            .ok_or("_rwsgi.abi3.so is not open in this process")?;
        let gateway = PathBuf::from(format!("/proc/self/fd/{}", gateway.as_raw_fd()));
        let found = libpython::find(start.python_home.as_deref())?;
        let bytes = |path: PathBuf| path.into_os_string().into_encoded_bytes();
        let settings = Settings {
            program: bytes(found.program),
            home: found.home.map(bytes).unwrap_or_default(),
            python: start.python.clone(),
            gateway: bytes(gateway.clone()),
            multithread: start.httpd.threads != 1,
            multiprocess: start.httpd.processes != 1,
            httpd: start.httpd.clone(),
            log_level: start.log_level,
            preload: start
                .preload
                .iter()
                .flat_map(|load| [load.application_group.clone(), load.script.clone()])
                .collect(),
        };
        let guest = libpython::open(&found.libraries, &gateway)?;
        let (log, look) = (start.log, start.look);
        let (tell, told) = sync_channel(1);
        let (end, ended_by) = sync_channel(1);
        let (done, is_done) = sync_channel(1);
        let thread = signal::without_signals("rwsgi python", move || {
            let opened = guest.open(&settings, log, look);
            let serves = opened.is_ok();
            let _ = tell.send(opened);
            if serves && ended_by.recv().is_ok() {
                guest.close(u32::try_from(END_LIMIT.as_secs()).unwrap_or(5));
            }
            let _ = done.send(());
        });
        let thread = thread.map_err(|why| format!("cannot start a thread for Python: {why}"))?;
        told.recv().map_err(|_| "Python ended while it started")??;
        Ok(Self {
            guest,
            end: Mutex::new(Some(MainThread { end, is_done, thread })),
        })
    }

    /// For [`serve`].
    pub fn guest(&self) -> Guest {
        self.guest
    }

    /// Ends Python, as far as it goes in the time.
    ///
    /// The prefork MPM ends its children from a signal handler. If that has interrupted Python on this very thread, whatever waits for
    /// Python would wait until httpd kills the child, the exit functions of the C library included. So the process ends at once then.
    pub fn stop(&self) {
        if SERVES.get() {
            process::exit_now(0);
        }
        let end = self.end.lock().ok().and_then(|mut end| end.take());
        if let Some(MainThread { end, is_done, thread }) = end {
            let _ = end.send(());
            if is_done.recv_timeout(END_LIMIT).is_ok() {
                let _ = thread.join();
            }
        }
    }
}

/// Answers one request: `head` is the payload of a `Head` frame, `record` the address of httpd's record if the application may have it.
pub fn serve(
    guest: Guest,
    head: &[u8],
    record: Option<NonNull<c_void>>,
    client: &mut dyn Client,
) -> Result<(), Failure> {
    let mut exchange = Exchange {
        relay: Relay::new(client),
        fault: None,
        pending: Vec::new(),
    };
    let outcome = run(guest, &mut exchange, head, record);
    let Exchange {
        mut relay,
        fault,
        pending,
        ..
    } = exchange;
    let ended = match (fault, outcome) {
        (Some(fault), _) => Err(fault),
        (None, Outcome::Done) => relay.may_end(),
        (None, Outcome::Aborted(reason)) => Err(Fault::Aborted {
            reason,
            retry_after: 0,
            text: sentence_for(reason).to_owned(),
        }),
    };
    let ended = ended.and_then(|()| match relay.is_complete() {
        true => Ok(()),
        false => relay.send(&[Piece::Data(&pending), Piece::End]),
    });
    match ended {
        Ok(()) => Ok(()),
        Err(fault) => Err(relay.fail(fault)),
    }
}

/// Runs Python on this thread.
pub(super) fn run(
    guest: Guest,
    host: &mut dyn Host,
    head: &[u8],
    record: Option<NonNull<c_void>>,
) -> Outcome {
    SERVES.set(true);
    let outcome = guest.serve(host, head, record);
    SERVES.set(false);
    outcome
}

/// What the log does not have already.
fn sentence_for(reason: AbortReason) -> &'static str {
    match reason {
        AbortReason::Internal => "the Python half failed in itself, in this httpd child",
        _ => "",
    }
}

/// One request, as the Python half sees it.
struct Exchange<'a> {
    relay: Relay<'a>,
    fault: Option<Fault>,
    /// What has not been flushed: a small answer goes out in one piece with its end.
    pending: Vec<u8>,
}

/// Answers up to this size are held until they end or are flushed.
const HELD: usize = 64 * 1024;

impl Exchange<'_> {
    fn pass(&mut self, bytes: &[u8], flush: bool) -> Result<(), Fault> {
        if self.relay.is_replaced() {
            self.relay.admit(bytes)?;
            return if self.relay.length() > HELD as u64 {
                Err(Fault::AnsweredByServer)
            } else {
                Ok(())
            };
        }
        if self.pending.len() + bytes.len() <= HELD && !flush {
            let admitted = self.relay.admit(bytes)?;
            self.pending.extend_from_slice(admitted);
            return Ok(());
        }
        let admitted = self.relay.admit(bytes)?;
        let held = Piece::Data(&self.pending);
        if flush {
            self.relay.send(&[held, Piece::Data(admitted), Piece::Flush])?;
        } else {
            self.relay.send(&[held, Piece::Data(admitted)])?;
        }
        self.pending.clear();
        Ok(())
    }

    /// What the Python half learns of an attempt to send.
    fn written(&mut self, result: Result<(), Fault>) -> Result<(), WriteFault> {
        result.map_err(|fault| {
            let gone = matches!(fault, Fault::ClientGone | Fault::AnsweredByServer);
            self.keep(fault);
            if gone {
                WriteFault::ClientGone
            } else {
                WriteFault::Failed
            }
        })
    }

    fn keep(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

impl Host for Exchange<'_> {
    fn read(&mut self, limit: usize, into: &mut dyn FnMut(&[u8])) -> Result<(), ReadFault> {
        let result = self.relay.read_body(limit, into);
        if let Err((rwsgi_wire::response::BodyFault::TooLarge, _)) = &result {
            self.keep(Fault::AnsweredByServer);
        }
        result.map(|_| ())
    }

    fn response(&mut self, payload: &[u8]) -> Result<(), Refused> {
        let started = match Response::decode(payload) {
            Ok(response) => self.relay.start(&response),
            Err(error) => Err(Fault::Violation(format!(
                "the Python half broke the protocol: {error}"
            ))),
        };
        started.map_err(|fault| {
            self.keep(fault);
            Refused
        })
    }

    fn data(&mut self, bytes: &[u8], flush: bool) -> Result<(), WriteFault> {
        let passed = self.pass(bytes, flush);
        self.written(passed)
    }

    fn offer(&mut self, bytes: &[u8]) -> Result<Option<Offered>, WriteFault> {
        if !self.pending.is_empty() {
            return Ok(None);
        }
        match self.relay.offer(bytes) {
            Ok(offered) => Ok(offered),
            Err(fault) => self.written(Err(fault)).map(|()| None),
        }
    }

    fn file(&mut self, fd: BorrowedFd<'_>, part: response::File) -> Result<(), WriteFault> {
        let sent = fd
            .try_clone_to_owned()
            .map_err(|why| Fault::Violation(format!("no descriptor for the file to send: {why}")))
            .and_then(|fd| File::check(fd, part))
            .and_then(|file| self.relay.file(file, &[Piece::Data(&self.pending)], part.wait));
        self.pending.clear();
        self.written(sent)
    }

    fn log(&mut self, log: &Log<'_>) {
        self.relay.log(log);
    }
}
