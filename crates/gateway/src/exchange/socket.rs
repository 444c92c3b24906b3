//! The exchange as frames over a unix stream socket, many in turn over one connection.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use rwsgi_os::poll::readable;
use rwsgi_os::socket::{Side, shutdown};
use rwsgi_os::{OsError, fd, message};
use rwsgi_wire::WireError;
use rwsgi_wire::frame::{Decoder, Frame, Kind, header, put, put_with};
use rwsgi_wire::limits::{CHUNK_MAX, WANT_MAX};
use rwsgi_wire::region::Part;
use rwsgi_wire::response::{Abort, AbortReason, BodyAbort, File, Log, Taken, Want};

use super::prompt::{self, PROMPT, Waiting};
use super::shared::{Lent, Ours, Theirs};
use super::{BodyFailure, Exchange, Flushed, Gone, HOLD, Wait};
use crate::own_log;

/// This process is a copy that the application made by forking. The connections are the original's.
static IS_COPY: AtomicBool = AtomicBool::new(false);

/// To be called in a process that the application forked: from now on nothing is sent here, log lines go to standard error. False in
/// [one that is to serve](bear).
pub fn become_copy() -> bool {
    let is_copy = !IS_BORN.swap(false, Ordering::Relaxed);
    IS_COPY.fetch_or(is_copy, Ordering::Relaxed);
    is_copy
}

/// The process that is forked next is no copy of this one, but a worker of its own.
static IS_BORN: AtomicBool = AtomicBool::new(false);

/// Says so before that fork, and takes it back after it.
pub fn bear(on: bool) {
    IS_BORN.store(on, Ordering::Relaxed);
}

/// Whether this process is such a copy.
pub fn is_copy() -> bool {
    IS_COPY.load(Ordering::Relaxed)
}

/// A connection of an httpd child; the exchange under way on it.
pub struct Connection {
    /// Itself, for the thread that sends what may wait a little.
    own: Weak<Self>,
    stream: OwnedFd,
    theirs: Theirs,
    reader: Mutex<Reader>,
    writer: Mutex<Writer>,
    /// `Log` frames that wait for the writer: logging must never wait for a slow client.
    logs: Mutex<Vec<u8>>,
}

#[derive(Default)]
struct Reader {
    decoder: Decoder,
    body: Body,
    /// Of the body, as far as it came before what was waited for: at most the answer to one question.
    kept: VecDeque<(Kind, Vec<u8>)>,
    /// `Sent` has come.
    sent: bool,
    /// What lies in shared memory of the body and has not been read.
    lies: Option<Part>,
}

/// How far the request body has come.
#[derive(Default)]
enum Body {
    /// Nothing is asked for.
    #[default]
    Quiet,
    /// A `Want` is not answered to its end yet.
    Wanted,
    /// It is complete.
    Ended,
    /// It broke off.
    Failed(BodyFailure),
}

impl Reader {
    /// Waits for the next frame that is not of the body; those that are, are kept for who reads it. `None`: nothing comes any more.
    fn next_but_body(&mut self, connection: &Connection) -> Option<(Kind, Vec<u8>)> {
        loop {
            while let Some(Frame { kind, payload }) = self.decoder.next().ok()? {
                if !is_of_body(kind) {
                    return Some((kind, payload.to_vec()));
                }
                self.kept.push_back((kind, payload.to_vec()));
            }
            if !connection.receive(&mut self.decoder) {
                return None;
            }
        }
    }
}

impl Body {
    /// What a frame says of it; how many bytes went to `into`.
    fn go_on(&mut self, kind: Kind, payload: &[u8], into: &mut dyn FnMut(&[u8])) -> usize {
        let is_data = kind == Kind::Body;
        *self = match kind {
            Kind::Body => Self::Quiet,
            Kind::BodyEnd => Self::Ended,
            Kind::BodyAbort => Self::Failed(body_abort(payload)),
            other => Self::Failed(broken(&unexpected(other))),
        };
        if !is_data {
            return 0;
        }
        into(payload);
        payload.len()
    }
}

fn is_of_body(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Body | Kind::SharedBody | Kind::BodyEnd | Kind::BodyAbort
    )
}

#[derive(Default)]
struct Writer {
    /// Frames that must go out, in order; the first `sent` bytes have gone.
    out: Vec<u8>,
    sent: usize,
    /// `Response` and `Data` frames that are held back.
    answer: Vec<u8>,
    begun: bool,
    gone: bool,
    /// What has not gone is sent soon, by another thread if need be.
    promised: bool,
    /// When blocks of this answer were sent last.
    sent_at: Option<Instant>,
    /// The peer has been told who this is.
    introduced: bool,
    ours: Ours,
}

/// How long an idle connection keeps the memory that large answers lie in.
const KEEP: Duration = Duration::from_secs(10);

/// What came instead of the next request.
#[derive(Debug)]
pub enum NoHead {
    /// The peer closed the connection, or this side did.
    Closed,
    /// The peer broke the protocol.
    Broken(WireError),
}

impl Connection {
    /// Serves a connected, blocking stream socket.
    pub fn new(stream: OwnedFd) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: Weak::clone(own),
            stream,
            theirs: Theirs::default(),
            reader: Mutex::default(),
            writer: Mutex::default(),
            logs: Mutex::default(),
        })
    }

    /// Waits for the next request and copies its encoded head to `into`. Blocks.
    pub fn next_head(&self, into: &mut Vec<u8>) -> Result<(), NoHead> {
        let mut reader = lock(&self.reader);
        loop {
            match reader.decoder.next().map_err(NoHead::Broken)? {
                Some(Frame {
                    kind: Kind::Head,
                    payload,
                }) => {
                    into.clear();
                    into.extend_from_slice(payload);
                    break;
                }
                // What the last exchange asked for and did not need any more.
                Some(Frame { kind, .. }) if is_of_body(kind) || kind == Kind::Sent => continue,
                Some(Frame { kind, .. }) => return Err(NoHead::Broken(unexpected(kind))),
                None => {}
            }
            self.rest();
            if !self.receive(&mut reader.decoder) {
                return Err(NoHead::Closed);
            }
        }
        reader.body = Body::Quiet;
        reader.lies = None;
        reader.kept.clear();
        reader.sent = false;
        let mut writer = lock(&self.writer);
        writer.answer.clear();
        writer.begun = false;
        writer.sent_at = None;
        Ok(())
    }

    /// There is no body: reads end at once.
    pub fn no_body(&self) {
        lock(&self.reader).body = Body::Ended;
    }

    /// The application is about to run. `Err` when the peer has gone: then it must not run. The first time the peer is told by whom; from
    /// then on it sees that a head has been read. `waited`: the head is so old that the peer may have given up.
    pub fn take(&self, pid: u32, waited: bool) -> Result<(), Gone> {
        let mut writer = lock(&self.writer);
        if writer.introduced {
            return if waited && self.is_abandoned() {
                Err(Gone)
            } else {
                Ok(())
            };
        }
        writer.introduced = true;
        put_with(&mut writer.out, Kind::Taken, |out| Taken { pid }.encode(out));
        writer.send(&self.stream, Wait::Yes).map(drop)
    }

    /// Says, instead of [`take`](Self::take), that the request must be repeated elsewhere: this worker's code is older than the script, or it
    /// wants no more of this connection.
    pub fn refuse_as_stale(&self) {
        let mut writer = lock(&self.writer);
        put(&mut writer.out, Kind::Stale, &[]);
        let _ = writer.send(&self.stream, Wait::Yes);
    }

    /// Ends the exchange from another thread, whatever its own thread is doing: it finds the peer gone.
    pub fn break_off(&self, reason: AbortReason, text: &str) {
        match self.writer.try_lock() {
            Ok(mut writer) => {
                self.append_logs(&mut writer);
                writer.put_abort(reason, text);
                let _ = writer.send(&self.stream, Wait::No);
                writer.gone = true;
            }
            // Its thread is in the middle of a frame: the peer sees the end inside it.
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Poisoned(writer)) => writer.into_inner().gone = true,
        }
        self.close();
    }

    /// Lets no more requests in. One that has arrived can still be read, and answered with `Stale`.
    pub fn end_reading(&self) {
        // It fails only if the peer has closed already.
        let _ = shutdown(&self.stream, Side::Read);
    }

    /// Ends a connection between requests. One that has arrived meanwhile is sent elsewhere: an end without a word would look like a death.
    pub fn dismiss(&self) {
        self.end_reading();
        if self.has_input() {
            self.refuse_as_stale();
        }
        self.close();
    }

    /// Whether the peer has closed.
    fn is_abandoned(&self) -> bool {
        match message::try_peek(&self.stream, &mut [0]) {
            Ok(n) => n == 0,
            Err(error) => !error.is_would_block(),
        }
    }

    /// Ends both directions, for this side and the peer: a blocked read or write returns.
    pub fn close(&self) {
        // It fails only if the peer has closed already.
        let _ = shutdown(&self.stream, Side::Both);
    }

    /// Whether bytes have arrived that nobody has read yet.
    pub fn has_input(&self) -> bool {
        matches!(message::try_peek(&self.stream, &mut [0]), Ok(n) if n > 0)
    }

    /// Before the next request is waited for: memory that a large answer has taken is given back if that is long in coming.
    fn rest(&self) {
        while lock(&self.writer).ours.is_used() && matches!(readable(&self.stream, Some(KEEP)), Ok(false)) {
            lock(&self.writer).ours.clear(&self.theirs);
        }
    }

    /// Waits for bytes and receives them; false when there will be none. Not by a `recv` that waits: such a one is woken, too, when the peer reads
    /// what it was sent, for that makes room for more.
    fn receive(&self, decoder: &mut Decoder) -> bool {
        loop {
            let received = readable(&self.stream, None)
                .and_then(|_| message::try_receive_with(&self.stream, decoder.space()));
            match received {
                Ok(message::Part { len: 0, .. }) => return false,
                Ok(part) => {
                    if let Some(file) = part.passed {
                        self.theirs.take_in(file);
                    }
                    decoder.filled(part.len);
                    return true;
                }
                Err(error) if error.is_would_block() => {}
                Err(_) => return false,
            }
        }
    }

    /// Asks for body. Where what comes need not go through the socket, it may be as much as there is.
    fn want(&self, credit: usize) -> Result<(), Gone> {
        let most = if self.theirs.is_there() {
            WANT_MAX
        } else {
            credit.clamp(1, CHUNK_MAX)
        };
        let bytes = u32::try_from(most).unwrap_or(1);
        let mut writer = lock(&self.writer);
        put_with(&mut writer.out, Kind::Want, |out| Want { bytes }.encode(out));
        writer.send(&self.stream, Wait::Yes).map(drop)
    }

    /// Waits until httpd needs the file no more.
    fn wait_until_sent(&self) -> Result<(), Gone> {
        let mut reader = lock(&self.reader);
        while !reader.sent {
            match reader.next_but_body(self) {
                Some((Kind::Sent, _)) => reader.sent = true,
                _ => return Err(Gone),
            }
        }
        Ok(())
    }

    /// A copy of this process says nothing; in one, another thread of the original may hold the lock for ever.
    fn writer(&self) -> Result<MutexGuard<'_, Writer>, Gone> {
        if is_copy() {
            return Err(Gone);
        }
        Ok(lock(&self.writer))
    }

    fn append_logs(&self, writer: &mut Writer) {
        let mut logs = lock(&self.logs);
        if !logs.is_empty() {
            writer.out.append(&mut logs);
        }
    }
}

impl Exchange for Connection {
    fn read(&self, credit: usize, into: &mut dyn FnMut(&[u8])) -> Result<usize, BodyFailure> {
        let mut reader = lock(&self.reader);
        let Reader {
            decoder,
            body,
            kept,
            sent,
            lies,
        } = &mut *reader;
        loop {
            if let Some(part) = lies.take() {
                // A copy of this process may be late: what lies there is the original's.
                let read = match is_copy() {
                    true => Err(peer_gone()),
                    false => self.theirs.read(part, credit, into).map_err(|why| lost(&why)),
                };
                match read {
                    Ok(read) => {
                        *lies = after(part, read);
                        return Ok(read);
                    }
                    Err(failure) => *body = Body::Failed(failure),
                }
            }
            match body {
                Body::Ended => return Ok(0),
                Body::Failed(failure) => return Err(failure.clone()),
                Body::Quiet | Body::Wanted => {}
            }
            let kept = kept.pop_front();
            let frame = match &kept {
                Some((kind, payload)) => Ok(Some(Frame { kind: *kind, payload })),
                None => decoder.next(),
            };
            match frame {
                Ok(Some(Frame { kind: Kind::Sent, .. })) => *sent = true,
                Ok(Some(Frame {
                    kind: Kind::SharedBody,
                    payload,
                })) => match Part::decode(payload) {
                    Ok(part) => (*body, *lies) = (Body::Quiet, Some(part)),
                    Err(error) => *body = Body::Failed(broken(&error)),
                },
                Ok(Some(Frame { kind, payload })) => match body.go_on(kind, payload, into) {
                    0 => {}
                    n => return Ok(n),
                },
                Err(error) => *body = Body::Failed(broken(&error)),
                Ok(None) => {
                    if matches!(body, Body::Quiet) {
                        *body = Body::Wanted;
                        if self.want(credit).is_err() {
                            *body = Body::Failed(peer_gone());
                            continue;
                        }
                    }
                    if !self.receive(decoder) {
                        *body = Body::Failed(peer_gone());
                    }
                }
            }
        }
    }

    fn head(&self, payload: &[u8]) {
        let Ok(mut writer) = self.writer() else { return };
        put(&mut writer.answer, Kind::Response, payload);
    }

    fn verdict(&self, payload: &[u8]) {
        let mut writer = lock(&self.writer);
        put(&mut writer.answer, Kind::Verdict, payload);
    }

    fn ssl_variable(&self, _name: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn push(&self, data: &[u8]) {
        let Ok(mut writer) = self.writer() else { return };
        for piece in data.chunks(CHUNK_MAX) {
            put(&mut writer.answer, Kind::Data, piece);
        }
    }

    fn held(&self) -> usize {
        self.writer().map_or(0, |writer| writer.answer.len())
    }

    fn flush(&self, wait: Wait) -> Result<Flushed, Gone> {
        let mut writer = self.writer()?;
        self.append_logs(&mut writer);
        writer.release();
        writer.send(&self.stream, wait)
    }

    fn flush_soon(&self) -> Result<Flushed, Gone> {
        let mut writer = self.writer()?;
        self.append_logs(&mut writer);
        writer.release();
        let now = Instant::now();
        // The first block goes out at once, and one after a pause: who yields now and then needs no other thread. Nor does who
        // yields but one: to have that wait for the end costs more than to send that by itself.
        let is_late = writer.sent_at.is_none_or(|at| at + PROMPT <= now);
        if is_late || writer.unsent() >= HOLD {
            writer.sent_at = Some(now);
            return writer.send(&self.stream, Wait::No);
        }
        if !writer.promised {
            let own: Option<Arc<dyn Waiting>> = self.own.upgrade().map(|own| own as _);
            writer.promised = own.is_some_and(prompt::promise);
            if !writer.promised {
                return writer.send(&self.stream, Wait::No);
            }
        }
        Ok(Flushed::All)
    }

    fn write(&self, data: &[u8]) -> Result<(), Gone> {
        let mut writer = self.writer()?;
        let mut rest = data;
        while !rest.is_empty() {
            self.append_logs(&mut writer);
            writer.release();
            writer.begun = true;
            let sent = match writer.ours.put(&self.theirs, rest) {
                Some(Lent { part, file }) => {
                    let mut frame = Vec::new();
                    put_with(&mut frame, Kind::SharedData, |out| part.encode(out));
                    match file {
                        Some(file) => writer.send_passing(&self.stream, &frame, file.as_fd())?,
                        None => {
                            writer.out.extend_from_slice(&frame);
                            writer.send(&self.stream, Wait::Yes)?;
                        }
                    }
                    part.length as usize
                }
                None => {
                    let piece = rest.get(..CHUNK_MAX).unwrap_or(rest);
                    writer.send_with(&self.stream, &header(Kind::Data, piece.len()), piece)?;
                    piece.len()
                }
            };
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    fn file(&self, fd: BorrowedFd<'_>, part: File) -> Result<(), Gone> {
        let mut frame = Vec::new();
        put_with(&mut frame, Kind::File, |out| part.encode(out));
        let mut writer = self.writer()?;
        self.append_logs(&mut writer);
        writer.release();
        writer.begun = true;
        writer.send_passing(&self.stream, &frame, fd)?;
        drop(writer);
        if part.wait { self.wait_until_sent() } else { Ok(()) }
    }

    fn log_line(&self, log: &Log<'_>) {
        own_log::note(log.level, true, log.text);
        if is_copy() {
            to_standard_error(log);
            return;
        }
        put_with(&mut lock(&self.logs), Kind::Log, |out| log.encode(out));
        if let Ok(mut writer) = self.writer.try_lock() {
            self.append_logs(&mut writer);
            if writer.send(&self.stream, Wait::No).is_err() {
                // httpd's child listens no more: the client is gone. What the application still says is logged all the same.
                writer.forget_unsent();
                to_standard_error(log);
            }
        }
    }

    fn scoreboard(&self) -> Vec<u8> {
        let mut reader = lock(&self.reader);
        {
            let mut writer = lock(&self.writer);
            put(&mut writer.out, Kind::Ask, &[]);
            if writer.send(&self.stream, Wait::Yes).is_err() {
                return Vec::new();
            }
        }
        loop {
            match reader.next_but_body(self) {
                Some((Kind::Scoreboard, payload)) => return payload,
                Some((Kind::Sent, _)) => reader.sent = true,
                Some((kind, _)) => {
                    reader.body = Body::Failed(broken(&unexpected(kind)));
                    return Vec::new();
                }
                None => return Vec::new(),
            }
        }
    }

    fn has_begun(&self) -> bool {
        self.writer().map_or(true, |writer| writer.begun)
    }

    fn end(&self) -> Result<(), Gone> {
        let mut writer = self.writer()?;
        self.append_logs(&mut writer);
        writer.release();
        put(&mut writer.out, Kind::End, &[]);
        writer.send(&self.stream, Wait::Yes).map(drop)
    }

    fn abort(&self, reason: AbortReason, text: &str) {
        let Ok(mut writer) = self.writer() else { return };
        self.append_logs(&mut writer);
        writer.put_abort(reason, text);
        let _ = writer.send(&self.stream, Wait::Yes);
    }
}

impl Waiting for Connection {
    fn send_waiting(&self) -> bool {
        // Whoever has it may be sending, or only adding to what waits.
        let Ok(mut writer) = self.writer.try_lock() else {
            return false;
        };
        let is_sent = !matches!(writer.send(&self.stream, Wait::No), Ok(Flushed::Part));
        if is_sent {
            writer.promised = false;
            writer.sent_at = Some(Instant::now());
        }
        is_sent
    }
}

impl Writer {
    /// How many bytes of frames are to go out.
    fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }

    /// What was held back must go out from now on.
    fn release(&mut self) {
        if self.answer.is_empty() {
            return;
        }
        self.begun = true;
        if self.out.is_empty() {
            std::mem::swap(&mut self.out, &mut self.answer);
        } else {
            self.out.append(&mut self.answer);
        }
    }

    /// The peer is gone: what was to go to it goes nowhere.
    fn forget_unsent(&mut self) {
        self.out.clear();
        self.sent = 0;
    }

    fn put_abort(&mut self, reason: AbortReason, text: &str) {
        self.answer.clear();
        let abort = Abort {
            reason,
            retry_after: 0,
            text: text.as_bytes(),
        };
        put_with(&mut self.out, Kind::Abort, |out| abort.encode(out));
    }

    fn send(&mut self, stream: impl AsFd, wait: Wait) -> Result<Flushed, Gone> {
        let stream = stream.as_fd();
        self.gone |= is_copy();
        while !self.gone {
            let rest = self.out.get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                self.sent = 0;
                self.out.clear();
                if self.out.capacity() > 4 * CHUNK_MAX {
                    self.out.shrink_to(CHUNK_MAX);
                }
                return Ok(Flushed::All);
            }
            let result = match wait {
                Wait::Yes => message::send(stream, rest),
                Wait::No => message::try_send(stream, rest),
            };
            match result {
                Ok(n) => self.sent += n,
                Err(error) if wait == Wait::No && error.is_would_block() => return Ok(Flushed::Part),
                Err(_) => self.gone = true,
            }
        }
        Err(Gone)
    }

    /// Sends everything, then a frame with which a descriptor goes.
    fn send_passing(&mut self, stream: impl AsFd, frame: &[u8], passed: BorrowedFd<'_>) -> Result<(), Gone> {
        let stream = stream.as_fd();
        self.gone |= is_copy();
        if self.gone {
            return Err(Gone);
        }
        // The descriptor goes with the first byte, so it is there before the frame is whole.
        let first = self.out.get(self.sent..).unwrap_or_default();
        let pieces = [IoSlice::new(first), IoSlice::new(frame)];
        match message::send_vectored_with(stream, &pieces, passed) {
            Ok(n) => self.sent += n,
            Err(_) => self.gone = true,
        }
        self.out.extend_from_slice(frame);
        self.send(stream, Wait::Yes).map(drop)
    }

    /// Sends everything, then a frame whose payload stays where it is.
    fn send_with(&mut self, stream: impl AsFd, head: &[u8], payload: &[u8]) -> Result<(), Gone> {
        let stream = stream.as_fd();
        self.gone |= is_copy();
        let (mut from_head, mut from_payload) = (0, 0);
        while !self.gone {
            let parts = [
                self.out.get(self.sent..).unwrap_or_default(),
                head.get(from_head..).unwrap_or_default(),
                payload.get(from_payload..).unwrap_or_default(),
            ];
            if parts.iter().all(|part| part.is_empty()) {
                self.sent = 0;
                self.out.clear();
                return Ok(());
            }
            match message::send_vectored(stream, &parts.map(IoSlice::new)) {
                Ok(n) => {
                    let first = n.min(parts[0].len());
                    let second = (n - first).min(parts[1].len());
                    self.sent += first;
                    from_head += second;
                    from_payload += n - first - second;
                }
                Err(_) => self.gone = true,
            }
        }
        Err(Gone)
    }
}

/// Which the manager reads, and writes to the error log of the process group. Without the lock of the library, which another thread may have
/// had when this process was forked.
fn to_standard_error(log: &Log<'_>) {
    let _ = fd::write_all(std::io::stderr(), &[log.text, b"\n"].concat());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unexpected(kind: Kind) -> WireError {
    WireError::Value {
        field: "frame kind at this point",
        found: u64::from(kind as u8),
    }
}

fn broken(error: &WireError) -> BodyFailure {
    BodyFailure {
        fault: None,
        text: format!("httpd broke the protocol: {error}"),
    }
}

/// What is left of a part when so much of it has been read.
fn after(part: Part, read: usize) -> Option<Part> {
    let read = u32::try_from(read).unwrap_or(part.length);
    let left = part.length.saturating_sub(read);
    (left > 0).then(|| Part {
        from: part.from.saturating_add(read),
        length: left,
    })
}

fn lost(why: &OsError) -> BodyFailure {
    BodyFailure {
        fault: None,
        text: format!("what httpd has handed over is lost: {why}"),
    }
}

fn peer_gone() -> BodyFailure {
    BodyFailure {
        fault: None,
        text: "httpd closed the connection of this request".into(),
    }
}

fn body_abort(payload: &[u8]) -> BodyFailure {
    match BodyAbort::decode(payload) {
        Ok(abort) => BodyFailure {
            fault: Some(abort.fault),
            text: String::from_utf8_lossy(abort.text).into_owned(),
        },
        Err(error) => broken(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rwsgi_os::region::{Region, View};
    use rwsgi_os::socket::{Kind as SocketKind, Mode, pair};
    use rwsgi_wire::region::{ANSWER_LENGTH, BODY_LENGTH, RETURNED, ROOM};
    use rwsgi_wire::response::BodyFault;
    use rwsgi_wire::response::Level;

    fn connection() -> (Arc<Connection>, OwnedFd) {
        let (ours, theirs) = pair(SocketKind::Stream, Mode::Blocking).unwrap();
        (Connection::new(ours), theirs)
    }

    fn frames(theirs: &OwnedFd, count: usize) -> Vec<(Kind, Vec<u8>)> {
        let mut decoder = Decoder::new();
        let mut seen = Vec::new();
        while seen.len() < count {
            let n = message::receive(theirs, decoder.space()).unwrap();
            assert!(n > 0, "closed after {seen:?}");
            decoder.filled(n);
            while let Some(frame) = decoder.next().unwrap() {
                seen.push((frame.kind, frame.payload.to_vec()));
            }
        }
        seen
    }

    fn say(theirs: &OwnedFd, kind: Kind, payload: &[u8]) {
        let mut out = Vec::new();
        put(&mut out, kind, payload);
        message::send_all(theirs, &out).unwrap();
    }

    #[test]
    fn a_small_answer_leaves_in_one_piece_and_logs_go_first() {
        let (connection, theirs) = connection();
        connection.head(b"head");
        connection.push(b"body");
        connection.log(Level::Error, b"line");
        assert_eq!(frames(&theirs, 1)[0].0, Kind::Log);
        assert!(!connection.has_begun());
        connection.end().unwrap();
        let kinds: Vec<_> = frames(&theirs, 3).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Kind::Response, Kind::Data, Kind::End]);
        assert!(connection.has_begun());
    }

    #[test]
    fn an_abort_discards_what_was_held_back() {
        let (connection, theirs) = connection();
        connection.head(b"head");
        connection.push(b"body");
        connection.abort(AbortReason::Application, "");
        assert_eq!(frames(&theirs, 1)[0].0, Kind::Abort);
    }

    #[test]
    fn the_body_is_asked_for_and_ends() {
        let (connection, theirs) = connection();
        say(&theirs, Kind::Body, b"abc");
        say(&theirs, Kind::BodyEnd, b"");
        let mut body = Vec::new();
        assert_eq!(
            connection.read(10, &mut |bytes| body.extend_from_slice(bytes)),
            Ok(3)
        );
        assert_eq!(
            connection.read(10, &mut |bytes| body.extend_from_slice(bytes)),
            Ok(0)
        );
        assert_eq!(
            connection.read(10, &mut |bytes| body.extend_from_slice(bytes)),
            Ok(0)
        );
        assert_eq!(body, b"abc");
    }

    /// The memory of a connection, passed with a first piece of a body.
    fn share(connection: &Connection, theirs: &OwnedFd) -> Region {
        let (region, file) = Region::make("test", BODY_LENGTH).unwrap();
        let mut out = Vec::new();
        put(&mut out, Kind::Body, b"first");
        message::send_descriptors(theirs, &out, &[file.as_fd()]).unwrap();
        assert_eq!(connection.read(10, &mut |_| ()), Ok(5));
        assert_eq!(frames(theirs, 1), [(Kind::Want, 10u32.to_le_bytes().to_vec())]);
        region
    }

    fn lies(from: u32, length: u32) -> Vec<u8> {
        let mut out = Vec::new();
        Part { from, length }.encode(&mut out);
        out
    }

    #[test]
    fn a_body_in_shared_memory_is_read_in_pieces_and_asked_for_in_bulk() {
        let (connection, theirs) = connection();
        let region = share(&connection, &theirs);
        region.write(0, b"abcdefgh");
        say(&theirs, Kind::SharedBody, &lies(0, 8));
        let mut body = Vec::new();
        for expected in [3, 3, 2] {
            let got = connection.read(3, &mut |bytes| body.extend_from_slice(bytes));
            assert_eq!(got, Ok(expected));
        }
        // Asked once: it may be as much as there is.
        let want = (Kind::Want, (WANT_MAX as u32).to_le_bytes().to_vec());
        assert_eq!(frames(&theirs, 1), [want]);
        assert_eq!(message::try_receive(&theirs, &mut [0]).unwrap_err().errno, 11);
        // What comes before something else that is waited for is kept.
        region.write(0, b"ij");
        say(&theirs, Kind::SharedBody, &lies(0, 2));
        say(&theirs, Kind::BodyEnd, b"");
        say(&theirs, Kind::Scoreboard, b"board");
        assert_eq!(connection.scoreboard(), b"board");
        for expected in [1, 1, 0] {
            let got = connection.read(1, &mut |bytes| body.extend_from_slice(bytes));
            assert_eq!(got, Ok(expected));
        }
        assert_eq!(body, b"abcdefghij");
        // What the application did not read does not get into the way of the next request.
        say(&theirs, Kind::SharedBody, &lies(0, 8));
        say(&theirs, Kind::Head, b"next");
        connection.next_head(&mut body).unwrap();
        assert_eq!(body, b"next");
        say(&theirs, Kind::Body, b"its own");
        body.clear();
        connection
            .read(10, &mut |bytes| body.extend_from_slice(bytes))
            .unwrap();
        assert_eq!(body, b"its own");
    }

    #[test]
    fn a_body_that_lies_nowhere_is_no_body() {
        let (connection, theirs) = connection();
        say(&theirs, Kind::SharedBody, &lies(0, 8));
        assert!(connection.read(3, &mut |_| ()).unwrap_err().fault.is_none());
        let (connection, theirs) = self::connection();
        say(&theirs, Kind::SharedBody, &lies(0, 0));
        assert!(
            connection
                .read(3, &mut |_| ())
                .unwrap_err()
                .text
                .contains("broke the protocol")
        );
    }

    #[test]
    fn a_large_block_lies_in_memory_and_one_that_finds_no_room_there_does_not() {
        let (connection, theirs) = connection();
        let region = share(&connection, &theirs);
        connection.head(b"head");
        let block: Vec<u8> = (0..ROOM + CHUNK_MAX).map(|n| (n % 251) as u8).collect();
        connection.write(&block).unwrap();
        let (mut decoder, mut passed, mut seen) = (Decoder::new(), None, Vec::new());
        while seen.len() < 3 {
            let part = message::try_receive_with(&theirs, decoder.space()).unwrap();
            decoder.filled(part.len);
            passed = passed.or(part.passed);
            while let Some(frame) = decoder.next().unwrap() {
                seen.push((frame.kind, frame.payload.to_vec()));
            }
        }
        assert_eq!(seen[0], (Kind::Response, b"head".to_vec()));
        assert_eq!(seen[1], (Kind::SharedData, lies(0, ROOM as u32)));
        assert!(seen[2] == (Kind::Data, block[ROOM..].to_vec()));
        let view = View::map(passed.unwrap().as_fd(), ANSWER_LENGTH).unwrap();
        assert!(view.trusted(0, ROOM) == Some(&block[..ROOM]));
        // It has come back.
        region.count(RETURNED);
        connection.write(&block[..CHUNK_MAX]).unwrap();
        assert_eq!(
            frames(&theirs, 1),
            [(Kind::SharedData, lies(0, CHUNK_MAX as u32))]
        );
    }

    #[test]
    fn a_broken_body_stays_broken() {
        let (connection, theirs) = connection();
        let mut payload = Vec::new();
        BodyAbort {
            fault: BodyFault::ClientSlow,
            text: b"slow",
        }
        .encode(&mut payload);
        say(&theirs, Kind::BodyAbort, &payload);
        let mut body = Vec::new();
        for _ in 0..2 {
            let failure = connection
                .read(10, &mut |bytes| body.extend_from_slice(bytes))
                .unwrap_err();
            assert_eq!(
                (failure.fault, failure.text.as_str()),
                (Some(BodyFault::ClientSlow), "slow")
            );
        }
    }

    /// PEP 3333, "Buffering and Streaming".
    #[test]
    fn what_waits_goes_out_though_nothing_follows() {
        let (connection, theirs) = connection();
        connection.head(b"head");
        for block in [b"1", b"2", b"3"] {
            connection.push(block);
            connection.flush_soon().unwrap();
        }
        let kinds = frames(&theirs, 4).into_iter().map(|(kind, _)| kind);
        assert_eq!(
            kinds.collect::<Vec<_>>(),
            [Kind::Response, Kind::Data, Kind::Data, Kind::Data]
        );
        // After a pause a block does not wait for another. On a busy machine the pause before it may end late.
        let mut buffer = [0; 64];
        assert!((0..100).any(|_| {
            std::thread::sleep(2 * PROMPT);
            connection.push(b"4");
            connection.flush_soon().unwrap();
            let is_there = message::try_receive(&theirs, &mut buffer).is_ok_and(|n| n > 0);
            is_there || frames(&theirs, 1).is_empty()
        }));
    }

    /// How many frames there are to be received.
    fn arrived(theirs: &OwnedFd) -> usize {
        let mut decoder = Decoder::new();
        let n = message::try_peek(theirs, decoder.space()).unwrap_or(0);
        decoder.filled(n);
        std::iter::from_fn(|| decoder.next().unwrap().map(|frame| frame.kind)).count()
    }

    /// Answers with these blocks, and says how many frames had gone before the end and how many there were with it.
    fn gone_before_the_end(blocks: &[&[u8]]) -> (usize, usize) {
        let (connection, theirs) = connection();
        connection.head(b"head");
        for block in blocks {
            connection.push(block);
            connection.flush_soon().unwrap();
        }
        let before = arrived(&theirs);
        connection.end().unwrap();
        (before, arrived(&theirs))
    }

    #[test]
    fn blocks_that_follow_each_other_quickly_travel_together() {
        for (blocks, expected) in [(&[&b"1"[..], b"2", b"3"][..], (2, 5)), (&[b"all"], (2, 3))] {
            // On a busy machine this thread may be away for longer than blocks wait.
            assert!(
                (0..100).any(|_| gone_before_the_end(blocks) == expected),
                "{blocks:?}"
            );
        }
    }

    #[test]
    fn what_waits_for_room_goes_out_once_there_is_some() {
        // On a busy machine this thread may be away for longer than blocks wait.
        let (theirs, pushed, _connection) = (0..100).find_map(|_| full()).unwrap();
        let (mut received, mut decoder) = (0, Decoder::new());
        while received < pushed {
            let n = message::receive(&theirs, decoder.space()).unwrap();
            decoder.filled(n);
            while let Some(frame) = decoder.next().unwrap() {
                received += frame.payload.len();
            }
        }
    }

    /// A connection that has no room for so many bytes of an answer, which are promised to go out.
    fn full() -> Option<(OwnedFd, usize, Arc<Connection>)> {
        let (connection, theirs) = connection();
        connection.push(&[7]);
        connection.flush_soon().unwrap();
        let mut pushed = 1;
        while connection.flush(Wait::No) == Ok(Flushed::All) {
            connection.push(&[7; 1024]);
            pushed += 1024;
        }
        let is_promised = connection.flush_soon() == Ok(Flushed::All);
        is_promised.then_some((theirs, pushed, connection))
    }

    #[test]
    fn large_data_is_split_and_arrives_whole() {
        let (connection, theirs) = connection();
        let data: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| frames(&theirs, 6));
            connection.head(b"head");
            connection.write(&data).unwrap();
            connection.end().unwrap();
            let seen = reader.join().unwrap();
            let joined: Vec<u8> = seen
                .iter()
                .filter(|(k, _)| *k == Kind::Data)
                .flat_map(|(_, p)| p.clone())
                .collect();
            assert_eq!(joined, data);
            assert_eq!(seen[5].0, Kind::End);
        });
    }

    #[test]
    fn a_file_goes_with_the_held_back_head_and_is_waited_for() {
        let (connection, theirs) = connection();
        let file = rwsgi_os::fd::memory_file("file").unwrap();
        let part = |wait| File {
            from: 1,
            length: 2,
            wait,
        };
        connection.head(b"head");
        connection.file(file.as_fd(), part(false)).unwrap();
        let mut buffer = [0; 256];
        let got = message::try_receive_with(&theirs, &mut buffer).unwrap();
        assert!(got.passed.is_some() && !got.surplus);
        let mut decoder = Decoder::new();
        decoder.space()[..got.len].copy_from_slice(&buffer[..got.len]);
        decoder.filled(got.len);
        assert_eq!(decoder.next().unwrap().unwrap().kind, Kind::Response);
        let frame = decoder.next().unwrap().unwrap();
        assert_eq!(File::decode(frame.payload), Ok(part(false)));
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| connection.file(file.as_fd(), part(true)));
            assert_eq!(frames(&theirs, 1)[0].0, Kind::File);
            say(&theirs, Kind::Sent, b"");
            assert_eq!(sender.join().unwrap(), Ok(()));
        });
        drop(theirs);
        assert_eq!(connection.file(file.as_fd(), part(true)), Err(Gone));
    }

    #[test]
    fn nothing_may_run_once_the_peer_has_gone() {
        let (connection, theirs) = connection();
        assert_eq!(connection.take(1, true), Ok(()));
        assert_eq!(connection.take(1, true), Ok(()));
        drop(theirs);
        assert_eq!(connection.take(1, true), Err(Gone));
        let (connection, theirs) = self::connection();
        drop(theirs);
        assert_eq!(connection.take(1, false), Err(Gone));
    }

    #[test]
    fn a_worker_says_once_who_it_is() {
        let (connection, theirs) = connection();
        connection.take(1, false).unwrap();
        connection.take(1, false).unwrap();
        connection.end().unwrap();
        let kinds: Vec<_> = frames(&theirs, 2).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Kind::Taken, Kind::End]);
    }

    #[test]
    fn a_head_that_arrived_before_the_end_of_reading_can_be_sent_elsewhere() {
        let (connection, theirs) = connection();
        say(&theirs, Kind::Head, b"h");
        connection.end_reading();
        assert!(message::send_all(&theirs, b"more").is_err());
        connection.next_head(&mut Vec::new()).unwrap();
        connection.refuse_as_stale();
        assert_eq!(frames(&theirs, 1)[0].0, Kind::Stale);
        assert!(matches!(
            connection.next_head(&mut Vec::new()),
            Err(NoHead::Closed)
        ));
        let (connection, theirs) = self::connection();
        say(&theirs, Kind::Head, b"h");
        connection.dismiss();
        assert_eq!(frames(&theirs, 1)[0].0, Kind::Stale);
        let (connection, theirs) = self::connection();
        connection.dismiss();
        assert_eq!(message::receive(&theirs, &mut [0]).unwrap(), 0);
    }

    #[test]
    fn breaking_off_wakes_a_blocked_writer() {
        let (connection, theirs) = connection();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| connection.write(&vec![0; 8 << 20]));
            // Wait until the socket is full, so that the writer is inside a frame.
            while rwsgi_os::poll::writable(&connection.stream, Some(std::time::Duration::ZERO)).unwrap() {
                std::thread::yield_now();
            }
            connection.break_off(AbortReason::Timeout, "late");
            assert_eq!(writer.join().unwrap(), Err(Gone));
        });
        drop(theirs);
    }

    #[test]
    fn remains_of_the_last_body_are_skipped() {
        let (connection, theirs) = connection();
        say(&theirs, Kind::BodyEnd, b"");
        say(&theirs, Kind::Head, b"h");
        let mut head = Vec::new();
        connection.next_head(&mut head).unwrap();
        assert_eq!(head, b"h");
        drop(theirs);
        assert!(matches!(connection.next_head(&mut head), Err(NoHead::Closed)));
    }
}
