//! The end of workers: reaped with what they left behind, the cause found and told, the pool told what it means.

use std::time::Instant;

use rwsgi_os::process::{self, End, Pid};
use rwsgi_os::signal::Signal;
use rwsgi_os::usage::Usage;
use rwsgi_os::{OsError, fd, file};
use rwsgi_wire::control::DeathKind;
use rwsgi_wire::response::Level;

use crate::audit::Record;
use crate::codes;
use crate::deaths::{self, Cause};
use crate::journey::Step;
use crate::lines::escape;
use crate::memory;
use crate::notes;
use crate::supervise::{Manager, Token};
use crate::undying::Kill;
use crate::workers::{State, Worker};

impl Manager {
    /// Reaps every child that has ended: workers, and processes they left behind.
    pub(crate) fn reap_all(&mut self) -> Result<(), OsError> {
        let mut strays = false;
        while let Some(pid) = process::ended_child()? {
            if !self.by_pid.contains_key(&pid) {
                // It may be a worker that was forked a moment ago.
                self.hear_unborn();
            }
            match self.by_pid.get(&pid).copied() {
                Some(id) => {
                    // What it left behind in its process group goes with it; the number is still its own until it is reaped.
                    let _ = process::signal_group(pid, Signal::KILL);
                    let (end, usage) = process::reap_with_usage(pid).ok().flatten().unzip();
                    self.bury(id, end, usage);
                }
                None => {
                    self.notes.ended(pid);
                    let _ = process::reap(pid);
                }
            }
            strays = true;
        }
        if strays {
            self.kill_strays();
        }
        Ok(())
    }

    /// A worker has ended, and been reaped by whoever is its parent; `None` if nobody can say how.
    pub(crate) fn bury(&mut self, id: u64, end: Option<End>, usage: Option<Usage>) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.read_status();
        }
        self.on_worker(id);
        let Some(mut worker) = self.workers.remove(&id) else {
            return;
        };
        let pid = worker.pid;
        self.by_pid.remove(&pid);
        self.timers.forget(Token::Worker(id));
        self.forget(id);
        for _ in 0..64 {
            if !worker.read_output() {
                break;
            }
        }
        let target = worker.target.clone();
        let own_log = &mut worker.own_log;
        worker.lines.flush(|line| {
            target.line_of(pid, Level::Error, line);
            if let Some(own_log) = own_log {
                own_log.push_str(&notes::line(pid, line));
            }
        });
        self.note(worker.pool, &worker.own_log.take().unwrap_or_default());
        worker.tell_dropped(Instant::now());
        worker.known.limit = self.groups.killed_for_memory(worker.cgroup);
        let kills = memory::kills();
        worker.known.memory = kills > worker.memory_kills.max(self.memory_kills);
        let cause = match end {
            Some(end) => deaths::cause(end, &worker.known),
            None => Cause {
                kind: DeathKind::Unknown,
                text: "ended, and how is not known".to_owned(),
            },
        };
        if cause.kind == DeathKind::Memory {
            self.memory_kills = kills;
        }
        target.logs.record(|| {
            let record = Record::new("end")
                .of_worker(pid, self.pools.get(&worker.pool))
                .text("kind", cause.kind.word().as_bytes())
                .text("why", cause.text.as_bytes());
            match &usage {
                Some(usage) => record.usage(usage),
                None => record,
            }
        });
        self.deaths.record(Instant::now(), pid, cause.clone());
        self.tell_death(pid);
        if let Some(pool) = self.pools.get_mut(&worker.pool) {
            pool.workers.remove(&id);
            pool.undying -= u32::from(worker.kill == Kill::InVain);
            pool.templates.forget(id);
        }
        self.groups.left(worker.cgroup, pid);
        self.tend_groups();
        self.after_death(&worker, &cause);
        self.tend(worker.pool, false);
    }

    /// What a death means for the pool.
    fn after_death(&mut self, worker: &Worker, cause: &Cause) {
        let (pid, pool, target) = (worker.pid, worker.pool, &worker.target);
        let why = format!("worker {pid} {}", cause.text);
        if worker.kill == Kill::InVain {
            // What that means has been told and done.
            return target.note(Level::Notice, || format!("{why}, and has ended at last"));
        }
        if worker.half_born {
            return target.note(Level::Info, || format!("{why}, with the manager that started it"));
        }
        if let Some(renewal) = worker.renewal.as_ref().filter(|_| !worker.known.asked) {
            let why = worker.refusal.as_ref().map_or(&why, |refusal| &refusal.text);
            return self.not_renewed(pool, &renewal.version, why);
        }
        let killed = worker.known.killed.is_some();
        let leaving = worker.known.asked || worker.known.leaving.is_some();
        if leaving && killed {
            return self.died(worker, cause, Level::Warn, codes::KILLED_LATE.number, &why);
        }
        // A worker that is asked to end while it starts dies of the signal, and its unfinished journey means nothing.
        let started = matches!(worker.state, State::Ready | State::Leaving);
        let planned = [DeathKind::Asked, DeathKind::TimeLimit, DeathKind::Unknown];
        if planned.contains(&cause.kind) && leaving || worker.known.asked && !started {
            return target.note(Level::Info, || why);
        }
        if worker.is_template && worker.known.asked {
            return target.note(Level::Info, || why);
        }
        if worker.is_template && worker.state != State::Entering {
            let why = worker.refusal.as_ref().map_or(&why, |refusal| &refusal.text);
            return self.without_template(pool, why);
        }
        let serving = self.pools.get(&pool).is_some_and(|pool| self.has_serving(pool));
        let is_joining = worker.state == State::Booting || worker.loads.is_joining();
        if is_joining && serving && !killed {
            // Its Python runs, so it is a script that it cannot load, or its own word that it cannot serve.
            let why = worker.refusal.as_ref().map_or(&why, |refusal| &refusal.text);
            return self.cannot_join(pool, why);
        }
        if worker.joins && worker.state == State::Booting && worker.refusal.is_some() {
            // The next one is alone, and need not load anything before it serves.
            return target.note(Level::Info, || {
                format!("{why}, and nobody is left beside whom it was to serve")
            });
        }
        if let Some(refusal) = &worker.refusal {
            if !refusal.passing {
                return self.refuse(pool, refusal.code, &refusal.text);
            }
            let why = format!("{} while {}", refusal.text, refusal.step.words());
            let text = format!("worker {pid} did not start: {why}");
            self.died(worker, cause, Level::Error, refusal.code, &text);
            return self.back_off(pool, &why);
        }
        let fatal = self.died_loading(worker);
        if let Some((fatal, pool)) = fatal.as_ref().zip(self.pools.get_mut(&pool)) {
            pool.renewals.fatal = Some(fatal.clone());
        }
        match worker.state {
            State::Entering => {
                let why = format!("{why} while {}", worker.step.map_or("starting", Step::words));
                self.died(worker, cause, Level::Error, codes::LOST_ON_THE_WAY.number, &why);
                self.back_off(pool, &why);
            }
            State::Booting if killed => {
                self.died(worker, cause, Level::Error, codes::START_LIMIT.number, &why);
                self.back_off(pool, &why);
            }
            State::Booting => {
                let why = format!("{why} before it was ready{}", self.python_of(pool));
                self.died(worker, cause, Level::Error, codes::DIED_BEFORE_READY.number, &why);
                self.back_off(pool, &why);
            }
            State::Ready | State::Leaving if fatal.is_some() => {
                let script = fatal.map(|version| escape(&version.script)).unwrap_or_default();
                let why = format!("{why} while it loaded script '{script}'");
                self.died(worker, cause, Level::Error, codes::DIED_LOADING.number, &why);
                self.back_off(pool, &why);
            }
            State::Ready | State::Leaving => {
                self.died(worker, cause, Level::Error, codes::DIED.number, &why);
                if self.is_service(pool) {
                    self.back_off(pool, &why);
                } else {
                    self.crashed(pool, &why);
                }
            }
        }
    }

    /// Which Python a pool runs, for a message about one that does not come up.
    fn python_of(&self, pool: u64) -> String {
        match self.pools.get(&pool).map(|p| &p.settings.group.python_home[..]) {
            None | Some(b"") => String::new(),
            Some(home) => format!("; its Python is that of python-home={}", escape(home)),
        }
    }

    /// Kills adopted processes of sessions whose worker is dead. One that made a session of its own meant to outlive the worker, and may.
    ///
    /// What workers of an earlier manager leave behind the keeper adopts.
    pub(crate) fn kill_strays(&self) {
        for pid in [process::this(), process::parent()]
            .into_iter()
            .flat_map(children)
        {
            if self.by_pid.contains_key(&pid) {
                continue;
            }
            // Held first, so that it is this one that is looked at and killed.
            let Ok(held) = process::open(pid) else {
                continue;
            };
            let dead =
                session_of(pid).is_some_and(|s| !self.by_pid.contains_key(&s) && self.deaths.of(s).is_some());
            if dead {
                let _ = process::signal(&held, Signal::KILL);
            }
        }
    }
}

fn children(of: Pid) -> Vec<Pid> {
    let path = format!("/proc/{of}/task/{of}/children");
    let children = file::open(path.as_bytes(), file::Links::Follow).and_then(|f| fd::read_all(&f, 1 << 20));
    let children = String::from_utf8_lossy(&children.unwrap_or_default()).into_owned();
    let pids = children.split_ascii_whitespace().filter_map(|p| p.parse().ok());
    pids.map(Pid).collect()
}

/// The session of a process: the fourth field after the name, which is in parentheses and may hold anything.
fn session_of(pid: Pid) -> Option<Pid> {
    let stat = file::open(format!("/proc/{pid}/stat").as_bytes(), file::Links::Follow)
        .and_then(|f| fd::read_all(&f, 8192))
        .ok()?;
    let text = String::from_utf8_lossy(&stat).into_owned();
    let after = text.get(text.rfind(')')? + 1..)?;
    after.split_ascii_whitespace().nth(3)?.parse().ok().map(Pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_of_this_process_is_found() {
        assert!(session_of(process::this()).is_some());
        assert_eq!(session_of(Pid(i32::MAX)), None);
    }
}
