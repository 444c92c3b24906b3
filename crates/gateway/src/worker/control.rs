//! The link to the manager.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rwsgi_os::{OsError, fd, message, process};
use rwsgi_wire::control::{FromWorker, Start, ToWorker};
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::limits::{CONTROL_MAX, TEXT_MAX};
use rwsgi_wire::response::{Level, Log};
use rwsgi_wire::script::Script;

use crate::own_log;
use crate::wsgi::lines::{Block, cut};
use crate::wsgi::request::ProcessLog;

/// The connection to the manager, one message per packet.
pub struct Control {
    socket: OwnedFd,
    level: u8,
    outlives: AtomicBool,
    ready: Once,
}

/// What the manager said.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// Leave.
    Drain(LeaveReason),
    /// This version of a script does not load.
    Keep(Vec<u8>, i64),
    /// Whether others have a script that is loaded here for the first time.
    Others(Script, bool),
    /// What has been said and still holds is to be said again, to another manager.
    Repeat,
    /// The manager is gone, and no other will come.
    Gone,
    /// Nothing that matters now.
    Nothing,
}

/// What a template is told.
pub enum Told {
    /// Fork a worker with these descriptors.
    Fork {
        /// Its connection to the manager.
        control: OwnedFd,
        /// Where it writes to.
        output: OwnedFd,
    },
    /// End.
    End,
    /// Nothing that matters.
    Nothing,
}

impl Control {
    /// Waits for the settings.
    pub fn begin(socket: OwnedFd) -> Result<(Self, Start), String> {
        let start = settings(&socket)?;
        own_log::open(&start.user_log);
        let control = Self {
            socket,
            level: start.log_level,
            outlives: AtomicBool::new(start.outlives),
            ready: Once::new(),
        };
        Ok((control, start))
    }

    /// In a process that was forked by the one that this connection is of: from now on it is another one. Whoever has it finds that
    /// under the same number.
    pub fn become_another(&self, socket: &OwnedFd) -> Result<(), OsError> {
        fd::replace(&self.socket, socket)
    }

    /// As [`begin`](Self::begin), in a worker that was forked: it must say first that it is there.
    pub fn begin_forked(&self) -> Result<Start, String> {
        message::send(&self.socket, &FromWorker::Born.encode()).map_err(|error| error.to_string())?;
        let start = settings(&self.socket)?;
        // Of the template, which ends with its manager, it is not to be taken over.
        self.outlives.store(start.outlives, Relaxed);
        Ok(start)
    }

    /// Takes one message to a template; to be called when there is one.
    pub fn hear_template(&self) -> Told {
        let mut packet = vec![0; CONTROL_MAX];
        let Ok(got) = message::receive_packet(&self.socket, &mut packet) else {
            return Told::End;
        };
        match ToWorker::decode(packet.get(..got.len).unwrap_or_default()) {
            Ok(ToWorker::Fork) => match <[OwnedFd; 2]>::try_from(got.fds) {
                Ok([control, output]) => Told::Fork { control, output },
                Err(_) => Told::Nothing,
            },
            Ok(ToWorker::Drain(_)) => Told::End,
            _ if got.len == 0 => Told::End,
            _ => Told::Nothing,
        }
    }

    /// Everything that is to be loaded is, and workers can be forked.
    pub fn preloaded(&self) {
        let _ = message::send(&self.socket, &FromWorker::Preloaded.encode());
    }

    /// To the manager, which waits for a forked worker on this socket: there will be none.
    pub fn cannot_be_born(socket: &OwnedFd, why: &str) {
        let _ = message::send(socket, &FromWorker::CannotServe(shortened(why)).encode());
    }

    /// No workers can be forked, and this process will end.
    pub fn cannot_fork(&self, why: &str) {
        let _ = message::send(&self.socket, &FromWorker::CannotFork(shortened(why)).encode());
    }

    /// What to wait for in `poll`.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes one message, without waiting.
    pub fn hear(&self) -> Said {
        let mut packet = vec![0; CONTROL_MAX];
        match message::try_receive(&self.socket, &mut packet) {
            Ok(0) => Said::Gone,
            Ok(n) => match ToWorker::decode(packet.get(..n).unwrap_or_default()) {
                Ok(ToWorker::Drain(reason)) => Said::Drain(reason),
                Ok(ToWorker::Keep { script, mtime }) => Said::Keep(script, mtime),
                Ok(ToWorker::Others { script, there }) => Said::Others(script, there),
                Ok(ToWorker::Repeat) => Said::Repeat,
                _ => Said::Nothing,
            },
            Err(error) if error.is_would_block() => Said::Nothing,
            Err(_) => Said::Gone,
        }
    }

    /// From now on this process does not end with the manager, if another one can go on with it. To be called by the main thread: each
    /// thread has its own say in this.
    pub fn outlive_manager(&self) {
        if self.outlives.load(Relaxed) {
            // If that fails, it ends with the manager.
            let _ = process::outlive_parent();
        }
    }

    /// Requests are accepted from now on. Goes out once, and before this returns.
    pub fn ready(&self) {
        self.ready.call_once(|| self.say_ready());
    }

    /// Says it again, if it was said.
    pub fn ready_still(&self) {
        if self.ready.is_completed() {
            self.say_ready();
        }
    }

    fn say_ready(&self) {
        let _ = message::send(&self.socket, &FromWorker::Ready.encode());
    }

    /// No new request is accepted from now on.
    pub fn leaving(&self, reason: LeaveReason) {
        let _ = message::send(&self.socket, &FromWorker::Leaving(reason).encode());
    }

    /// Requests cannot be served, and this process will end.
    pub fn cannot_serve(&self, why: &str) {
        let _ = message::send(&self.socket, &FromWorker::CannotServe(shortened(why)).encode());
    }

    /// A script has changed; `loaded` are all that are loaded. What is said of this script here counts.
    pub fn outdated(&self, script: Script, mtime: i64, mut loaded: Vec<Script>) {
        loaded.retain(|other| other.path != script.path);
        loaded.insert(0, script);
        // What does not fit in a message is loaded when it is asked for.
        let mut room = CONTROL_MAX / 2;
        loaded.retain(|other| match room.checked_sub(other.length()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        });
        let scripts = loaded;
        let _ = message::send(&self.socket, &FromWorker::Outdated { scripts, mtime }.encode());
    }

    /// This version of a script is loaded for the first time.
    pub fn loads(&self, script: &[u8], mtime: i64) {
        let script = script.to_vec();
        let _ = message::send(&self.socket, &FromWorker::Loads { script, mtime }.encode());
    }

    /// Requests are given these callables of a loaded script.
    pub fn given(&self, script: &Script) {
        let _ = message::send(&self.socket, &FromWorker::Given(script.clone()).encode());
    }

    /// A script that was to be loaded is not there, or has no callable for the request.
    pub fn not_loaded(&self, script: &[u8], why: &str) {
        let (script, why) = (script.to_vec(), shortened(why));
        let _ = message::send(&self.socket, &FromWorker::NotLoaded { script, why }.encode());
    }

    /// No request has run for so long. Never waits; whether it could be said.
    pub fn idle(&self, so_long: Duration) -> bool {
        let millis = u32::try_from(so_long.as_millis()).unwrap_or(u32::MAX);
        message::try_send(&self.socket, &FromWorker::Idle(millis).encode()).is_ok()
    }

    /// A request runs, or has come. Never waits; whether it could be said.
    pub fn used(&self) -> bool {
        message::try_send(&self.socket, &FromWorker::Used.encode()).is_ok()
    }

    /// Python's lock could be had, and so many requests were. Never waits: a manager that does not keep up will hear the next one.
    pub fn alive(&self, served: u64, running: u32) {
        let _ = message::try_send(&self.socket, &FromWorker::Alive { served, running }.encode());
    }

    /// Lines for the log of the group. Never waits: if the manager does not keep up they go to standard error.
    pub fn say(&self, level: Level, text: &str) {
        let mut block = Block::new(|text| self.line(level, text));
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            cut(line.as_bytes(), &mut |piece| block.push(piece));
        }
    }
}

/// The first message of the manager.
fn settings(socket: &OwnedFd) -> Result<Start, String> {
    let mut packet = vec![0; CONTROL_MAX];
    let n = message::receive(socket, &mut packet).map_err(|error| error.to_string())?;
    match ToWorker::decode(packet.get(..n).unwrap_or_default()) {
        Ok(ToWorker::Start(start)) => Ok(*start),
        Ok(_) => Err("the manager said something else before it said what to serve".into()),
        Err(error) => Err(format!("the manager's first message cannot be read: {error}")),
    }
}

/// What fits in a message.
fn shortened(text: &str) -> Vec<u8> {
    let text = text.as_bytes();
    text.get(..TEXT_MAX).unwrap_or(text).to_vec()
}

impl ProcessLog for Control {
    fn wants(&self, level: Level) -> bool {
        level as u8 <= self.level
    }

    fn log(&self, log: &Log<'_>) {
        own_log::note(log.level, self.wants(log.level), log.text);
        if !self.wants(log.level) {
            return;
        }
        let text = log.text.get(..TEXT_MAX).unwrap_or(log.text);
        let packet = FromWorker::Log(log.level, text.to_vec()).encode();
        if message::try_send(&self.socket, &packet).is_err() {
            // Without the library's lock: a process that is forked meanwhile would have it for ever.
            let _ = fd::write_all(std::io::stderr(), &[text, b"\n"].concat());
        }
    }
}
