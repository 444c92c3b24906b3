//! What workers have loaded, and what they are loading: so that one which cannot load what its siblings serve makes room instead of answering
//! with errors beside them.

use std::time::Instant;

use rwsgi_os::message;
use rwsgi_wire::control::{Answer, ToWorker};
use rwsgi_wire::limits::CONTROL_MAX;
use rwsgi_wire::response::Level;
use rwsgi_wire::script::Script;

use crate::asking::later;
use crate::lines::escape;
use crate::pools::Pool;
use crate::renewals::{Renewal, Version};
use crate::supervise::Manager;
use crate::workers::{State, Worker};

/// Most bytes of scripts that are remembered of a worker, or told one.
const ROOM: usize = CONTROL_MAX / 2;
/// Most scripts that a worker may say it is loading: more than it has threads for.
const COMING_MAX: usize = 64;

/// The scripts of one worker.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    /// Loaded, with the callables that requests are given.
    there: Vec<Script>,
    /// Being loaded for the first time.
    coming: Vec<Coming>,
    /// It could not load what others have, and leaves because of that.
    pub(crate) declined: bool,
}

#[derive(Debug)]
struct Coming {
    version: Version,
    /// Others have it.
    beside: bool,
}

impl Loads {
    /// It has loaded all of these, or would not be ready.
    pub(crate) fn has(&mut self, scripts: Vec<Script>) {
        self.there = scripts;
    }

    pub(crate) fn scripts(&self) -> Vec<Script> {
        self.there.clone()
    }

    fn begins(&mut self, version: Version) {
        // Another thread of it may have loaded it meanwhile.
        let is_there = self.there.iter().any(|script| script.path == version.script);
        if !is_there && self.coming.len() < COMING_MAX {
            let beside = false;
            self.coming.push(Coming { version, beside });
        }
    }

    /// It is loading no longer; whether it was, beside others that have it.
    fn is_over(&mut self, path: &[u8]) -> bool {
        let was_beside = self.coming.iter().any(|c| c.version.script == path && c.beside);
        self.coming.retain(|coming| coming.version.script != path);
        was_beside
    }

    /// What it is loading, having loaded nothing else.
    pub(crate) fn first(&self) -> Option<&Version> {
        self.coming
            .first()
            .filter(|_| self.there.is_empty())
            .map(|c| &c.version)
    }

    /// It is loading what others have loaded.
    pub(crate) fn is_joining(&self) -> bool {
        self.coming.iter().any(|coming| coming.beside)
    }
}

/// Adds a script to those that are known, or its callables to those of it, while there is room.
fn add(list: &mut Vec<Script>, script: &Script) {
    let mut room = ROOM.saturating_sub(list.iter().map(Script::length).sum());
    let Some(known) = list.iter_mut().find(|known| known.path == script.path) else {
        if script.length() <= room {
            list.push(script.clone());
        }
        return;
    };
    for callable in &script.callables {
        let length = callable.len() + 4;
        if !known.callables.contains(callable) && length <= room {
            room -= length;
            known.callables.push(callable.clone());
        }
    }
}

impl Manager {
    /// A worker begins to load a script.
    pub(crate) fn on_loads(&mut self, id: u64, version: Version) {
        let Some(worker) = self.workers.get_mut(&id).filter(|w| w.is_live()) else {
            return;
        };
        if worker.state == State::Ready {
            // What others have said before counts, so they are heard first.
            self.joining.push((id, version.script.clone()));
        }
        worker.loads.begins(version);
    }

    /// At the end of a turn of the loop: says to those that load a script whether others have it.
    pub(crate) fn answer_joining(&mut self) {
        for (id, path) in std::mem::take(&mut self.joining) {
            let found = self.workers.get(&id).and_then(|worker| {
                let pool = self.pools.get(&worker.pool)?;
                let others = self.serving(pool).filter(|other| other.pid != worker.pid);
                let theirs = others.flat_map(|other| &other.loads.there);
                let mut found = Vec::new();
                for script in theirs.filter(|script| script.path == path) {
                    add(&mut found, script);
                }
                found.pop()
            });
            let Some(worker) = self.workers.get_mut(&id) else {
                continue;
            };
            let there = found.is_some();
            for coming in worker
                .loads
                .coming
                .iter_mut()
                .filter(|c| c.version.script == path)
            {
                coming.beside = there;
            }
            let script = found.unwrap_or_else(|| Script::at(&path));
            // One that is not answered goes on as if it were alone.
            let _ = message::try_send(worker.control(), &ToWorker::Others { script, there }.encode());
        }
    }

    /// A worker gives these callables of a script to requests.
    pub(crate) fn on_given(&mut self, id: u64, script: &Script) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.loads.is_over(&script.path);
        add(&mut worker.loads.there, script);
        if let Some(pool) = self.pools.get_mut(&worker.pool) {
            pool.renewals.fatal = None;
        }
    }

    /// A worker could not load a script that a request wants. Beside others that have it, it leaves.
    pub(crate) fn on_not_loaded(&mut self, id: u64, path: &[u8], why: &[u8]) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if worker.loads.is_over(path) && !worker.loads.declined {
            worker.loads.declined = true;
            let pool = worker.pool;
            self.cannot_join(pool, &format!("script '{}': {}", escape(path), escape(why)));
        }
    }

    /// Nobody in the pool has loaded anything, and this worker has died of its first script.
    pub(crate) fn died_loading(&self, worker: &Worker) -> Option<Version> {
        let pool = self.pools.get(&worker.pool)?;
        let mut serving = self.serving(pool);
        if worker.known.killed.is_some() || serving.any(|other| !other.loads.there.is_empty()) {
            return None;
        }
        worker.loads.first().cloned()
    }

    /// A child sees this version of the script on disk, and has been told to wait: for another than the one that workers die of nobody waits.
    pub(crate) fn on_seen(&mut self, group: &[u8], application_group: &[u8], mtime: i64) -> Answer {
        let now = Instant::now();
        let found = self.current_pool(group, application_group);
        let ended = found.is_some_and(|id| {
            let pool = self.pools.get_mut(&id);
            pool.is_some_and(|pool| {
                pool.back_off.waiting(now).is_some()
                    && pool.renewals.ends_pause(mtime, now)
                    && pool.back_off.ends(now)
            })
        });
        match found.filter(|_| ended) {
            Some(id) => {
                if let Some(pool) = self.pools.get(&id) {
                    let title = pool.title();
                    pool.target.note(Level::Notice, || {
                        format!("{title} is tried at once: the script of which its workers died has changed")
                    });
                }
                self.tend(id, true);
                self.pool_for(group, application_group)
            }
            None => later("its workers die while they load the script"),
        }
    }

    /// The workers of a pool that take requests.
    fn serving<'m>(&'m self, pool: &'m Pool) -> impl Iterator<Item = &'m Worker> {
        let workers = pool.workers.iter().filter_map(|id| self.workers.get(id));
        workers.filter(|worker| worker.serves())
    }

    /// Others serve: one that cannot load what they have loaded must not serve beside them.
    pub(crate) fn has_serving(&self, pool: &Pool) -> bool {
        self.serving(pool).next().is_some()
    }

    /// What a worker loads before it serves: with what is known of the pool, all that workers which serve have loaded.
    pub(crate) fn scripts_in_advance(
        &self,
        pool: &Pool,
        renewal: Option<&Renewal>,
        is_template: bool,
    ) -> Vec<Script> {
        let mut scripts = pool.scripts_in_advance(renewal, is_template);
        let theirs: Vec<&Script> = self
            .serving(pool)
            .flat_map(|worker| &worker.loads.there)
            .collect();
        let changed = renewal.and_then(|renewal| renewal.scripts.first());
        // A callable that nobody was given yet is configured anew, and those before it do not count any more.
        let is_new = changed.is_some_and(|changed| {
            let given = |name| {
                theirs
                    .iter()
                    .any(|s| s.path == changed.path && s.callables.contains(name))
            };
            !changed.callables.iter().all(given)
        });
        for script in theirs {
            if !(is_new && changed.is_some_and(|changed| changed.path == script.path)) {
                add(&mut scripts, script);
            }
        }
        scripts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(path: &str, callables: &[&str]) -> Script {
        Script {
            path: path.into(),
            callables: callables.iter().map(|name| (*name).into()).collect(),
        }
    }

    #[test]
    fn scripts_add_up_within_bounds() {
        let mut list = vec![script("/x", &["a"])];
        add(&mut list, &script("/x", &["a", "b"]));
        add(&mut list, &script("/y", &[]));
        assert_eq!(list, [script("/x", &["a", "b"]), script("/y", &[])]);
        for number in 0..10_000 {
            add(&mut list, &script("/x", &[&number.to_string()]));
            add(&mut list, &script(&number.to_string(), &[]));
        }
        assert!(list.iter().map(Script::length).sum::<usize>() <= ROOM);
    }

    #[test]
    fn a_worker_joins_while_it_loads_what_others_have() {
        let version = |path: &str| Version {
            script: path.into(),
            mtime: 1,
        };
        let mut loads = Loads::default();
        loads.begins(version("/x"));
        assert_eq!(loads.first(), Some(&version("/x")));
        assert!(!loads.is_joining() && !loads.is_over(b"/x"));
        loads.begins(version("/x"));
        loads.coming[0].beside = true;
        assert!(loads.is_joining() && !loads.is_over(b"/y"));
        assert!(loads.is_over(b"/x") && !loads.is_joining());
        (0..1000).for_each(|_| loads.begins(version("/z")));
        assert_eq!(loads.coming.len(), COMING_MAX);
        loads.has(vec![Script::at(b"/x")]);
        assert_eq!(
            loads.first(),
            None,
            "it has served, and a request may be what it died of"
        );
    }
}
