//! The seats of a worker: one serving thread each, which holds at most one connection. No I/O happens here but the recall of an
//! idle connection.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::exchange::socket::Connection;

/// All seats.
pub struct Seats {
    table: Mutex<Table>,
    /// A connection was given to the seat of this number, or draining began. One each, so that only the thread concerned wakes.
    given: Vec<Condvar>,
    /// There may be room for a connection, or draining began.
    room: Condvar,
    /// A request has ended while draining.
    quieter: Condvar,
}

struct Table {
    seats: Vec<Seat>,
    draining: bool,
    /// No request begins for now.
    held: bool,
    /// The acceptor waits for room.
    wants_room: bool,
    /// Counts changes, to tell which seat was used most recently.
    clock: u64,
    activity: Option<Activity>,
}

/// When requests came.
#[derive(Debug, Clone, Copy)]
pub struct Activity {
    /// When the first began that something is run for.
    pub first: Option<Instant>,
    /// When one last began or ended that counts as activity.
    pub last: Instant,
}

#[derive(Default)]
struct Seat {
    state: State,
    connection: Option<Arc<Connection>>,
    /// The connection was taken away: its thread must not begin a request on it.
    recalled: bool,
    /// A connection that waits for the thread to come back.
    next: Option<Arc<Connection>>,
    changed: u64,
    /// Python's number of the thread.
    thread: Option<i64>,
    /// An exception was sent to the thread for the request it runs.
    was_interrupted: bool,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum State {
    /// Waits for a connection.
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

/// How a seat comes out of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Over {
    /// The connection may carry another.
    pub reusable: bool,
    /// The request was interrupted, so that the exception may still be on its way.
    pub interrupted: bool,
}

impl Seats {
    /// So many free seats.
    pub fn new(count: usize) -> Self {
        let seats = std::iter::repeat_with(Seat::default).take(count).collect();
        Self {
            table: Mutex::new(Table {
                seats,
                draining: false,
                held: false,
                wants_room: false,
                clock: 0,
                activity: None,
            }),
            given: std::iter::repeat_with(Condvar::new).take(count).collect(),
            room: Condvar::new(),
            quieter: Condvar::new(),
        }
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
        if let Some(idle) = &seat.connection {
            seat.recalled = true;
            idle.end_reading();
        }
        seat.next = Some(connection);
        seat.changed = clock;
        if let Some(given) = self.given.get(index) {
            given.notify_one();
        }
    }

    /// Waits for a connection for this seat; `None` once draining.
    pub fn next_connection(&self, index: usize) -> Option<Arc<Connection>> {
        let mut table = self.lock();
        if let Some(seat) = table.seats.get_mut(index) {
            (seat.state, seat.connection, seat.recalled) = (State::Free, None, false);
        }
        let clock = table.tick();
        if let Some(seat) = table.seats.get_mut(index) {
            seat.changed = clock;
        }
        self.tell_room(&mut table);
        let is_waiting = |table: &mut Table| {
            !table.draining && table.seats.get(index).is_some_and(|seat| seat.next.is_none())
        };
        let given = self.given.get(index)?;
        let mut table = given
            .wait_while(table, is_waiting)
            .unwrap_or_else(PoisonError::into_inner);
        let draining = table.draining;
        let seat = table.seats.get_mut(index)?;
        // Once draining it is closed here, unread: its request is repeated elsewhere.
        let connection = seat.next.take().filter(|_| !draining)?;
        seat.state = State::Fresh {
            since: Instant::now(),
        };
        seat.connection = Some(Arc::clone(&connection));
        Some(connection)
    }

    /// A request has arrived at this seat; false when it must not run here, which its child is to be told. `counts`: it is activity.
    pub fn begin(&self, index: usize, thread: Option<i64>, counts: bool) -> bool {
        let mut table = self.lock();
        let table = &mut *table;
        table.note_activity(counts);
        let (draining, held) = (table.draining, table.held);
        match table.seats.get_mut(index) {
            Some(seat) if !draining && !held && !seat.recalled => {
                let since = Instant::now();
                seat.state = State::Busy {
                    since,
                    interrupted: None,
                };
                seat.thread = thread;
                if let Some(activity) = &mut table.activity {
                    activity.first.get_or_insert(since);
                }
                true
            }
            _ => false,
        }
    }

    /// Nothing runs for the request that has begun at this seat, since nobody waits for it any more: if it was the first, another one will be.
    pub fn nothing_runs(&self, index: usize) {
        let mut table = self.lock();
        let runs = |seat: &Seat| matches!(seat.state, State::Busy { .. } | State::Overdue);
        let others = table.seats.iter().enumerate();
        if others.filter(|(n, _)| *n != index).any(|(_, seat)| runs(seat)) {
            return;
        }
        if let Some(activity) = &mut table.activity {
            activity.first = None;
        }
    }

    /// The request has ended. `counts` as at its beginning.
    pub fn end(&self, index: usize, counts: bool) -> Over {
        let mut table = self.lock();
        let clock = table.tick();
        let draining = table.draining;
        table.note_activity(counts);
        let Some(seat) = table.seats.get_mut(index) else {
            return Over::default();
        };
        let overdue = seat.state == State::Overdue;
        let interrupted = seat.was_interrupted;
        seat.was_interrupted = false;
        seat.state = State::Idle;
        seat.changed = clock;
        if draining {
            self.quieter.notify_all();
        } else {
            self.tell_room(&mut table);
        }
        Over {
            reusable: !draining && !overdue,
            interrupted,
        }
    }

    /// Lets no request begin for now, or lets them again: those that come are for other workers, or wait where these find them. Whether that is
    /// news.
    pub fn hold(&self, held: bool) -> bool {
        let mut table = self.lock();
        let is_news = std::mem::replace(&mut table.held, held) != held;
        if is_news && !held {
            self.tell_room(&mut table);
        }
        is_news
    }

    /// Lets no request begin any more, and closes the idle connections.
    pub fn drain(&self) {
        let mut table = self.lock();
        table.draining = true;
        for seat in &mut table.seats {
            if let (State::Idle | State::Fresh { .. }, Some(connection)) = (seat.state, &seat.connection) {
                seat.recalled = true;
                connection.end_reading();
            }
        }
        self.room.notify_all();
        self.given.iter().for_each(Condvar::notify_all);
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

    /// How many requests run, be it that nobody waits for them any more.
    pub fn running(&self) -> u32 {
        let runs = |seat: &&Seat| matches!(seat.state, State::Busy { .. } | State::Overdue);
        u32::try_from(self.lock().seats.iter().filter(runs).count()).unwrap_or(u32::MAX)
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

    fn note_activity(&mut self, counts: bool) {
        let now = Instant::now();
        let activity = self.activity.get_or_insert(Activity {
            first: None,
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
        if self.held {
            return None;
        }
        let seats = || {
            self.seats
                .iter()
                .enumerate()
                .filter(|(_, seat)| seat.next.is_none())
        };
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
        self.next.is_none() && (self.state == State::Free || self.may_be_recalled())
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

/// A child connects in order to send a request: so long its connection is not taken away again.
const FRESH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use rwsgi_os::socket::{Kind, Mode, pair};
    use std::os::fd::OwnedFd;

    fn connection() -> (Arc<Connection>, OwnedFd) {
        let (ours, theirs) = pair(Kind::Stream, Mode::Blocking).unwrap();
        (Connection::new(ours), theirs)
    }

    /// Whether nothing more may be sent.
    fn is_closed(theirs: &OwnedFd) -> bool {
        rwsgi_os::poll::writable(theirs, Some(Duration::ZERO)).unwrap()
            && rwsgi_os::message::try_send(theirs, &[0]).is_err()
    }

    // F25: the clock of startup-timeout.
    #[test]
    fn a_request_that_nobody_waits_for_is_not_the_first() {
        let seats = Seats::new(2);
        let first = || seats.activity().and_then(|activity| activity.first);
        assert!(seats.begin(0, None, true) && first().is_some());
        seats.nothing_runs(0);
        seats.end(0, true);
        assert!(first().is_none());
        assert!(seats.begin(1, None, true));
        let began = first();
        assert!(began.is_some() && seats.begin(0, None, true));
        seats.nothing_runs(0);
        seats.end(0, true);
        assert_eq!(first(), began, "the other still runs");
    }

    // F9
    #[test]
    fn a_worker_that_is_held_takes_nothing_until_it_is_let_go() {
        let seats = Seats::new(2);
        let (first, _theirs) = connection();
        seats.seat(|| Some(first));
        assert!(seats.next_connection(1).is_some());
        assert!(seats.hold(true) && !seats.hold(true));
        seats.seat(|| unreachable!("accepted while it is held"));
        assert!(!seats.begin(0, None, true) && !seats.begin(1, None, true));
        assert!(seats.hold(false) && !seats.hold(false));
        assert!(seats.begin(1, None, true));
        let (second, _theirs) = connection();
        let mut accepted = false;
        seats.seat(|| {
            accepted = true;
            Some(second)
        });
        assert!(accepted);
    }

    #[test]
    fn a_free_seat_gets_the_connection_before_an_idle_one_is_recalled() {
        let seats = Seats::new(2);
        let ((first, peer), (second, _keep)) = (connection(), connection());
        seats.seat(|| Some(first));
        let taken = (0..2).find(|i| seats.lock().seats[*i].next.is_some()).unwrap();
        assert!(seats.next_connection(taken).is_some());
        seats.seat(|| Some(second));
        assert!(!is_closed(&peer));
        assert!(seats.lock().seats[1 - taken].next.is_some());
    }

    #[test]
    fn the_longest_idle_connection_is_recalled_and_nothing_begins_on_it() {
        let seats = Seats::new(1);
        let ((first, peer), (second, _keep)) = (connection(), connection());
        seats.seat(|| Some(first));
        assert!(seats.next_connection(0).is_some());
        assert!(seats.begin(0, None, true) && seats.end(0, true).reusable);
        seats.seat(|| Some(second));
        assert!(is_closed(&peer));
        assert!(!seats.begin(0, None, true));
        assert!(seats.next_connection(0).is_some());
        assert!(seats.begin(0, None, true));
    }

    #[test]
    fn nothing_is_accepted_while_all_are_busy() {
        let seats = Seats::new(1);
        let (first, _keep) = connection();
        seats.seat(|| Some(first));
        assert!(seats.next_connection(0).is_some());
        assert!(seats.begin(0, None, true));
        seats.seat(|| unreachable!("a busy worker must leave connections to the others"));
        assert!(seats.end(0, true).reusable);
        assert!(seats.wait_for_room());
    }

    #[test]
    fn a_connection_is_not_taken_away_before_or_while_its_request_arrives() {
        let seats = Seats::new(1);
        let (first, peer) = connection();
        seats.seat(|| Some(first));
        assert!(seats.next_connection(0).is_some());
        seats.seat(|| unreachable!("its first request is on the way"));
        assert!(seats.begin(0, None, true) && seats.end(0, true).reusable);
        rwsgi_os::message::send_all(&peer, b"the next").unwrap();
        seats.seat(|| unreachable!("a request has arrived"));
        assert!(!is_closed(&peer));
    }

    #[test]
    fn draining_closes_what_is_idle_and_waits_for_what_is_busy() {
        let seats = Seats::new(2);
        let ((first, idle_peer), (second, busy_peer)) = (connection(), connection());
        seats.seat(|| Some(first));
        let idle = (0..2).find(|i| seats.lock().seats[*i].next.is_some()).unwrap();
        seats.next_connection(idle);
        seats.seat(|| Some(second));
        let busy = 1 - idle;
        seats.next_connection(busy);
        assert!(seats.begin(busy, None, true));
        seats.drain();
        assert!(is_closed(&idle_peer) && !is_closed(&busy_peer));
        assert!(!seats.begin(idle, None, true));
        assert!(!seats.wait_until_quiet(Duration::ZERO));
        assert!(!seats.end(busy, true).reusable);
        assert!(seats.wait_until_quiet(Duration::ZERO));
        assert!(!seats.wait_for_room());
    }

    #[test]
    fn an_interrupted_request_has_its_grace_and_says_so_at_its_end() {
        let seats = Seats::new(1);
        let (first, _keep) = connection();
        seats.seat(|| Some(first));
        seats.next_connection(0);
        assert!(seats.begin(0, Some(7), true));
        let (now, grace) = (Duration::ZERO, Some(Duration::from_secs(60)));
        let found = seats.overdue(now, grace);
        let interruption = found[0].interruption.unwrap();
        assert!(seats.overdue(now, grace).is_empty());
        assert!(seats.is_busy());
        let mut done = 0;
        seats.interrupt(0, interruption, || done += 1);
        let over = seats.end(0, true);
        assert!(over.interrupted && over.reusable);
        seats.interrupt(0, interruption, || done += 1);
        assert_eq!(done, 1);
        assert!(seats.begin(0, Some(7), true));
        assert!(!seats.end(0, true).interrupted);
        assert!(seats.begin(0, Some(7), true));
        seats.overdue(now, grace);
        let given_up = seats.overdue(now, Some(Duration::ZERO));
        assert!(given_up[0].interruption.is_none() && !seats.is_busy());
    }

    #[test]
    fn an_overdue_request_is_reported_once_and_not_waited_for() {
        let seats = Seats::new(1);
        let (first, _keep) = connection();
        seats.seat(|| Some(first));
        seats.next_connection(0);
        assert!(seats.begin(0, Some(7), true));
        let found = seats.overdue(Duration::ZERO, None);
        assert_eq!(found.iter().map(|o| o.thread).collect::<Vec<_>>(), [Some(7)]);
        assert!(seats.overdue(Duration::ZERO, None).is_empty());
        assert!(seats.wait_until_quiet(Duration::ZERO));
        assert!(!seats.end(0, true).reusable);
    }
}
