//! Control messages: httpd's parent to the manager, httpd's children to the manager, the manager to its workers. One message is
//! one SEQPACKET packet of at most [`CONTROL_MAX`](crate::limits::CONTROL_MAX) bytes; its first byte says which message it is.

use crate::base::{Base, ScriptOwner, Tuning};
use crate::bytes::{Fields, Put};
use crate::httpd::Httpd;
use crate::identity::{Identity, put_ids, take_ids};
use crate::life::{Bounds, LeaveReason, Life};
use crate::python::Python;
use crate::quota::Quotas;
use crate::response::{AbortReason, Level, numbered};
use crate::scale::Scale;
use crate::script::Script;
use crate::{VERSION, WireError};

/// From httpd's parent to the manager. A configuration is `Begin`, any number of `Group` and `Base`, `Commit`; the manager answers the
/// `Commit` with a [`ToHttpd`]. Until then the previous configuration stays in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromHttpd {
    /// A new configuration starts. Error-log descriptors travel with this packet (SCM_RIGHTS), in the order of their index.
    Begin(Begin),
    /// One process group of it.
    Group(Box<Group>),
    /// One base of it; their order is that of the configuration, and their numbers are those of [`Ask::Application`].
    Base(Box<Base>),
    /// It is complete.
    Commit,
    /// httpd ends: end all workers, remove the runtime directory, exit.
    Stop,
}

/// What holds for the whole server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Begin {
    /// httpd's configuration generation; children name it when they ask.
    pub generation: u32,
    /// Who httpd's children run as: the only user whose connections are accepted (besides root and the manager's own).
    pub server_uid: u32,
    /// Group of the sockets.
    pub server_gid: u32,
    /// Absolute path of the directory for sockets; created by the manager.
    pub runtime_dir: Vec<u8>,
    /// Absolute path of `_rwsgi.abi3.so`.
    pub gateway: Vec<u8>,
    /// Index of the main server's error log among the descriptors, or [`NO_LOG`].
    pub log: u8,
    /// Level of the main server.
    pub log_level: u8,
    /// Index of the audit log among the descriptors, or [`NO_LOG`]: there is none.
    pub audit: u8,
    /// Most workers of all groups together; 0: as many as come.
    pub max_workers: u32,
    /// Most memory of all workers together, bytes; 0: as much as they need.
    pub max_memory: u64,
    /// What workers are told about httpd. A change of it replaces no worker.
    pub httpd: Httpd,
}

/// "This log has no descriptor": write to syslog.
pub const NO_LOG: u8 = u8::MAX;

/// A process group, resolved: names looked up, defaults filled. Times are seconds, 0 is "no limit" unless said otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Group {
    /// Name in `WSGIDaemonProcess`.
    pub name: Vec<u8>,
    /// Index of the error log of the server that declares it, or [`NO_LOG`].
    pub log: u8,
    /// Log level of that server for this module (httpd's numbers: 3 error, 4 warn, 6 info, 7 debug).
    pub log_level: u8,
    /// User id of the workers.
    pub uid: u32,
    /// Primary group id of the workers.
    pub gid: u32,
    /// Supplementary group ids of the workers, exactly.
    pub groups: Vec<u32>,
    /// Login name, for `USER` and `LOGNAME`.
    pub user: Vec<u8>,
    /// Home directory of the user, for `HOME`, and the working directory unless `home` is given or the user is httpd's own.
    pub user_home: Vec<u8>,
    /// Login shell, for `SHELL`.
    pub shell: Vec<u8>,
    /// Most workers per pool, at least 1.
    pub processes: u32,
    /// The least, and when there are too many.
    pub scale: Scale,
    /// The `processes` option was written: `wsgi.multiprocess` is true.
    pub multiprocess: bool,
    /// Serving threads per worker; 0 makes it a [service](Self::is_service).
    pub threads: u32,
    /// Prefix or venv whose `bin/python3` (or `bin/python`) is executed; empty for the first `python3` of the fixed PATH.
    pub python_home: Vec<u8>,
    /// How it is started, set up and ended.
    pub python: Python,
    /// Working directory, also put at `sys.path[0]`; empty for none.
    pub home: Vec<u8>,
    /// Who owns the sockets of the pools; `None` for the manager's own user.
    pub socket_user: Option<u32>,
    /// New root directory of the workers; empty for none. `home`, `python_home`, `python_path` and scripts are below it.
    pub chroot: Vec<u8>,
    /// File mode creation mask; `None` for 0022.
    pub umask: Option<u32>,
    /// `LANG`; empty for `C.UTF-8` with Python's UTF-8 mode on.
    pub lang: Vec<u8>,
    /// `LC_ALL`; empty for none.
    pub locale: Vec<u8>,
    /// Process title; empty to leave it.
    pub display_name: Vec<u8>,
    /// Connections that may wait.
    pub listen_backlog: u32,
    /// `SO_SNDBUF` of a worker's end of a connection, in bytes; 0 for the system's.
    pub send_buffer: u32,
    /// Limits on the life of a worker.
    pub life: Life,
    /// Limits that the kernel holds it to.
    pub bounds: Bounds,
    /// What an application, and its user, may have together.
    pub quotas: Quotas,
    /// Pools to start at once, and what each loads before it serves.
    pub preload: Vec<Preload>,
    /// Workers are forked by a [template](Start::template), where that is possible.
    pub template: bool,
}

impl Group {
    /// Its workers take no requests: they run the scripts that they load, and end with them.
    pub fn is_service(&self) -> bool {
        self.threads == 0
    }
}

/// A script loaded when the worker starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Preload {
    /// Application group, literally.
    pub application_group: Vec<u8>,
    /// Absolute path.
    pub script: Vec<u8>,
    /// For a service: when it was last changed, microseconds since 1970, as the configuration was read; 0 is "not known". Elsewhere 0.
    pub mtime: i64,
}

impl Preload {
    fn put(list: &[Self], out: &mut Vec<u8>) {
        out.put_u32(u32::try_from(list.len()).unwrap_or(u32::MAX));
        for p in list {
            out.put_bytes(&p.application_group);
            out.put_bytes(&p.script);
            out.put_i64(p.mtime);
        }
    }

    fn take(f: &mut Fields<'_>) -> Result<Vec<Self>, WireError> {
        let count = f.u32("preload count")?;
        (0..count)
            .map(|_| {
                Ok(Self {
                    application_group: f.bytes("preload group")?.into(),
                    script: f.bytes("preload script")?.into(),
                    mtime: f.i64("preload mtime")?,
                })
            })
            .collect()
    }
}

impl Group {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_bytes(&self.name);
        out.put_u8(self.log);
        out.put_u8(self.log_level);
        out.put_u32(self.uid);
        out.put_u32(self.gid);
        put_ids(out, &self.groups);
        out.put_bytes(&self.user);
        out.put_bytes(&self.user_home);
        out.put_bytes(&self.shell);
        out.put_u32(self.processes);
        self.scale.put(out);
        out.put_u8(self.multiprocess.into());
        out.put_u32(self.threads);
        out.put_bytes(&self.python_home);
        self.python.put(out);
        out.put_bytes(&self.home);
        out.put_u32(self.socket_user.unwrap_or(u32::MAX));
        out.put_bytes(&self.chroot);
        out.put_u32(self.umask.unwrap_or(u32::MAX));
        out.put_bytes(&self.lang);
        out.put_bytes(&self.locale);
        out.put_bytes(&self.display_name);
        out.put_u32(self.listen_backlog);
        out.put_u32(self.send_buffer);
        self.life.put(out);
        self.bounds.put(out);
        self.quotas.put(out);
        Preload::put(&self.preload, out);
        out.put_u8(self.template.into());
    }

    pub(crate) fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            name: f.bytes("group name")?.into(),
            log: f.u8("log")?,
            log_level: f.u8("log level")?,
            uid: f.u32("uid")?,
            gid: f.u32("gid")?,
            groups: take_ids(f)?,
            user: f.bytes("user")?.into(),
            user_home: f.bytes("user home")?.into(),
            shell: f.bytes("shell")?.into(),
            processes: f.u32("processes")?,
            scale: Scale::take(f)?,
            multiprocess: f.bool("multiprocess")?,
            threads: f.u32("threads")?,
            python_home: f.bytes("python home")?.into(),
            python: Python::take(f)?,
            home: f.bytes("home")?.into(),
            socket_user: Some(f.u32("socket user")?).filter(|v| *v != u32::MAX),
            chroot: f.bytes("chroot")?.into(),
            umask: Some(f.u32("umask")?).filter(|v| *v != u32::MAX),
            lang: f.bytes("lang")?.into(),
            locale: f.bytes("locale")?.into(),
            display_name: f.bytes("display name")?.into(),
            listen_backlog: f.u32("listen backlog")?,
            send_buffer: f.u32("send buffer")?,
            life: Life::take(f)?,
            bounds: Bounds::take(f)?,
            quotas: Quotas::take(f)?,
            preload: Preload::take(f)?,
            template: f.bool("template")?,
        })
    }
}

impl FromHttpd {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Begin(b) => {
                out.put_u8(1);
                out.put_u16(VERSION);
                out.put_u32(b.generation);
                out.put_u32(b.server_uid);
                out.put_u32(b.server_gid);
                out.put_bytes(&b.runtime_dir);
                out.put_bytes(&b.gateway);
                out.put_u8(b.log);
                out.put_u8(b.log_level);
                out.put_u8(b.audit);
                out.put_u32(b.max_workers);
                out.put_u64(b.max_memory);
                b.httpd.put(&mut out);
            }
            Self::Group(g) => {
                out.put_u8(2);
                g.put(&mut out);
            }
            Self::Commit => out.put_u8(3),
            Self::Stop => out.put_u8(4),
            Self::Base(b) => {
                out.put_u8(5);
                b.put(&mut out);
            }
        }
        out
    }

    /// Reads a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        whole(packet, |kind, f| {
            Ok(match kind {
                1 => {
                    check_version(f)?;
                    Self::Begin(Begin {
                        generation: f.u32("generation")?,
                        server_uid: f.u32("server uid")?,
                        server_gid: f.u32("server gid")?,
                        runtime_dir: f.bytes("runtime dir")?.into(),
                        gateway: f.bytes("gateway")?.into(),
                        log: f.u8("log")?,
                        log_level: f.u8("log level")?,
                        audit: f.u8("audit log")?,
                        max_workers: f.u32("most workers")?,
                        max_memory: f.u64("most memory")?,
                        httpd: Httpd::take(f)?,
                    })
                }
                2 => Self::Group(Box::new(Group::take(f)?)),
                3 => Self::Commit,
                4 => Self::Stop,
                5 => Self::Base(Box::new(Base::take(f)?)),
                found => return unknown(found),
            })
        })
    }
}

/// Reads one message: its number, then what `read` makes of the rest, of which nothing may be left.
pub(crate) fn whole<T>(
    packet: &[u8],
    read: impl FnOnce(u8, &mut Fields<'_>) -> Result<T, WireError>,
) -> Result<T, WireError> {
    let mut f = Fields::new(packet);
    let kind = f.u8("message")?;
    let message = read(kind, &mut f)?;
    f.end()?;
    Ok(message)
}

pub(crate) fn unknown<T>(found: u8) -> Result<T, WireError> {
    Err(WireError::Value {
        field: "message",
        found: found.into(),
    })
}

pub(crate) fn check_version(f: &mut Fields<'_>) -> Result<(), WireError> {
    match f.u16("version")? {
        VERSION => Ok(()),
        theirs => Err(WireError::Version { theirs }),
    }
}

/// The manager's answer to a `Commit` (or to a packet it cannot read).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToHttpd {
    /// The configuration is in force.
    Ready,
    /// It is not; the previous one stays. A sentence for the error log, UTF-8.
    Refused(Vec<u8>),
    /// Not an answer: the manager has taken the place of one that died. What was said to that one may be lost, or half of it.
    Started,
    /// It cannot be read: the manager is of another build. A sentence, UTF-8. As `Stop`, it stays what it is in all builds.
    Unread(Vec<u8>),
}

impl ToHttpd {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Ready => out.put_u8(1),
            Self::Refused(text) => {
                out.put_u8(2);
                out.put_bytes(text);
            }
            Self::Started => out.put_u8(3),
            Self::Unread(text) => {
                out.put_u8(4);
                out.put_bytes(text);
            }
        }
        out
    }

    /// Reads a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        whole(packet, |kind, f| {
            Ok(match kind {
                1 => Self::Ready,
                2 => Self::Refused(f.bytes("refusal")?.into()),
                3 => Self::Started,
                4 => Self::Unread(f.bytes("reason")?.into()),
                found => return unknown(found),
            })
        })
    }
}

/// From an httpd child to the manager, on `manager.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Where is the pool of this application group?
    Pool {
        /// The child's configuration generation.
        generation: u32,
        /// Process group.
        group: Vec<u8>,
        /// Application group, expanded.
        application_group: Vec<u8>,
        /// The script of the application that is asked for; empty when the question is about another call.
        script: Vec<u8>,
    },
    /// A request has waited for a worker of this pool for longer than it should. Not answered: another worker may start.
    Waits {
        /// Process group.
        group: Vec<u8>,
        /// Application group, expanded.
        application_group: Vec<u8>,
    },
    /// What did this worker die of? Answered when it is known, at the latest after about a second.
    Death {
        /// Its process id.
        pid: u32,
    },
    /// Where is the pool of this application below a base? Its process group is `~` and the user's name, its application group the script's
    /// absolute path. The answer may take as long as a look-up of the user does.
    Application {
        /// The child's configuration generation.
        generation: u32,
        /// Number of the base.
        base: u32,
        /// Login name.
        user: Vec<u8>,
        /// Directory of the application, relative to the user's directory of the base; may be empty.
        directory: Vec<u8>,
        /// Name of the script in it.
        script: Vec<u8>,
        /// What the user has said of it, within the base's limits (which the manager checks again).
        tuning: Tuning,
    },
    /// This version of the script is on disk, and a request for it was turned away because the pool waits after failures: does it still, or
    /// where is it?
    Seen {
        /// Process group.
        group: Vec<u8>,
        /// Application group, expanded.
        application_group: Vec<u8>,
        /// As in [`FromWorker::Outdated`].
        mtime: i64,
    },
    /// No worker of this pool has taken a request for as long as it may wait: is that because none has started yet? Refused if so, with when to
    /// come again; else the pool, whose path is empty.
    Late {
        /// Process group.
        group: Vec<u8>,
        /// Application group, expanded.
        application_group: Vec<u8>,
    },
    /// For the audit log, not answered: the child has logged a message at warning or above. The message itself is not told, since it may hold what a
    /// client has sent.
    Logged {
        /// Its level.
        level: Level,
        /// Its code.
        code: u16,
        /// httpd's id of the request that it is about (`%L` in its logs); empty if there is none.
        request: Vec<u8>,
        /// The file that the request was mapped to; empty if there is none.
        file: Vec<u8>,
        /// So many before this one have not been told.
        lost: u32,
    },
}

impl Ask {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Pool {
                generation,
                group,
                application_group,
                script,
            } => {
                out.put_u8(1);
                out.put_u16(VERSION);
                out.put_u32(*generation);
                out.put_bytes(group);
                out.put_bytes(application_group);
                out.put_bytes(script);
            }
            Self::Death { pid } => {
                out.put_u8(2);
                out.put_u16(VERSION);
                out.put_u32(*pid);
            }
            Self::Waits {
                group,
                application_group,
            } => {
                out.put_u8(3);
                out.put_u16(VERSION);
                out.put_bytes(group);
                out.put_bytes(application_group);
            }
            Self::Application {
                generation,
                base,
                user,
                directory,
                script,
                tuning,
            } => {
                out.put_u8(4);
                out.put_u16(VERSION);
                out.put_u32(*generation);
                out.put_u32(*base);
                out.put_bytes(user);
                out.put_bytes(directory);
                out.put_bytes(script);
                tuning.put(&mut out);
            }
            Self::Seen {
                group,
                application_group,
                mtime,
            } => {
                out.put_u8(5);
                out.put_u16(VERSION);
                out.put_bytes(group);
                out.put_bytes(application_group);
                out.put_i64(*mtime);
            }
            Self::Late {
                group,
                application_group,
            } => {
                out.put_u8(6);
                out.put_u16(VERSION);
                out.put_bytes(group);
                out.put_bytes(application_group);
            }
            Self::Logged {
                level,
                code,
                request,
                file,
                lost,
            } => {
                out.put_u8(7);
                out.put_u16(VERSION);
                out.put_u8(*level as u8);
                out.put_u16(*code);
                out.put_bytes(request);
                out.put_bytes(file);
                out.put_u32(*lost);
            }
        }
        out
    }

    /// Reads a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        whole(packet, |kind, f| {
            check_version(f)?;
            Ok(match kind {
                1 => Self::Pool {
                    generation: f.u32("generation")?,
                    group: f.bytes("group")?.into(),
                    application_group: f.bytes("application group")?.into(),
                    script: f.bytes("script")?.into(),
                },
                2 => Self::Death { pid: f.u32("pid")? },
                3 => Self::Waits {
                    group: f.bytes("group")?.into(),
                    application_group: f.bytes("application group")?.into(),
                },
                4 => Self::Application {
                    generation: f.u32("generation")?,
                    base: f.u32("base")?,
                    user: f.bytes("user")?.into(),
                    directory: f.bytes("directory")?.into(),
                    script: f.bytes("script")?.into(),
                    tuning: Tuning::take(f)?,
                },
                5 => Self::Seen {
                    group: f.bytes("group")?.into(),
                    application_group: f.bytes("application group")?.into(),
                    mtime: f.i64("script mtime")?,
                },
                6 => Self::Late {
                    group: f.bytes("group")?.into(),
                    application_group: f.bytes("application group")?.into(),
                },
                7 => Self::Logged {
                    level: Level::from_wire(f.u8("level")?)?,
                    code: f.u16("code")?,
                    request: f.bytes("request")?.into(),
                    file: f.bytes("file")?.into(),
                    lost: f.u32("lost")?,
                },
                found => return unknown(found),
            })
        })
    }
}

numbered! {
    /// What a worker died of.
    DeathKind, "death kind" {
        /// A signal that the manager did not send.
        Signal = 1,
        /// It exited by itself (`os._exit`, `exit` in an extension).
        Exit = 2,
        /// The kernel killed it for want of memory.
        Memory = 3,
        /// The manager killed it because a limit had passed; the text says which.
        TimeLimit = 4,
        /// It ended because it was asked to (replacement, shutdown).
        Asked = 5,
        /// It is alive as far as the manager knows: it closed the connection only.
        Alive = 6,
        /// The manager knows no such worker.
        Unknown = 7,
    }
}

impl DeathKind {
    /// As the audit log has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Exit => "exit",
            Self::Memory => "memory",
            Self::TimeLimit => "limit",
            Self::Asked => "asked",
            Self::Alive => "alive",
            Self::Unknown => "unknown",
        }
    }
}

/// The manager's answer to an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The pool listens here (absolute path); it may still be starting, then connections wait.
    Pool {
        /// Path of its socket.
        path: Vec<u8>,
    },
    /// There is no pool, as in an [`Abort`](crate::response::Abort).
    Refused {
        /// Why.
        reason: AbortReason,
        /// Seconds until a new try makes sense, or 0.
        retry_after: u32,
        /// A sentence for the error log, UTF-8.
        text: Vec<u8>,
    },
    /// What the worker died of.
    Death {
        /// Which way.
        kind: DeathKind,
        /// A phrase for the error log ("killed by signal 11 (Segmentation fault)"), UTF-8.
        text: Vec<u8>,
    },
}

impl Answer {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Pool { path } => {
                out.put_u8(1);
                out.put_bytes(path);
            }
            Self::Refused {
                reason,
                retry_after,
                text,
            } => {
                out.put_u8(2);
                out.put_u8(*reason as u8);
                out.put_u32(*retry_after);
                out.put_bytes(text);
            }
            Self::Death { kind, text } => {
                out.put_u8(3);
                out.put_u8(*kind as u8);
                out.put_bytes(text);
            }
        }
        out
    }

    /// Reads a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        whole(packet, |kind, f| {
            Ok(match kind {
                1 => Self::Pool {
                    path: f.bytes("path")?.into(),
                },
                2 => Self::Refused {
                    reason: AbortReason::from_wire(f.u8("reason")?)?,
                    retry_after: f.u32("retry after")?,
                    text: f.bytes("refusal")?.into(),
                },
                3 => Self::Death {
                    kind: DeathKind::from_wire(f.u8("death kind")?)?,
                    text: f.bytes("death")?.into(),
                },
                found => return unknown(found),
            })
        })
    }
}

/// The first message from the manager to a worker: all it needs to serve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// Process group.
    pub group: Vec<u8>,
    /// Application group; informational, a worker serves in its main interpreter.
    pub application_group: Vec<u8>,
    /// Who it is to be.
    pub identity: Identity,
    /// Who may connect.
    pub server_uid: u32,
    /// Workers of the pool.
    pub processes: u32,
    /// Serving threads; 0 makes it a [service](Self::is_service).
    pub threads: u32,
    /// `wsgi.multiprocess`.
    pub multiprocess: bool,
    /// As in [`Group`].
    pub python: Python,
    /// As in [`Group`].
    pub home: Vec<u8>,
    /// As in [`Group`], expanded (`%{GROUP}`).
    pub display_name: Vec<u8>,
    /// As in [`Group`].
    pub life: Life,
    /// Stack of a serving thread in bytes; 0: as much as a main thread has.
    pub stack: u64,
    /// Its data segment or address space has a limit of the group's.
    pub memory_is_limited: bool,
    /// As in [`Group`].
    pub send_buffer: u32,
    /// It says when it is [idle](FromWorker::Idle) and when it is not any more.
    pub tells_idle: bool,
    /// As in [`Group`].
    pub log_level: u8,
    /// Scripts to load before the first request is accepted.
    pub preload: Vec<Script>,
    /// It is to replace workers that serve an older version of a script: a script that does not load, or lacks a callable, ends it.
    pub renews: bool,
    /// It serves nobody. It loads the scripts of `preload`, all of which must load, says so ([`FromWorker::Preloaded`]) and then
    /// [forks](ToWorker::Fork) workers that have them.
    pub template: bool,
    /// Whose its scripts must be.
    pub script_owner: ScriptOwner,
    /// The log of its user, absolute, which gets what the log of the group gets from it; empty for none.
    pub user_log: Vec<u8>,
    /// Once it is ready it does not end with the manager any more, but when its control connection does.
    pub outlives: bool,
    /// As in [`Begin`], when the worker was started.
    pub httpd: Httpd,
}

impl Start {
    /// It takes no requests: it runs the scripts of `preload`, and ends with them.
    pub fn is_service(&self) -> bool {
        self.threads == 0
    }
}

/// From the manager to a worker, on descriptor 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWorker {
    /// Serve with these settings.
    Start(Box<Start>),
    /// Take no new request, finish those under way within `graceful_timeout`, then exit. (SIGTERM says the same, within
    /// `shutdown_timeout`.) For a reason that is [only for idle ones](LeaveReason::is_for_idle) it may answer that it is
    /// [in use](FromWorker::Used) instead, and stays.
    Drain(LeaveReason),
    /// A version of a script that it has called [outdated](FromWorker::Outdated) does not load: serve the one it has.
    Keep {
        /// The script.
        script: Vec<u8>,
        /// As in [`FromWorker::Outdated`].
        mtime: i64,
    },
    /// To a [template](Start::template): fork a worker. Two descriptors come along, its control socket, on which its [`Start`] waits,
    /// and where its output goes.
    Fork,
    /// The manager is another one now: what the worker has said and still holds is to be said again.
    Repeat,
    /// The answer to [`FromWorker::Loads`].
    Others {
        /// The script, with the callables that others give to requests.
        script: Script,
        /// Another worker of the pool has loaded it and serves: if it cannot be loaded here, this one is to leave.
        there: bool,
    },
}

impl ToWorker {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Start(s) => {
                out.put_u8(1);
                out.put_u16(VERSION);
                out.put_bytes(&s.group);
                out.put_bytes(&s.application_group);
                s.identity.put(&mut out);
                out.put_u32(s.server_uid);
                out.put_u32(s.processes);
                out.put_u32(s.threads);
                out.put_u8(s.multiprocess.into());
                s.python.put(&mut out);
                out.put_bytes(&s.home);
                out.put_bytes(&s.display_name);
                s.life.put(&mut out);
                out.put_u64(s.stack);
                out.put_u8(s.memory_is_limited.into());
                out.put_u32(s.send_buffer);
                out.put_u8(s.tells_idle.into());
                out.put_u8(s.log_level);
                Script::put_list(&s.preload, &mut out);
                out.put_u8(s.renews.into());
                out.put_u8(s.template.into());
                out.put_u8(s.script_owner as u8);
                out.put_bytes(&s.user_log);
                out.put_u8(s.outlives.into());
                s.httpd.put(&mut out);
            }
            Self::Drain(reason) => {
                out.put_u8(2);
                out.put_u8(*reason as u8);
            }
            Self::Keep { script, mtime } => {
                out.put_u8(3);
                out.put_bytes(script);
                out.put_i64(*mtime);
            }
            Self::Fork => out.put_u8(4),
            Self::Repeat => out.put_u8(5),
            Self::Others { script, there } => {
                out.put_u8(6);
                script.put(&mut out);
                out.put_u8((*there).into());
            }
        }
        out
    }

    /// Reads a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        whole(packet, |kind, f| {
            Ok(match kind {
                1 => {
                    check_version(f)?;
                    Self::Start(Box::new(Start {
                        group: f.bytes("group")?.into(),
                        application_group: f.bytes("application group")?.into(),
                        identity: Identity::take(f)?,
                        server_uid: f.u32("server uid")?,
                        processes: f.u32("processes")?,
                        threads: f.u32("threads")?,
                        multiprocess: f.bool("multiprocess")?,
                        python: Python::take(f)?,
                        home: f.bytes("home")?.into(),
                        display_name: f.bytes("display name")?.into(),
                        life: Life::take(f)?,
                        stack: f.u64("stack size")?,
                        memory_is_limited: f.bool("memory is limited")?,
                        send_buffer: f.u32("send buffer")?,
                        tells_idle: f.bool("tells idle")?,
                        log_level: f.u8("log level")?,
                        preload: Script::take_list(f, "preload")?,
                        renews: f.bool("renews")?,
                        template: f.bool("template")?,
                        script_owner: ScriptOwner::from_wire(f.u8("script owner")?)?,
                        user_log: f.bytes("user log")?.into(),
                        outlives: f.bool("outlives")?,
                        httpd: Httpd::take(f)?,
                    }))
                }
                2 => Self::Drain(LeaveReason::from_wire(f.u8("leave reason")?)?),
                3 => Self::Keep {
                    script: f.bytes("script")?.into(),
                    mtime: f.i64("script mtime")?,
                },
                4 => Self::Fork,
                5 => Self::Repeat,
                6 => Self::Others {
                    script: Script::take(f, "script")?,
                    there: f.bool("others")?,
                },
                found => return unknown(found),
            })
        })
    }
}

/// From a worker to the manager, on descriptor 4. The manager believes these about this worker only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromWorker {
    /// It accepts requests.
    Ready,
    /// It takes no new request and will exit; a replacement may start.
    Leaving(LeaveReason),
    /// It cannot serve for a reason that will not pass by itself (Python too old, a file missing): a sentence, UTF-8. It exits.
    /// The bootstrap writes this one from any Python version: byte 3, four bytes of length (little-endian), the text.
    CannotServe(Vec<u8>),
    /// A life-cycle line for the log of its group, without line end.
    Log(Level, Vec<u8>),
    /// The first of these scripts, all of which it has loaded, has changed on disk. It goes on until a replacement has loaded them
    /// and it is told to [drain](ToWorker::Drain), or to [keep](ToWorker::Keep) what it has.
    Outdated {
        /// With what their next versions must have.
        scripts: Vec<Script>,
        /// Modification time on disk, in microseconds since 1970. For the application of a user, that of the file that is touched to renew it
        /// is added: it tells versions apart, and nothing else.
        mtime: i64,
    },
    /// Python's lock could be had a moment ago. Said regularly by workers with a `deadlock_timeout`.
    Alive {
        /// Requests that it has finished.
        served: u64,
        /// Requests that it runs.
        running: u32,
    },
    /// No request runs, and the last one ended so many milliseconds ago.
    Idle(u32),
    /// A request has come after it was idle, or runs when it is to end for being idle.
    Used,
    /// A template has loaded what it must.
    Preloaded,
    /// A template cannot fork workers: why, UTF-8. It exits.
    CannotFork(Vec<u8>),
    /// The first word of a forked worker, on a control socket of its own. Which process it is the kernel says, with the message.
    Born,
    /// A script is loaded for the first time. Whether others have it the manager [says](ToWorker::Others) to a worker that is ready.
    Loads {
        /// Which.
        script: Vec<u8>,
        /// As in [`Outdated`](Self::Outdated).
        mtime: i64,
    },
    /// This script is loaded, and requests are given these callables of it. Said when it is loaded in advance, and when there are more.
    Given(Script),
    /// A script that it [loads](Self::Loads) is not there, or has no callable for the request.
    NotLoaded {
        /// Which.
        script: Vec<u8>,
        /// Why, as half a sentence, UTF-8.
        why: Vec<u8>,
    },
}

impl FromWorker {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Ready => out.put_u8(1),
            Self::Leaving(reason) => {
                out.put_u8(2);
                out.put_u8(*reason as u8);
            }
            Self::CannotServe(text) => {
                out.put_u8(3);
                out.put_bytes(text);
            }
            Self::Log(level, text) => {
                out.put_u8(4);
                out.put_u8(*level as u8);
                out.put_bytes(text);
            }
            Self::Outdated { scripts, mtime } => {
                out.put_u8(5);
                Script::put_list(scripts, &mut out);
                out.put_i64(*mtime);
            }
            Self::Alive { served, running } => {
                out.put_u8(6);
                out.put_u64(*served);
                out.put_u32(*running);
            }
            Self::Idle(millis) => {
                out.put_u8(7);
                out.put_u32(*millis);
            }
            Self::Used => out.put_u8(8),
            Self::Preloaded => out.put_u8(9),
            Self::CannotFork(text) => {
                out.put_u8(10);
                out.put_bytes(text);
            }
            Self::Born => out.put_u8(11),
            Self::Loads { script, mtime } => {
                out.put_u8(12);
                out.put_bytes(script);
                out.put_i64(*mtime);
            }
            Self::Given(script) => {
                out.put_u8(13);
                script.put(&mut out);
            }
            Self::NotLoaded { script, why } => {
                out.put_u8(14);
                out.put_bytes(script);
                out.put_bytes(why);
            }
        }
        out
    }

    /// Reads a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        whole(packet, |kind, f| {
            Ok(match kind {
                1 => Self::Ready,
                2 => Self::Leaving(LeaveReason::from_wire(f.u8("leave reason")?)?),
                3 => Self::CannotServe(f.bytes("reason")?.into()),
                4 => Self::Log(Level::from_wire(f.u8("log level")?)?, f.bytes("log text")?.into()),
                5 => Self::Outdated {
                    scripts: Script::take_list(f, "scripts")?,
                    mtime: f.i64("script mtime")?,
                },
                6 => Self::Alive {
                    served: f.u64("served")?,
                    running: f.u32("running")?,
                },
                7 => Self::Idle(f.u32("idle")?),
                8 => Self::Used,
                9 => Self::Preloaded,
                10 => Self::CannotFork(f.bytes("reason")?.into()),
                11 => Self::Born,
                12 => Self::Loads {
                    script: f.bytes("script")?.into(),
                    mtime: f.i64("script mtime")?,
                },
                13 => Self::Given(Script::take(f, "script")?),
                14 => Self::NotLoaded {
                    script: f.bytes("script")?.into(),
                    why: f.bytes("reason")?.into(),
                },
                found => return unknown(found),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::BaseRules;
    use crate::identity::Groups;

    fn refuses_every_truncation<T: std::fmt::Debug>(
        bytes: &[u8],
        decode: impl Fn(&[u8]) -> Result<T, WireError>,
    ) {
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut} of {bytes:?}");
        }
    }

    #[test]
    fn messages_from_httpd_survive_the_round_trip() {
        let group = Group {
            name: b"site".to_vec(),
            groups: vec![33, 44],
            python: Python {
                optimize: 1,
                ..Python::default()
            },
            umask: Some(0o027),
            scale: Scale {
                min_processes: 2,
                idle_timeout: 60,
            },
            preload: vec![Preload {
                application_group: b"".to_vec(),
                script: b"/app.wsgi".to_vec(),
                mtime: 7,
            }],
            ..Group::default()
        };
        let begin = Begin {
            generation: 3,
            runtime_dir: b"/run/x".to_vec(),
            log: NO_LOG,
            ..Begin::default()
        };
        for message in [
            FromHttpd::Begin(begin),
            FromHttpd::Base(Box::new(Base {
                pattern: b"/home/*/wsgi".to_vec(),
                template: group.clone(),
                rules: BaseRules {
                    min_uid: 1000,
                    max_uid: 60000,
                    denied: vec![b"bob".to_vec()],
                    refused_gids: vec![0, 33],
                    user_log: b"logs/wsgi.log".to_vec(),
                    ..BaseRules::default()
                },
            })),
            FromHttpd::Group(Box::new(group)),
            FromHttpd::Commit,
            FromHttpd::Stop,
        ] {
            let bytes = message.encode();
            assert_eq!(FromHttpd::decode(&bytes).unwrap(), message);
            refuses_every_truncation(&bytes, FromHttpd::decode);
        }
    }

    #[test]
    fn questions_and_answers_survive_the_round_trip() {
        for message in [
            Ask::Pool {
                generation: 1,
                group: b"g".to_vec(),
                application_group: b"a|/x".to_vec(),
                script: b"/x".to_vec(),
            },
            Ask::Death { pid: 12 },
            Ask::Application {
                generation: 1,
                base: 2,
                user: b"ann".to_vec(),
                directory: b"blog".to_vec(),
                script: b"app.wsgi".to_vec(),
                tuning: Tuning {
                    processes: Some(1),
                    ..Tuning::default()
                },
            },
            Ask::Waits {
                group: b"g".to_vec(),
                application_group: b"a|/x".to_vec(),
            },
            Ask::Logged {
                level: Level::Warn,
                code: 306,
                request: b"id".to_vec(),
                file: b"/srv/app.wsgi".to_vec(),
                lost: 7,
            },
            Ask::Late {
                group: b"site".to_vec(),
                application_group: b"example.org|/app".to_vec(),
            },
            Ask::Seen {
                group: b"g".to_vec(),
                application_group: b"a|/x".to_vec(),
                mtime: 7,
            },
        ] {
            let bytes = message.encode();
            assert_eq!(Ask::decode(&bytes).unwrap(), message);
            refuses_every_truncation(&bytes, Ask::decode);
        }
        for message in [
            Answer::Pool {
                path: b"/run/1.sock".to_vec(),
            },
            Answer::Refused {
                reason: AbortReason::BackOff,
                retry_after: 3,
                text: b"why".to_vec(),
            },
            Answer::Death {
                kind: DeathKind::Signal,
                text: b"killed".to_vec(),
            },
        ] {
            let bytes = message.encode();
            assert_eq!(Answer::decode(&bytes).unwrap(), message);
            refuses_every_truncation(&bytes, Answer::decode);
        }
    }

    #[test]
    fn worker_messages_survive_the_round_trip() {
        let script = Script {
            path: b"/x".to_vec(),
            callables: vec![b"application".to_vec(), b"admin".to_vec()],
        };
        let start = Start {
            group: b"g".to_vec(),
            identity: Identity {
                uid: 1000,
                groups: Some(Groups {
                    gid: 1000,
                    others: vec![4, 1000],
                }),
            },
            threads: 15,
            preload: vec![script.clone(), Script::at(b"/y")],
            script_owner: ScriptOwner::UserOrRoot,
            user_log: b"/home/ann/logs/wsgi.log".to_vec(),
            ..Start::default()
        };
        let keep = ToWorker::Keep {
            script: b"/x".to_vec(),
            mtime: -1,
        };
        for message in [
            ToWorker::Start(Box::new(start)),
            ToWorker::Drain(LeaveReason::ScriptReload),
            ToWorker::Drain(LeaveReason::IdleTimeout),
            ToWorker::Repeat,
            keep,
            ToWorker::Fork,
            ToWorker::Others {
                script: script.clone(),
                there: true,
            },
        ] {
            let bytes = message.encode();
            assert_eq!(ToWorker::decode(&bytes).unwrap(), message);
            refuses_every_truncation(&bytes, ToWorker::decode);
        }
        for message in [
            FromWorker::Ready,
            FromWorker::Leaving(LeaveReason::ImportFailed),
            FromWorker::Idle(1500),
            FromWorker::Used,
            FromWorker::Outdated {
                scripts: vec![script.clone(), Script::at(b"/y")],
                mtime: 7,
            },
            FromWorker::Loads {
                script: b"/x".to_vec(),
                mtime: -7,
            },
            FromWorker::Given(script),
            FromWorker::NotLoaded {
                script: b"/x".to_vec(),
                why: b"why".to_vec(),
            },
            FromWorker::CannotServe(b"why".to_vec()),
            FromWorker::Log(Level::Info, b"line".to_vec()),
            FromWorker::Alive {
                served: 1 << 40,
                running: 3,
            },
            FromWorker::Preloaded,
            FromWorker::CannotFork(b"why".to_vec()),
            FromWorker::Born,
        ] {
            let bytes = message.encode();
            assert_eq!(FromWorker::decode(&bytes).unwrap(), message);
            refuses_every_truncation(&bytes, FromWorker::decode);
        }
    }

    // R7
    #[test]
    fn mixed_builds_are_named() {
        let mut bytes = Ask::Death { pid: 1 }.encode();
        bytes[1] = 200;
        assert_eq!(Ask::decode(&bytes), Err(WireError::Version { theirs: 200 }));
    }
}
