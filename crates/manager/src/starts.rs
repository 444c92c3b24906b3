//! Whose turn it is to start a worker: so many at once, so many in all, and every user gets a share.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::Level;

use crate::codes;
use crate::demand::{Demand, YIELD_LIMIT, least};
use crate::memory;
use crate::pools::Pool;
use crate::supervise::{Manager, Token};
use crate::undying::Kill;
use crate::workers::{State, Worker};

/// A start that takes longer than this is slow by itself and keeps nobody else waiting.
const TURN: Duration = Duration::from_secs(5);
/// The longest wait for a turn without a startup-timeout.
const WAIT: Duration = Duration::from_secs(30);
/// After waiting in vain, so long before a connection joins the queue again.
pub(crate) const CROWDED_PAUSE: Duration = Duration::from_secs(2);
/// Seconds after which a client that was turned away may come again.
pub(crate) const CROWDED_RETRY: u32 = 5;
/// The log hears once in this time that there are too many workers.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A look at the queue in vain that takes so long is a long one, and is followed by a rest of so many times as long: thousands may wait in the
/// queue, and nobody who asks something is to wait for each look.
const LONG_LOOK: Duration = Duration::from_micros(200);
const REST: u32 = 10;
/// And no longer than this: the look may have been long because the machine was busy.
const LONGEST_REST: Duration = Duration::from_millis(20);

/// What a worker is expected to need at least, bytes.
const LEAST_MEMORY: u64 = 12 << 20;

/// A pool waits for its turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queued {
    since: Instant,
}

impl Demand {
    /// Since when it waits for its turn.
    pub(crate) fn queued_since(&self) -> Option<Instant> {
        self.queued.map(|queued| queued.since)
    }
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Starts {
    /// Pools, in the order in which they came.
    queue: Vec<u64>,
    /// Most starts at once.
    at_once: usize,
    /// When the queue is looked at again.
    look: Option<Instant>,
    /// Until then it is not, after a long look in vain.
    rests: Option<Instant>,
    told: Option<Instant>,
}

impl Starts {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            queue: Vec::new(),
            at_once: (2 * processors).max(4),
            look: None,
            rests: None,
            told: None,
        }
    }
}

impl Manager {
    /// A pool needs one more worker: it starts at the end of this turn of the event loop, or when it may.
    pub(crate) fn want_start(&mut self, id: u64) {
        let now = Instant::now();
        let Some(pool) = self.pools.get_mut(&id).filter(|p| !p.demand.is_queued()) else {
            return;
        };
        pool.demand.queued = Some(Queued { since: now });
        self.starts.queue.push(id);
    }

    /// Starts what may start, and gives up for those that have waited too long.
    pub(crate) fn start_waiting(&mut self) {
        let began = Instant::now();
        if self.starts.queue.is_empty() || self.starts.rests.is_some_and(|until| began < until) {
            return;
        }
        let mut in_vain = true;
        let unknown = self.starts_of_unknown();
        while let Some(id) = self.next_start(&unknown) {
            in_vain = false;
            if self.lacks(id, true) && self.start_worker(id, None) {
                self.tend(id, false);
            } else {
                self.watch_while_empty(id);
                self.note_empty(id);
            }
        }
        self.give_up_waiting();
        let now = Instant::now();
        let took = now.saturating_duration_since(began);
        self.starts.rests = (in_vain && took >= LONG_LOOK).then(|| now + (REST * took).min(LONGEST_REST));
        if let Some(until) = self.starts.rests {
            self.timers.set(until, Token::Starts);
        }
    }

    /// Takes the pool whose turn it is out of the queue: that of the user with the fewest starts under way, then the first that came.
    fn next_start(&mut self, unknown: &HashSet<u64>) -> Option<u64> {
        if self.ending {
            self.starts.queue.clear();
        }
        if self.starts.queue.is_empty() {
            return None;
        }
        let full = self.is_full() || self.is_short_of_memory();
        // Where the machine has little memory left, one that nobody uses goes for one that is wanted, and nobody is turned away for it.
        if full || memory::is_scarce() {
            self.make_room();
        }
        let shares = self.shares();
        self.make_room_in_shares(&shares);
        let under_way = self.under_way();
        let candidates = self.starts.queue.iter().map(|id| match self.pools.get(id) {
            Some(pool) => {
                let uid = pool.settings.group.uid;
                let may = !full && !unknown.contains(id) && !pool.is_share_full(&shares);
                (may && self.may_start(pool, &under_way)).then_some(uid)
            }
            // Gone meanwhile.
            None => Some(u32::MAX),
        });
        let place = whose_turn(candidates, &under_way)?;
        let id = self.starts.queue.remove(place);
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.demand.queued = None;
        }
        Some(id)
    }

    /// How many starts of each user are under way.
    fn under_way(&self) -> HashMap<u32, usize> {
        let now = Instant::now();
        let starting = self.workers.values().filter(|w| w.is_having_its_turn(now));
        let forked = self.unborn.values().map(|unborn| unborn.pool);
        let mut of_user = HashMap::new();
        for pool in starting.map(|w| w.pool).chain(forked) {
            if let Some(pool) = self.pools.get(&pool) {
                *of_user.entry(pool.settings.group.uid).or_default() += 1;
            }
        }
        of_user
    }

    /// R60: so many starts of all at a time, and one of each user. Groups of fixed size are the administrator's: they start with httpd, and are
    /// held to the former only, or a server of one user would not use its processors.
    fn may_start(&self, pool: &Pool, under_way: &HashMap<u32, usize>) -> bool {
        let all: usize = under_way.values().sum();
        all < self.starts.at_once && !(pool.is_elastic() && under_way.contains_key(&pool.settings.group.uid))
    }

    /// As [`may_start`](Self::may_start), for a worker that replaces others: these serve on meanwhile.
    pub(crate) fn may_replace(&self, pool: u64) -> bool {
        let pool = self.pools.get(&pool);
        pool.is_some_and(|pool| self.may_start(pool, &self.under_way()))
    }

    /// Those that wait for their user to be looked up. Who could not be is not waited for.
    fn starts_of_unknown(&mut self) -> HashSet<u64> {
        let mut unknown = HashSet::new();
        for id in self.starts.queue.clone() {
            match self.knows_user(id) {
                Ok(true) => {}
                Ok(false) => drop(unknown.insert(id)),
                Err(why) => {
                    self.starts.queue.retain(|queued| *queued != id);
                    if let Some(pool) = self.pools.get_mut(&id) {
                        pool.demand.queued = None;
                    }
                    self.back_off(id, &why);
                    self.watch_while_empty(id);
                }
            }
        }
        unknown
    }

    /// C25: how many workers each user has below a base that limits them. A template that loads has the place of the worker that comes after it.
    fn shares(&self) -> HashMap<Share, usize> {
        let mut shares = HashMap::new();
        let loads = |w: &Worker| w.is_template && w.is_starting() && w.renewal.is_none();
        let workers = self.workers.values().filter(|w| w.takes_a_place() || loads(w));
        for pool in workers.map(|w| w.pool).chain(self.being_forked()) {
            let pool = self.pools.get(&pool).filter(|pool| pool.is_current());
            if let Some((share, _)) = pool.and_then(Pool::share) {
                *shares.entry(share).or_default() += 1;
            }
        }
        shares
    }

    /// The pools of workers that are being forked and take nobody's place.
    fn being_forked(&self) -> impl Iterator<Item = u64> + '_ {
        let unborn = self.unborn.values().filter(|unborn| unborn.renewal.is_none());
        unborn.map(|unborn| unborn.pool)
    }

    /// A user's idle workers make room for the user's other applications.
    fn make_room_in_shares(&mut self, shares: &HashMap<Share, usize>) {
        let now = Instant::now();
        let queued = self.starts.queue.iter().filter_map(|id| self.pools.get(id));
        let full: HashSet<Share> = queued
            .filter(|pool| pool.is_share_full(shares))
            .filter_map(|pool| Some(pool.share()?.0))
            .collect();
        for share in full {
            let of_share = |w: &Worker| {
                let pool = self.pools.get(&w.pool);
                pool.and_then(Pool::share).is_some_and(|(its, _)| its == share)
            };
            let on_its_way =
                |w: &Worker| w.is_yielding(now) || (w.state == State::Leaving && w.takes_a_place());
            if self.workers.values().any(|w| of_share(w) && on_its_way(w)) {
                continue;
            }
            let spare = self
                .workers
                .iter()
                .filter(|(_, w)| of_share(w) && self.is_spare(w, now));
            if let Some((_, id)) = spare.filter_map(|(id, w)| Some((w.idle?, *id))).min() {
                self.ask_to_yield(id, LeaveReason::Evicted);
            }
        }
    }

    /// There are as many workers as there may be. A worker that another takes the place of counts as one with it, and so do those of
    /// a pool and of the one that supersedes it; services do not count.
    fn is_full(&self) -> bool {
        let most = self.config.as_ref().map_or(0, |c| c.begin.max_workers) as usize;
        let is_current = |w: &Worker| self.pools.get(&w.pool).is_some_and(Pool::is_current);
        let counts = |w: &&Worker| w.takes_a_place() && is_current(w) && !self.is_service(w.pool);
        let count = || self.workers.values().filter(counts).count() + self.being_forked().count();
        most > 0 && count() >= most
    }

    /// One more worker would need more memory than there may be. How much it will need is not known: what the others do, on average, and
    /// those that start now are not there yet.
    fn is_short_of_memory(&self) -> bool {
        let most = self.config.as_ref().map_or(0, |c| c.begin.max_memory);
        if most == 0 || self.workers.is_empty() {
            return false;
        }
        let used = self.groups.memory().unwrap_or_else(|| {
            let resident = self.workers.values().map(|w| memory::resident(w.pid));
            resident.sum()
        });
        let starting = |w: &&Worker| matches!(w.state, State::Entering | State::Booting);
        let coming = self.workers.values().filter(starting).count();
        let there = self.workers.len() - coming;
        let each = used.checked_div(there as u64).unwrap_or(0).max(LEAST_MEMORY);
        used.saturating_add(each.saturating_mul(coming as u64 + 1)) > most
    }

    /// The system has no process, memory or descriptor for a worker of this pool: one that is idle makes room (F30).
    pub(crate) fn make_room_for(&mut self, pool: u64) {
        self.end_idle(&[pool], 1);
    }

    /// Those that wait in the queue need room.
    fn make_room(&mut self) {
        let queue = self.starts.queue.clone();
        self.end_idle(&queue, queue.len().min(self.starts.at_once));
    }

    /// Asks the workers that have been idle for longest to make room for so many of those that wait.
    fn end_idle(&mut self, waiting: &[u64], needed: usize) {
        let now = Instant::now();
        let user = |pool: &u64| self.pools.get(pool).map(|pool| pool.settings.group.uid);
        let mut places: HashMap<u32, usize> = HashMap::new();
        for worker in self.workers.values().filter(|w| w.takes_a_place()) {
            *places.entry(user(&worker.pool).unwrap_or(u32::MAX)).or_default() += 1;
        }
        let waiting: HashSet<u32> = waiting.iter().filter_map(user).collect();
        let on_their_way =
            |w: &&Worker| w.is_yielding(now) || (w.state == State::Leaving && w.takes_a_place());
        let coming = self.workers.values().filter(on_their_way).count();
        for _ in coming..needed {
            let may = |w: &Worker| {
                let user = self.pools.get(&w.pool).map(|pool| pool.settings.group.uid);
                user.is_some_and(|user| makes_room(user, &waiting, &places))
            };
            let spare = self
                .workers
                .iter()
                .filter(|(_, w)| self.is_spare(w, now) && may(w));
            let Some((_, id)) = spare.filter_map(|(id, w)| Some((w.idle?, *id))).min() else {
                return;
            };
            self.ask_to_yield(id, LeaveReason::Evicted);
        }
    }

    /// What has waited too long is turned away; the rest will be looked at again in time.
    fn give_up_waiting(&mut self) {
        let now = Instant::now();
        let (mut late, mut next) = (Vec::new(), None);
        let full = self.is_full() || self.is_short_of_memory();
        for id in &self.starts.queue {
            let Some(pool) = self.pools.get(id) else {
                continue;
            };
            let limit = match pool.settings.group.life.startup_timeout {
                0 => WAIT,
                limit => Duration::from_secs(limit.into()),
            };
            let Some(until) = pool.demand.queued.map(|queued| queued.since + limit) else {
                continue;
            };
            let (live, _) = self.census(*id);
            let has_workers = live > 0 && live < least(&pool.settings);
            if has_workers || !pool.is_elastic() && !full {
                // Its requests have workers, or wait as long as they may; it will have what it is to have when there is room.
                continue;
            }
            match until <= now {
                true => late.push(*id),
                false => next = Some(next.map_or(until, |next: Instant| next.min(until))),
            }
        }
        for id in late {
            self.turn_away_all(id, now);
        }
        if !self.starts.queue.is_empty() {
            // A start that does not end makes room for others.
            let look = next.map_or(now + TURN, |next| next.min(now + TURN));
            if self.starts.look.is_none_or(|set| set <= now || look < set) {
                self.starts.look = Some(look);
                self.timers.set(look, Token::Starts);
            }
        }
    }

    fn turn_away_all(&mut self, id: u64, now: Instant) {
        self.starts.queue.retain(|queued| *queued != id);
        let (live, _) = self.census(id);
        let text = self.crowd(id).to_owned();
        let code = match self.is_share_full(id) {
            true => codes::USER_FULL,
            false => codes::CROWDED,
        };
        let Some(pool) = self.pools.get_mut(&id) else {
            return;
        };
        pool.demand.queued = None;
        pool.demand.crowded = Some(now);
        if live == 0 {
            pool.demand.calm_down(&pool.settings);
        } else {
            pool.demand.wanted = live;
        }
        let text = format!("{} gets no worker: {text}", pool.title());
        let target = pool.target.clone();
        if self.starts.told.is_none_or(|told| told + TELL_AGAIN <= now) {
            self.starts.told = Some(now);
            target.say(Level::Warn, code, &text);
        }
        self.watch_while_empty(id);
    }

    /// Why pools wait in vain.
    pub(crate) fn crowd(&self, id: u64) -> &'static str {
        if self.is_share_full(id) {
            "its user has as many workers as user-processes allows, and none is idle: raise it if there is memory for more, or find out what \
             keeps the others busy"
        } else if self.is_full() {
            "there are as many workers as WSGIMaxWorkers allows, and none is idle: raise it if there is memory for more, or find out \
             what keeps the others busy"
        } else if self.is_short_of_memory() {
            "workers use as much memory as WSGIMaxMemory allows, and none is idle: raise it if there is more, or find out what needs it"
        } else {
            "too many applications start at once: the machine is too slow for this many first requests"
        }
    }
}

/// A user below a base: pattern and user id.
type Share = (Vec<u8>, u32);

impl Pool {
    /// Whose workers below which base its own count among, and how many these may be; `None`: they are not limited.
    fn share(&self) -> Option<(Share, usize)> {
        let application = self.settings.application.as_ref()?;
        let most = application.user_processes;
        let share = (application.pattern.clone(), self.settings.group.uid);
        (most > 0).then_some((share, most))
    }

    fn is_share_full(&self, shares: &HashMap<Share, usize>) -> bool {
        self.share()
            .is_some_and(|(share, most)| shares.get(&share).is_some_and(|count| *count >= most))
    }
}

impl Manager {
    fn is_share_full(&self, id: u64) -> bool {
        self.pools
            .get(&id)
            .is_some_and(|pool| pool.is_share_full(&self.shares()))
    }
}

/// Which of these users' starts is next, `None` being one that has to wait: that of the user with the fewest under way, then the first.
fn whose_turn(
    candidates: impl Iterator<Item = Option<u32>>,
    under_way: &HashMap<u32, usize>,
) -> Option<usize> {
    let ranked = candidates.enumerate().filter_map(|(place, uid)| {
        let starts = under_way.get(&uid?).copied().unwrap_or(0);
        Some((starts, place))
    });
    ranked.min().map(|(_, place)| place)
}

/// Whether idle workers of this user end for those that wait: their own user's do, another's only for somebody who has less than an equal share.
fn makes_room(user: u32, waiting: &HashSet<u32>, places: &HashMap<u32, usize>) -> bool {
    let users = places
        .keys()
        .chain(waiting.iter())
        .collect::<HashSet<_>>()
        .len()
        .max(1);
    let share = places.values().sum::<usize>().div_ceil(users);
    let has_less = |user: &u32| places.get(user).copied().unwrap_or(0) < share;
    waiting.contains(&user) || waiting.iter().any(has_less)
}

impl Worker {
    /// Its start keeps others waiting.
    fn is_having_its_turn(&self, now: Instant) -> bool {
        matches!(self.state, State::Entering | State::Booting) && now < self.since + TURN
    }

    /// It counts: it serves or will, or it ends without another in its place.
    fn takes_a_place(&self) -> bool {
        match self.state {
            _ if self.kill == Kill::InVain => true,
            State::Leaving => self.known.leaving.is_some_and(LeaveReason::is_for_idle),
            _ => self.is_live() && self.renewal.is_none(),
        }
    }

    /// It was asked a moment ago to end if it is idle, and has not answered yet.
    pub(crate) fn is_yielding(&self, now: Instant) -> bool {
        self.yielding.is_some_and(|since| now < since + YIELD_LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R64.
    #[test]
    fn idle_workers_of_others_end_for_a_user_up_to_its_share_and_no_further() {
        let (greedy, modest) = (1000, 2000);
        let may = |user, waiting: &[u32], places: &[(u32, usize)]| {
            let (waiting, places) = (
                waiting.iter().copied().collect(),
                places.iter().copied().collect(),
            );
            makes_room(user, &waiting, &places)
        };
        assert!(may(modest, &[greedy], &[(greedy, 1), (modest, 3)]));
        assert!(!may(modest, &[greedy], &[(greedy, 3), (modest, 1)]));
        assert!(!may(modest, &[greedy], &[(greedy, 2), (modest, 2)]));
        assert!(may(greedy, &[greedy], &[(greedy, 3), (modest, 1)]), "its own");
        assert!(may(greedy, &[modest], &[(greedy, 4)]), "who has none");
    }

    /// R60.
    #[test]
    fn a_user_with_one_site_does_not_wait_behind_one_with_a_thousand() {
        let (many, one) = (1000, 2000);
        let queue = [vec![Some(many); 999], vec![Some(one)]].concat();
        let turn = |under_way: &[(u32, usize)]| {
            whose_turn(queue.iter().copied(), &under_way.iter().copied().collect())
        };
        assert_eq!(turn(&[(many, 3)]), Some(999));
        assert_eq!(turn(&[(many, 3), (one, 3)]), Some(0), "the first of equals");
        assert_eq!(turn(&[(one, 1)]), Some(0));
        assert_eq!(
            whose_turn([None, Some(many)].into_iter(), &HashMap::new()),
            Some(1)
        );
        assert_eq!(whose_turn([None].into_iter(), &HashMap::new()), None);
    }
}
