//! Configurations: received from httpd's parent message by message, checked, then put in force as a whole.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use rwsgi_os::file::{self, Links};
use rwsgi_os::{OsError, OwnedFd, memory, message};
use rwsgi_wire::base::{self, Base};
use rwsgi_wire::control::{Begin, FromHttpd, Group, NO_LOG, ToHttpd};
use rwsgi_wire::limits::CONTROL_MAX;
use rwsgi_wire::quota::Quotas;
use rwsgi_wire::response::Level;
use rwsgi_wire::scale::Scale;

use crate::applications::Application;
use crate::audit::Record;
use crate::codes;
use crate::keeping::messages;
use crate::log::{Logs, Target};
use crate::place::Place;
use crate::runtime_dir::{RuntimeDir, closed_above};
use crate::scribe;
use crate::supervise::Manager;

/// The configuration that is being received.
pub(crate) enum Pending {
    /// None.
    Nothing,
    /// So far.
    Open(Box<Received>),
    /// A part could not be read and httpd has been told: what follows up to the next beginning is ignored.
    Broken,
}

/// What has come of it.
pub(crate) struct Received {
    begin: Begin,
    logs: Rc<Logs>,
    groups: Vec<Group>,
    bases: Vec<Base>,
}

impl Received {
    pub(crate) fn new(begin: Begin, logs: Rc<Logs>, groups: Vec<Group>, bases: Vec<Base>) -> Self {
        Self {
            begin,
            logs,
            groups,
            bases,
        }
    }

    fn messages(&self) -> Vec<u8> {
        messages(&self.begin, &self.groups, &self.bases)
    }
}

/// The configuration in force.
pub(crate) struct Config {
    pub(crate) begin: Begin,
    pub(crate) groups: HashMap<Vec<u8>, (Rc<Settings>, Target)>,
    pub(crate) bases: Vec<(Base, Target)>,
    pub(crate) common: Common,
    pub(crate) directory: Rc<RuntimeDir>,
}

/// What the settings of all groups have in common.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    server_uid: u32,
    server_gid: u32,
    gateway: Rc<OwnedFd>,
    gateway_identity: ((u64, u64), i64),
}

impl Common {
    pub(crate) fn settings(&self, group: Group) -> Settings {
        Settings {
            scale: group.scale,
            quotas: group.quotas,
            group: Group {
                log: 0,
                scale: Scale::default(),
                quotas: Quotas::default(),
                ..group
            },
            application: None,
            server_uid: self.server_uid,
            server_gid: self.server_gid,
            gateway: Rc::clone(&self.gateway),
            gateway_identity: self.gateway_identity,
        }
    }
}

/// All that makes a difference to a running worker: pools whose settings are equal are kept.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The group; its log index is 0, for that makes no difference.
    pub(crate) group: Group,
    /// How many workers a pool has, which makes no difference either; that of `group` is empty.
    pub(crate) scale: Scale,
    /// What is run, where a child has asked for an application below a base.
    pub(crate) application: Option<Application>,
    /// Limits on processes together: as with `scale`.
    pub(crate) quotas: Quotas,
    pub(crate) server_uid: u32,
    pub(crate) server_gid: u32,
    /// The Python half, open.
    pub(crate) gateway: Rc<OwnedFd>,
    /// Which file that is: device, inode, modification time.
    pub(crate) gateway_identity: ((u64, u64), i64),
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        self.group == other.group
            && self.is_elastic() == other.is_elastic()
            && self.place() == other.place()
            && (self.server_uid, self.server_gid) == (other.server_uid, other.server_gid)
            && self.gateway_identity == other.gateway_identity
    }
}

impl Settings {
    /// Where the application is, if it is below a base.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.application.as_ref().map(|application| &application.place)
    }

    /// Pools have as many workers as requests need. (Then these say when they are idle.)
    pub(crate) fn is_elastic(&self) -> bool {
        self.scale.is_elastic(self.group.processes)
    }
}

/// Tells configurations apart, in the audit log.
fn hash_of(groups: &[Group]) -> u64 {
    let mut hasher = DefaultHasher::new();
    groups.hash(&mut hasher);
    hasher.finish()
}

impl Manager {
    /// Messages from httpd's parent.
    pub(crate) fn on_control(&mut self) -> Result<(), OsError> {
        let mut buffer = vec![0; CONTROL_MAX];
        // A bound, so that whoever floods the socket does not keep the manager from its other work.
        for _ in 0..256 {
            let received = match message::receive_packet(&self.control, &mut buffer) {
                Ok(received) => received,
                Err(e) if e.is_would_block() => return Ok(()),
                Err(e) => return Err(e),
            };
            if received.len == 0 {
                self.epoll.remove(&self.control)?;
                self.end("httpd has closed the control socket");
                return Ok(());
            }
            let known = received
                .sender
                .is_some_and(|s| s.pid == self.parent.0 && (s.uid == 0 || s.uid == self.uid));
            if !known {
                let sender = received.sender.map_or((0, u32::MAX), |s| (s.pid, s.uid));
                let text = format!(
                    "process {} of user {} wrote to the manager's control socket; only httpd's parent may",
                    sender.0, sender.1
                );
                if self.may_tell_peer() {
                    self.log.say(Level::Warn, codes::FOREIGN_MESSAGE, &text);
                }
                continue;
            }
            let packet = buffer.get(..received.len).unwrap_or_default();
            let read = if received.truncated {
                Err("a message from httpd is too long".to_owned())
            } else {
                FromHttpd::decode(packet).map_err(|e| format!("a message from httpd cannot be read: {e}"))
            };
            match read {
                Ok(message) => self.on_message(message, received.fds),
                Err(text) => {
                    self.log.say(Level::Error, codes::UNREADABLE_MESSAGE, &text);
                    self.answer(ToHttpd::Unread(text.into_bytes()));
                    self.pending = Pending::Broken;
                }
            }
        }
        Ok(())
    }

    fn answer(&mut self, answer: ToHttpd) {
        // If httpd does not read, or has gone, there is nobody to tell.
        let _ = message::try_send(&self.control, &answer.encode());
    }

    fn on_message(&mut self, message: FromHttpd, fds: Vec<OwnedFd>) {
        match message {
            FromHttpd::Begin(begin) => {
                let audit = usize::from(begin.audit);
                let audit = Some(audit).filter(|audit| begin.audit != NO_LOG && *audit < fds.len());
                self.pending = match scribe::between(fds, audit) {
                    Ok(pipes) => {
                        let logs = Rc::new(Logs::new(pipes, begin.audit));
                        let received = Received::new(begin, logs, Vec::new(), Vec::new());
                        Pending::Open(Box::new(received))
                    }
                    Err(e) => {
                        let text = format!("the process that writes the logs cannot be started: {e}");
                        self.log.say(Level::Error, codes::NO_SCRIBE, &text);
                        self.answer(ToHttpd::Refused(text.into_bytes()));
                        Pending::Broken
                    }
                };
            }
            FromHttpd::Group(group) => {
                if let Pending::Open(received) = &mut self.pending {
                    received.groups.push(*group);
                }
            }
            FromHttpd::Base(base) => {
                if let Pending::Open(received) = &mut self.pending {
                    received.bases.push(*base);
                }
            }
            FromHttpd::Commit => match std::mem::replace(&mut self.pending, Pending::Nothing) {
                Pending::Open(received) => {
                    let (messages, logs) = (received.messages(), Rc::clone(&received.logs));
                    let done = self.commit(*received);
                    if done.is_ok() {
                        self.keep_config(&messages, &logs);
                    }
                    drop(messages);
                    memory::give_back();
                    self.answer(match done {
                        Ok(()) => ToHttpd::Ready,
                        Err(text) => {
                            self.log.say(Level::Error, codes::CONFIGURATION_REFUSED, &text);
                            ToHttpd::Refused(text.into_bytes())
                        }
                    });
                }
                // It began before this manager did, which has told httpd so.
                Pending::Nothing => {}
                Pending::Broken => {}
            },
            FromHttpd::Stop => self.end("httpd stops"),
        }
    }

    pub(crate) fn commit(&mut self, received: Received) -> Result<(), String> {
        let Received {
            begin,
            logs,
            groups,
            bases,
        } = received;
        for group in &groups {
            self.refuse_unless_allowed(group)?;
        }
        for base in &bases {
            let pattern = String::from_utf8_lossy(&base.pattern);
            base::check_pattern(&base.pattern).map_err(|why| format!("the base {pattern} {why}"))?;
            if base.template.processes == 0 || base.template.threads == 0 {
                return Err(format!(
                    "the base {pattern} has no processes or no threads: set at least 1 of each"
                ));
            }
        }
        let gateway_path = String::from_utf8_lossy(&begin.gateway).into_owned();
        let missing = |e: OsError| {
            format!("the Python half of rwsgi cannot be opened ({e}): reinstall it beside the module")
        };
        let gateway = file::open(&begin.gateway, Links::Follow).map_err(missing)?;
        let status = file::status(&gateway).map_err(missing)?;
        if !status.is_file() {
            return Err(format!(
                "{gateway_path} is not a file: reinstall the Python half of rwsgi beside the module"
            ));
        }
        let common = Common {
            server_uid: begin.server_uid,
            server_gid: begin.server_gid,
            gateway: Rc::new(gateway),
            gateway_identity: (status.identity, status.modified),
        };
        let directory = self.directory_for(&begin)?;
        let target = |index, level| Target {
            logs: Rc::clone(&logs),
            index,
            level,
        };
        self.log = target(begin.log, begin.log_level);
        if let Some(closed) = closed_above(&begin.runtime_dir, begin.server_uid).filter(|_| self.root) {
            let text = format!(
                "httpd's user (uid {}) cannot pass through {closed}, below which the sockets are, so no request reaches a worker: \
                 chmod o+x it, or set WSGISocketPrefix to a path elsewhere",
                begin.server_uid
            );
            self.log.say(Level::Warn, codes::OUT_OF_REACH, &text);
        }
        logs.record(|| {
            Record::new("configuration")
                .number("generation", begin.generation)
                .number("groups", groups.len())
                .text("hash", format!("{:016x}", hash_of(&groups)).as_bytes())
        });
        let groups: HashMap<_, _> = groups
            .into_iter()
            .map(|group| {
                let target = target(group.log, group.log_level);
                let settings = common.settings(group);
                (settings.group.name.clone(), (Rc::new(settings), target))
            })
            .collect();
        let bases: Vec<_> = bases
            .into_iter()
            .map(|base| {
                let target = target(base.template.log, base.template.log_level);
                (base, target)
            })
            .collect();
        self.patterns.remember(begin.generation, &bases);
        let first = self.config.is_none();
        let text = format!(
            "the manager {} configuration {} with {} process groups{}",
            if first { "starts with" } else { "takes over" },
            begin.generation,
            groups.len(),
            if self.root {
                ""
            } else {
                ", without root: workers keep this user and its groups"
            }
        );
        self.config = Some(Config {
            begin,
            groups,
            bases,
            common,
            directory,
        });
        self.log.note(Level::Info, || text);
        if first {
            self.begin_groups();
        }
        self.adjust_pools();
        self.adjust_quotas();
        Ok(())
    }

    fn refuse_unless_allowed(&self, group: &Group) -> Result<(), String> {
        let name = String::from_utf8_lossy(&group.name);
        if group.name.starts_with(b"~") {
            return Err(format!(
                "process group {name} has the name of a user's: give it one that does not begin with ~"
            ));
        }
        if group.uid == 0 {
            return Err(format!(
                "process group {name} would run as root, which is never done: set user= to another user"
            ));
        }
        if self.root && (group.gid == 0 || group.groups.contains(&0)) {
            return Err(format!(
                "process group {name} would run in the group root, which is never done: set group= and supplementary-groups= to other groups"
            ));
        }
        if !self.root && group.uid != self.uid {
            return Err(format!(
                "process group {name} is to run as uid {}, but httpd was not started as root and cannot change from uid {}: start it as root, or leave user= out",
                group.uid, self.uid
            ));
        }
        if group.processes == 0 {
            return Err(format!("process group {name} has no processes: set at least 1"));
        }
        Ok(())
    }

    /// The runtime directory, with its door: the one there is, or a new one.
    fn directory_for(&mut self, begin: &Begin) -> Result<Rc<RuntimeDir>, String> {
        if let Some(config) = &self.config {
            if config.begin.runtime_dir == begin.runtime_dir {
                let directory = Rc::clone(&config.directory);
                if config.begin.server_gid != begin.server_gid {
                    directory.open_to(begin.server_gid)?;
                    self.close_doors(&directory);
                    self.open_doors(&directory)?;
                }
                return Ok(directory);
            }
        }
        let mut doors = self.doors.values();
        if let Some(door) = doors.find(|door| door.directory.path() == begin.runtime_dir) {
            // An earlier manager's, gone on with.
            let directory = Rc::clone(&door.directory);
            self.open_doors(&directory)?;
            return Ok(directory);
        }
        let directory = Rc::new(RuntimeDir::make(&begin.runtime_dir, begin.server_gid, self.root)?);
        self.open_doors(&directory)?;
        Ok(directory)
    }

    /// After somebody has removed sockets, or the whole directory: a new door, in a new directory if it must be. Pools of a vanished
    /// directory are superseded by new ones.
    pub(crate) fn renew_directory(&mut self, old: &Rc<RuntimeDir>) -> Result<(), String> {
        if old.is_in_place() {
            self.close_doors(old);
            return self.open_doors(old);
        }
        let Some(config) = self.config.as_ref().filter(|c| Rc::ptr_eq(&c.directory, old)) else {
            // Of an earlier configuration: nobody needs it any more.
            self.close_doors(old);
            return Ok(());
        };
        let (path, gid) = (config.begin.runtime_dir.clone(), config.begin.server_gid);
        let new = Rc::new(RuntimeDir::make(&path, gid, self.root)?);
        self.close_doors(old);
        self.open_doors(&new)?;
        if let Some(config) = &mut self.config {
            config.directory = new;
        }
        self.adjust_pools();
        Ok(())
    }
}
