//! What the tool for administrators asks and tells the manager, on `ctl.sock`: one question or order, one answer, each one SEQPACKET packet of at most
//! [`CONTROL_MAX`](crate::limits::CONTROL_MAX) bytes.
//!
//! A list comes in parts: each question names the last entry that is known, and an empty part is the end. So the manager remembers nothing of
//! who asks, and an answer is never larger than a packet, however many applications there are.

use crate::bytes::{Fields, Put};
use crate::control::{DeathKind, Group, check_version, unknown, whole};
use crate::response::numbered;
use crate::{VERSION, WireError};

/// Name of the socket, in the runtime directory.
pub const SOCKET: &[u8] = b"ctl.sock";
/// Bytes of a part of a list after which further entries come with the next part. What is in one entry leaves room for one more.
pub const PART_MAX: usize = 24 << 10;
/// Longest text of an entry, bytes.
pub const WORDS_MAX: usize = 1000;
/// Most scripts that are told of a pool.
pub const SCRIPTS_MAX: usize = 4;

/// A question. Its first fields stay what they are in all builds: a number, and the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Which manager is it? [`Report::Server`]
    Server,
    /// The process groups of the configuration whose names come after this one. [`Report::Groups`]
    Groups {
        /// The last one that is known; empty for none.
        after: Vec<u8>,
    },
    /// The pools with higher numbers than this. [`Report::Pools`]
    Pools {
        /// The last one that is known; 0 for none.
        after: u64,
    },
    /// The workers with higher numbers than this. [`Report::Workers`]
    Workers {
        /// The last one that is known; 0 for none.
        after: u64,
    },
    /// What went wrong after the incident of this number. [`Report::Incidents`]
    Incidents {
        /// The last one that is known; 0 for none.
        after: u64,
    },
    /// What holds for the workers of this pool. [`Report::Settings`], or [`Report::Gone`].
    PoolSettings {
        /// Its number.
        pool: u64,
    },
    /// What holds for this process group of the configuration. [`Report::Settings`], or [`Report::Gone`].
    GroupSettings {
        /// Its name.
        name: Vec<u8>,
    },
    /// The workers of this pool are to be replaced: by one that has loaded what they have, and others after it, before they end; if it cannot load that,
    /// they stay. [`Report::Begun`], [`Report::Declined`] or [`Report::Gone`].
    Restart {
        /// Its number.
        pool: u64,
    },
    /// This pool is to end: its workers finish what they have, and the next request makes another one. [`Report::Begun`], [`Report::Declined`] or
    /// [`Report::Gone`].
    Stop {
        /// Its number.
        pool: u64,
    },
}

impl Query {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Server => _ = begin(&mut out, 1),
            Self::Groups { after } => begin(&mut out, 2).put_bytes(after),
            Self::Pools { after } => begin(&mut out, 3).put_u64(*after),
            Self::Workers { after } => begin(&mut out, 4).put_u64(*after),
            Self::Incidents { after } => begin(&mut out, 5).put_u64(*after),
            Self::PoolSettings { pool } => begin(&mut out, 6).put_u64(*pool),
            Self::GroupSettings { name } => begin(&mut out, 7).put_bytes(name),
            Self::Restart { pool } => begin(&mut out, 8).put_u64(*pool),
            Self::Stop { pool } => begin(&mut out, 9).put_u64(*pool),
        }
        out
    }

    /// Reads a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        whole(packet, |kind, f| {
            check_version(f)?;
            Ok(match kind {
                1 => Self::Server,
                2 => Self::Groups {
                    after: f.bytes("group")?.into(),
                },
                3 => Self::Pools {
                    after: f.u64("pool")?,
                },
                4 => Self::Workers {
                    after: f.u64("worker")?,
                },
                5 => Self::Incidents {
                    after: f.u64("incident")?,
                },
                6 => Self::PoolSettings { pool: f.u64("pool")? },
                7 => Self::GroupSettings {
                    name: f.bytes("group")?.into(),
                },
                8 => Self::Restart { pool: f.u64("pool")? },
                9 => Self::Stop { pool: f.u64("pool")? },
                found => return unknown(found),
            })
        })
    }
}

/// The first fields of a question.
fn begin(out: &mut Vec<u8>, kind: u8) -> &mut Vec<u8> {
    out.put_u8(kind);
    out.put_u16(VERSION);
    out
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The question cannot be read: a sentence, UTF-8. As the question's first fields, it stays what it is in all builds.
    Unread(Vec<u8>),
    /// What was asked for is not there, or not any more.
    Gone,
    /// Which manager it is.
    Server(Server),
    /// Process groups of the configuration, by name.
    Groups(Vec<GroupReport>),
    /// Pools, by number.
    Pools(Vec<PoolReport>),
    /// Workers, by number.
    Workers(Vec<WorkerReport>),
    /// What went wrong, the oldest first.
    Incidents(Vec<Incident>),
    /// A process group with all that holds for its workers.
    Settings(Box<Group>),
    /// What was ordered has begun.
    Begun,
    /// What was ordered is not done: why, UTF-8.
    Declined(Vec<u8>),
}

/// A manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// Version of the program, UTF-8.
    pub version: Vec<u8>,
    /// Process id of the manager.
    pub manager: u32,
    /// Process id of httpd's parent.
    pub httpd: u32,
    /// As in [`Begin`](crate::control::Begin); 0 before there is a configuration.
    pub generation: u32,
    /// As in [`Begin`](crate::control::Begin).
    pub max_workers: u32,
    /// As in [`Begin`](crate::control::Begin).
    pub max_memory: u64,
}

/// A process group of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupReport {
    /// Its name.
    pub name: Vec<u8>,
    /// Login name of its user.
    pub user: Vec<u8>,
    /// User id.
    pub uid: u32,
}

numbered! {
    /// What a pool is doing.
    #[derive(Default)]
    PoolState, "pool state" {
        /// It has no worker, and needs none.
        #[default]
        Idle = 1,
        /// It waits for its turn to start one.
        Queued = 2,
        /// It has workers, of which none is ready.
        Starting = 3,
        /// A worker at least takes requests, or is a service that runs.
        Serving = 4,
        /// Starts have failed, and it waits before the next.
        BackingOff = 5,
        /// It cannot serve until something is changed.
        Refused = 6,
        /// Another has taken its place, or will: its workers end.
        Ending = 7,
    }
}

/// A pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolReport {
    /// Its number.
    pub id: u64,
    /// Process group.
    pub group: Vec<u8>,
    /// Application group.
    pub application_group: Vec<u8>,
    /// Login name of the user.
    pub user: Vec<u8>,
    /// User id.
    pub uid: u32,
    /// What it is doing.
    pub state: PoolState,
    /// For [`PoolState::BackingOff`]: milliseconds until the next try.
    pub wait: u64,
    /// Why it cannot serve, or has failed to start one more worker, UTF-8; empty if it has not.
    pub why: Vec<u8>,
    /// It takes no requests.
    pub is_service: bool,
    /// Directory of the application of a user; empty elsewhere.
    pub directory: Vec<u8>,
    /// Scripts of it, as far as they are known.
    pub scripts: Vec<Vec<u8>>,
}

numbered! {
    /// How far a worker has come.
    #[derive(Default)]
    WorkerState, "worker state" {
        /// On its way from root to its user.
        #[default]
        Entering = 1,
        /// Its Python runs.
        Booting = 2,
        /// It takes requests, or is a service that runs, or a template that forks.
        Ready = 3,
        /// It takes no more requests, and will end.
        Leaving = 4,
    }
}

/// A worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerReport {
    /// Its number.
    pub id: u64,
    /// That of its pool.
    pub pool: u64,
    /// Process id.
    pub pid: u32,
    /// When the process was started, in clock ticks since the machine was: with the process id it names one process.
    pub start: u64,
    /// It serves nobody, and forks those that do.
    pub is_template: bool,
    /// How far it has come.
    pub state: WorkerState,
    /// Since when it is ready, or was started if it is not: milliseconds ago.
    pub since: u64,
    /// Since when it runs no request, in a pool whose workers say so: milliseconds ago.
    pub idle: Option<u64>,
    /// What it has said last of its requests.
    pub requests: Option<Requests>,
    /// Why it leaves, as words; empty if it does not.
    pub why: Vec<u8>,
    /// The control groups of its application.
    pub cgroups: Vec<Cgroup>,
}

/// The requests of a worker, as it says regularly (at a tenth of `deadlock-timeout`, 1 to 10 s).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requests {
    /// Finished.
    pub served: u64,
    /// Under way.
    pub running: u32,
}

/// A control group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// It is one of version 2.
    pub is_unified: bool,
    /// Absolute path.
    pub path: Vec<u8>,
}

/// Something that went wrong with a process group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incident {
    /// Counted from 1 in each manager's life.
    pub number: u64,
    /// Milliseconds ago.
    pub ago: u64,
    /// Process group.
    pub group: Vec<u8>,
    /// Application group; empty where it is about the user as a whole, too.
    pub application_group: Vec<u8>,
    /// The worker; 0 for none.
    pub pid: u32,
    /// What it died of; `None` if it is not a death.
    pub death: Option<DeathKind>,
    /// Code of the message in the log.
    pub code: u16,
    /// The message, UTF-8, at most [`WORDS_MAX`] bytes.
    pub text: Vec<u8>,
}

impl Report {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Unread(text) => {
                out.put_u8(1);
                out.put_bytes(text);
            }
            Self::Gone => out.put_u8(2),
            Self::Server(server) => {
                out.put_u8(3);
                out.put_bytes(&server.version);
                out.put_u32(server.manager);
                out.put_u32(server.httpd);
                out.put_u32(server.generation);
                out.put_u32(server.max_workers);
                out.put_u64(server.max_memory);
            }
            Self::Groups(list) => put_list(&mut out, 4, list),
            Self::Pools(list) => put_list(&mut out, 5, list),
            Self::Workers(list) => put_list(&mut out, 6, list),
            Self::Incidents(list) => put_list(&mut out, 7, list),
            Self::Settings(group) => {
                out.put_u8(8);
                group.put(&mut out);
            }
            Self::Begun => out.put_u8(9),
            Self::Declined(why) => {
                out.put_u8(10);
                out.put_bytes(why);
            }
        }
        out
    }

    /// Reads a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, WireError> {
        whole(packet, |kind, f| {
            Ok(match kind {
                1 => Self::Unread(f.bytes("reason")?.into()),
                2 => Self::Gone,
                3 => Self::Server(Server {
                    version: f.bytes("version of the program")?.into(),
                    manager: f.u32("manager")?,
                    httpd: f.u32("httpd")?,
                    generation: f.u32("generation")?,
                    max_workers: f.u32("most workers")?,
                    max_memory: f.u64("most memory")?,
                }),
                4 => Self::Groups(take_list(f)?),
                5 => Self::Pools(take_list(f)?),
                6 => Self::Workers(take_list(f)?),
                7 => Self::Incidents(take_list(f)?),
                8 => Self::Settings(Box::new(Group::take(f)?)),
                9 => Self::Begun,
                10 => Self::Declined(f.bytes("reason")?.into()),
                found => return unknown(found),
            })
        })
    }
}

/// An entry of a list.
pub trait Entry: Sized {
    /// Appends it to a message.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes it from a message.
    fn take(f: &mut Fields<'_>) -> Result<Self, WireError>;
}

fn put_list<T: Entry>(out: &mut Vec<u8>, kind: u8, list: &[T]) {
    out.put_u8(kind);
    out.put_u32(u32::try_from(list.len()).unwrap_or(u32::MAX));
    for entry in list {
        entry.put(out);
    }
}

fn take_list<T: Entry>(f: &mut Fields<'_>) -> Result<Vec<T>, WireError> {
    let count = f.u32("entries")?;
    // Each entry takes bytes, so an absurd count ends at the end of the packet, and nothing is set aside for it.
    (0..count).map(|_| T::take(f)).collect()
}

impl Entry for GroupReport {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_bytes(&self.name);
        out.put_bytes(&self.user);
        out.put_u32(self.uid);
    }

    fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            name: f.bytes("group")?.into(),
            user: f.bytes("user")?.into(),
            uid: f.u32("uid")?,
        })
    }
}

impl Entry for PoolReport {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64(self.id);
        out.put_bytes(&self.group);
        out.put_bytes(&self.application_group);
        out.put_bytes(&self.user);
        out.put_u32(self.uid);
        out.put_u8(self.state as u8);
        out.put_u64(self.wait);
        out.put_bytes(&self.why);
        out.put_u8(self.is_service.into());
        out.put_bytes(&self.directory);
        out.put_list(&self.scripts);
    }

    fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            id: f.u64("pool")?,
            group: f.bytes("group")?.into(),
            application_group: f.bytes("application group")?.into(),
            user: f.bytes("user")?.into(),
            uid: f.u32("uid")?,
            state: PoolState::from_wire(f.u8("pool state")?)?,
            wait: f.u64("wait")?,
            why: f.bytes("why")?.into(),
            is_service: f.bool("service")?,
            directory: f.bytes("directory")?.into(),
            scripts: f.list("scripts")?.into_iter().map(Into::into).collect(),
        })
    }
}

impl Entry for WorkerReport {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64(self.id);
        out.put_u64(self.pool);
        out.put_u32(self.pid);
        out.put_u64(self.start);
        out.put_u8(self.is_template.into());
        out.put_u8(self.state as u8);
        out.put_u64(self.since);
        out.put_u64(self.idle.unwrap_or(u64::MAX));
        out.put_u8(self.requests.is_some().into());
        if let Some(Requests { served, running }) = self.requests {
            out.put_u64(served);
            out.put_u32(running);
        }
        out.put_bytes(&self.why);
        out.put_u32(u32::try_from(self.cgroups.len()).unwrap_or(u32::MAX));
        for cgroup in &self.cgroups {
            out.put_u8(cgroup.is_unified.into());
            out.put_bytes(&cgroup.path);
        }
    }

    fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            id: f.u64("worker")?,
            pool: f.u64("pool")?,
            pid: f.u32("pid")?,
            start: f.u64("start")?,
            is_template: f.bool("template")?,
            state: WorkerState::from_wire(f.u8("worker state")?)?,
            since: f.u64("since")?,
            idle: Some(f.u64("idle")?).filter(|ago| *ago != u64::MAX),
            requests: match f.bool("requests")? {
                true => Some(Requests {
                    served: f.u64("served")?,
                    running: f.u32("running")?,
                }),
                false => None,
            },
            why: f.bytes("why")?.into(),
            cgroups: (0..f.u32("control groups")?)
                .map(|_| {
                    Ok(Cgroup {
                        is_unified: f.bool("version of a control group")?,
                        path: f.bytes("control group")?.into(),
                    })
                })
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Entry for Incident {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64(self.number);
        out.put_u64(self.ago);
        out.put_bytes(&self.group);
        out.put_bytes(&self.application_group);
        out.put_u32(self.pid);
        out.put_u8(self.death.map_or(0, |kind| kind as u8));
        out.put_u16(self.code);
        out.put_bytes(&self.text);
    }

    fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            number: f.u64("incident")?,
            ago: f.u64("ago")?,
            group: f.bytes("group")?.into(),
            application_group: f.bytes("application group")?.into(),
            pid: f.u32("pid")?,
            death: match f.u8("death kind")? {
                0 => None,
                kind => Some(DeathKind::from_wire(kind)?),
            },
            code: f.u16("code")?,
            text: f.bytes("text")?.into(),
        })
    }
}

/// As many of these entries as one part of a list takes, one at least.
pub fn part<T: Entry>(entries: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut size = Vec::new();
    let mut taken = Vec::new();
    for entry in entries {
        entry.put(&mut size);
        taken.push(entry);
        if size.len() >= PART_MAX {
            break;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CONTROL_MAX;

    fn pool(name: &[u8]) -> PoolReport {
        PoolReport {
            id: 7,
            group: name.to_vec(),
            application_group: b"a|/x".to_vec(),
            state: PoolState::BackingOff,
            wait: 1500,
            scripts: vec![b"/x".to_vec(), b"/y".to_vec()],
            ..PoolReport::default()
        }
    }

    fn worker() -> WorkerReport {
        WorkerReport {
            id: 9,
            pid: 12,
            idle: Some(0),
            requests: Some(Requests {
                served: 7,
                running: 1,
            }),
            cgroups: vec![Cgroup {
                is_unified: true,
                path: b"/sys/fs/cgroup/x".to_vec(),
            }],
            ..WorkerReport::default()
        }
    }

    // R37
    #[test]
    fn questions_and_answers_survive_the_round_trip_and_no_truncation() {
        for query in [
            Query::Server,
            Query::Groups { after: b"g".to_vec() },
            Query::Pools { after: 1 },
            Query::Workers { after: 2 },
            Query::Incidents { after: 3 },
            Query::PoolSettings { pool: 4 },
            Query::GroupSettings { name: b"g".to_vec() },
            Query::Restart { pool: 5 },
            Query::Stop { pool: 6 },
        ] {
            let bytes = query.encode();
            assert_eq!(Query::decode(&bytes).unwrap(), query);
            assert!((0..bytes.len()).all(|cut| Query::decode(&bytes[..cut]).is_err()));
        }
        let incident = Incident {
            number: 1,
            death: Some(DeathKind::Signal),
            code: 453,
            text: b"why".to_vec(),
            ..Incident::default()
        };
        for report in [
            Report::Unread(b"no".to_vec()),
            Report::Gone,
            Report::Server(Server {
                version: b"1".to_vec(),
                ..Server::default()
            }),
            Report::Groups(vec![GroupReport::default(); 2]),
            Report::Pools(vec![pool(b"g"), PoolReport::default()]),
            Report::Workers(vec![worker(), WorkerReport::default()]),
            Report::Incidents(vec![incident, Incident::default()]),
            Report::Settings(Box::default()),
            Report::Begun,
            Report::Declined(b"no".to_vec()),
        ] {
            let bytes = report.encode();
            assert_eq!(Report::decode(&bytes).unwrap(), report);
            assert!((0..bytes.len()).all(|cut| Report::decode(&bytes[..cut]).is_err()));
        }
    }

    #[test]
    fn a_part_of_a_list_fits_a_packet_with_the_longest_entries() {
        let longest = PoolReport {
            group: vec![b'g'; 8192],
            application_group: vec![b'a'; 4096],
            why: vec![b'w'; WORDS_MAX],
            directory: vec![b'd'; 4096],
            scripts: vec![vec![b's'; 4096]; SCRIPTS_MAX],
            ..PoolReport::default()
        };
        let part = part(std::iter::repeat_n(longest, 100));
        assert!(!part.is_empty() && Report::Pools(part).encode().len() <= CONTROL_MAX);
        assert!(super::part(Vec::<PoolReport>::new()).is_empty());
    }

    // R7
    #[test]
    fn mixed_builds_are_named() {
        let mut bytes = Query::Server.encode();
        bytes[1] = 200;
        assert_eq!(Query::decode(&bytes), Err(WireError::Version { theirs: 200 }));
    }
}
