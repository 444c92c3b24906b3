//! One connection to a worker: a lease on one of its serving threads.

use std::io::{ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rwsgi_os::message::Part;
use rwsgi_os::poll::{Events, Watch, poll, readable};
use rwsgi_os::process::{self, Pid};
use rwsgi_os::region::{Bytes, Region, View};
use rwsgi_os::socket::{
    Kind as SocketKind, Mode, connect, set_send_buffer, set_send_timeout, unread_by_peer,
};
use rwsgi_os::{OsError, fd, message};
use rwsgi_wire::WireError;
use rwsgi_wire::frame::{Decoder, Frame, Kind};
use rwsgi_wire::region::{self, ANSWER_LENGTH, BODY_LENGTH, RETURNED, ROOM};

use super::intake::{Intake, Room};
use super::rest;

/// How long after the client ended its side of the connection a worker may still answer. A client that has said all it had to say
/// (half-close) gets its answer if that takes no longer; one that has gone away frees its worker after this.
pub const AFTER_CLIENT_END: Duration = Duration::from_secs(1);

/// How often a client without a socket of its own (HTTP/2) is asked whether it is gone, and it is looked whether the worker is still there.
const TICK: Duration = Duration::from_secs(1);

/// "Too many open files", the same number on every Linux.
const EMFILE: i32 = 24;

/// So long a wait looks at the worker only: most answers are there by then, and to watch two sockets costs as much again as the answer.
const AT_FIRST: Duration = Duration::from_millis(10);

/// A process at the other end of connections.
#[derive(Debug)]
pub struct Worker {
    /// Its process id, as it has said.
    pub pid: u32,
    /// Requests of this httpd child that it has.
    under_way: AtomicU32,
}

impl Worker {
    /// Has no request yet.
    pub fn new(pid: u32) -> Arc<Self> {
        let under_way = AtomicU32::new(0);
        Arc::new(Self { pid, under_way })
    }

    /// How many requests of this httpd child it has.
    pub fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
    }
}

/// A request that a worker has, until this is dropped.
struct UnderWay(Arc<Worker>);

impl UnderWay {
    fn begin(worker: &Arc<Worker>) -> Self {
        worker.under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(worker))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection.
pub struct Link {
    /// The process at the other end, once it has said so.
    worker: Option<Arc<Worker>>,
    /// It carries a request.
    under_way: Option<UnderWay>,
    socket: Arc<OwnedFd>,
    decoder: Decoder,
    /// What was received while the client was waited for.
    intake: Option<Intake>,
    /// The descriptor whose frame has not been dealt with.
    passed: Option<OwnedFd>,
    shared: Shared,
    /// When a client was looked at last without being waited for.
    looked: Instant,
}

/// The memory in which large bodies are handed over ([`rwsgi_wire::region`]).
#[derive(Default)]
struct Shared {
    ours: Option<Arc<Region>>,
    /// The worker's, which is believed nothing.
    theirs: Option<Arc<View>>,
    /// An answer was large: the worker is to have ours with the next request, so that it lends its own.
    is_wanted: bool,
}

impl Shared {
    /// Sends all of these, and our memory with their first byte, made now if there is none. Where it cannot be had, or not be passed, all goes on without.
    fn send(&mut self, socket: &OwnedFd, mut pieces: [&[u8]; 3]) -> Result<(), OsError> {
        if self.ours.is_none() {
            if let Ok((region, file)) = Region::make("rwsgi-body", BODY_LENGTH) {
                let slices = pieces.map(IoSlice::new);
                match message::send_vectored_with(socket, &slices, file.as_fd()) {
                    Ok(sent) => (self.ours, pieces) = (Some(Arc::new(region)), behind(pieces, sent)),
                    Err(why) if why.is_would_block() => return Err(why),
                    Err(_) => {}
                }
            }
        }
        send_pieces(socket, pieces)
    }

    /// Maps the worker's, which has come just now.
    fn map(&mut self, passed: Option<OwnedFd>) -> Result<(), OsError> {
        if let Some(file) = passed {
            self.theirs = Some(Arc::new(View::map(file.as_fd(), ANSWER_LENGTH)?));
        }
        Ok(())
    }

    /// The same, if it can be the worker's memory; whether it is.
    fn take_in(&mut self, passed: &mut Option<OwnedFd>) -> bool {
        let may = self.ours.is_some() && self.theirs.is_none();
        may && self.map(passed.take()).is_ok()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A worker that keeps the descriptor would keep what lies there, too.
        self.ours.as_ref().inspect(|ours| ours.clear(ROOM));
    }
}

/// What waiting for a worker ended with.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited {
    /// Bytes have arrived.
    Bytes,
    /// The worker closed, and had read all that it was sent.
    Closed,
    /// The worker closed without having read all that it was sent.
    Unread,
    /// The worker passed more descriptors than the one that belongs to a file.
    Smuggled,
    /// What had been taken in cannot be read back, or this process has no descriptor left for a file that the worker passes.
    Lost(OsError),
    /// The time is over.
    TimedOut,
    /// The client went away.
    ClientGone,
}

/// The client as far as waiting is concerned.
pub struct ClientWatch<'c> {
    /// Its socket, if it has one of its own.
    pub socket: Option<BorrowedFd<'c>>,
    /// Asks httpd whether it is gone.
    pub gone: &'c dyn Fn() -> bool,
    /// When it ended its side, if it did.
    pub ended: Option<Instant>,
    /// When it was sent something last, or its request began.
    pub served: Instant,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum NoLink {
    /// The backlog is full.
    Full,
    /// Nobody listens at that path any more.
    Stale,
    /// Anything else.
    Broken(OsError),
}

fn kind(error: &OsError) -> ErrorKind {
    std::io::Error::from_raw_os_error(error.errno).kind()
}

impl Link {
    /// Connects without waiting. Sends will wait at most `send_limit`, and have at most `buffer` bytes on their way.
    pub fn connect(path: &[u8], send_limit: Duration, buffer: Option<u32>) -> Result<Self, NoLink> {
        let socket = connect(SocketKind::Stream, path, Mode::NonBlocking).map_err(|e| match () {
            () if e.is_would_block() => NoLink::Full,
            () if matches!(kind(&e), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => NoLink::Stale,
            () => NoLink::Broken(e),
        })?;
        fd::set_nonblocking(&socket, false).map_err(NoLink::Broken)?;
        set_send_timeout(&socket, Some(send_limit)).map_err(NoLink::Broken)?;
        if let Some(bytes) = buffer {
            set_send_buffer(&socket, bytes).map_err(NoLink::Broken)?;
        }
        Ok(Self {
            worker: None,
            under_way: None,
            socket: Arc::new(socket),
            decoder: Decoder::new(),
            intake: None,
            passed: None,
            shared: Shared::default(),
            looked: Instant::now(),
        })
    }

    /// The process at the other end has said who it is; it has a request.
    pub fn introduce(&mut self, worker: Arc<Worker>) {
        self.under_way = Some(UnderWay::begin(&worker));
        self.worker = Some(worker);
    }

    /// The process at the other end, once it has said so.
    pub fn worker(&self) -> Option<&Arc<Worker>> {
        self.worker.as_ref()
    }

    /// It is about to carry a request.
    pub fn begin(&mut self) {
        self.shared.ours.as_ref().inspect(|ours| rest::end(ours));
        self.under_way = self.worker.as_ref().map(UnderWay::begin);
    }

    /// It carries none any more.
    pub fn end(&mut self) {
        self.shared.ours.as_ref().inspect(|ours| rest::begin(ours));
        self.under_way = None;
    }

    /// Sends all of these. Blocks at most the send limit, for the other side always has room for what the protocol allows.
    pub fn send(&self, bytes: &[u8]) -> Result<(), OsError> {
        message::send_all(&self.socket, bytes)
    }

    /// As [`send`](Self::send), of a request's head. With it goes the memory to be shared, if there is to be some and the worker has none.
    pub fn send_head(&mut self, head: &[u8]) -> Result<(), OsError> {
        match self.shared.is_wanted {
            true => self.shared.send(&self.socket, [head, &[], &[]]),
            false => message::send_all(&self.socket, head),
        }
    }

    /// As [`send`](Self::send), of bytes that lie in several places.
    pub fn send_pieces(&self, pieces: [&[u8]; 3]) -> Result<(), OsError> {
        send_pieces(&self.socket, pieces)
    }

    /// Waits for bytes and receives them.
    pub fn receive(&mut self, limit: Duration, client: &mut ClientWatch<'_>) -> Result<Waited, OsError> {
        if let Some(intake) = &self.intake {
            match intake.take(self.decoder.space()) {
                Ok(None) => {}
                Ok(Some(received)) => return self.received(received),
                Err(why) => return Ok(Waited::Lost(why)),
            }
        }
        if self.is_talked_for_nothing(client)? {
            return Ok(Waited::ClientGone);
        }
        let mut waited = Duration::ZERO;
        if limit > AT_FIRST && client.ended.is_none() {
            waited = AT_FIRST;
            // Not by a `recv` that waits: such a one is woken, too, when the worker reads what it was sent, for that makes room for more.
            readable(&self.socket, Some(waited))?;
        }
        match message::try_receive_with(&self.socket, self.decoder.space()) {
            Err(e) if e.is_would_block() => {}
            other => return self.received(other),
        }
        match self.wait(limit.saturating_sub(waited), client)? {
            Waited::Bytes => {}
            other => return Ok(other),
        }
        let received = message::try_receive_with(&self.socket, self.decoder.space());
        self.received(received)
    }

    /// Whether a worker goes on and on, with nothing that is for the client, while the client has gone: who always has bytes is never waited for.
    /// It is looked once a second, when the client has had nothing for as long.
    fn is_talked_for_nothing(&mut self, client: &mut ClientWatch<'_>) -> Result<bool, OsError> {
        if client.served.elapsed() < TICK || self.looked.elapsed() < TICK {
            return Ok(false);
        }
        self.looked = Instant::now();
        if let Some(socket) = client.socket.filter(|_| client.ended.is_none()) {
            let mut its = [Watch::new(socket, Events::PEER_CLOSED)];
            poll(&mut its, Some(Duration::ZERO))?;
            let [its] = its;
            if its.found().is_hung_up() {
                return Ok(true);
            }
            if its.found().is_peer_closed() {
                client.ended = Some(self.looked);
            }
        }
        let is_over = |at: Instant| at.elapsed() >= AFTER_CLIENT_END;
        Ok(client.ended.is_some_and(is_over) || (client.gone)())
    }

    fn received(&mut self, received: Result<Part, OsError>) -> Result<Waited, OsError> {
        match received {
            Ok(Part { len: 0, .. }) => Ok(Waited::Closed),
            Ok(part) => {
                self.decoder.filled(part.len);
                if part.surplus && part.passed.is_none() {
                    // The kernel gives what there is a number for: the first of them has found none.
                    return Ok(Waited::Lost(OsError::new(
                        "recvmsg",
                        "the descriptor of a file",
                        EMFILE,
                    )));
                }
                // Memory comes before a file, and the frame that names it may not be there yet.
                let is_second = part.passed.is_some() && self.passed.is_some();
                if part.surplus || (is_second && !self.shared.take_in(&mut self.passed)) {
                    return Ok(Waited::Smuggled);
                }
                if part.passed.is_some() {
                    self.passed = part.passed;
                }
                Ok(Waited::Bytes)
            }
            // The kernel decides which it is under one lock, so this is as sure as a word of the worker.
            Err(e) if kind(&e) == ErrorKind::ConnectionReset => Ok(Waited::Unread),
            Err(e) => Err(e),
        }
    }

    fn wait(&self, limit: Duration, client: &mut ClientWatch<'_>) -> Result<Waited, OsError> {
        let start = Instant::now();
        loop {
            let now = Instant::now();
            if client
                .ended
                .is_some_and(|at| now.duration_since(at) >= AFTER_CLIENT_END)
                || (client.gone)()
            {
                return Ok(Waited::ClientGone);
            }
            let left = limit.saturating_sub(now.duration_since(start));
            if left.is_zero() {
                return Ok(Waited::TimedOut);
            }
            let turn = match client.ended {
                Some(at) => left.min(AFTER_CLIENT_END.saturating_sub(now.duration_since(at))),
                None if client.socket.is_none() || self.worker.is_some() => left.min(TICK),
                None => left,
            };
            let worker = Watch::new(self.socket.as_fd(), Events::READ);
            match client.socket.filter(|_| client.ended.is_none()) {
                Some(socket) => {
                    let mut both = [worker, Watch::new(socket, Events::PEER_CLOSED)];
                    poll(&mut both, Some(turn))?;
                    let [worker, client_side] = both;
                    if worker.found().any() {
                        return Ok(Waited::Bytes);
                    }
                    if client_side.found().is_hung_up() {
                        return Ok(Waited::ClientGone);
                    }
                    if client_side.found().is_peer_closed() {
                        client.ended = Some(Instant::now());
                    }
                }
                None => {
                    let mut one = [worker];
                    if poll(&mut one, Some(turn))? > 0 {
                        return Ok(Waited::Bytes);
                    }
                }
            }
            if self.is_orphaned() {
                return Ok(Waited::Closed);
            }
        }
    }

    /// The worker has ended, and has left its side of the connection to a process that it has forked, so that it is not closed (F15). What it has
    /// said has been received.
    fn is_orphaned(&self) -> bool {
        let pid = self
            .worker
            .as_ref()
            .and_then(|worker| i32::try_from(worker.pid).ok());
        pid.is_some_and(|pid| !process::exists(Pid(pid))) && !self.has_more()
    }

    /// Whether more bytes can be received now.
    pub fn has_more(&self) -> bool {
        rwsgi_os::poll::readable(&self.socket, Some(Duration::ZERO)).unwrap_or(true)
    }

    /// Whether the worker, which is there, has read all that it was sent.
    pub fn has_been_read(&self) -> bool {
        unread_by_peer(&self.socket).is_ok_and(|bytes| bytes == 0)
    }

    /// The kind of the next frame, which may not be whole yet.
    pub fn next_kind(&self) -> Result<Option<Kind>, WireError> {
        self.decoder.next_kind()
    }

    /// The next whole frame.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        self.decoder.next()
    }

    /// All whole frames, and the connection to answer them on.
    pub fn batch(&mut self) -> Result<(Vec<Frame<'_>>, Sender<'_>), WireError> {
        let sender = Sender {
            socket: &self.socket,
            intake: &mut self.intake,
            passed: &mut self.passed,
            shared: &mut self.shared,
        };
        Ok((self.decoder.batch()?, sender))
    }

    /// Nothing is taken in any more: the exchange is over.
    pub fn settle(&mut self) {
        self.intake.take_if(|intake| !intake.has_some());
    }

    /// Whether the connection can carry another exchange: open, and nothing left over.
    pub fn is_clean(&self) -> bool {
        self.decoder.is_empty()
            && self.intake.is_none()
            && self.passed.is_none()
            && matches!(message::try_peek(&self.socket, &mut [0]), Err(e) if e.is_would_block())
    }
}

fn send_pieces(socket: &OwnedFd, mut pieces: [&[u8]; 3]) -> Result<(), OsError> {
    while pieces.iter().any(|piece| !piece.is_empty()) {
        let sent = message::send_vectored(socket, &pieces.map(IoSlice::new))?;
        pieces = behind(pieces, sent);
    }
    Ok(())
}

/// What is left of pieces of which so many bytes have gone.
fn behind(pieces: [&[u8]; 3], mut sent: usize) -> [&[u8]; 3] {
    pieces.map(|piece| {
        let of_this = sent.min(piece.len());
        sent -= of_this;
        piece.get(of_this..).unwrap_or_default()
    })
}

/// A worker that has lent us its memory.
pub struct Lender {
    view: Arc<View>,
    ours: Arc<Region>,
}

impl Lender {
    /// What it has lent.
    pub fn bytes(&self, part: region::Part) -> Option<Bytes<'_>> {
        self.view.bytes(part.from as usize, part.length as usize)
    }

    /// One more part is needed no more.
    pub fn give_back(&self) {
        self.ours.count(RETURNED);
    }
}

/// The rest of a link whose received frames are borrowed.
pub struct Sender<'l> {
    socket: &'l Arc<OwnedFd>,
    shared: &'l mut Shared,
    intake: &'l mut Option<Intake>,
    passed: &'l mut Option<OwnedFd>,
}

impl Sender<'_> {
    /// As [`Link::send`].
    pub fn send(&self, bytes: &[u8]) -> Result<(), OsError> {
        message::send_all(self.socket, bytes)
    }

    /// As [`Link::send_pieces`]; `sharing`: from then on both sides shall have memory for what follows.
    pub fn send_pieces(&mut self, pieces: [&[u8]; 3], sharing: bool) -> Result<(), OsError> {
        match sharing {
            true => self.shared.send(self.socket, pieces),
            false => send_pieces(self.socket, pieces),
        }
    }

    /// Our memory, if the worker has been given it, to be written.
    pub fn ours(&self) -> Option<Arc<Region>> {
        self.shared.ours.clone()
    }

    /// The worker's memory, which came just now or before. An error: it is none, or there is no room for it. `None`: it has passed none, or has not been
    /// given ours, in which it learns what has come back.
    pub fn theirs(&mut self) -> Result<Option<Lender>, OsError> {
        let Some(ours) = self.shared.ours.clone() else {
            return Ok(None);
        };
        if self.shared.theirs.is_none() {
            self.shared.map(self.passed.take())?;
        }
        let view = self.shared.theirs.clone();
        Ok(view.map(|view| Lender { view, ours }))
    }

    /// Answers are large here: the next request's may lie in memory that is shared.
    pub fn expect_large(&mut self) {
        self.shared.is_wanted = true;
    }

    /// The descriptor that came with these frames.
    pub fn take_passed(&mut self) -> Option<OwnedFd> {
        self.passed.take()
    }

    /// Runs `send`, in which the client is waited for, and takes in meanwhile what the worker has to say. The error: that cannot be done,
    /// or no longer, for this answer.
    pub fn during<T>(&mut self, room: Room<'_>, send: impl FnOnce() -> T) -> (T, Result<(), OsError>) {
        if room.most == 0 {
            return (send(), Ok(()));
        }
        if self.intake.is_none() {
            match Intake::new(self.socket, room) {
                Ok(intake) => *self.intake = Some(intake),
                Err(why) => return (send(), Err(why)),
            }
        }
        match self.intake {
            None => (send(), Ok(())),
            Some(intake) => {
                let sent = intake.during(send);
                (sent, intake.failure().map_or(Ok(()), Err))
            }
        }
    }

    /// Whether more bytes can be received within this time.
    pub fn has_more(&self, within: Duration) -> bool {
        let taken_in = || self.intake.as_ref().is_some_and(Intake::has_some);
        taken_in() || rwsgi_os::poll::readable(self.socket, Some(within)).unwrap_or(true)
    }
}
