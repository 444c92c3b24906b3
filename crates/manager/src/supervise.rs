//! The event loop: one thread, no call that waits except the one for events.

use std::collections::HashMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rwsgi_os::capability::Capability;
use rwsgi_os::deadman::Deadman;
use rwsgi_os::epoll::{Epoll, Trigger};
use rwsgi_os::poll::Events;
use rwsgi_os::process::{self, Pid};
use rwsgi_os::signal::{self, Mask, Signal};
use rwsgi_os::{AsFd, OsError, OwnedFd, fd, ids, socket};
use rwsgi_wire::response::Level;

use crate::administration::Administrators;
use crate::adoption::Unfit;
use crate::applications::Patterns;
use crate::asking::{Account, Asker, Door};
use crate::audit::Record;
use crate::codes;
use crate::commit::{Config, Pending};
use crate::deaths::Deaths;
use crate::groups::Groups;
use crate::heard::Heard;
use crate::incidents::Incidents;
use crate::keeper::{MISUSED, OF_ANOTHER_VERSION};
use crate::keeping::CONFIG_ID;
use crate::log::{Logs, Target};
use crate::lookups::Lookups;
use crate::notes::Notes;
use crate::pools::Pool;
use crate::starts::Starts;
use crate::templates::Unborn;
use crate::timers::Timers;
use crate::turned_away::TurnedAway;
use crate::workers::Worker;

/// The control socket to httpd's parent.
pub(crate) const CONTROL_FD: i32 = 3;
/// The connection to the keeper, and the process that is httpd's parent.
const KEEPER_FD: i32 = 4;
const HTTPD_FD: i32 = 5;

/// A manager that does not get round its loop in this time is killed by the kernel, and the keeper starts another.
const HANG_LIMIT: Duration = Duration::from_secs(8);
/// It gets round at least this often.
const ROUND: Duration = Duration::from_secs(3);

/// All that root is used for here, and in the first steps of a worker's journey. Everything else is given up at the start.
pub(crate) const KEPT: [Capability; 9] = [
    // Sockets belong to httpd's group.
    Capability::Chown,
    // The Python half may lie below a closed home.
    Capability::DacReadSearch,
    Capability::Kill,
    Capability::SetGid,
    Capability::SetUid,
    // To take everything from the bounding set of a worker.
    Capability::SetPcap,
    // chroot, cpu-priority
    Capability::SysChroot,
    Capability::SysNice,
    // Processes beyond a limit that httpd was started with.
    Capability::SysResource,
];

/// What an event or a timer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Token {
    Control,
    Parent,
    Signals,
    Door(u64),
    Asker(u64),
    Pool(u64),
    TurnedAway(u64),
    /// Timers of a worker, and its control socket.
    Worker(u64),
    Output(u64),
    Status(u64),
    Starts,
    /// A look-up of an account.
    Lookup(u64),
    Groups,
    Keeper,
    /// A connected administrator.
    Administrator(u64),
    /// Lines for users' logs.
    Notes,
}

const ID_BITS: u32 = 56;

impl Token {
    fn encode(self) -> u64 {
        let (kind, id) = match self {
            Self::Control => (0, 0),
            Self::Parent => (1, 0),
            Self::Signals => (2, 0),
            Self::Door(id) => (3, id),
            Self::Asker(id) => (4, id),
            Self::Pool(id) => (5, id),
            Self::TurnedAway(id) => (6, id),
            Self::Worker(id) => (7, id),
            Self::Output(id) => (8, id),
            Self::Status(id) => (9, id),
            Self::Starts => (10, 0),
            Self::Lookup(id) => (11, id),
            Self::Groups => (12, 0),
            Self::Keeper => (13, 0),
            Self::Administrator(id) => (14, id),
            Self::Notes => (15, 0),
        };
        (kind << ID_BITS) | id
    }

    fn decode(number: u64) -> Option<Self> {
        let id = number & ((1 << ID_BITS) - 1);
        Some(match number >> ID_BITS {
            0 => Self::Control,
            1 => Self::Parent,
            2 => Self::Signals,
            3 => Self::Door(id),
            4 => Self::Asker(id),
            5 => Self::Pool(id),
            6 => Self::TurnedAway(id),
            7 => Self::Worker(id),
            8 => Self::Output(id),
            9 => Self::Status(id),
            10 => Self::Starts,
            11 => Self::Lookup(id),
            12 => Self::Groups,
            13 => Self::Keeper,
            14 => Self::Administrator(id),
            15 => Self::Notes,
            _ => return None,
        })
    }
}

/// Everything the manager knows.
pub(crate) struct Manager {
    pub(crate) epoll: Epoll,
    pub(crate) timers: Timers<Token>,
    pub(crate) control: OwnedFd,
    /// Keeps for the next manager what must not be lost.
    pub(crate) keeper: OwnedFd,
    pub(crate) deadman: Deadman,
    /// httpd's parent.
    pub(crate) parent: Pid,
    parent_end: OwnedFd,
    signals: OwnedFd,
    /// Whether identities can be switched.
    pub(crate) root: bool,
    pub(crate) uid: u32,
    /// The limit on descriptors that workers get: the one there was before the keeper raised it.
    pub(crate) descriptors: (u64, u64),
    /// Where messages about no group go.
    pub(crate) log: Target,
    pub(crate) pending: Pending,
    pub(crate) config: Option<Config>,
    pub(crate) doors: HashMap<u64, Door>,
    pub(crate) askers: HashMap<u64, Asker>,
    pub(crate) administrators: Administrators,
    /// Questions answered in this turn of the loop.
    pub(crate) asked: HashMap<Account, u32>,
    /// What children have said for the audit log.
    pub(crate) heard: Heard,
    pub(crate) pools: HashMap<u64, Pool>,
    pub(crate) workers: HashMap<u64, Worker>,
    /// Workers that templates are about to fork, under the numbers that they will have.
    pub(crate) unborn: HashMap<u64, Unborn>,
    /// Workers that have begun to load a script in this turn of the loop, and which.
    pub(crate) joining: Vec<(u64, Vec<u8>)>,
    pub(crate) by_pid: HashMap<Pid, u64>,
    pub(crate) turned_away: HashMap<u64, TurnedAway>,
    pub(crate) deaths: Deaths,
    pub(crate) incidents: Incidents,
    pub(crate) starts: Starts,
    pub(crate) lookups: Lookups,
    pub(crate) patterns: Patterns,
    pub(crate) groups: Groups,
    pub(crate) notes: Notes,
    /// Kills for want of memory that have been told already.
    pub(crate) memory_kills: u64,
    /// When a foreign or malformed peer was last told of; they could flood the log.
    pub(crate) told_peer: Option<Instant>,
    last_id: u64,
    jitter: u64,
    pub(crate) ending: bool,
}

/// Runs until httpd has ended or says so. `limits`: soft and hard limit on descriptors that workers get.
///
/// `delegated`: the control group that is httpd's to divide, as the keeper could see; empty if that is not said of any.
pub fn main(limits: (u64, u64), delegated: &[u8]) -> ExitCode {
    let mut manager = match Manager::new(limits, delegated) {
        Ok(manager) => manager,
        Err(e) => {
            eprintln!("rwsgi-manager: cannot start: {e}; it is started by httpd only");
            return ExitCode::from(MISUSED);
        }
    };
    match manager.adopt() {
        Ok(()) => {}
        Err(Unfit::Version(e)) => {
            let text = format!(
                "the manager before this one was of another version, and is used again: {e}; stop and start httpd"
            );
            manager.log.say(Level::Error, codes::OTHER_VERSION, &text);
            return ExitCode::from(OF_ANOTHER_VERSION);
        }
        Err(Unfit::Os(e)) => {
            eprintln!("rwsgi-manager: cannot go on with what is there: {e}");
            return ExitCode::FAILURE;
        }
    }
    match manager.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let text = format!("the manager's event loop failed ({e}): all workers are ended");
            manager.log.say(Level::Crit, codes::LOOP_FAILED, &text);
            manager.kill_all();
            manager.groups.finish();
            ExitCode::FAILURE
        }
    }
}

impl Manager {
    fn new(descriptors: (u64, u64), delegated: &[u8]) -> Result<Self, OsError> {
        let deadman = Deadman::new(HANG_LIMIT)?;
        let control = fd::adopt(CONTROL_FD)?;
        fd::set_nonblocking(&control, true)?;
        let keeper = fd::adopt(KEEPER_FD)?;
        let parent_end = fd::adopt(HTTPD_FD)?;
        let parent = Pid(socket::peer(&control)?.pid);
        // What else holds for a process of root, the keeper has seen to.
        process::adopt_orphans()?;
        process::set_dumpable(false)?;
        let uid = ids::user_ids().effective;
        let groups = Groups::new(parent, uid == 0, delegated);
        let handled = Mask::of(&[Signal::CHLD, Signal::TERM]);
        signal::block(&Mask::of(&[Signal::HUP, Signal::INT, Signal::USR1, Signal::USR2]))?;
        signal::block(&handled)?;
        let signals = signal::descriptor(&handled)?;
        let epoll = Epoll::new()?;
        let watch = |fd: &OwnedFd, token: Token| epoll.add(fd, token.encode(), Events::READ, Trigger::Level);
        watch(&control, Token::Control)?;
        watch(&parent_end, Token::Parent)?;
        watch(&signals, Token::Signals)?;
        watch(&keeper, Token::Keeper)?;
        Ok(Self {
            epoll,
            timers: Timers::new(),
            control,
            keeper,
            deadman,
            parent,
            parent_end,
            signals,
            root: uid == 0,
            uid,
            descriptors,
            log: Target {
                logs: Rc::new(Logs::inherited()),
                index: 0,
                level: Level::Info as u8,
            },
            pending: Pending::Nothing,
            config: None,
            doors: HashMap::new(),
            askers: HashMap::new(),
            administrators: Administrators::default(),
            asked: HashMap::new(),
            heard: Heard::default(),
            pools: HashMap::new(),
            workers: HashMap::new(),
            unborn: HashMap::new(),
            joining: Vec::new(),
            by_pid: HashMap::new(),
            turned_away: HashMap::new(),
            deaths: Deaths::default(),
            incidents: Incidents::default(),
            starts: Starts::new(),
            lookups: Lookups::default(),
            patterns: Patterns::default(),
            groups,
            notes: Notes::default(),
            memory_kills: crate::memory::kills(),
            told_peer: None,
            last_id: CONFIG_ID,
            jitter: process::this().0.unsigned_abs().into(),
            ending: false,
        })
    }

    fn run(&mut self) -> Result<(), OsError> {
        let mut found = Vec::new();
        while !(self.ending && self.all_are_undying()) {
            let wait = self.timers.next_in(Instant::now()).unwrap_or(ROUND);
            self.epoll.wait(&mut found, Some(wait.min(ROUND)))?;
            self.deadman.renew()?;
            self.asked.clear();
            for event in &found {
                if let Some(token) = Token::decode(event.token) {
                    self.dispatch(token)?;
                }
            }
            for who in self.timers.due(Instant::now()) {
                self.wake(who);
            }
            self.answer_joining();
            self.start_waiting();
        }
        self.groups.finish();
        Ok(())
    }

    fn dispatch(&mut self, token: Token) -> Result<(), OsError> {
        match token {
            Token::Control => self.on_control()?,
            Token::Parent => {
                self.epoll.remove(&self.parent_end)?;
                self.end("httpd has ended");
            }
            Token::Signals => self.on_signals()?,
            Token::Door(id) => self.on_door(id),
            Token::Asker(id) => self.on_asker(id),
            Token::Administrator(id) => self.on_administrator(id),
            Token::Pool(id) => self.on_pool(id),
            Token::TurnedAway(id) => self.on_turned_away(id),
            Token::Worker(id) => self.on_worker(id),
            Token::Output(id) => self.on_output(id),
            Token::Status(id) => self.on_status(id),
            Token::Lookup(id) => self.on_lookup(id),
            Token::Keeper => self.on_keeper()?,
            // Timers only.
            Token::Starts | Token::Groups | Token::Notes => {}
        }
        Ok(())
    }

    fn wake(&mut self, who: Token) {
        match who {
            Token::Door(id) => self.wake_door(id),
            Token::Asker(id) => self.wake_asker(id),
            Token::Pool(id) => self.wake_pool(id),
            Token::TurnedAway(id) => self.wake_turned_away(id),
            Token::Worker(id) => self.wake_worker(id),
            Token::Lookup(id) => self.wake_lookup(id),
            Token::Groups => self.tend_groups(),
            Token::Notes => self.write_notes(),
            Token::Control
            | Token::Parent
            | Token::Signals
            | Token::Output(_)
            | Token::Status(_)
            | Token::Keeper
            | Token::Administrator(_)
            // Every turn of the loop looks at them.
            | Token::Starts => {}
        }
    }

    fn on_signals(&mut self) -> Result<(), OsError> {
        while let Some(signal) = signal::next(&self.signals)? {
            match signal {
                Signal::TERM => self.end("it was asked to by SIGTERM"),
                _ => self.reap_all()?,
            }
        }
        Ok(())
    }

    /// Ends all workers; the loop ends with the last.
    pub(crate) fn end(&mut self, why: &str) {
        if std::mem::replace(&mut self.ending, true) {
            return;
        }
        self.log.note(Level::Info, || {
            format!("the manager ends its workers because {why}")
        });
        self.log
            .logs
            .record(|| Record::new("stop").text("why", why.as_bytes()));
        for entrance in self.pools.values().filter_map(|pool| pool.entrance.as_ref()) {
            entrance.remove();
        }
        // Whoever is born now finds its connection closed, and ends.
        self.unborn.clear();
        self.end_workers();
    }

    /// A number not used before, nor by what an earlier manager has left.
    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// This number is in use.
    pub(crate) fn ids_from(&mut self, id: u64) {
        self.last_id = self.last_id.max(id);
    }

    /// Something to vary pauses with; no secret.
    pub(crate) fn jitter(&mut self) -> u8 {
        self.jitter = self
            .jitter
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.jitter.to_be_bytes()[0]
    }

    pub(crate) fn watch(&self, fd: impl AsFd, token: Token) -> Result<(), OsError> {
        self.epoll.add(fd, token.encode(), Events::READ, Trigger::Level)
    }

    /// Whether something about a peer may be told now: once in a while.
    pub(crate) fn may_tell_peer(&mut self) -> bool {
        is_due(&mut self.told_peer)
    }
}

/// Whether what may be told once in a while may be told now; then it has been.
pub(crate) fn is_due(told: &mut Option<Instant>) -> bool {
    const WHILE: Duration = Duration::from_secs(10);
    let now = Instant::now();
    let due = told.is_none_or(|t| now.saturating_duration_since(t) > WHILE);
    if due {
        *told = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_round_trip_and_unknown_ones_are_nothing() {
        for token in [
            Token::Control,
            Token::Parent,
            Token::Signals,
            Token::Door(1),
            Token::Status(77),
            Token::Lookup(3),
            Token::Administrator(4),
        ] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(u64::MAX), None);
    }
}
