//! The program in its first form, started by httpd's parent: it starts the manager, keeps for it what must not be lost when that dies, and
//! starts the next one at once. It knows nothing of workers but their numbers, so there is little in it that could fail.
//!
//! Descriptors that the manager has it keep stay open, so a worker whose manager has died serves on as if nothing had happened. Orphaned
//! workers become its children, not init's: it learns how they end, and there is somebody who reaps them in every container. (Were httpd's
//! parent process 1 of a container, a worker that exits with status 15 would be taken for a child of httpd's that asks it to end.)

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rwsgi_os::poll::{Events, Watch, poll};
use rwsgi_os::process::{self, End, Pid};
use rwsgi_os::rlimit::{self, Resource};
use rwsgi_os::signal::{self, Mask, Signal};
use rwsgi_os::socket::{self, Kind, Mode};
use rwsgi_os::spawn::Spawn;
use rwsgi_os::{OsError, OwnedFd, capability, fd, file, ids, message};
use rwsgi_wire::response::Level;

use crate::codes;
use crate::kept::{FromKeeper, PACKET_MAX, ToKeeper};
use crate::log::{Logs, Target};
use crate::scribe;
use crate::supervise::{CONTROL_FD, KEPT};
use crate::tree;

/// A manager that lives shorter than this has died early.
const EARLY: Duration = Duration::from_secs(1);
/// So many may die early in a row before there is a pause.
const EARLY_MAX: u32 = 3;
/// That pause.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a new manager is waited for that does not take what it is given.
const TAKE_LIMIT: Duration = Duration::from_secs(15);
/// How long its end waits for those who write the logs.
const LAST_WAIT: Duration = Duration::from_millis(500);
/// Exit status of a manager that was not started as it should be, and of this program then.
pub const MISUSED: u8 = 2;
/// Exit status of a manager that cannot use what its predecessor of another version has left.
pub const OF_ANOTHER_VERSION: u8 = 3;

/// A record, and what belongs to it.
struct Item {
    pid: Pid,
    record: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    end: Option<End>,
}

/// The manager that runs.
struct Running {
    pid: Pid,
    since: Instant,
    link: OwnedFd,
    /// It has closed its end.
    silent: bool,
}

struct Keeper {
    control: OwnedFd,
    /// httpd's parent.
    httpd: OwnedFd,
    signals: OwnedFd,
    /// The control group that may be divided; empty if that is not said of any.
    delegated: Vec<u8>,
    /// Soft and hard limit on descriptors that this process was started with.
    limits: (u64, u64),
    program: Vec<u8>,
    log: Target,
    items: BTreeMap<u64, Item>,
    /// Ends that the manager has not been told yet.
    untold: BTreeSet<u64>,
    running: Option<Running>,
    before: Option<(Pid, End)>,
    early: u32,
    /// When the next manager is started.
    next: Option<Instant>,
    /// The program of this process is used instead of the file, which may be of another version.
    own_program: bool,
}

/// Runs until the manager ends because httpd does.
pub fn main() -> ExitCode {
    let done = Keeper::new().and_then(|keeper| match keeper {
        Some(mut keeper) => keeper.run(),
        // httpd has ended already.
        None => Ok(ExitCode::SUCCESS),
    });
    let code = done.unwrap_or_else(|e| {
        eprintln!("rwsgi-manager: cannot start: {e}; it is started by httpd only");
        ExitCode::from(MISUSED)
    });
    let_scribes_end();
    code
}

impl Keeper {
    fn new() -> Result<Option<Self>, OsError> {
        let control = fd::adopt(CONTROL_FD)?;
        log_by_another()?;
        socket::pass_credentials(&control)?;
        let parent = Pid(socket::peer(&control)?.pid);
        let Ok(httpd) = process::open(parent) else {
            return Ok(None);
        };
        // Looked at after the descriptor is held: it names httpd's parent and nobody else.
        if process::parent() != parent {
            return Ok(None);
        }
        process::umask(0o077);
        // Signals from a terminal are for httpd; a leader of a group already has what is wanted.
        let _ = process::new_session();
        process::adopt_orphans()?;
        process::set_dumpable(false)?;
        rlimit::set(Resource::Core, 0, 0)?;
        let limits = rlimit::of(Resource::Descriptors)?;
        rlimit::set(Resource::Descriptors, limits.1, limits.1)?;
        // With all capabilities still, which the top of a hierarchy needs. If it fails, so it does for the manager, which says why.
        let delegated = tree::delegated();
        if ids::user_ids().effective == 0 {
            drop(tree::make(parent, &delegated));
        }
        capability::keep_only(KEPT.iter().fold(0, |all, kept| all | kept.bit()))?;
        signal::block(&Mask::of(&[Signal::HUP, Signal::INT, Signal::USR1, Signal::USR2]))?;
        let handled = Mask::of(&[Signal::CHLD, Signal::TERM]);
        signal::block(&handled)?;
        let signals = signal::descriptor(&handled)?;
        let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
        Ok(Some(Self {
            control,
            httpd,
            signals,
            delegated,
            limits,
            program: program.as_os_str().as_bytes().to_vec(),
            log: Target {
                logs: std::rc::Rc::new(Logs::inherited()),
                index: 0,
                level: Level::Info as u8,
            },
            items: BTreeMap::new(),
            untold: BTreeSet::new(),
            running: None,
            before: None,
            early: 0,
            next: Some(Instant::now()),
            own_program: false,
        }))
    }

    fn run(&mut self) -> Result<ExitCode, OsError> {
        loop {
            self.start_if_due();
            let now = Instant::now();
            let limit = self.next.map(|at| at.saturating_duration_since(now));
            let mut watches = vec![Watch::new(self.signals.as_fd(), Events::READ)];
            match self.running.as_ref().filter(|running| !running.silent) {
                Some(running) => {
                    let events = match self.untold.is_empty() {
                        true => Events::READ,
                        false => Events::READ.and(Events::WRITE),
                    };
                    watches.push(Watch::new(running.link.as_fd(), events));
                }
                // With a manager its end is the manager's affair.
                None if self.running.is_none() => {
                    watches.push(Watch::new(self.httpd.as_fd(), Events::READ));
                }
                None => {}
            }
            poll(&mut watches, limit)?;
            let [signalled, other] = [0, 1].map(|i| watches.get(i).is_some_and(|watch| watch.found().any()));
            drop(watches);
            if other {
                if self.running.is_none() {
                    // Nobody is left to end the workers, who see it by the end of their connections.
                    return Ok(ExitCode::SUCCESS);
                }
                self.listen();
                self.tell_ends();
            }
            if signalled {
                if let Some(code) = self.on_signals()? {
                    return Ok(code);
                }
            }
        }
    }

    fn start_if_due(&mut self) {
        if self.next.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.next = None;
        if let Err(e) = self.start() {
            let text = format!("the manager cannot be started again ({e}): it is tried every second");
            self.log.say(Level::Crit, codes::NO_MANAGER, &text);
            self.next = Some(Instant::now() + PAUSE);
        }
    }

    /// Starts a manager and gives it all that is kept.
    fn start(&mut self) -> Result<(), OsError> {
        let (link, theirs) = socket::pair(Kind::SeqPacket, Mode::Blocking)?;
        let (null, standard) = (file::null()?, fd::standard(fd::Standard::Err));
        let program: &[u8] = match self.own_program {
            true => b"/proc/self/exe",
            false => &self.program,
        };
        let (soft, hard) = self.limits;
        let arguments = ["rwsgi-manager", "manage", &soft.to_string(), &hard.to_string()];
        let mut arguments = arguments.map(|word| word.as_bytes().to_vec()).to_vec();
        arguments.push(self.delegated.clone());
        let spawn = Spawn {
            program,
            arguments: &arguments,
            environment: &time_zone(),
            descriptors: &[
                null.as_fd(),
                standard,
                standard,
                self.control.as_fd(),
                theirs.as_fd(),
                self.httpd.as_fd(),
            ],
            dies_with_parent: true,
        };
        let pid = match spawn.start() {
            // The file may be about to be replaced.
            Err(_) if !self.own_program => Spawn {
                program: b"/proc/self/exe",
                ..spawn
            }
            .start()?,
            other => other?,
        };
        drop(theirs);
        self.untold.clear();
        self.running = Some(Running {
            pid,
            since: Instant::now(),
            link,
            silent: false,
        });
        // If it does not take them it has died, or will: then it is the next one's turn.
        let _ = self.hand_over();
        Ok(())
    }

    fn hand_over(&self) -> Result<(), OsError> {
        let Some(running) = &self.running else {
            return Ok(());
        };
        socket::set_send_timeout(&running.link, Some(TAKE_LIMIT))?;
        for (id, item) in &self.items {
            let kept = FromKeeper::Kept {
                id: *id,
                end: item.end,
                record: item.record.clone(),
            };
            let descriptors: Vec<_> = item.descriptors.iter().map(AsFd::as_fd).collect();
            message::send_descriptors(&running.link, &kept.encode(), &descriptors)?;
        }
        let all = FromKeeper::All { before: self.before };
        message::send(&running.link, &all.encode())?;
        fd::set_nonblocking(&running.link, true)
    }

    /// Takes what the manager says, up to its end.
    fn listen(&mut self) {
        let mut buffer = vec![0; PACKET_MAX];
        while let Some(running) = &mut self.running {
            match message::receive_packet(&running.link, &mut buffer) {
                Err(e) if e.is_would_block() => return,
                Ok(got) if got.len > 0 => {
                    let packet = buffer.get(..got.len).unwrap_or_default();
                    // Of this program's other half: what it cannot mean is not acted upon.
                    if let Ok(said) = ToKeeper::decode(packet) {
                        self.heard(said, got.fds);
                    }
                }
                _ => {
                    running.silent = true;
                    return;
                }
            }
        }
    }

    fn heard(&mut self, said: ToKeeper, descriptors: Vec<OwnedFd>) {
        match said {
            ToKeeper::Keep { id, pid, record } => {
                let end = self
                    .items
                    .get(&id)
                    .filter(|item| item.pid == pid)
                    .and_then(|item| item.end);
                self.items.insert(
                    id,
                    Item {
                        pid,
                        record,
                        descriptors,
                        end,
                    },
                );
            }
            ToKeeper::Amend { id, record } => {
                if let Some(item) = self.items.get_mut(&id) {
                    item.record = record;
                }
            }
            ToKeeper::Forget { id } => {
                self.items.remove(&id);
                self.untold.remove(&id);
            }
        }
    }

    /// `Some`: the end.
    fn on_signals(&mut self) -> Result<Option<ExitCode>, OsError> {
        while let Some(signal) = signal::next(&self.signals)? {
            if signal == Signal::TERM {
                if let Some(running) = &self.running {
                    let _ = process::signal_child(running.pid, Signal::TERM);
                }
            }
        }
        // First what the manager had to say about its workers.
        self.listen();
        while let Some(pid) = process::ended_child()? {
            match self.running.as_ref().is_some_and(|running| running.pid == pid) {
                true => {
                    if let Some(code) = self.manager_ended(pid) {
                        return Ok(Some(code));
                    }
                }
                false => self.orphan_ended(pid),
            }
        }
        self.tell_ends();
        Ok(None)
    }

    fn manager_ended(&mut self, pid: Pid) -> Option<ExitCode> {
        let end = process::reap(pid).ok().flatten().unwrap_or(End::Exit(0));
        self.listen();
        let lived = self
            .running
            .take()
            .map_or(Duration::ZERO, |running| running.since.elapsed());
        let is_first = self.before.is_none();
        match end {
            End::Exit(0) => return Some(ExitCode::SUCCESS),
            End::Exit(status) if is_first && status == i32::from(MISUSED) => {
                return Some(ExitCode::from(MISUSED));
            }
            End::Exit(status) if status == i32::from(OF_ANOTHER_VERSION) => self.own_program = true,
            _ => {}
        }
        self.before = Some((pid, end));
        self.early = if lived < EARLY { self.early + 1 } else { 0 };
        let pause = if self.early > EARLY_MAX {
            PAUSE
        } else {
            Duration::ZERO
        };
        self.next = Some(Instant::now() + pause);
        None
    }

    /// A worker whose manager has died, or what one has left behind.
    fn orphan_ended(&mut self, pid: Pid) {
        let id = self
            .items
            .iter()
            .find(|(_, item)| item.pid == pid && item.end.is_none());
        let id = id.map(|(id, _)| *id);
        if id.is_some() {
            // What it leaves behind in its process group goes with it; the number is still its own until it is reaped.
            let _ = process::signal_group(pid, Signal::KILL);
        }
        let end = process::reap(pid);
        let (Some(id), Ok(Some(end))) = (id, end) else {
            return;
        };
        if let Some(item) = self.items.get_mut(&id) {
            item.end = Some(end);
            self.untold.insert(id);
        }
    }

    fn tell_ends(&mut self) {
        let Some(running) = self.running.as_ref().filter(|running| !running.silent) else {
            return;
        };
        while let Some(id) = self.untold.first().copied() {
            if let Some(end) = self.items.get(&id).and_then(|item| item.end) {
                let ended = FromKeeper::Ended { id, end }.encode();
                if message::try_send(&running.link, &ended).is_err() {
                    // Later, or the next manager gets it with the record.
                    return;
                }
            }
            self.untold.remove(&id);
        }
    }
}

/// Puts a pipe in place of the log on descriptors 1 and 2, here and in all that is started here, with a process behind it that writes.
fn log_by_another() -> Result<(), OsError> {
    let log = fd::duplicate(fd::standard(fd::Standard::Err), 3)?;
    for pipe in scribe::between(vec![log], None)? {
        fd::place(&pipe, 1)?;
        fd::place(&pipe, 2)?;
    }
    Ok(())
}

/// Those who write the logs end when nobody has their pipes any more, and are reaped here: not every container has an init that does. Who hangs on
/// a disk is not waited for.
fn let_scribes_end() {
    if let Ok(null) = file::null() {
        let _ = fd::place(&null, 1).and_then(|()| fd::place(&null, 2));
    }
    let begin = Instant::now();
    while begin.elapsed() < LAST_WAIT {
        match process::reap_any() {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return,
        }
    }
}

/// The only part of the environment that a manager is given.
pub(crate) fn time_zone() -> Vec<Vec<u8>> {
    let zone = std::env::var_os("TZ");
    zone.map(|zone| [b"TZ=", zone.as_bytes()].concat())
        .into_iter()
        .collect()
}
