//! Workers: started, listened to, asked to leave, killed when they do not, buried with their cause of death.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rwsgi_os::process::{self, Pid};
use rwsgi_os::signal::Signal;
use rwsgi_os::socket::{self, Kind, Mode};
use rwsgi_os::spawn::Spawn;
use rwsgi_os::{OsError, OwnedFd, fd, file, message};
use rwsgi_wire::control::{DeathKind, FromWorker, LeaveReason, Start, ToWorker};
use rwsgi_wire::limits::CONTROL_MAX;
use rwsgi_wire::response::Level;

use crate::codes;
use crate::deaths::{self, Cause, Known};
use crate::entry::Entry;
use crate::journey::{Event, Refusal, Step};
use crate::lines::{Flow, Lines, escape};
use crate::log::Target;
use crate::memory;
use crate::pools::Pool;
use crate::report;
use crate::supervise::{Manager, Token};

/// Longest time from start to ready. Imports can be slow; what hangs is killed.
const START_LIMIT: Duration = Duration::from_secs(300);
/// What `shutdown-timeout=0` (no limit) means when httpd itself ends.
const END_LIMIT: u32 = 60;
/// How long a worker that has said its last word may take to end.
const LAST_WORD_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of output read per event.
const OUTPUT_GULP: usize = 32 << 10;

/// How far a worker has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// On its journey.
    Entering,
    /// Its Python runs.
    Booting,
    /// It accepts requests.
    Ready,
    /// It takes no new request and will end.
    Leaving,
}

/// One worker process.
pub(crate) struct Worker {
    pool: u64,
    pid: Pid,
    pub(crate) state: State,
    target: Target,
    control: OwnedFd,
    output: Option<OwnedFd>,
    lines: Lines,
    flow: Flow,
    status: Option<OwnedFd>,
    report: report::Reader,
    /// The step it was at, as far as it has told.
    step: Option<Step>,
    /// Why its journey ended, or why it says that it cannot serve.
    refusal: Option<Refusal>,
    /// When it is killed, and why ("did not …").
    deadline: Option<(Instant, &'static str)>,
    known: Known,
    memory_kills: u64,
}

impl Worker {
    /// It has been killed, or has said that it cannot serve: it only waits to be buried.
    pub(crate) fn is_doomed(&self) -> bool {
        self.known.killed.is_some() || self.refusal.is_some() || self.known.asked
    }
}

/// The descriptors of a new worker: the manager's ends.
struct Ends {
    pid: Pid,
    control: OwnedFd,
    output: OwnedFd,
    status: OwnedFd,
}

impl Manager {
    /// Starts one worker; `false` if that failed (and the pool waits).
    pub(crate) fn start_worker(&mut self, pool_id: u64) -> bool {
        let Some(pool) = self.pools.get(&pool_id) else {
            return false;
        };
        let target = pool.target.clone();
        let ends = match self.launch(pool) {
            Ok(ends) => ends,
            Err(e) => {
                let text = format!("a worker cannot be started: {e}");
                target.say(
                    Level::Error,
                    codes::NO_WORKER,
                    &format!("{}: {text}", pool.title()),
                );
                self.back_off(pool_id, &text);
                return false;
            }
        };
        target.note(Level::Info, || {
            format!("worker {} starts for {}", ends.pid, pool.title())
        });
        let id = self.fresh_id();
        let now = Instant::now();
        // A descriptor that cannot be watched leaves a worker that is killed at its deadline.
        let _ = self.watch(&ends.control, Token::Worker(id));
        let _ = self.watch(&ends.output, Token::Output(id));
        let _ = self.watch(&ends.status, Token::Status(id));
        self.timers.set(now + START_LIMIT, Token::Worker(id));
        self.by_pid.insert(ends.pid, id);
        if let Some(pool) = self.pools.get_mut(&pool_id) {
            pool.workers.insert(id);
        }
        let worker = Worker {
            pool: pool_id,
            pid: ends.pid,
            state: State::Entering,
            target,
            control: ends.control,
            output: Some(ends.output),
            lines: Lines::default(),
            flow: Flow::new(now),
            status: Some(ends.status),
            report: report::Reader::default(),
            step: None,
            refusal: None,
            deadline: Some((now + START_LIMIT, "did not become ready in 5 minutes")),
            known: Known::default(),
            memory_kills: memory::kills(),
        };
        self.workers.insert(id, worker);
        true
    }

    fn launch(&self, pool: &Pool) -> Result<Ends, OsError> {
        let null = file::null()?;
        let (output, output_theirs) = fd::pipe()?;
        let (status, status_theirs) = fd::pipe()?;
        let (control, control_theirs) = socket::pair(Kind::SeqPacket, Mode::Blocking)?;
        for end in [&output, &status, &control] {
            fd::set_nonblocking(end, true)?;
        }
        let settings = fd::memory_file("rwsgi-settings")?;
        fd::write_all(&settings, &self.entry_of(pool).encode())?;
        message::send(&control, &ToWorker::Start(Box::new(start_of(pool))).encode())?;
        let pid = Spawn {
            program: b"/proc/self/exe",
            arguments: &[b"rwsgi-manager".to_vec(), b"enter".to_vec()],
            environment: &[],
            descriptors: &[
                null.as_fd(),
                output_theirs.as_fd(),
                output_theirs.as_fd(),
                pool.listener.as_fd(),
                control_theirs.as_fd(),
                pool.settings.gateway.as_fd(),
                status_theirs.as_fd(),
                settings.as_fd(),
            ],
            dies_with_parent: true,
        }
        .start()?;
        Ok(Ends {
            pid,
            control,
            output,
            status,
        })
    }

    fn entry_of(&self, pool: &Pool) -> Entry {
        let g = &pool.settings.group;
        Entry {
            manager: process::this().0.unsigned_abs(),
            switch: self.root,
            uid: g.uid,
            gid: g.gid,
            groups: g.groups.clone(),
            server_uid: pool.settings.server_uid,
            user: g.user.clone(),
            user_home: g.user_home.clone(),
            shell: g.shell.clone(),
            python_home: g.python_home.clone(),
            home: g.home.clone(),
            umask: g.umask.unwrap_or(0o022),
            lang: g.lang.clone(),
            locale: g.locale.clone(),
        }
    }

    /// What a worker says on its control socket.
    pub(crate) fn on_worker(&mut self, id: u64) {
        for _ in 0..16 {
            let mut buffer = vec![0; CONTROL_MAX];
            let Some(worker) = self.workers.get_mut(&id) else {
                return;
            };
            let said = match message::receive_packet(&worker.control, &mut buffer) {
                Err(e) if e.is_would_block() => return,
                Ok(got) if got.len > 0 && !got.truncated && got.fds.is_empty() => {
                    FromWorker::decode(buffer.get(..got.len).unwrap_or_default()).map_err(|e| e.to_string())
                }
                Ok(got) if got.len > 0 => {
                    Err("a descriptor came with a message, or it is too long".to_owned())
                }
                _ => {
                    // It has ended, or has closed the descriptor and will have to.
                    let _ = self.epoll.remove(&worker.control);
                    self.expect_end(id, LAST_WORD_LIMIT, "closed its control socket and did not end");
                    return;
                }
            };
            match said {
                Ok(said) => self.heard(id, said),
                Err(why) => {
                    let _ = self.epoll.remove(&worker.control);
                    let text = format!(
                        "worker {} wrote something to descriptor 4 that is no control message ({why})",
                        worker.pid
                    );
                    worker.target.say(Level::Error, codes::WORKER_PROTOCOL, &text);
                    self.kill(id, "broke the protocol");
                    return;
                }
            }
        }
    }

    fn heard(&mut self, id: u64, said: FromWorker) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        match said {
            FromWorker::Ready if matches!(worker.state, State::Entering | State::Booting) => {
                worker.state = State::Ready;
                worker.deadline = None;
                worker
                    .target
                    .note(Level::Info, || format!("worker {} is ready", worker.pid));
                let pool = worker.pool;
                self.recovered(pool);
            }
            FromWorker::Ready => {}
            FromWorker::Leaving(reason) => self.on_leaving(id, reason),
            FromWorker::CannotServe(text) => {
                worker.refusal = Some(Refusal {
                    step: Step::Exec,
                    code: codes::CANNOT_SERVE.number,
                    passing: false,
                    text: escape(&text),
                });
                self.expect_end(id, LAST_WORD_LIMIT, "could not serve and did not end");
            }
            FromWorker::Log(level, text) => {
                if worker.flow.admits(Instant::now()) {
                    worker.target.line_of(worker.pid, level, &escape(&text));
                } else {
                    self.timers.set(Flow::tell_at(Instant::now()), Token::Worker(id));
                }
            }
        }
    }

    fn on_leaving(&mut self, id: u64, reason: LeaveReason) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.target.note(Level::Info, || {
            format!("worker {} leaves: {}", worker.pid, words(reason))
        });
        worker.known.leaving.get_or_insert(reason);
        worker.state = State::Leaving;
        let pool = worker.pool;
        if !self.ending {
            self.limit_leaving(id);
            self.tend(pool, false);
        }
    }

    /// Asks a worker to finish what it has and end.
    pub(crate) fn drain(&mut self, id: u64) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.known.asked = true;
        if matches!(worker.state, State::Ready | State::Leaving) {
            // If the socket is full or closed, the signal below says the same.
            let _ = message::try_send(&worker.control, &ToWorker::Drain.encode());
        }
        let _ = process::signal_child(worker.pid, Signal::TERM);
        self.limit_leaving(id);
    }

    /// A leaving worker has graceful-timeout for its requests and shutdown-timeout for its end; a limit of 0 is none.
    fn limit_leaving(&mut self, id: u64) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let Some(pool) = self.pools.get(&worker.pool) else {
            return;
        };
        let group = &pool.settings.group;
        if group.graceful_timeout > 0 && group.shutdown_timeout > 0 {
            let limit = u64::from(group.graceful_timeout) + u64::from(group.shutdown_timeout) + 1;
            self.expect_end(
                id,
                Duration::from_secs(limit),
                "did not end within graceful-timeout and shutdown-timeout",
            );
        } else if let Some(worker) = self.workers.get_mut(&id) {
            worker.deadline = None;
        }
    }

    /// httpd ends: every worker has its shutdown-timeout.
    pub(crate) fn end_workers(&mut self) {
        let all: Vec<u64> = self.workers.keys().copied().collect();
        for id in all {
            let Some(worker) = self.workers.get_mut(&id) else {
                continue;
            };
            worker.known.asked = true;
            let _ = process::signal_child(worker.pid, Signal::TERM);
            let limit = self
                .pools
                .get(&worker.pool)
                .map_or(0, |p| p.settings.group.shutdown_timeout);
            let limit = if limit == 0 { END_LIMIT } else { limit };
            self.expect_end(
                id,
                Duration::from_secs(limit.into()),
                "did not end within shutdown-timeout",
            );
        }
    }

    /// Kills every worker, for a manager that cannot go on.
    pub(crate) fn kill_all(&mut self) {
        for worker in self.workers.values() {
            let _ = process::signal_group(worker.pid, Signal::KILL);
            let _ = process::signal_child(worker.pid, Signal::KILL);
        }
    }

    fn expect_end(&mut self, id: u64, limit: Duration, why: &'static str) {
        let at = Instant::now() + limit;
        if let Some(worker) = self.workers.get_mut(&id) {
            // What was promised earlier holds.
            let sooner = worker.deadline.is_none_or(|(then, _)| at < then);
            if sooner {
                worker.deadline = Some((at, why));
            }
            self.timers.set(at, Token::Worker(id));
        }
    }

    fn kill(&mut self, id: u64, why: &str) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.deadline = None;
            worker.known.killed.get_or_insert_with(|| why.to_owned());
            let _ = process::signal_child(worker.pid, Signal::KILL);
        }
    }

    /// A time of a worker has come: its deadline, or lost lines are to be told.
    pub(crate) fn wake_worker(&mut self, id: u64) {
        let now = Instant::now();
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.tell_dropped();
        if let Some((_, why)) = worker.deadline.filter(|(at, _)| *at <= now) {
            self.kill(id, why);
        }
    }

    pub(crate) fn on_output(&mut self, id: u64) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let had = worker.flow.has_dropped();
        worker.read_output();
        if !had && worker.flow.has_dropped() {
            self.timers.set(Flow::tell_at(Instant::now()), Token::Worker(id));
        }
    }

    /// News from a worker's journey.
    pub(crate) fn on_status(&mut self, id: u64) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.read_status();
        }
    }

    /// Reaps every child that has ended: workers, and processes they left behind.
    pub(crate) fn reap_all(&mut self) -> Result<(), OsError> {
        let mut strays = false;
        while let Some(pid) = process::ended_child()? {
            match self.by_pid.get(&pid).copied() {
                Some(id) => self.bury(id, pid),
                None => {
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

    fn bury(&mut self, id: u64, pid: Pid) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.read_status();
        }
        self.on_worker(id);
        // What it left behind in its process group goes with it; the number is still its own until it is reaped.
        let _ = process::signal_group(pid, Signal::KILL);
        let end = process::reap(pid);
        self.by_pid.remove(&pid);
        let Some(mut worker) = self.workers.remove(&id) else {
            return;
        };
        for _ in 0..64 {
            if !worker.read_output() {
                break;
            }
        }
        let target = worker.target.clone();
        worker.lines.flush(|line| {
            target.line_of(pid, Level::Error, line);
        });
        worker.tell_dropped();
        let kills = memory::kills();
        worker.known.memory = kills > worker.memory_kills.max(self.memory_kills);
        let cause = match end {
            Ok(Some(end)) => deaths::cause(end, &worker.known),
            _ => Cause {
                kind: DeathKind::Unknown,
                text: "ended, and how is not known".to_owned(),
            },
        };
        if cause.kind == DeathKind::Memory {
            self.memory_kills = kills;
        }
        self.deaths.record(pid, cause.clone());
        self.tell_death(pid);
        if let Some(pool) = self.pools.get_mut(&worker.pool) {
            pool.workers.remove(&id);
        }
        self.after_death(&worker, &cause);
        self.tend(worker.pool, false);
    }

    /// What a death means for the pool.
    fn after_death(&mut self, worker: &Worker, cause: &Cause) {
        let (pid, pool, target) = (worker.pid, worker.pool, &worker.target);
        let why = format!("worker {pid} {}", cause.text);
        let killed = worker.known.killed.is_some();
        let leaving = worker.known.asked || worker.known.leaving.is_some();
        if leaving && killed {
            return target.say(Level::Warn, codes::KILLED_LATE, &why);
        }
        // A worker that is asked to end while it starts dies of the signal, and its unfinished journey means nothing.
        let started = matches!(worker.state, State::Ready | State::Leaving);
        if matches!(cause.kind, DeathKind::Asked | DeathKind::TimeLimit) && leaving
            || worker.known.asked && !started
        {
            return target.note(Level::Info, || why);
        }
        if let Some(refusal) = &worker.refusal {
            if !refusal.passing {
                return self.refuse(pool, refusal.code, &refusal.text);
            }
            let why = format!("{} while {}", refusal.text, refusal.step.words());
            target.coded(
                Level::Error,
                refusal.code,
                &format!("worker {pid} did not start: {why}"),
            );
            return self.back_off(pool, &why);
        }
        match worker.state {
            State::Entering => {
                let why = format!("{why} while {}", worker.step.map_or("starting", Step::words));
                target.say(Level::Error, codes::LOST_ON_THE_WAY, &why);
                self.back_off(pool, &why);
            }
            State::Booting if killed => {
                target.say(Level::Error, codes::START_LIMIT, &why);
                self.back_off(pool, &why);
            }
            State::Booting => {
                target.say(
                    Level::Error,
                    codes::DIED_BEFORE_READY,
                    &format!("{why} before it was ready"),
                );
                self.back_off(pool, &why);
            }
            State::Ready | State::Leaving => {
                target.say(Level::Error, codes::DIED, &why);
                let too_often = self
                    .pools
                    .get_mut(&pool)
                    .is_some_and(|p| p.back_off.crashed(Instant::now()));
                if too_often {
                    self.back_off(pool, &format!("its workers die too often; the last one, {why}"));
                }
            }
        }
    }

    /// Kills adopted processes of sessions whose worker is dead. One that made a session of its own meant to outlive the worker, and may.
    fn kill_strays(&self) {
        let me = process::this();
        let path = format!("/proc/self/task/{me}/children");
        let Ok(children) =
            file::open(path.as_bytes(), file::Links::Follow).and_then(|f| fd::read_all(&f, 1 << 20))
        else {
            return;
        };
        let children = String::from_utf8_lossy(&children).into_owned();
        for pid in children
            .split_ascii_whitespace()
            .filter_map(|p| p.parse().ok())
            .map(Pid)
        {
            if self.by_pid.contains_key(&pid) {
                continue;
            }
            let dead =
                session_of(pid).is_some_and(|s| !self.by_pid.contains_key(&s) && self.deaths.of(s).is_some());
            if dead {
                let _ = process::signal_child(pid, Signal::KILL);
            }
        }
    }
}

impl Worker {
    /// Reads some output; `false` when there is none left now.
    fn read_output(&mut self) -> bool {
        let Some(output) = &self.output else {
            return false;
        };
        let mut buffer = vec![0; OUTPUT_GULP];
        match fd::read(output, &mut buffer) {
            Ok(n) if n > 0 => {
                let now = Instant::now();
                let (flow, target, pid) = (&mut self.flow, &self.target, self.pid);
                self.lines.push(buffer.get(..n).unwrap_or_default(), |line| {
                    if flow.admits(now) && !target.line_of(pid, Level::Error, line) {
                        flow.lost();
                    }
                });
                true
            }
            Err(e) if e.is_would_block() => false,
            _ => {
                self.output = None;
                false
            }
        }
    }

    fn tell_dropped(&mut self) {
        if let Some(n) = self.flow.take_dropped() {
            let text = format!(
                "{n} lines of worker {} were dropped: it writes faster than the log takes",
                self.pid
            );
            self.target.say(Level::Warn, codes::DROPPED_LINES, &text);
        }
    }

    fn read_status(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(status) = &self.status {
            match fd::read(status, &mut buffer) {
                Ok(n) if n > 0 => self.report.push(buffer.get(..n).unwrap_or_default()),
                Err(e) if e.is_would_block() => break,
                // The end: exec has closed the pipe, or the process has died.
                _ => self.status = None,
            }
        }
        while let Ok(Some(event)) = self.report.next() {
            match event {
                Event::Began(step) | Event::Done(step) => self.step = Some(step),
                Event::Failed(refusal) => self.refusal = Some(refusal),
            }
        }
        let executed = self.status.is_none() && self.step == Some(Step::Exec) && self.refusal.is_none();
        if executed && self.state == State::Entering {
            self.state = State::Booting;
        }
    }
}

fn start_of(pool: &Pool) -> Start {
    let g = &pool.settings.group;
    let display_name = if g.display_name == b"%{GROUP}" {
        [b"(wsgi:", &g.name[..], b")"].concat()
    } else {
        g.display_name.clone()
    };
    Start {
        group: g.name.clone(),
        application_group: pool.application_group.clone(),
        server_uid: pool.settings.server_uid,
        threads: g.threads,
        multiprocess: g.multiprocess,
        python_path: g.python_path.clone(),
        home: g.home.clone(),
        display_name,
        maximum_requests: g.maximum_requests,
        request_timeout: g.request_timeout,
        shutdown_timeout: g.shutdown_timeout,
        graceful_timeout: g.graceful_timeout,
        log_level: g.log_level,
        preload: g
            .preload
            .iter()
            .filter(|p| p.application_group == pool.application_group)
            .map(|p| p.script.clone())
            .collect(),
    }
}

fn words(reason: LeaveReason) -> &'static str {
    match reason {
        LeaveReason::MaximumRequests => "it has served maximum-requests",
        LeaveReason::RequestTimeout => "a request exceeded request-timeout",
        LeaveReason::ScriptReload => "a script has changed",
        LeaveReason::Asked => "it was asked to",
    }
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
