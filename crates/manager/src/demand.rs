//! Pools that have as many workers as requests need: more when requests wait, fewer when workers are idle, none when nobody asks.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rwsgi_os::message;
use rwsgi_os::poll::readable;
use rwsgi_wire::control::ToWorker;
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::Level;

use crate::commit::Settings;
use crate::pools::Pool;
use crate::starts::{CROWDED_PAUSE, Queued};
use crate::supervise::{Manager, Token};
use crate::workers::{State, Worker};

/// Requests that say within this time that they wait are taken to wait together. They say so about twice in it.
const WINDOW: Duration = Duration::from_millis(600);
/// So long a ready worker is expected to take requests that wait.
const FRESH: Duration = Duration::from_millis(300);
/// How long a pool without workers keeps its socket.
const KEPT_EMPTY: Duration = Duration::from_secs(60);
/// How long a worker that was asked to end for being idle may take to say yes or no.
pub(crate) const YIELD_LIMIT: Duration = Duration::from_secs(1);

/// What requests ask of a pool.
#[derive(Debug)]
pub(crate) struct Demand {
    /// How many workers it is to have now.
    pub(crate) wanted: usize,
    /// It waits for its turn to start one.
    pub(crate) queued: Option<Queued>,
    /// When it had waited in vain.
    pub(crate) crowded: Option<Instant>,
    /// Since when it has no worker and needs none.
    empty: Option<Instant>,
    /// The beginning of a [`WINDOW`], and how many requests have said in it that they wait.
    waiting: (Instant, u32),
}

impl Demand {
    /// `asked`: a request is on its way.
    pub(crate) fn new(settings: &Settings, asked: bool) -> Self {
        let least = least(settings);
        Self {
            wanted: if asked { least.max(1) } else { least },
            queued: None,
            crowded: None,
            empty: None,
            waiting: (Instant::now(), 0),
        }
    }

    /// The bounds may have changed.
    pub(crate) fn adjust(&mut self, settings: &Settings) {
        let most = settings.group.processes as usize;
        self.wanted = self.wanted.max(least(settings)).min(most);
    }

    /// What is tried fails: no more than must be, until somebody asks again.
    pub(crate) fn calm_down(&mut self, settings: &Settings) {
        self.wanted = least(settings);
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.queued.is_some()
    }

    /// It waited for its turn in vain, a moment ago.
    pub(crate) fn is_crowded(&self, now: Instant) -> bool {
        self.crowded.is_some_and(|since| now < since + CROWDED_PAUSE)
    }

    /// One more request waits; answers how many do.
    fn count(&mut self, now: Instant) -> usize {
        let (start, count) = &mut self.waiting;
        if now.saturating_duration_since(*start) > WINDOW {
            (*start, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count as usize
    }
}

/// The workers that a pool keeps.
pub(crate) fn least(settings: &Settings) -> usize {
    settings.scale.min_processes.min(settings.group.processes) as usize
}

impl Pool {
    pub(crate) fn is_elastic(&self) -> bool {
        self.settings.is_elastic()
    }
}

impl Manager {
    /// A request waits: the pool gets one more worker if those that start already will not do.
    pub(crate) fn on_waiting(&mut self, group: &[u8], application_group: &[u8]) {
        let Some(id) = self.current_pool(group, application_group) else {
            return;
        };
        let now = Instant::now();
        let (live, _) = self.census(id);
        let fresh = self.fresh_workers(id, now);
        let Some(pool) = self.pools.get_mut(&id).filter(|p| p.is_elastic()) else {
            return;
        };
        let waiting = pool.demand.count(now);
        let most = pool.settings.group.processes as usize;
        let coming = fresh.saturating_mul(pool.settings.group.threads.max(1) as usize);
        // Without a worker it is a connection that says so.
        if live == 0 || live >= most || pool.demand.is_queued() || waiting <= coming {
            return;
        }
        pool.demand.wanted = live + 1;
        self.tend(id, false);
    }

    /// Workers that start, or are ready since a moment ago: requests that wait may be on their way to them.
    fn fresh_workers(&self, pool: u64, now: Instant) -> usize {
        let is_fresh = |w: &&Worker| w.is_live() && (w.state != State::Ready || now < w.since + FRESH);
        let Some(found) = self.pools.get(&pool) else {
            return 0;
        };
        let workers = found.workers.iter().filter_map(|w| self.workers.get(w));
        workers.filter(is_fresh).count() + self.to_be_forked(pool)
    }

    /// A worker has been idle for so long.
    pub(crate) fn on_idle(&mut self, id: u64, so_long: Duration) {
        let now = Instant::now();
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.idle = now.checked_sub(so_long).or(Some(now));
        worker
            .target
            .note(Level::Debug, || format!("worker {} is idle", worker.pid));
        self.look_for_idle_end(id, now);
    }

    /// It is looked at again when it may have been idle for too long: once, however often it says that it is idle.
    fn look_for_idle_end(&mut self, id: u64, now: Instant) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let end = self.idle_end(worker.pool, worker.idle);
        let will_be = worker.idle_look.is_some_and(|at| now < at);
        if let Some(at) = end.filter(|_| !will_be) {
            self.timers.set(at, Token::Worker(id));
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.idle_look = Some(at);
            }
        }
    }

    /// A worker is in use.
    pub(crate) fn on_used(&mut self, id: u64) {
        if let Some(worker) = self.workers.get_mut(&id) {
            (worker.idle, worker.yielding) = (None, None);
        }
    }

    /// The limit on idleness may have changed.
    pub(crate) fn wake_idle(&mut self, pool: u64) {
        let workers = self.workers.iter().filter(|(_, worker)| worker.pool == pool);
        let ends: Vec<_> = workers
            .filter_map(|(id, worker)| Some((self.idle_end(pool, worker.idle)?, *id)))
            .collect();
        for (at, id) in ends {
            self.timers.set(at, Token::Worker(id));
        }
    }

    fn idle_end(&self, pool: u64, idle: Option<Instant>) -> Option<Instant> {
        let pool = self.pools.get(&pool).filter(|p| p.is_elastic())?;
        let limit = pool.settings.scale.idle_timeout;
        (limit > 0).then_some(idle? + Duration::from_secs(limit.into()))
    }

    /// Ends a worker that has been idle for too long, if the pool has more than it keeps.
    pub(crate) fn end_if_idle(&mut self, id: u64, now: Instant) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let over = self
            .idle_end(worker.pool, worker.idle)
            .is_some_and(|at| at <= now);
        match over {
            true if self.is_spare(worker, now) => self.ask_to_yield(id, LeaveReason::IdleTimeout),
            true => {}
            false => self.look_for_idle_end(id, now),
        }
    }

    /// It is idle, and its pool keeps enough workers without it.
    pub(crate) fn is_spare(&self, worker: &Worker, now: Instant) -> bool {
        let Some(pool) = self.pools.get(&worker.pool).filter(|p| p.is_elastic()) else {
            return false;
        };
        let stays = |w: &&Worker| w.is_live() && !w.is_yielding(now);
        let staying = pool
            .workers
            .iter()
            .filter_map(|w| self.workers.get(w))
            .filter(stays);
        worker.state == State::Ready
            && worker.is_live()
            && worker.idle.is_some()
            && !worker.is_yielding(now)
            && staying.count() > least(&pool.settings)
    }

    /// Asks a worker to end, unless it runs a request: that only the worker knows.
    pub(crate) fn ask_to_yield(&mut self, id: u64, reason: LeaveReason) {
        let now = Instant::now();
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        // One that does not listen now is asked again.
        let _ = message::try_send(worker.control(), &ToWorker::Drain(reason).encode());
        worker.yielding = Some(now);
        self.timers.set(now + YIELD_LIMIT, Token::Worker(id));
    }

    /// A worker leaves, and nobody needs another in its place.
    pub(crate) fn on_surplus(&mut self, pool: u64) {
        if let Some(pool) = self.pools.get_mut(&pool).filter(|p| p.is_elastic()) {
            pool.demand.wanted = pool.demand.wanted.saturating_sub(1).max(least(&pool.settings));
        }
    }

    /// Remembers since when a pool has no worker and needs none.
    pub(crate) fn note_empty(&mut self, id: u64) {
        let Some(pool) = self.pools.get_mut(&id) else {
            return;
        };
        let empty = pool.workers.is_empty() && pool.demand.wanted == 0 && pool.is_current();
        if empty && pool.demand.empty.is_none() {
            let now = Instant::now();
            pool.demand.empty = Some(now);
            self.timers.set(now + KEPT_EMPTY, Token::Pool(id));
        } else if !empty {
            pool.demand.empty = None;
        }
    }

    /// It has not been needed for so long that its socket can go; whoever asks for it again gets a new one.
    pub(crate) fn is_long_empty(&self, id: u64) -> bool {
        let now = Instant::now();
        self.pools.get(&id).is_some_and(|pool| {
            pool.demand.empty.is_some_and(|since| since + KEPT_EMPTY <= now)
                && pool.back_off.waiting(now).is_none()
                && pool.is_current()
                && !is_asked_for(pool)
        })
    }

    /// Makes room for another pool of a process group: the one that has been empty for longest goes, or else one of who has more than its share.
    pub(crate) fn put_one_away(&mut self, group: &[u8]) {
        let empty = self.pools.iter().filter_map(|(id, pool)| {
            let since = pool.demand.empty.filter(|_| pool.is_current())?;
            (!is_asked_for(pool)).then_some((since, *id))
        });
        let oldest = empty.min().map(|(_, id)| id);
        if let Some(id) = oldest.or_else(|| self.beyond_its_share(group)) {
            self.retire(id);
        }
    }

    /// The last pool without a worker of the process group that has most pools, if `group` has fewer: application groups may be anybody's
    /// invention, process groups are the configuration's.
    fn beyond_its_share(&self, group: &[u8]) -> Option<u64> {
        let mut pools: HashMap<&[u8], usize> = HashMap::new();
        for pool in self.pools.values() {
            *pools.entry(&pool.settings.group.name).or_default() += 1;
        }
        let own = pools.get(group).copied().unwrap_or_default();
        let (most, count) = pools.into_iter().max_by_key(|(_, count)| *count)?;
        let its = self.pools.iter().filter(|(_, pool)| {
            pool.is_current() && pool.settings.group.name == most && pool.workers.is_empty()
        });
        its.map(|(id, _)| *id).max().filter(|_| count > own + 1)
    }
}

/// A connection waits. (One that comes too late for this is closed, and its request asks again.)
fn is_asked_for(pool: &Pool) -> bool {
    let entrance = pool.entrance.as_ref();
    entrance.is_some_and(|e| readable(&e.listener, Some(Duration::ZERO)).unwrap_or(false))
}
