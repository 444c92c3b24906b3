//! What this child says at warning or above, told to the manager for its audit log: the code and which request, not the words, in which there may be
//! what a client has sent. A child cannot write to that log: what it says there is about itself, and the manager says who it is.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use once_cell::sync::Lazy;
use rwsgi_os::message;
use rwsgi_os::socket::{Kind, Mode, connect};
use rwsgi_wire::code::Code;
use rwsgi_wire::control::Ask;
use rwsgi_wire::flow::{AUDIT_BURST, AUDIT_RATE, Flow};
use rwsgi_wire::response;

use crate::httpd::{Level, Request, Server, Terminal};

/// The manager's socket, once it is known that there is an audit log; only in children.
static MANAGER: Mutex<Option<Vec<u8>>> = Mutex::new(None);
static FLOW: Lazy<Mutex<Flow>> = Lazy::new(|| Mutex::new(Flow::of(AUDIT_RATE, AUDIT_BURST, Instant::now())));

/// From now on this process tells the manager that listens there.
pub fn begin(manager: Vec<u8>) {
    *MANAGER.lock().unwrap_or_else(PoisonError::into_inner) = Some(manager);
}

/// What a message is about.
pub trait Subject {
    /// The id of a request, and the file that it was mapped to.
    fn request(&self) -> (&[u8], &[u8]) {
        (b"", b"")
    }
}

impl Subject for Server<'_> {}
impl Subject for Terminal<'_> {}
impl Subject for Request<'_> {
    fn request(&self) -> (&[u8], &[u8]) {
        (self.log_id(), self.filename())
    }
}
impl<T: Subject> Subject for &T {
    fn request(&self) -> (&[u8], &[u8]) {
        (**self).request()
    }
}

/// Tells it, unless it is below warning or there is no audit log. Never waits: what cannot be told is counted, and told with the next.
pub fn tell(subject: &impl Subject, level: Level, code: &Code) {
    let Ok(level) = response::Level::from_wire(level as u8) else {
        return;
    };
    if level as u8 > response::Level::Warn as u8 {
        return;
    }
    let manager = MANAGER.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(manager) = manager else { return };
    let mut flow = FLOW.lock().unwrap_or_else(PoisonError::into_inner);
    if !flow.admits(Instant::now()) {
        return;
    }
    let lost = flow.take_dropped().unwrap_or(0);
    drop(flow);
    let (request, file) = subject.request();
    let word = Ask::Logged {
        level,
        code: code.number,
        request: request.to_vec(),
        file: file.get(..FILE_MAX).unwrap_or(file).to_vec(),
        lost: u32::try_from(lost).unwrap_or(u32::MAX),
    };
    let sent = connect(Kind::SeqPacket, &manager, Mode::NonBlocking)
        .and_then(|socket| message::try_send(&socket, &word.encode()));
    if sent.is_err() {
        let mut flow = FLOW.lock().unwrap_or_else(PoisonError::into_inner);
        (0..=lost).for_each(|_| flow.lost());
    }
}

/// As much of a path as is told.
const FILE_MAX: usize = 1000;
