//! The seats of a worker: one for each serving thread, each for at most one connection. Whoever leads ([`lead`](super::lead)) waits for
//! requests on all of them together.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rwsgi_os::epoll::{Epoll, Found, Trigger};
use rwsgi_os::poll::Events;
use rwsgi_os::{OsError, fd};

use super::lead::Lead;
use crate::exchange::socket::Connection;

/// All seats.
pub struct Seats {
    table: Mutex<Table>,
    /// The idle connections.
    watched: Epoll,
    /// Who waits for them.
    pub lead: Lead,
    /// Readable once no request may begin any more.
    closed: OwnedFd,
    /// There may be room for a connection, or draining began.
    room: Condvar,
    /// A request has ended while draining.
    quieter: Condvar,
}

struct Table {
    seats: Vec<Seat>,
    draining: bool,
    /// The acceptor waits for room.
    wants_room: bool,
    /// Counts changes, to tell which seat was used most recently.
    clock: u64,
    activity: Option<Activity>,
}

/// When requests came.
#[derive(Debug, Clone, Copy)]
pub struct Activity {
    /// When the first began.
    pub first: Instant,
    /// When one last began or ended that counts as activity.
    pub last: Instant,
}

#[derive(Default)]
struct Seat {
    state: State,
    connection: Option<Arc<Connection>>,
    /// Tells the connections of a seat apart.
    number: u32,
    changed: u64,
    /// Python's number of the thread that runs its request.
    thread: Option<i64>,
    /// An exception was sent to the thread for the request it runs.
    was_interrupted: bool,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum State {
    /// Has no connection.
    #[default]
    Free,
    /// Has a connection and waits for a request on it.
    Idle,
    /// Has a connection that has not carried a request yet: its first one is on the way.
    Fresh { since: Instant },
    /// Runs a request, which may have been interrupted.
    Busy {
        since: Instant,
        interrupted: Option<Instant>,
    },
    /// Runs a request that nobody waits for any more.
    Overdue,
}

/// A request that runs too long.
pub struct Overdue {
    /// Its seat.
    pub index: usize,
    /// Its connection.
    pub connection: Arc<Connection>,
    /// Python's number of its thread.
    pub thread: Option<i64>,
    /// How long it has run.
    pub age: Duration,
    /// It is to be interrupted, and given up only if that does not help; the time names the interruption.
    pub interruption: Option<Instant>,
}

/// A connection on which something has arrived, claimed by the thread that deals with it.
pub struct Claim {
    /// Its seat.
    pub index: usize,
    /// The connection.
    pub connection: Arc<Connection>,
    since: Instant,
}

/// How a seat comes out of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Over {
    /// The connection may carry another.
    pub reusable: bool,
    /// The request was interrupted, so that the exception may still be on its way.
    pub interrupted: bool,
    /// How long it took.
    pub took: Duration,
}

/// Of `closed`; no connection has it.
const CLOSED: u64 = u64::MAX;

impl Seats {
    /// So many free seats.
    pub fn new(count: usize) -> Result<Self, OsError> {
        let watched = Epoll::new()?;
        let closed = fd::event()?;
        watched.add(&closed, CLOSED, Events::READ, Trigger::Level)?;
        let seats = std::iter::repeat_with(Seat::default).take(count).collect();
        Ok(Self {
            table: Mutex::new(Table {
                seats,
                draining: false,
                wants_room: false,
                clock: 0,
                activity: None,
            }),
            watched,
            lead: Lead::default(),
            closed,
            room: Condvar::new(),
            quieter: Condvar::new(),
        })
    }

    /// Number of seats.
    pub fn count(&self) -> usize {
        self.lock().seats.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a connection could be taken; false once draining.
    pub fn wait_for_room(&self) -> bool {
        let full = |table: &mut Table| {
            table.wants_room = !table.draining && table.room().is_none();
            table.wants_room
        };
        let mut table = self.lock();
        while full(&mut table) {
            // A fresh connection becomes recallable by time alone.
            let waited = self.room.wait_timeout(table, FRESH);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !table.draining
    }

    /// A seat has become free or idle: the acceptor wakes if it waits for that.
    fn tell_room(&self, table: &mut Table) {
        if std::mem::take(&mut table.wants_room) {
            self.room.notify_one();
        }
    }

    /// Takes a connection from `accept`, if there is room for one and while nothing can change that. A free seat gets it, the one
    /// used last; else the connection that has been idle longest is closed and its seat gets the new one.
    pub fn seat(&self, accept: impl FnOnce() -> Option<Arc<Connection>>) {
        let mut table = self.lock();
        if table.draining {
            return;
        }
        let Some(index) = table.room() else { return };
        let Some(connection) = accept() else { return };
        let clock = table.tick();
        let Some(seat) = table.seats.get_mut(index) else {
            return;
        };
        self.empty(seat);
        seat.number = seat.number.wrapping_add(1);
        let watched = self.watched.add(
            &*connection,
            token(index, seat.number),
            Events::READ,
            Trigger::Once,
        );
        if watched.is_ok() {
            seat.state = State::Fresh {
                since: Instant::now(),
            };
            seat.connection = Some(connection);
            seat.changed = clock;
        }
    }

    /// Closes the connection of a seat, on which nothing runs. A request that has just arrived there stays unread, as its sender can see.
    fn empty(&self, seat: &mut Seat) {
        seat.state = State::Free;
        if let Some(idle) = seat.connection.take() {
            let _ = self.watched.remove(&*idle);
            idle.close();
        }
    }

    /// For the leader: the next connection on which something has arrived. Waits for one; `None` once draining.
    pub fn next(&self, thread: Option<i64>, found: &mut Vec<Found>) -> Option<Claim> {
        loop {
            while let Some(token) = self.lead.next() {
                if let Some(claim) = self.claim(token, thread) {
                    return Some(claim);
                }
            }
            let waited = self.watched.wait(found, None);
            if waited.is_err() || found.iter().any(|found| found.token == CLOSED) {
                return None;
            }
            self.lead.found(found.iter().map(|found| found.token));
        }
    }

    fn claim(&self, token: u64, thread: Option<i64>) -> Option<Claim> {
        let mut table = self.lock();
        let (index, number) = place(token)?;
        if table.draining {
            return None;
        }
        let seat = table.seats.get_mut(index).filter(|seat| seat.number == number)?;
        if !matches!(seat.state, State::Idle | State::Fresh { .. }) {
            return None;
        }
        let connection = Arc::clone(seat.connection.as_ref()?);
        let since = Instant::now();
        seat.state = State::Busy {
            since,
            interrupted: None,
        };
        seat.thread = thread;
        Some(Claim {
            index,
            connection,
            since,
        })
    }

    /// What has arrived is a request. `counts`: it is activity.
    pub fn begin(&self, claim: &Claim, counts: bool) {
        self.lock().note_activity(counts, claim.since);
    }

    /// The request has ended, or there was none. `counts` as at its beginning; `reusable`: the connection may carry another.
    pub fn end(&self, claim: &Claim, counts: bool, reusable: bool) -> Over {
        let now = Instant::now();
        let mut table = self.lock();
        let clock = table.tick();
        let draining = table.draining;
        table.note_activity(counts, now);
        let Some(seat) = table.seats.get_mut(claim.index) else {
            return Over::default();
        };
        let reusable = reusable && !draining && seat.state != State::Overdue;
        let interrupted = std::mem::take(&mut seat.was_interrupted);
        seat.changed = clock;
        seat.state = State::Idle;
        let watched = || {
            let token = token(claim.index, seat.number);
            self.watched
                .change(&*claim.connection, token, Events::READ, Trigger::Once)
        };
        if !reusable || watched().is_err() {
            self.empty(seat);
        }
        if draining {
            self.quieter.notify_all();
        } else {
            self.tell_room(&mut table);
        }
        Over {
            reusable,
            interrupted,
            took: now.saturating_duration_since(claim.since),
        }
    }

    /// Lets no request begin any more, and closes the idle connections.
    pub fn drain(&self) {
        let mut table = self.lock();
        table.draining = true;
        for seat in &mut table.seats {
            if matches!(seat.state, State::Idle | State::Fresh { .. }) {
                self.empty(seat);
            }
        }
        drop(table);
        fd::notify(&self.closed);
        self.lead.finish();
        self.room.notify_all();
    }

    /// As [`drain`](Self::drain), if no request runs and none has arrived; whether that is so.
    pub fn drain_if_idle(&self) -> bool {
        let idle = {
            let mut table = self.lock();
            let idle = table.seats.iter().all(Seat::is_at_rest);
            // From here on none begins.
            table.draining |= idle;
            idle
        };
        if idle {
            self.drain();
        }
        idle
    }

    /// Waits until no request runs that somebody waits for, at most so long; whether that is so.
    pub fn wait_until_quiet(&self, limit: Duration) -> bool {
        let waited = self
            .quieter
            .wait_timeout_while(self.lock(), limit, |table| table.is_busy());
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Requests that have run longer than `limit`: each is reported once to be interrupted, if there is a `grace` for what comes of
    /// that, and once to be given up; from then on nobody waits for it.
    pub fn overdue(&self, limit: Duration, grace: Option<Duration>) -> Vec<Overdue> {
        let mut found = Vec::new();
        for (index, seat) in self.lock().seats.iter_mut().enumerate() {
            let (State::Busy { since, interrupted }, Some(connection)) = (seat.state, &seat.connection)
            else {
                continue;
            };
            let age = since.elapsed();
            let interruption = (grace.is_some() && interrupted.is_none()).then(Instant::now);
            if age <= limit || interrupted.is_some_and(|at| grace.is_some_and(|grace| at.elapsed() <= grace))
            {
                continue;
            }
            seat.state = match interruption {
                Some(_) => State::Busy {
                    since,
                    interrupted: interruption,
                },
                None => State::Overdue,
            };
            found.push(Overdue {
                index,
                connection: Arc::clone(connection),
                thread: seat.thread,
                age,
                interruption,
            });
        }
        if !found.is_empty() {
            self.quieter.notify_all();
        }
        found
    }

    /// Runs `interrupt` unless the request has ended meanwhile; it cannot while that lasts.
    pub fn interrupt(&self, index: usize, interruption: Instant, interrupt: impl FnOnce()) {
        let mut table = self.lock();
        if let Some(seat) = table.seats.get_mut(index) {
            if matches!(seat.state, State::Busy { interrupted: Some(at), .. } if at == interruption) {
                seat.was_interrupted = true;
                interrupt();
            }
        }
    }

    /// When requests came; `None` before the first.
    pub fn activity(&self) -> Option<Activity> {
        self.lock().activity
    }

    /// Whether a request runs that somebody waits for.
    pub fn is_busy(&self) -> bool {
        self.lock().is_busy()
    }
}

impl Table {
    fn is_busy(&self) -> bool {
        self.seats
            .iter()
            .any(|seat| matches!(seat.state, State::Busy { .. }))
    }

    fn note_activity(&mut self, counts: bool, now: Instant) {
        let activity = self.activity.get_or_insert(Activity {
            first: now,
            last: now,
        });
        if counts {
            activity.last = now;
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The seat that would get a new connection: the free one used last, else the one whose connection has been idle longest.
    fn room(&self) -> Option<usize> {
        let seats = || self.seats.iter().enumerate();
        let free = seats()
            .filter(|(_, seat)| seat.state == State::Free)
            .max_by_key(|(_, seat)| seat.changed);
        let idle = || {
            seats()
                .filter(|(_, seat)| seat.may_be_recalled())
                .min_by_key(|(_, seat)| seat.changed)
        };
        free.or_else(idle).map(|(index, _)| index)
    }
}

impl Seat {
    fn is_at_rest(&self) -> bool {
        self.state == State::Free || self.may_be_recalled()
    }

    fn may_be_recalled(&self) -> bool {
        let quiet = match self.state {
            State::Idle => true,
            State::Fresh { since } => since.elapsed() >= FRESH,
            _ => false,
        };
        // A request that has arrived is about to begin.
        quiet
            && self
                .connection
                .as_ref()
                .is_some_and(|connection| !connection.has_input())
    }
}

/// Names a connection: its seat, and its number there.
fn token(index: usize, number: u32) -> u64 {
    (index as u64) << 32 | u64::from(number)
}

fn place(token: u64) -> Option<(usize, u32)> {
    let number = u32::try_from(token & u64::from(u32::MAX)).ok()?;
    Some((usize::try_from(token >> 32).ok()?, number))
}

/// A child connects in order to send a request: so long its connection is not taken away again.
const FRESH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use rwsgi_os::socket::{Kind, Mode, pair};
    use std::os::fd::OwnedFd;

    fn connection() -> (Arc<Connection>, OwnedFd) {
        let (ours, theirs) = pair(Kind::Stream, Mode::Blocking).unwrap();
        (Arc::new(Connection::new(ours)), theirs)
    }

    /// A connection that has a seat.
    fn seated(seats: &Seats) -> OwnedFd {
        let (ours, theirs) = connection();
        seats.seat(|| Some(ours));
        theirs
    }

    /// A request on it, claimed.
    fn claimed(seats: &Seats, peer: &OwnedFd) -> Claim {
        rwsgi_os::message::send_all(peer, b"a head").unwrap();
        let claim = seats.next(Some(7), &mut Vec::new()).unwrap();
        seats.begin(&claim, true);
        claim
    }

    fn is_closed(theirs: &OwnedFd) -> bool {
        match rwsgi_os::message::try_receive(theirs, &mut [0]) {
            Ok(n) => n == 0,
            // With something unread.
            Err(error) => !error.is_would_block(),
        }
    }

    /// The request is read and has ended.
    fn end(seats: &Seats, claim: &Claim) -> Over {
        let mut read = [0; 16];
        rwsgi_os::message::receive(&*claim.connection, &mut read).unwrap();
        seats.end(claim, true, true)
    }

    #[test]
    fn a_free_seat_gets_the_connection_before_an_idle_one_is_recalled() {
        let seats = Seats::new(2).unwrap();
        let first = seated(&seats);
        let _second = seated(&seats);
        assert!(!is_closed(&first));
        assert!(seats.lock().seats.iter().all(|seat| seat.connection.is_some()));
    }

    #[test]
    fn the_longest_idle_connection_is_recalled_and_nothing_begins_on_it() {
        let seats = Seats::new(1).unwrap();
        let first = seated(&seats);
        let claim = claimed(&seats, &first);
        assert!(end(&seats, &claim).reusable);
        drop(claim);
        let before = token(0, seats.lock().seats[0].number);
        let second = seated(&seats);
        assert!(is_closed(&first));
        assert!(seats.claim(before, None).is_none());
        claimed(&seats, &second);
    }

    #[test]
    fn nothing_is_accepted_while_all_are_busy() {
        let seats = Seats::new(1).unwrap();
        let peer = seated(&seats);
        let claim = claimed(&seats, &peer);
        seats.seat(|| unreachable!("a busy worker must leave connections to the others"));
        assert!(end(&seats, &claim).reusable);
        assert!(seats.wait_for_room());
    }

    #[test]
    fn a_connection_is_not_taken_away_before_or_while_its_request_arrives() {
        let seats = Seats::new(1).unwrap();
        let peer = seated(&seats);
        seats.seat(|| unreachable!("its first request is on the way"));
        let claim = claimed(&seats, &peer);
        assert!(end(&seats, &claim).reusable);
        rwsgi_os::message::send_all(&peer, b"the next").unwrap();
        seats.seat(|| unreachable!("a request has arrived"));
        assert!(!is_closed(&peer));
    }

    #[test]
    fn what_arrives_while_a_request_ends_is_found() {
        let seats = Seats::new(1).unwrap();
        let peer = seated(&seats);
        let claim = claimed(&seats, &peer);
        let mut read = [0; 6];
        rwsgi_os::message::receive(&*claim.connection, &mut read).unwrap();
        rwsgi_os::message::send_all(&peer, b"the next").unwrap();
        seats.end(&claim, true, true);
        assert!(seats.next(None, &mut Vec::new()).is_some());
    }

    #[test]
    fn draining_closes_what_is_idle_and_waits_for_what_is_busy() {
        let seats = Seats::new(2).unwrap();
        let busy = seated(&seats);
        let claim = claimed(&seats, &busy);
        let idle = seated(&seats);
        rwsgi_os::message::send_all(&idle, b"too late").unwrap();
        seats.drain();
        assert!(is_closed(&idle) && !is_closed(&busy));
        assert!(seats.next(None, &mut Vec::new()).is_none());
        assert!(!seats.wait_until_quiet(Duration::ZERO));
        assert!(!end(&seats, &claim).reusable);
        assert!(seats.wait_until_quiet(Duration::ZERO));
        assert!(!seats.wait_for_room() && !seats.lead.take(0));
    }

    #[test]
    fn an_interrupted_request_has_its_grace_and_says_so_at_its_end() {
        let seats = Seats::new(1).unwrap();
        let peer = seated(&seats);
        let claim = claimed(&seats, &peer);
        let (now, grace) = (Duration::ZERO, Some(Duration::from_secs(60)));
        let found = seats.overdue(now, grace);
        let interruption = found[0].interruption.unwrap();
        assert!(seats.overdue(now, grace).is_empty());
        assert!(seats.is_busy());
        let mut done = 0;
        seats.interrupt(0, interruption, || done += 1);
        let over = end(&seats, &claim);
        assert!(over.interrupted && over.reusable);
        seats.interrupt(0, interruption, || done += 1);
        assert_eq!(done, 1);
        let claim = claimed(&seats, &peer);
        assert!(!end(&seats, &claim).interrupted);
        let _claim = claimed(&seats, &peer);
        seats.overdue(now, grace);
        let given_up = seats.overdue(now, Some(Duration::ZERO));
        assert!(given_up[0].interruption.is_none() && !seats.is_busy());
    }

    #[test]
    fn an_overdue_request_is_reported_once_and_not_waited_for() {
        let seats = Seats::new(1).unwrap();
        let peer = seated(&seats);
        let claim = claimed(&seats, &peer);
        let found = seats.overdue(Duration::ZERO, None);
        assert_eq!(found.iter().map(|o| o.thread).collect::<Vec<_>>(), [Some(7)]);
        assert!(seats.overdue(Duration::ZERO, None).is_empty());
        assert!(seats.wait_until_quiet(Duration::ZERO));
        assert!(!end(&seats, &claim).reusable);
    }
}
