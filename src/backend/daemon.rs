//! A request answered by a worker.
//!
//! Nothing has run before `Taken`, so until then a closed connection or `Stale` means: send the same head elsewhere. After it a death
//! is reported and never repeated. A worker says `Taken` once on a connection; from then on a head that it has read is taken unless it says
//! `Stale`, and one that it has not read is not: which of them is the case the kernel says.

use std::time::{Duration, Instant};

use rwsgi_os::OsError;
use rwsgi_wire::WireError;
use rwsgi_wire::frame::{self, Frame, Kind};
use rwsgi_wire::head::Head;
use rwsgi_wire::limits::CHUNK_MAX;
use rwsgi_wire::region::{Part, ROOM};
use rwsgi_wire::response::{Abort, AbortReason, BodyAbort, BodyFault, File, Log, Response, Taken, Want};

use super::client::{Client, Piece};
use super::file;
use super::intake::Room;
use super::lines::Moment;
use super::link::{ClientWatch, Link, NoLink, Sender, Waited};
use super::pools::{OPEN_UP, Pool, PoolName, Pools, is_forbidden};
use super::relay::Relay;
use super::{Failure, Fault, Message, codes};
use crate::request::relaying::Relaying;

/// The time limits of a process group, as this request sees them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a place in the pool's backlog.
    pub connect: Duration,
    /// For each sign of life of the worker.
    pub socket: Duration,
    /// What is left of `queue-timeout`, counted from the arrival of the request; `None` without one.
    pub queue: Option<Duration>,
    /// Bytes of the request that may be on their way to the worker; `None`: as many as the system allows.
    pub send_buffer: Option<u32>,
    /// Another worker may start when a request waits.
    pub can_grow: bool,
    /// How the answer is passed on.
    pub relaying: Relaying,
}

impl Limits {
    /// How long a worker may take until it takes the request.
    pub fn until_taken(&self) -> Duration {
        self.queue.unwrap_or(self.socket)
    }
}

/// Answers one request: `head` is a whole `Head` frame; what its client is slow to take may wait in `room`.
pub fn serve(
    pools: &Pools,
    name: &PoolName,
    head: &[u8],
    limits: Limits,
    room: Room<'_>,
    client: &mut dyn Client,
) -> Result<(), Failure> {
    let mut relay = Relay::new(client)
        .relaying(limits.relaying)
        .bounding(&pools.lines, &name.group);
    let (pool, mut link, pid) = match hand_over(pools, name, head, limits, &mut relay) {
        Ok(taken) => taken,
        Err(fault) => return Err(relay.fail(fault)),
    };
    let answered = answer(&mut link, &mut relay, limits.socket, room);
    relay.tell_loss(Moment::End);
    match answered {
        Ok(()) => {
            pool.put_back(link);
            Ok(())
        }
        Err(Broken::Closed) => {
            let (phrase, by_time_limit) = pools.death(pid);
            Err(relay.fail(Fault::Died(
                format!("{phrase} while it ran this request"),
                by_time_limit,
            )))
        }
        Err(Broken::Fault(fault)) => Err(relay.fail(fault)),
    }
}

/// How an exchange ended early.
pub(super) enum Broken {
    /// The worker closed.
    Closed,
    /// Anything else.
    Fault(Fault),
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<WireError> for Broken {
    fn from(error: WireError) -> Self {
        Self::Fault(Fault::Violation(format!(
            "the worker broke the protocol: {error}"
        )))
    }
}

/// What a worker said to a head.
enum Reply {
    Taken(u32),
    /// It is about to be replaced, and nothing has run; try another connection.
    Replaced,
    /// Nothing has run; try another connection.
    Elsewhere,
}

/// Finds a worker that takes the request.
pub(super) fn hand_over(
    pools: &Pools,
    name: &PoolName,
    head: &[u8],
    limits: Limits,
    relay: &mut Relay<'_>,
) -> Result<(std::sync::Arc<Pool>, Link, u32), Fault> {
    let start = Instant::now();
    let mut pause = Pause::default();
    let mut plea = Plea::new(pools, name, limits);
    let mut again = Vec::new();
    let mut has_looked = false;
    let (mut connects, mut restarts) = (0, 0);
    loop {
        connects += 1;
        let pool = pools.find(name, head)?;
        let (mut link, was_idle) = match pool.take_idle() {
            Some(link) => (link, true),
            None => match Link::connect(&pool.path, limits.socket, limits.send_buffer) {
                Ok(link) => (link, false),
                Err(e) => {
                    if matches!(e, NoLink::Stale) {
                        pools.forget(name, &pool);
                    }
                    still_time(start, limits, Some(&e))?;
                    plea.repeat();
                    pause.wait();
                    continue;
                }
            },
        };
        let wait = match limits.queue {
            Some(limit) => limit.saturating_sub(start.elapsed()),
            None => limits.socket,
        };
        let head = if connects == 1 {
            head
        } else {
            again.clear();
            again.extend_from_slice(head);
            Head::count_tries(&mut again, connects, restarts);
            &again
        };
        let reply = match link.send_head(head) {
            Ok(()) => match reply(&mut link, wait, limits, &mut plea, relay) {
                Err(fault) if fault.is_back_off() && !std::mem::replace(&mut has_looked, true) => {
                    if !pools.is_changed(name, &pool, head) {
                        return Err(fault);
                    }
                    Reply::Replaced
                }
                Err(fault) if fault.is_lateness() && link.worker().is_none() => {
                    return Err(pools.start_under_way(name).unwrap_or(fault));
                }
                reply => reply?,
            },
            Err(_) => Reply::Elsewhere,
        };
        restarts += u32::from(matches!(reply, Reply::Replaced));
        match reply {
            Reply::Taken(pid) => {
                pool.introduce(&mut link, pid);
                return Ok((pool, link, pid));
            }
            // A connection that was idle may have been closed at any time; its siblings perhaps too.
            Reply::Elsewhere | Reply::Replaced if was_idle => pool.forget_closed(),
            Reply::Elsewhere | Reply::Replaced => {
                still_time(start, limits, None)?;
                pause.wait();
            }
        }
    }
}

/// How long it is tried to reach workers that go away, with `connect-timeout=0`.
const GOING_AWAY: Duration = Duration::from_secs(15);

/// Whether another try is within the limits.
fn still_time(start: Instant, limits: Limits, error: Option<&NoLink>) -> Result<(), Fault> {
    let passed = start.elapsed();
    if limits.queue.is_some_and(|limit| passed >= limit) {
        return Err(Fault::QueueTimeout);
    }
    if let Some(NoLink::Broken(e)) = error {
        let remedy = match is_forbidden(e) {
            true => format!("; {OPEN_UP}"),
            false => String::new(),
        };
        return Err(Fault::NoConnection(format!(
            "no connection to the workers: {e}{remedy}"
        )));
    }
    let patience = match error {
        Some(NoLink::Full) => limits.connect,
        // connect-timeout=0 is about queues. Who is sent elsewhere has to get there.
        _ if limits.connect.is_zero() => GOING_AWAY,
        _ => limits.connect,
    };
    if passed < patience {
        return Ok(());
    }
    let seconds = patience.as_secs();
    Err(match error {
        Some(NoLink::Full) if patience.is_zero() => {
            Fault::NoConnection("all workers are busy and their backlog is full (connect-timeout=0)".into())
        }
        Some(NoLink::Full) => Fault::NoConnection(format!(
            "all workers are busy and their backlog was full for {seconds} s (connect-timeout)"
        )),
        Some(_) => Fault::NoConnection(format!(
            "nobody listened for connections for {seconds} s (connect-timeout)"
        )),
        None => Fault::Aborted {
            reason: AbortReason::Draining,
            retry_after: 0,
            text: format!(
                "workers kept going away for {seconds} s (connect-timeout) without taking this request"
            ),
        },
    })
}

/// Before a request that waits asks for another worker.
const PATIENCE: Duration = Duration::from_millis(100);
/// Before it does so again.
const PATIENCE_AGAIN: Duration = Duration::from_millis(500);

/// Tells the manager that a request waits, where that may start another worker.
struct Plea<'a> {
    pools: &'a Pools,
    name: &'a PoolName,
    at: Option<Instant>,
}

impl<'a> Plea<'a> {
    fn new(pools: &'a Pools, name: &'a PoolName, limits: Limits) -> Self {
        let at = limits.can_grow.then(|| Instant::now() + PATIENCE);
        Self { pools, name, at }
    }

    /// How long until it is to be made.
    fn after(&self) -> Duration {
        self.at
            .map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Makes it if it is time.
    fn repeat(&mut self) {
        if self.after().is_zero() {
            self.pools.tell_waiting(self.name);
            self.at = Some(Instant::now() + PATIENCE_AGAIN);
        }
    }
}

/// Waits a little longer each time, up to a quarter of a second.
#[derive(Default)]
struct Pause {
    rounds: u32,
}

impl Pause {
    fn wait(&mut self) {
        let millis = 2u64.saturating_pow(self.rounds.min(8)).min(250);
        self.rounds += 1;
        std::thread::sleep(Duration::from_millis(millis));
    }
}

fn watch(client: &dyn Client) -> (Option<std::os::fd::BorrowedFd<'_>>, impl Fn() -> bool + '_) {
    (client.socket(), || client.is_gone())
}

/// How often it is looked whether a known worker has read a head, while nothing comes back.
const GLANCE: Duration = Duration::from_millis(50);

/// Waits until the request is taken, or not.
fn reply(
    link: &mut Link,
    wait: Duration,
    limits: Limits,
    plea: &mut Plea<'_>,
    relay: &mut Relay<'_>,
) -> Result<Reply, Fault> {
    let served = relay.served();
    let client: &dyn Client = relay.client();
    let (socket, gone) = watch(client);
    let mut client = ClientWatch {
        socket,
        gone: &gone,
        ended: None,
        served,
    };
    let (known, mut has_read) = (link.worker().map(|worker| worker.pid), false);
    let mut until = Instant::now() + wait;
    let waited = loop {
        let left = until.saturating_duration_since(Instant::now());
        let turn = match known {
            Some(_) if has_read => left,
            Some(_) => left.min(GLANCE),
            None => left.min(plea.after()),
        };
        match (link.receive(turn, &mut client), known) {
            (Ok(Waited::Bytes), _) => {
                if let Some(reply) = first_frame(link)? {
                    return Ok(reply);
                }
            }
            // It has died, or nobody can say what it did.
            (Ok(Waited::Closed) | Err(_), Some(pid)) => return Ok(Reply::Taken(pid)),
            (Err(_), None) => break Waited::Closed,
            (Ok(Waited::TimedOut), Some(_)) if !has_read && link.has_been_read() => {
                // It may still say `Stale`, when the script has changed.
                has_read = true;
                until = Instant::now() + limits.socket;
            }
            (Ok(Waited::TimedOut), _) if Instant::now() < until => plea.repeat(),
            (Ok(other), _) => break other,
        }
    };
    match waited {
        Waited::ClientGone => Err(Fault::ClientGone),
        Waited::TimedOut if limits.queue.is_some() && !has_read => Err(Fault::QueueTimeout),
        Waited::Smuggled => Err(smuggled()),
        Waited::Lost(why) => Err(lost(&why)),
        Waited::TimedOut => Err(Fault::SocketTimeout(limits.socket)),
        Waited::Closed | Waited::Unread | Waited::Bytes => Ok(Reply::Elsewhere),
    }
}

/// What the worker says to the head; `None` while that is not complete.
fn first_frame(link: &mut Link) -> Result<Option<Reply>, Fault> {
    let wire = |e: WireError| Fault::Violation(format!("the worker broke the protocol: {e}"));
    let known = link.worker().map(|worker| worker.pid);
    match (known, link.next_kind().map_err(wire)?) {
        (_, None) => return Ok(None),
        (None, Some(_)) | (_, Some(Kind::Taken | Kind::Stale | Kind::Abort)) => {}
        // Its answer.
        (Some(pid), Some(_)) => return Ok(Some(Reply::Taken(pid))),
    }
    let Some(frame) = link.next_frame().map_err(wire)? else {
        return Ok(None);
    };
    match frame.kind {
        Kind::Taken => Ok(Some(Reply::Taken(
            Taken::decode(frame.payload).map_err(wire)?.pid,
        ))),
        Kind::Stale => Ok(Some(Reply::Replaced)),
        Kind::Abort => {
            let abort = Abort::decode(frame.payload).map_err(wire)?;
            if abort.reason == AbortReason::Draining {
                return Ok(Some(Reply::Replaced));
            }
            Err(aborted(&abort))
        }
        other => Err(Fault::Violation(format!(
            "the worker broke the protocol: {other:?} before Taken"
        ))),
    }
}

fn lost(why: &OsError) -> Fault {
    Fault::Lost(format!("what the worker has answered is lost here: {why}"))
}

fn smuggled() -> Fault {
    Fault::Violation("the worker passed descriptors that belong to no file of an answer".into())
}

pub(super) fn aborted(abort: &Abort<'_>) -> Fault {
    Fault::Aborted {
        reason: abort.reason,
        retry_after: abort.retry_after,
        text: String::from_utf8_lossy(abort.text).into_owned(),
    }
}

/// Relays everything from `Taken` to `End`.
fn answer(link: &mut Link, relay: &mut Relay<'_>, limit: Duration, room: Room<'_>) -> Result<(), Broken> {
    let mut body = Vec::new();
    let mut client_ended = None;
    loop {
        let (frames, mut sender) = link.batch()?;
        if pass(&frames, &mut sender, relay, limit, room, &mut body)? {
            return Ok(());
        }
        next_bytes(link, relay, limit, &mut client_ended)?;
    }
}

/// Waits for bytes of the worker, and watches the client meanwhile; `client_ended` is when it was seen to end its side.
pub(super) fn next_bytes(
    link: &mut Link,
    relay: &mut Relay<'_>,
    limit: Duration,
    client_ended: &mut Option<Instant>,
) -> Result<(), Broken> {
    let served = relay.served();
    let client: &dyn Client = relay.client();
    let (socket, gone) = watch(client);
    let mut client = ClientWatch {
        socket,
        gone: &gone,
        ended: *client_ended,
        served,
    };
    let waited = link.receive(limit, &mut client);
    *client_ended = client.ended;
    match waited {
        Ok(Waited::Bytes) => Ok(()),
        Ok(Waited::Closed | Waited::Unread) | Err(_) => Err(Broken::Closed),
        Ok(Waited::Smuggled) => Err(smuggled().into()),
        Ok(Waited::Lost(why)) => Err(lost(&why).into()),
        Ok(Waited::TimedOut) => Err(Fault::SocketTimeout(limit).into()),
        Ok(Waited::ClientGone) => Err(Fault::ClientGone.into()),
    }
}

/// Deals with the frames of one receive; `true` when the answer is complete.
fn pass(
    frames: &[Frame<'_>],
    sender: &mut Sender<'_>,
    relay: &mut Relay<'_>,
    limit: Duration,
    room: Room<'_>,
    body: &mut Vec<u8>,
) -> Result<bool, Broken> {
    let (mut pieces, mut unflushed, mut lent) = (Vec::new(), 0, 0);
    for frame in frames {
        match frame.kind {
            Kind::Response => relay.start(&Response::decode(frame.payload)?)?,
            Kind::Data => match relay.admit(frame.payload)? {
                [] => {}
                bytes => {
                    if frame.payload.len() == CHUNK_MAX {
                        sender.expect_large();
                    }
                    unflushed += bytes.len() as u64;
                    pieces.push(Piece::Data(bytes));
                }
            },
            Kind::SharedData => {
                let part = Part::decode(frame.payload)?;
                lent += part.length as usize;
                let lender = match sender.theirs() {
                    Ok(lender) => lender.filter(|_| lent <= ROOM).ok_or_else(not_lent)?,
                    Err(why) if why.errno == EINVAL => return Err(not_lent().into()),
                    Err(why) => return Err(lost(&why).into()),
                };
                let bytes = relay.admit_shared(lender.bytes(part).ok_or_else(not_lent)?)?;
                if !bytes.is_empty() {
                    let all = [std::mem::take(&mut pieces), vec![Piece::Shared(bytes)]].concat();
                    unhurried(sender, room, relay, |relay| relay.send(&all))?;
                    unflushed += bytes.len() as u64;
                }
                lender.give_back();
            }
            Kind::Log => relay.log(&Log::decode(frame.payload)?),
            Kind::Want => {
                // While the client is waited for, it may wait for what it has not been sent.
                if relay.take_unsent() || unflushed > 0 {
                    pieces.push(Piece::Flush);
                    unhurried(sender, room, relay, |relay| relay.send(&pieces))?;
                    pieces.clear();
                    unflushed = 0;
                }
                feed(Want::decode(frame.payload)?, sender, relay, limit, body)?;
            }
            Kind::Ask => show_scoreboard(|pieces| sender.send_pieces(pieces, false), relay, limit)?,
            Kind::File => {
                send_file(File::decode(frame.payload)?, sender, relay, room, &pieces)?;
                pieces.clear();
                unflushed = 0;
            }
            Kind::End if sender.take_passed().is_some() => return Err(smuggled().into()),
            Kind::End if relay.is_complete() => return Ok(true),
            Kind::End => {
                if let Err(fault) = relay.may_end() {
                    if !pieces.is_empty() {
                        relay.send(&pieces)?;
                    }
                    return Err(fault.into());
                }
                pieces.push(Piece::End);
                relay.send(&pieces)?;
                return Ok(true);
            }
            Kind::Abort => {
                let abort = Abort::decode(frame.payload)?;
                if !pieces.is_empty() {
                    pieces.push(Piece::Flush);
                    relay.send(&pieces)?;
                }
                return Err(aborted(&abort).into());
            }
            other => {
                return Err(Fault::Violation(format!(
                    "the worker broke the protocol: {other:?} after Taken"
                ))
                .into());
            }
        }
    }
    if relay.is_replaced() {
        // The connection is given up, so that nobody waits for the rest.
        return Err(Fault::AnsweredByServer.into());
    }
    if unflushed > 0 {
        // What streams is to be seen at once; what comes in bulk is not to be chopped.
        if relay.is_to_be_flushed(unflushed, |delay| sender.has_more(delay)) {
            pieces.push(Piece::Flush);
        }
        if !pieces.is_empty() {
            unhurried(sender, room, relay, |relay| relay.send(&pieces))?;
        }
    }
    Ok(false)
}

/// "Invalid argument", the same number on every Linux: what was passed is no such memory.
const EINVAL: i32 = 22;

fn not_lent() -> Fault {
    Fault::Violation("the worker broke the protocol: bytes in memory that it has not lent".into())
}

/// Lets the client take as long as it likes for a part of an answer; its worker goes on, as far as there is room.
fn unhurried(
    sender: &mut Sender<'_>,
    room: Room<'_>,
    relay: &mut Relay<'_>,
    send: impl FnOnce(&mut Relay<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let (sent, kept) = sender.during(room, || send(relay));
    if let Err(why) = kept {
        let text = format!(
            "an answer whose client is slow cannot be kept in {}, so the worker waits for the client: {why}",
            room.directory.display()
        );
        let code = codes::NOT_KEPT;
        relay.client().warn(&Message { code, text });
    }
    sent
}

/// Passes on the file that is the rest of the answer, and says so to a worker that waits.
fn send_file(
    part: File,
    sender: &mut Sender<'_>,
    relay: &mut Relay<'_>,
    room: Room<'_>,
    before: &[Piece<'_>],
) -> Result<(), Fault> {
    let Some(fd) = sender.take_passed() else {
        return Err(Fault::Violation(
            "the worker named a file without passing its descriptor".into(),
        ));
    };
    let file = file::File::check(fd, part)?;
    unhurried(sender, room, relay, |relay| relay.file(file, before, part.wait))?;
    if part.wait {
        let mut out = Vec::new();
        frame::put(&mut out, Kind::Sent, b"");
        // The worker may be gone by now; that shows at the next receive.
        let _ = sender.send(&out);
    }
    Ok(())
}

/// Answers a `Want`: reads what the client has and hands it to the worker. A body of which there is more than one piece will have memory of its own from the
/// second one on.
fn feed(
    want: Want,
    sender: &mut Sender<'_>,
    relay: &mut Relay<'_>,
    limit: Duration,
    body: &mut Vec<u8>,
) -> Result<(), Broken> {
    if relay.body_has_ended() {
        // Its end crossed this question on the way, and answers it.
        return Ok(());
    }
    let (wanted, mut out) = (want.bytes as usize, Vec::new());
    body.clear();
    // A worker that knows of the memory wants more than a piece.
    let ours = (wanted > CHUNK_MAX).then(|| sender.ours()).flatten();
    let room = if ours.is_some() { ROOM } else { CHUNK_MAX };
    let (mut got, mut missed) = (0, 0);
    let read = relay.read_body(wanted.min(room), &mut |bytes| {
        let fitting = bytes.get(..room - got).unwrap_or(bytes);
        match &ours {
            Some(region) => drop(region.write(got, fitting)),
            None => body.extend_from_slice(fitting),
        }
        got += fitting.len();
        missed += bytes.len() - fitting.len();
    });
    let read = match missed {
        0 => read,
        _ => Err((
            BodyFault::Malformed,
            "a filter of httpd gave more of the body than it was asked for".into(),
        )),
    };
    let ended = match read {
        Ok(ended) => ended,
        Err((fault, text)) => {
            let abort = BodyAbort {
                fault,
                text: text.as_bytes(),
            };
            frame::put_with(&mut out, Kind::BodyAbort, |out| abort.encode(out));
            let told = delivered(sender.send(&out), limit);
            return match fault {
                BodyFault::TooLarge => Err(Fault::AnsweredByServer.into()),
                BodyFault::ClientGone | BodyFault::ClientSlow | BodyFault::Malformed => told,
            };
        }
    };
    if ours.is_some() && got > 0 {
        let part = Part {
            from: 0,
            length: u32::try_from(got).unwrap_or_default(),
        };
        frame::put_with(&mut out, Kind::SharedBody, |out| part.encode(out));
    }
    if ended {
        frame::put(&mut out, Kind::BodyEnd, b"");
    }
    let sent = if body.is_empty() {
        sender.send(&out)
    } else {
        let head = frame::header(Kind::Body, body.len());
        let is_large = !ended && body.len() == CHUNK_MAX;
        sender.send_pieces([&head, body, &out], is_large)
    };
    delivered(sent, limit)
}

/// Answers an `Ask`.
pub(super) fn show_scoreboard(
    send: impl FnOnce([&[u8]; 3]) -> Result<(), OsError>,
    relay: &mut Relay<'_>,
    limit: Duration,
) -> Result<(), Broken> {
    let mut scoreboard = relay.client().scoreboard();
    if scoreboard.len() > Kind::Scoreboard.max() {
        let text = format!(
            "httpd's scoreboard is too large for a worker: {} bytes, at most {} are passed; server_metrics() is None",
            scoreboard.len(),
            Kind::Scoreboard.max()
        );
        let code = codes::SCOREBOARD_TOO_LARGE;
        relay.client().warn(&Message { code, text });
        scoreboard.clear();
    }
    let head = frame::header(Kind::Scoreboard, scoreboard.len());
    delivered(send([&head, &scoreboard, &[]]), limit)
}

/// What became of bytes for the worker. One that has gone shows that at the next receive, behind what it had still to say. One that reads
/// nothing has been waited for, and is given up: it might ask again and again.
fn delivered(sent: Result<(), OsError>, limit: Duration) -> Result<(), Broken> {
    match sent {
        Err(error) if error.is_would_block() => Err(Fault::SocketTimeout(limit).into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
