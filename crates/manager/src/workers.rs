//! Workers: started, listened to, asked to leave, killed when they do not, buried with their cause of death.

use std::time::{Duration, Instant};

use rwsgi_os::process::{self, Pid};
use rwsgi_os::signal::{self, Signal};
use rwsgi_os::{OsError, OwnedFd, clock, fd, message};
use rwsgi_wire::admin::Requests;
use rwsgi_wire::control::{FromWorker, ToWorker};
use rwsgi_wire::flow::{Flow, LINE_MAX};
use rwsgi_wire::life::{LeaveReason, Life};
use rwsgi_wire::limits::CONTROL_MAX;
use rwsgi_wire::response::Level;

use crate::audit::Record;
use crate::codes;
use crate::deaths::Known;
use crate::journey::{Event, Refusal, Step};
use crate::launch::Ends;
use crate::lines::{Lines, escape};
use crate::loads::Loads;
use crate::log::Target;
use crate::memory;
use crate::notes;
use crate::records::WorkerRecord;
use crate::renewals::{Renewal, Version};
use crate::report;
use crate::supervise::{Manager, Token};
use crate::templates::Way;
use crate::undying::Kill;

/// Longest time from start to ready without a startup-timeout. Imports can be slow; what hangs is killed.
const START_LIMIT: Duration = Duration::from_secs(300);
/// How long a worker that is to be killed has for showing the stacks of its threads.
const LAST_LOOK: Duration = Duration::from_millis(500);
/// A worker that is late ends itself and shows its stacks. So much later the manager does: at the same time one would cut the other short.
const AFTER_ITS_OWN: Duration = Duration::from_millis(300);
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
    /// It accepts requests; a template forks.
    Ready,
    /// It takes no new request and will end.
    Leaving,
}

/// Which process a worker is.
pub(crate) struct Person {
    pub(crate) pid: Pid,
    /// When it was started, in the kernel's count.
    pub(crate) start: u64,
    /// The process, whoever has its number.
    pub(crate) process: OwnedFd,
    /// It is this manager's child; otherwise an earlier one's, and the keeper tells of its end.
    pub(crate) is_own: bool,
}

impl Person {
    /// A child of this process that has just been started.
    pub(crate) fn own(pid: Pid) -> Result<Self, OsError> {
        Ok(Self {
            pid,
            start: process::birth(pid)?.0,
            process: process::open(pid)?,
            is_own: true,
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // One that has ended needs none.
        let _ = process::signal(&self.process, signal);
    }
}

/// One worker process.
pub(crate) struct Worker {
    pub(crate) pool: u64,
    pub(crate) pid: Pid,
    /// It serves nobody, and forks those that do.
    pub(crate) is_template: bool,
    pub(crate) person: Person,
    /// The control group of its application.
    pub(crate) cgroup: Option<u64>,
    pub(crate) state: State,
    pub(crate) target: Target,
    control: OwnedFd,
    output: Option<OwnedFd>,
    pub(crate) lines: Lines,
    /// Of its output, what its user's own log is to get; `None` where there is none.
    pub(crate) own_log: Option<String>,
    flow: Flow,
    status: Option<OwnedFd>,
    report: report::Reader,
    /// The step it was at, as far as it has told.
    pub(crate) step: Option<Step>,
    /// Why its journey ended, or why it says that it cannot serve.
    pub(crate) refusal: Option<Refusal>,
    /// It has ended, and if the keeper has not told how until then, nobody can.
    pub(crate) lost: Option<Instant>,
    /// An earlier manager started it and died before it was ready: it ends with that one, if it has not said that it is ready.
    pub(crate) half_born: bool,
    /// It is to replace workers that serve older versions, once it has loaded these.
    pub(crate) renewal: Option<Renewal>,
    /// Its scripts.
    pub(crate) loads: Loads,
    /// It was to load what others serve before it serves beside them.
    pub(crate) joins: bool,
    /// When it was started, or became ready.
    pub(crate) since: Instant,
    /// Since when no request has run, in a pool whose workers say so; `None` while one may.
    pub(crate) idle: Option<Instant>,
    /// When it is looked whether it has been idle for too long.
    pub(crate) idle_look: Option<Instant>,
    /// When it was asked to end if it is idle.
    pub(crate) yielding: Option<Instant>,
    /// When it is killed, and why ("did not …").
    deadline: Option<(Instant, &'static str)>,
    /// When it last said that Python's lock could be had.
    alive: Instant,
    /// What it has said then of its requests.
    pub(crate) requests: Option<Requests>,
    /// It was asked for the stacks of its threads, because it is to be killed.
    asked_for_stacks: bool,
    /// When it was killed, and whether it should have ended long since.
    pub(crate) kill: Kill,
    pub(crate) known: Known,
    pub(crate) memory_kills: u64,
}

impl Worker {
    /// It has been killed, or has said that it cannot serve: it only waits to be buried.
    pub(crate) fn is_doomed(&self) -> bool {
        self.known.killed.is_some() || self.refusal.is_some() || self.known.asked || self.lost.is_some()
    }

    /// It serves, or will.
    pub(crate) fn is_live(&self) -> bool {
        self.state != State::Leaving && !self.is_doomed() && !self.is_template
    }

    /// It accepts requests.
    pub(crate) fn serves(&self) -> bool {
        self.state == State::Ready && self.is_live()
    }

    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.state, State::Entering | State::Booting)
    }

    pub(crate) fn control(&self) -> &OwnedFd {
        &self.control
    }

    pub(crate) fn output(&self) -> Option<&OwnedFd> {
        self.output.as_ref()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline.map(|(at, _)| at)
    }
}

impl Manager {
    /// Starts one worker; `false` if that failed (and the pool waits). `renewal`: it is to replace others.
    pub(crate) fn start_worker(&mut self, pool_id: u64, renewal: Option<Renewal>) -> bool {
        let way = match self.pools.get(&pool_id) {
            Some(pool) => pool.way_to_start(renewal.as_ref()),
            None => return false,
        };
        match way {
            Way::Alone => self.start_alone(pool_id, renewal, false),
            Way::Template => self.start_alone(pool_id, renewal, true),
            Way::From(template) => self.order(template, pool_id, renewal),
        }
    }

    /// As [`start_worker`](Self::start_worker), by executing its program.
    pub(crate) fn start_alone(&mut self, pool_id: u64, renewal: Option<Renewal>, is_template: bool) -> bool {
        let Some(pool) = self.pools.get(&pool_id) else {
            return false;
        };
        let target = pool.target.clone();
        let cgroup = self.groups.of(&pool.settings, &pool.application_group, &target);
        let doors = cgroup.and_then(|id| Ok((id, self.groups.doors(id)?)));
        let launched = doors.and_then(|(cgroup, doors)| {
            let ends = self.launch(pool, &doors)?;
            Ok(Ends { cgroup, ..ends })
        });
        let ends = match launched {
            Ok(ends) => ends,
            Err(e) => {
                let text = format!("a worker cannot be started: {e}");
                target.say(
                    Level::Error,
                    codes::NO_WORKER,
                    &format!("{}: {text}", pool.title()),
                );
                self.back_off(pool_id, &text);
                if e.is_shortage() {
                    self.make_room_for(pool_id);
                }
                return false;
            }
        };
        target.note(Level::Info, || {
            let what = if is_template { "template" } else { "worker" };
            format!("{what} {} starts for {}", ends.person.pid, pool.title())
        });
        let id = self.fresh_id();
        self.take_in(id, pool_id, ends, renewal, is_template);
        true
    }

    /// A process has been started that is a worker of this pool.
    pub(crate) fn take_in(
        &mut self,
        id: u64,
        pool_id: u64,
        ends: Ends,
        renewal: Option<Renewal>,
        is_template: bool,
    ) {
        let Some(pool) = self.pools.get_mut(&pool_id) else {
            return;
        };
        pool.target
            .logs
            .record(|| Record::new("start").of_worker(ends.person.pid, Some(pool)));
        if is_template {
            pool.templates.begins(id);
        }
        let target = pool.target.clone();
        let has_own_log = pool.has_own_log();
        let is_forked = ends.status.is_none();
        let _ = ends
            .status
            .as_ref()
            .map(|status| self.watch(status, Token::Status(id)));
        let mut worker = Worker::new(pool_id, ends.person, ends.control, ends.output, target);
        worker.is_template = is_template;
        worker.state = if is_forked {
            State::Booting
        } else {
            State::Entering
        };
        worker.cgroup = ends.cgroup;
        worker.own_log = has_own_log.then(String::new);
        worker.status = ends.status;
        worker.deadline = Some(self.start_deadline(pool_id, worker.since));
        self.insert_worker(id, worker);
        // Before it can run anything of the user's it is kept, or told that it is not. A template ends with its manager.
        let kept = !is_template && self.keep_worker(id);
        if !is_forked {
            self.instruct(id, renewal.as_ref(), kept);
        }
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.renewal = renewal;
        }
    }

    /// Until when a worker must be ready, and what it is killed for otherwise.
    fn start_deadline(&self, pool: u64, since: Instant) -> (Instant, &'static str) {
        match self.life(pool).startup_timeout {
            0 => (since + START_LIMIT, "did not become ready in 5 minutes"),
            limit => (
                since + Duration::from_secs(limit.into()),
                "did not become ready within startup-timeout",
            ),
        }
    }

    fn insert_worker(&mut self, id: u64, worker: Worker) {
        if let Some(former) = self.by_pid.get(&worker.pid).copied() {
            // Its number is another's already, and the news of its end is on its way.
            self.bury(former, None, None);
        }
        // A descriptor that cannot be watched leaves a worker that is killed at its deadline.
        let _ = self.watch(&worker.control, Token::Worker(id));
        if let Some(output) = &worker.output {
            let _ = self.watch(output, Token::Output(id));
        }
        if let Some((at, _)) = worker.deadline {
            self.timers.set(at, Token::Worker(id));
        }
        self.by_pid.insert(worker.pid, id);
        self.groups.entered(worker.cgroup, worker.pid);
        self.tend_groups();
        if let Some(pool) = self.pools.get_mut(&worker.pool) {
            pool.workers.insert(id);
        }
        self.workers.insert(id, worker);
    }

    /// A worker that an earlier manager has started.
    pub(crate) fn add_worker(
        &mut self,
        id: u64,
        record: &WorkerRecord,
        person: Person,
        control: OwnedFd,
        output: OwnedFd,
    ) {
        let mut worker = Worker::new(record.pool, person, control, output, self.log.clone());
        if let Some(pool) = self.pools.get(&record.pool) {
            worker.own_log = pool.has_own_log().then(String::new);
            let (settings, target) = (&pool.settings, &pool.target);
            let name = &record.cgroup;
            worker.cgroup = self.groups.adopt(settings, &pool.application_group, target, name);
        }
        worker.since = clock::from_number(record.since);
        worker.state = match (record.ready, record.leaving) {
            (_, Some(_)) => State::Leaving,
            (true, None) => State::Ready,
            (false, None) => State::Booting,
        };
        worker.half_born = worker.state == State::Booting;
        (worker.known.asked, worker.known.leaving) = (record.asked, record.leaving);
        worker.deadline = match record.deadline {
            0 if worker.half_born => Some(self.start_deadline(record.pool, worker.since)),
            0 => None,
            at => Some((clock::from_number(at), "did not end in time")),
        };
        // What it has said to the manager before, and still holds, it says again.
        let _ = message::try_send(&worker.control, &ToWorker::Repeat.encode());
        self.insert_worker(id, worker);
        let (live, _) = self.census(record.pool);
        if let Some(pool) = self.pools.get_mut(&record.pool) {
            pool.demand.wanted = pool.demand.wanted.max(live);
        }
        if let Some(silence) = self.life(record.pool).silence() {
            self.timers.set(Instant::now() + silence, Token::Worker(id));
        }
    }

    /// What a worker says on its control socket.
    pub(crate) fn on_worker(&mut self, id: u64) {
        self.on_unborn(id);
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
            FromWorker::Ready if worker.is_starting() && !worker.is_template => {
                worker.state = State::Ready;
                worker.since = Instant::now();
                worker.half_born = false;
                worker.deadline = None;
                worker.alive = Instant::now();
                worker
                    .target
                    .note(Level::Info, || format!("worker {} is ready", worker.pid));
                let (pool, renewal) = (worker.pool, worker.renewal.take());
                self.amend_worker(id);
                self.audit(id, "ready", "");
                if let Some(silence) = self.life(pool).silence() {
                    self.timers.set(Instant::now() + silence, Token::Worker(id));
                }
                if let Some(renewal) = renewal {
                    self.renewed(id, renewal);
                }
                self.recovered(pool);
            }
            FromWorker::Preloaded if worker.is_starting() && worker.is_template => {
                (worker.state, worker.since, worker.deadline) = (State::Ready, Instant::now(), None);
                let (pool, renewal) = (worker.pool, worker.renewal.take());
                self.on_preloaded(id, pool, renewal);
            }
            FromWorker::CannotFork(why) if worker.is_template => {
                worker.known.asked = true;
                let (pool, renewal) = (worker.pool, worker.renewal.take());
                self.expect_end(id, LAST_WORD_LIMIT, "could not fork and did not end");
                self.on_cannot_fork(id, pool, renewal, &why);
            }
            FromWorker::Ready | FromWorker::Preloaded | FromWorker::CannotFork(_) | FromWorker::Born => {}
            FromWorker::Alive { served, running } => {
                worker.alive = Instant::now();
                worker.requests = Some(Requests { served, running });
            }
            FromWorker::Idle(millis) => self.on_idle(id, Duration::from_millis(millis.into())),
            FromWorker::Used => self.on_used(id),
            FromWorker::Leaving(reason) => self.on_leaving(id, reason),
            FromWorker::Outdated { scripts, mtime } => self.on_outdated(id, scripts, mtime),
            FromWorker::Loads { script, mtime } => self.on_loads(id, Version { script, mtime }),
            FromWorker::Given(script) => self.on_given(id, &script),
            FromWorker::NotLoaded { script, why } => self.on_not_loaded(id, &script, &why),
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
                let now = Instant::now();
                let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
                let had = worker.flow.has_dropped();
                for piece in lines.flat_map(|line| line.chunks(LINE_MAX)) {
                    if worker.flow.admits(now) && !worker.target.line_of(worker.pid, level, &escape(piece)) {
                        worker.flow.lost();
                    }
                }
                if !had && worker.flow.has_dropped() {
                    self.timers.set(Flow::tell_at(now), Token::Worker(id));
                }
            }
        }
    }

    fn on_leaving(&mut self, id: u64, reason: LeaveReason) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.target.note(Level::Info, || {
            format!("worker {} leaves: {}", worker.pid, reason.words())
        });
        worker.known.leaving.get_or_insert(reason);
        worker.state = State::Leaving;
        let (pool, asked, declined) = (worker.pool, worker.known.asked, worker.loads.declined);
        self.amend_worker(id);
        self.audit(id, "leave", reason.words());
        if reason.is_for_idle() || reason == LeaveReason::InactivityTimeout {
            self.on_surplus(pool);
        }
        if self.ending {
            return;
        }
        if reason == LeaveReason::ShutdownSignal && !asked {
            // By a signal that is not ours: as the original, without the grace of a planned replacement.
            let limit = self.life(pool).shutdown_timeout;
            if limit > 0 {
                self.expect_end(
                    id,
                    Duration::from_secs(limit.into()) + AFTER_ITS_OWN,
                    "did not end within shutdown-timeout",
                );
            }
        } else {
            self.limit_leaving(id, reason);
        }
        match reason {
            LeaveReason::ImportFailed if !declined => self.fails_often(pool),
            LeaveReason::MemoryLimit => self.fails_often(pool),
            LeaveReason::ServiceEnded => self.service_ended(pool),
            LeaveReason::ServiceFailed => self.back_off(pool, "a script of it has failed"),
            _ => {}
        }
        self.tend(pool, false);
    }

    /// Asks a worker to finish what it has and end.
    pub(crate) fn drain(&mut self, id: u64, reason: LeaveReason) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.known.asked = true;
        // The message leaves it graceful-timeout; the signal, for one that cannot read yet or any more, does not.
        let told = matches!(worker.state, State::Ready | State::Leaving)
            && message::try_send(&worker.control, &ToWorker::Drain(reason).encode()).is_ok();
        if !told {
            worker.person.signal(Signal::TERM);
        }
        self.limit_leaving(id, reason);
        self.amend_worker(id);
    }

    /// What limits the life of a pool's workers.
    fn life(&self, pool: u64) -> Life {
        self.pools
            .get(&pool)
            .map_or_else(Life::default, |pool| pool.settings.group.life)
    }

    /// A leaving worker has a time for its requests and shutdown-timeout for its end; without one of them there is no limit.
    fn limit_leaving(&mut self, id: u64, reason: LeaveReason) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let life = self.life(worker.pool);
        let (patience, why) = match self.is_service(worker.pool) {
            true => (Some(Duration::ZERO), "did not end within shutdown-timeout"),
            false => (
                life.patience(reason),
                "did not end within graceful-timeout and shutdown-timeout",
            ),
        };
        match patience {
            Some(patience) if life.shutdown_timeout > 0 => {
                let limit = patience + Duration::from_secs(u64::from(life.shutdown_timeout) + 1);
                self.expect_end(id, limit, why);
            }
            _ => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.deadline = None;
                }
            }
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
            worker.person.signal(Signal::TERM);
            let pool = worker.pool;
            let limit = match self.life(pool).shutdown_timeout {
                0 => END_LIMIT,
                limit => limit,
            };
            self.expect_end(
                id,
                Duration::from_secs(limit.into()) + AFTER_ITS_OWN,
                "did not end within shutdown-timeout",
            );
        }
    }

    /// Kills every worker, for a manager that cannot go on.
    pub(crate) fn kill_all(&mut self) {
        for worker in self.workers.values() {
            if worker.person.is_own {
                let _ = process::signal_group(worker.pid, Signal::KILL);
            }
            worker.person.signal(Signal::KILL);
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
            if sooner {
                self.amend_worker(id);
            }
        }
    }

    fn kill(&mut self, id: u64, why: &str) {
        self.audit(id, "kill", why);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.deadline = None;
            worker.known.killed.get_or_insert_with(|| why.to_owned());
            worker.person.signal(Signal::KILL);
            self.timers.set(worker.kill.begins(), Token::Worker(id));
        }
    }

    /// A time of a worker has come: its deadline, or lost lines are to be told.
    pub(crate) fn wake_worker(&mut self, id: u64) {
        self.wake_unborn(id);
        let now = Instant::now();
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if worker.flow.may_tell(now) {
            if let Some(again) = worker.tell_dropped(now) {
                self.timers.set(again, Token::Worker(id));
            }
        }
        if worker.lost.is_some_and(|at| at <= now) {
            return self.bury(id, None, None);
        }
        let pool = worker.pool;
        self.look_after_kill(id, now);
        self.end_if_idle(id, now);
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        // One that is to be killed already is not looked at again.
        let counts = worker.state == State::Ready
            && !worker.is_template
            && worker.deadline.is_none()
            && worker.known.killed.is_none();
        if let Some(silence) = self.life(pool).silence().filter(|_| counts) {
            self.check_pulse(id, silence, now);
        }
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let Some((_, why)) = worker.deadline.filter(|(at, _)| *at <= now) else {
            return;
        };
        let asks = !std::mem::replace(&mut worker.asked_for_stacks, true)
            && signal::is_caught(worker.pid, Signal::STACKS);
        if asks {
            // Where its threads are goes to its standard error, and from there to the log.
            worker.person.signal(Signal::STACKS);
            worker.deadline = Some((now + LAST_LOOK, why));
            self.timers.set(now + LAST_LOOK, Token::Worker(id));
        } else {
            self.kill(id, why);
        }
    }

    /// The second eye on Python's lock: a worker sees to it itself, unless it is stopped or cannot.
    fn check_pulse(&mut self, id: u64, silence: Duration, now: Instant) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let due = worker.alive + silence;
        if due > now {
            self.timers.set(due, Token::Worker(id));
        } else {
            self.expect_end(id, Duration::ZERO, "gave no sign of life for deadlock-timeout");
        }
    }

    pub(crate) fn on_output(&mut self, id: u64) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let had = worker.flow.has_dropped();
        worker.read_output();
        let (pool, own) = (worker.pool, worker.own_log.as_mut().map(std::mem::take));
        if !had && worker.flow.has_dropped() {
            self.timers.set(Flow::tell_at(Instant::now()), Token::Worker(id));
        }
        self.note(pool, &own.unwrap_or_default());
    }

    /// News from a worker's journey.
    pub(crate) fn on_status(&mut self, id: u64) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.read_status();
        }
    }
}

impl Worker {
    fn new(pool: u64, person: Person, control: OwnedFd, output: OwnedFd, target: Target) -> Self {
        let now = Instant::now();
        Self {
            pool,
            pid: person.pid,
            is_template: false,
            person,
            cgroup: None,
            state: State::Entering,
            target,
            control,
            output: Some(output),
            lines: Lines::default(),
            own_log: None,
            flow: Flow::new(now),
            status: None,
            report: report::Reader::default(),
            step: None,
            refusal: None,
            lost: None,
            half_born: false,
            renewal: None,
            loads: Loads::default(),
            joins: false,
            since: now,
            idle: None,
            idle_look: None,
            yielding: None,
            deadline: None,
            alive: now,
            requests: None,
            asked_for_stacks: false,
            kill: Kill::default(),
            known: Known::default(),
            memory_kills: memory::kills(),
        }
    }

    /// Reads some output; `false` when there is none left now.
    pub(crate) fn read_output(&mut self) -> bool {
        let Some(output) = &self.output else {
            return false;
        };
        let mut buffer = vec![0; OUTPUT_GULP];
        match fd::read(output, &mut buffer) {
            Ok(n) if n > 0 => {
                let now = Instant::now();
                let (flow, target, pid) = (&mut self.flow, &self.target, self.pid);
                let own_log = &mut self.own_log;
                self.lines.push(buffer.get(..n).unwrap_or_default(), |line| {
                    if !flow.admits(now) {
                        return;
                    }
                    if let Some(own_log) = own_log {
                        own_log.push_str(&notes::line(pid, line));
                    }
                    if !target.line_of(pid, Level::Error, line) {
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

    /// Tells how many lines were lost; when to try again, if the log does not take that either.
    pub(crate) fn tell_dropped(&mut self, now: Instant) -> Option<Instant> {
        let dropped = self.flow.take_dropped()?;
        let text = format!(
            "{dropped} lines of worker {} were dropped: it writes faster than the log takes, or the log's disk is full",
            self.pid
        );
        let code = codes::DROPPED_LINES.number;
        let told = self.target.try_coded(Level::Warn, code, &text);
        (!told).then(|| self.flow.not_told(dropped, now))
    }

    pub(crate) fn read_status(&mut self) {
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
