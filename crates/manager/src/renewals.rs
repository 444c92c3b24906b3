//! Changed scripts: a replacement loads them first; only then do the workers that have the old version drain. A version that does not
//! load leaves them serving.

use std::time::{Duration, Instant};

use rwsgi_os::message;
use rwsgi_wire::control::ToWorker;
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::Level;
use rwsgi_wire::script::Script;

use crate::codes;
use crate::lines::escape;
use crate::supervise::{Manager, Token};
use crate::workers::{State, Worker};

/// Between two replacements of one pool.
const GAP: Duration = Duration::from_millis(500);
/// A version that failed is not tried again for another worker that has not heard of it.
const FAILED_FOR: Duration = Duration::from_secs(5);

/// A version of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) script: Vec<u8>,
    /// Whatever the worker tells versions apart by.
    pub(crate) mtime: i64,
}

/// What a replacement must load.
#[derive(Debug, Clone)]
pub(crate) struct Renewal {
    /// What has changed.
    pub(crate) version: Version,
    /// That script and all others that the old worker has loaded.
    pub(crate) scripts: Vec<Script>,
    /// Nothing has changed that is known of: an administrator wants other workers.
    pub(crate) is_ordered: bool,
}

/// The changed scripts of one pool.
#[derive(Debug, Default)]
pub(crate) struct Renewals {
    /// A replacement is on its way with this.
    running: Option<Version>,
    /// To be tried next.
    next: Option<Renewal>,
    /// When the last one was started.
    started: Option<Instant>,
    /// The last one that did not load.
    failed: Option<(Version, Instant)>,
    /// What workers die of while they load it, before anything is served. The next one loads it before it takes requests.
    pub(crate) fatal: Option<Version>,
    /// The version for which a pause was ended last, and when.
    hastened: Option<(i64, Instant)>,
    /// When a further worker last could not serve beside others.
    not_joined: Option<Instant>,
    /// What the last replacement has loaded, or was to load: further workers load it in advance.
    pub(crate) scripts: Vec<Script>,
}

impl Renewals {
    /// Whether the pool need not wait any longer because this is another version than the one that workers die of. Who sees it may not see all
    /// that tells versions apart, and is believed once.
    pub(crate) fn ends_pause(&mut self, mtime: i64, now: Instant) -> bool {
        let is_other = self.fatal.as_ref().is_some_and(|fatal| fatal.mtime != mtime);
        let was_tried = self
            .hastened
            .is_some_and(|(tried, at)| tried == mtime || now < at + GAP);
        if is_other && !was_tried {
            self.hastened = Some((mtime, now));
        }
        is_other && !was_tried
    }

    /// A further worker would find what the last one has found, and could not load.
    pub(crate) fn keeps_others_out(&self, now: Instant) -> bool {
        self.not_joined.is_some_and(|at| now < at + FAILED_FOR)
    }
}

impl Manager {
    /// The workers are to be replaced by others that have loaded what they have; `false`: nobody has loaded anything.
    pub(crate) fn renew_all(&mut self, pool_id: u64) -> bool {
        let Some(pool) = self.pools.get(&pool_id) else {
            return false;
        };
        if pool.renewals.running.is_some() || pool.renewals.next.is_some() {
            // That has begun already.
            return true;
        }
        let scripts = self.scripts_in_advance(pool, None, true);
        let Some(script) = scripts.first() else {
            return false;
        };
        // No version on disk: what fails now is not held against the next that is found there.
        let version = Version {
            script: script.path.clone(),
            mtime: i64::MIN,
        };
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            pool.renewals.failed = None;
            pool.renewals.next = Some(Renewal {
                version,
                scripts,
                is_ordered: true,
            });
        }
        self.renew(pool_id);
        true
    }

    /// A worker has found that a script has changed.
    pub(crate) fn on_outdated(&mut self, id: u64, scripts: Vec<Script>, mtime: i64) {
        let Some(worker) = self.workers.get(&id).filter(|w| w.state == State::Ready) else {
            return;
        };
        let (pool_id, Some(script)) = (worker.pool, scripts.first()) else {
            return;
        };
        let Some(pool) = self.pools.get_mut(&pool_id) else {
            return;
        };
        let script = script.path.clone();
        if pool.renewals.scripts.is_empty() {
            pool.renewals.scripts.clone_from(&scripts);
        }
        let version = Version { script, mtime };
        let now = Instant::now();
        match &pool.renewals.failed {
            Some((failed, at)) if *failed == version && now < *at + FAILED_FOR => {
                return keep(worker, &version);
            }
            _ => {}
        }
        if pool.renewals.running.as_ref() != Some(&version) {
            pool.renewals.next = Some(Renewal {
                version,
                scripts,
                is_ordered: false,
            });
        }
        self.renew(pool_id);
    }

    /// Starts the next replacement, if it is time.
    pub(crate) fn renew(&mut self, pool_id: u64) {
        let now = Instant::now();
        let Some(pool) = self.pools.get_mut(&pool_id) else {
            return;
        };
        let is_idle = pool.renewals.running.is_none() && pool.renewals.next.is_some();
        if !is_idle || self.ending || pool.is_retired() {
            return;
        }
        if self.knows_user(pool_id) != Ok(true) || !self.may_replace(pool_id) {
            self.timers.set(now + GAP, Token::Pool(pool_id));
            return;
        }
        let Some(pool) = self.pools.get_mut(&pool_id) else {
            return;
        };
        let waiting = pool.back_off.waiting(now);
        let time = pool.renewals.started.map(|at| at + GAP).max(waiting);
        if let Some(time) = time.filter(|time| *time > now) {
            self.timers.set(time, Token::Pool(pool_id));
            return;
        }
        let Some(renewal) = pool.renewals.next.take() else {
            return;
        };
        pool.renewals.started = Some(now);
        pool.renewals.running = Some(renewal.version.clone());
        pool.target.note(Level::Info, || {
            let script = escape(&renewal.version.script);
            if renewal.is_ordered {
                return format!(
                    "a worker that loads script '{script}' starts, to take the place of the others"
                );
            }
            let or_touched = match pool.settings.place() {
                Some(_) => {
                    ", its tmp/restart.txt was touched, or packages of its virtual environment have changed"
                }
                None => ", or packages of its virtual environment",
            };
            format!("script '{script}' has changed{or_touched}: a worker that loads it starts")
        });
        let version = renewal.version.clone();
        if !self.start_worker(pool_id, Some(renewal)) {
            self.not_renewed(pool_id, &version, "no worker could be started for it");
        }
    }

    /// A replacement has loaded what it must: the others make room.
    pub(crate) fn renewed(&mut self, id: u64, renewal: Renewal) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let Some(pool) = self.pools.get_mut(&worker.pool) else {
            return;
        };
        pool.renewals.running = None;
        pool.renewals.failed = None;
        pool.renewals.not_joined = None;
        pool.renewals.scripts = renewal.scripts;
        let others: Vec<u64> = pool.workers.iter().copied().filter(|w| *w != id).collect();
        let pool_id = worker.pool;
        worker.target.note(Level::Info, || {
            let script = escape(&renewal.version.script);
            format!(
                "worker {} has loaded the new version of script '{script}'",
                worker.pid
            )
        });
        self.keep_pool(pool_id);
        for other in others {
            if self.workers.get(&other).is_some_and(Worker::serves) {
                self.drain(other, LeaveReason::ScriptReload);
            }
        }
    }

    /// A further worker has ended before it was ready, or cannot load what others have, most likely because a script has changed since they
    /// loaded it: they serve on, and it is tried again later.
    pub(crate) fn cannot_join(&mut self, pool_id: u64, why: &str) {
        // No pause for the pool: a replacement for a mended version, for which requests wait, must not wait with it.
        let now = Instant::now();
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            pool.renewals.not_joined = Some(now);
            let text = format!(
                "{}: a further worker does not serve beside the others, which go on: {why}",
                pool.title()
            );
            self.failed(pool_id, codes::NOT_JOINED.number, &text);
        }
        self.timers.set(now + FAILED_FOR, Token::Pool(pool_id));
    }

    /// A replacement has ended before it was ready.
    pub(crate) fn not_renewed(&mut self, pool_id: u64, version: &Version, why: &str) {
        let Some(pool) = self.pools.get_mut(&pool_id) else {
            return;
        };
        pool.renewals.running = None;
        pool.renewals.failed = Some((version.clone(), Instant::now()));
        let workers = pool.workers.iter().copied();
        let serving: Vec<u64> = workers
            .filter(|w| self.workers.get(w).is_some_and(Worker::serves))
            .collect();
        let script = escape(&version.script);
        let rest = if serving.is_empty() {
            "no worker has the old one any more"
        } else {
            "the old one goes on serving; the script is tried again when it changes"
        };
        let text = format!(
            "{}: the new version of script '{script}' cannot be loaded: {why}; {rest}",
            pool.title()
        );
        self.failed(pool_id, codes::NOT_RENEWED.number, &text);
        for worker in serving.iter().filter_map(|w| self.workers.get(w)) {
            keep(worker, version);
        }
        self.renew(pool_id);
    }
}

fn keep(worker: &Worker, version: &Version) {
    let Version { script, mtime } = version.clone();
    // A worker that does not listen asks again.
    let _ = message::try_send(worker.control(), &ToWorker::Keep { script, mtime }.encode());
}

#[cfg(test)]
mod tests {
    use super::*;

    // R63
    #[test]
    fn r63_another_version_ends_a_pause_once() {
        let now = Instant::now();
        let mut renewals = Renewals::default();
        assert!(!renewals.ends_pause(2, now), "nothing has died of a script");
        renewals.fatal = Some(Version {
            script: b"/x".to_vec(),
            mtime: 1,
        });
        assert!(!renewals.ends_pause(1, now));
        assert!(renewals.ends_pause(2, now));
        assert!(!renewals.ends_pause(2, now + GAP), "it has been tried");
        assert!(!renewals.ends_pause(3, now), "not in a storm of changes");
        assert!(renewals.ends_pause(3, now + GAP));
    }
}
