//! `manager.sock`: httpd's children ask where a pool is and what a worker died of. And the doors through which they come, and administrators.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rwsgi_os::process::{self, Pid};
use rwsgi_os::socket::{self, Kind, Mode};
use rwsgi_os::{OwnedFd, file, message};
use rwsgi_wire::control::{Answer, Ask, DeathKind};
use rwsgi_wire::limits::CONTROL_MAX;
use rwsgi_wire::response::{AbortReason, Level};

use crate::applications::Question;
use crate::codes;
use crate::heard::Logged;
use crate::runtime_dir::{ASK_SOCKET, CTL_SOCKET, RuntimeDir};
use crate::supervise::{Manager, Token};

/// Most connections at once; then one of whom has most makes room, so that nobody can take all places.
const ASKERS_MAX: usize = 1024;
/// Connections that are accepted in one turn of the loop.
const WELCOMES: usize = 32;
/// Questions of one child that are answered in one turn of the loop. Those of others come in between, however many it asks.
const SHARE: u32 = 4;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 511;
/// How long the question about a death waits for the death to be known.
const DEATH_WAIT: Duration = Duration::from_secs(1);
/// How long the door stays shut when descriptors have run out.
const SHUT: Duration = Duration::from_millis(500);
/// How often it is looked whether the door is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Who comes through a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visitors {
    /// httpd's.
    Children,
    /// Root, with `rwsgictl`.
    Administrators,
}

impl Visitors {
    const ALL: [Self; 2] = [Self::Children, Self::Administrators];

    /// Name of the socket.
    fn socket(self) -> &'static [u8] {
        match self {
            Self::Children => ASK_SOCKET,
            Self::Administrators => CTL_SOCKET,
        }
    }

    /// Who comes through the door of this path.
    fn of(path: &[u8]) -> Self {
        let is_ctl = path.rsplit(|b| *b == b'/').next() == Some(CTL_SOCKET);
        if is_ctl {
            Self::Administrators
        } else {
            Self::Children
        }
    }
}

/// A socket on which somebody connects.
pub(crate) struct Door {
    pub(crate) visitors: Visitors,
    pub(crate) listener: OwnedFd,
    pub(crate) directory: Rc<RuntimeDir>,
    pub(crate) path: Vec<u8>,
    /// When to look whether it is still there.
    look: Instant,
}

/// On whose account a connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Account {
    /// One of httpd's children; the kernel says which.
    Child(Pid),
    /// All others of this user together: a child cannot get a larger share by forking.
    Others(u32),
}

/// A connected child.
pub(crate) struct Asker {
    socket: OwnedFd,
    account: Account,
    waiting: Option<Waiting>,
    /// When it connected or was last heard.
    heard: Instant,
}

/// What an answer waits for.
enum Waiting {
    /// This death, until then.
    Death(Pid, Instant),
    /// The user of an application to be looked up, which has a limit of its own.
    User(Question),
}

impl Manager {
    /// Opens the doors of a directory that are not open.
    pub(crate) fn open_doors(&mut self, directory: &Rc<RuntimeDir>) -> Result<(), String> {
        for visitors in Visitors::ALL {
            let is_its = |door: &Door| door.visitors == visitors && Rc::ptr_eq(&door.directory, directory);
            if self.doors.values().any(is_its) {
                continue;
            }
            let made = match visitors {
                Visitors::Children => directory.listen(Kind::SeqPacket, ASK_SOCKET, BACKLOG, None),
                Visitors::Administrators => directory.listen_for_root(CTL_SOCKET),
            };
            let (path, listener) = made.map_err(|e| {
                let name = String::from_utf8_lossy(visitors.socket());
                format!(
                    "the manager's socket {name} cannot be made ({e}): set WSGISocketPrefix to a shorter path, or to one that httpd's starter \
                     may write"
                )
            })?;
            let id = self.fresh_id();
            self.add_door(id, listener, directory, path);
            self.keep_door(id);
        }
        Ok(())
    }

    pub(crate) fn add_door(&mut self, id: u64, listener: OwnedFd, directory: &Rc<RuntimeDir>, path: Vec<u8>) {
        // One that cannot be watched now will be when it is looked at.
        let _ = self.watch(&listener, Token::Door(id));
        let look = Instant::now() + LOOK;
        self.timers.set(look, Token::Door(id));
        self.doors.insert(
            id,
            Door {
                visitors: Visitors::of(&path),
                listener,
                directory: Rc::clone(directory),
                path,
                look,
            },
        );
    }

    pub(crate) fn close_doors(&mut self, directory: &Rc<RuntimeDir>) {
        let doors = self.doors.iter();
        let closed: Vec<u64> = doors
            .filter(|(_, door)| Rc::ptr_eq(&door.directory, directory))
            .map(|(id, _)| *id)
            .collect();
        for id in closed {
            if let Some(door) = self.doors.remove(&id) {
                directory.remove(&door.path);
                self.forget(id);
            }
        }
    }

    pub(crate) fn on_door(&mut self, id: u64) {
        // A bound, so that a flood of connections does not keep the manager from its other work.
        for _ in 0..WELCOMES {
            let Some(door) = self.doors.get(&id) else {
                return;
            };
            let visitors = door.visitors;
            match socket::accept(&door.listener, Mode::NonBlocking) {
                Ok(socket) => match visitors {
                    Visitors::Children => self.welcome(socket),
                    Visitors::Administrators => self.welcome_administrator(socket),
                },
                Err(e) if e.is_would_block() => return,
                Err(e) => {
                    // Out of descriptors: shut for a while instead of being woken for ever.
                    let _ = self.epoll.remove(&door.listener);
                    self.timers.set(Instant::now() + SHUT, Token::Door(id));
                    let text = format!("the manager cannot accept more connections ({e})");
                    if self.may_tell_peer() {
                        self.log.say(Level::Warn, codes::TOO_MANY_CONNECTIONS, &text);
                    }
                    return;
                }
            }
        }
    }

    /// Opens a door that was shut, and makes one anew that somebody has removed.
    pub(crate) fn wake_door(&mut self, id: u64) {
        let now = Instant::now();
        let Some(door) = self.doors.get_mut(&id).filter(|_| !self.ending) else {
            return;
        };
        let look = door.look <= now;
        if look {
            door.look = now + LOOK;
            self.timers.set(door.look, Token::Door(id));
        }
        let Some(door) = self.doors.get(&id) else {
            return;
        };
        // Fails if it is open already.
        let _ = self.watch(&door.listener, Token::Door(id));
        if !look || file::status_of_link(&door.path).is_ok_and(|s| s.is_socket()) {
            return;
        }
        let old = Rc::clone(&door.directory);
        let text = match self.renew_directory(&old) {
            Ok(()) => "the manager's socket was removed by somebody and has been made anew".to_owned(),
            Err(why) => {
                format!("the manager's socket was removed by somebody and cannot be made anew: {why}")
            }
        };
        if self.may_tell_peer() {
            self.log.say(Level::Warn, codes::SPOILED_DOOR, &text);
        }
    }

    fn welcome(&mut self, socket: OwnedFd) {
        let server = self.config.as_ref().map(|c| c.begin.server_uid);
        let peer = socket::peer(&socket).ok();
        let known = peer.filter(|p| p.uid == 0 || p.uid == self.uid || Some(p.uid) == server);
        let Some(peer) = known else {
            let uid = peer.map_or(u32::MAX, |p| p.uid);
            if self.may_tell_peer() {
                let text =
                    format!("a process of uid {uid} connected to the manager; only httpd's children may");
                self.log.say(Level::Warn, codes::FOREIGN_PEER, &text);
            }
            return;
        };
        if self.askers.len() >= ASKERS_MAX {
            self.make_places();
        }
        let pid = Pid(peer.pid);
        let account = match process::parent_of(pid) {
            Some(parent) if parent == self.parent => Account::Child(pid),
            _ => Account::Others(peer.uid),
        };
        let id = self.fresh_id();
        if self.watch(&socket, Token::Asker(id)).is_ok() {
            self.askers.insert(
                id,
                Asker {
                    socket,
                    account,
                    waiting: None,
                    heard: Instant::now(),
                },
            );
        }
    }

    /// Closes connections of whom has most: those that have been silent for longest, one in sixteen, so that this is seldom done.
    fn make_places(&mut self) {
        let mut places: HashMap<Account, usize> = HashMap::new();
        for asker in self.askers.values() {
            *places.entry(asker.account).or_default() += 1;
        }
        let Some((account, count)) = places.into_iter().max_by_key(|(_, count)| *count) else {
            return;
        };
        let its = self.askers.iter().filter(|(_, asker)| asker.account == account);
        let mut its: Vec<(Instant, u64)> = its.map(|(id, asker)| (asker.heard, *id)).collect();
        its.sort_unstable();
        for (_, id) in its.into_iter().take(count.div_ceil(16)) {
            self.askers.remove(&id);
        }
    }

    pub(crate) fn on_asker(&mut self, id: u64) {
        let Some(asker) = self.askers.get_mut(&id) else {
            return;
        };
        let asked = self.asked.entry(asker.account).or_default();
        if *asked >= SHARE {
            // It is reported again in the next turn.
            return;
        }
        *asked += 1;
        asker.heard = Instant::now();
        let mut buffer = vec![0; CONTROL_MAX];
        let question = match message::receive_packet(&asker.socket, &mut buffer) {
            Err(e) if e.is_would_block() => return,
            Ok(got) if got.len > 0 && !got.truncated && got.fds.is_empty() && asker.waiting.is_none() => {
                Ask::decode(buffer.get(..got.len).unwrap_or_default()).map_err(|e| e.to_string())
            }
            Ok(got) if got.len > 0 => {
                Err("more than one question at once, a descriptor, or too long".to_owned())
            }
            _ => {
                self.askers.remove(&id);
                return;
            }
        };
        match question {
            Ok(question) => self.consider(id, question),
            Err(why) => {
                self.askers.remove(&id);
                if self.may_tell_peer() {
                    let text = format!(
                        "a question from an httpd child cannot be read ({why}); its connection is closed"
                    );
                    self.log.say(Level::Warn, codes::MALFORMED_QUESTION, &text);
                }
            }
        }
    }

    fn consider(&mut self, id: u64, question: Ask) {
        match question {
            Ask::Pool {
                group,
                application_group,
                script,
                ..
            } => {
                let answer = self.pool_for(&group, &application_group);
                self.note_script(&group, &application_group, script);
                self.reply(id, &answer);
            }
            Ask::Application {
                generation,
                base,
                user,
                directory,
                script,
                tuning,
            } => {
                let question = Question {
                    generation,
                    base,
                    user,
                    directory,
                    script,
                    tuning,
                };
                self.consider_application(id, question);
            }
            Ask::Waits {
                group,
                application_group,
            } => self.on_waiting(&group, &application_group),
            Ask::Seen {
                group,
                application_group,
                mtime,
            } => {
                let answer = self.on_seen(&group, &application_group, mtime);
                self.reply(id, &answer);
            }
            Ask::Late {
                group,
                application_group,
            } => {
                let answer = self.on_late(&group, &application_group);
                self.reply(id, &answer);
            }
            Ask::Logged {
                level,
                code,
                request,
                file,
                lost,
            } => {
                let said = Logged {
                    level,
                    code,
                    request,
                    file,
                    lost,
                };
                let account = self.askers.get(&id).map(|asker| asker.account);
                if !account.is_some_and(|account| self.on_logged(account, &said)) {
                    self.askers.remove(&id);
                }
            }
            Ask::Death { pid } => {
                let pid = Pid(i32::try_from(pid).unwrap_or(-1));
                if self.by_pid.contains_key(&pid) {
                    let until = Instant::now() + DEATH_WAIT;
                    self.timers.set(until, Token::Asker(id));
                    if let Some(asker) = self.askers.get_mut(&id) {
                        asker.waiting = Some(Waiting::Death(pid, until));
                    }
                } else {
                    let answer = self.death_of(pid);
                    self.reply(id, &answer);
                }
            }
        }
    }

    fn consider_application(&mut self, id: u64, question: Question) {
        // Before it is looked up: the answer may be there at once.
        if let Some(asker) = self.askers.get_mut(&id) {
            asker.waiting = Some(Waiting::User(question.clone()));
        }
        if let Some(answer) = self.application_for(&question) {
            self.reply(id, &answer);
        }
    }

    /// A user has been looked up: who asked for an application of that user is answered.
    pub(crate) fn answer_waiting(&mut self, user: &[u8]) {
        let waiting = self.askers.iter().filter_map(|(id, asker)| match &asker.waiting {
            Some(Waiting::User(question)) if question.user == user => Some((*id, question.clone())),
            _ => None,
        });
        let waiting: Vec<_> = waiting.collect();
        for (id, question) in waiting {
            if let Some(answer) = self.application_for(&question) {
                self.reply(id, &answer);
            }
        }
    }

    fn death_of(&self, pid: Pid) -> Answer {
        match self.deaths.of(pid) {
            Some(cause) => Answer::Death {
                kind: cause.kind,
                text: cause.text.clone().into_bytes(),
            },
            None => Answer::Death {
                kind: DeathKind::Unknown,
                text: b"is not known to the manager".to_vec(),
            },
        }
    }

    /// A death has become known: who waited for it is answered.
    pub(crate) fn tell_death(&mut self, pid: Pid) {
        let waiting: Vec<u64> = self
            .askers
            .iter()
            .filter(|(_, a)| matches!(a.waiting, Some(Waiting::Death(waited, _)) if waited == pid))
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            let answer = self.death_of(pid);
            self.reply(id, &answer);
        }
    }

    pub(crate) fn wake_asker(&mut self, id: u64) {
        let now = Instant::now();
        let late = self
            .askers
            .get(&id)
            .is_some_and(|a| matches!(a.waiting, Some(Waiting::Death(_, until)) if until <= now));
        if late {
            let answer = Answer::Death {
                kind: DeathKind::Alive,
                text: b"is alive and closed the connection".to_vec(),
            };
            self.reply(id, &answer);
        }
    }

    fn reply(&mut self, id: u64, answer: &Answer) {
        let Some(asker) = self.askers.get_mut(&id) else {
            return;
        };
        asker.waiting = None;
        // One small answer per question always fits; who does not read it has no use for the connection.
        if message::try_send(&asker.socket, &answer.encode()).is_err() {
            self.askers.remove(&id);
        }
    }
}

/// "Not now", with a reason.
pub(crate) fn later(text: &str) -> Answer {
    Answer::Refused {
        reason: AbortReason::BackOff,
        retry_after: 1,
        text: text.as_bytes().to_vec(),
    }
}
