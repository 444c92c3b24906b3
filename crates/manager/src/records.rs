//! What the keeper keeps for the manager: enough of pools and workers for the next manager to go on with them.
//!
//! A record of another layout, or of a manager that spoke another protocol to its workers, is not read. Fields are added at the end: what
//! follows the last known one is passed over.

use rwsgi_os::process::Pid;
use rwsgi_wire::bytes::{Fields, Put};
use rwsgi_wire::control::{FromHttpd, Group};
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::script::Script;
use rwsgi_wire::{VERSION, WireError};

/// A change of what is here needs another number.
const LAYOUT: u16 = 2;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// The configuration in force. Its descriptors: a memory file with the messages that made it, then the error logs.
    Config,
    /// The socket on which children ask. Its descriptor: the listener.
    Door(DoorRecord),
    /// Its descriptors: the Python half, and the listener unless it is a service.
    Pool(Box<PoolRecord>),
    /// Its descriptors: the process, the control socket, the output.
    Worker(WorkerRecord),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DoorRecord {
    pub(crate) path: Vec<u8>,
    pub(crate) server_gid: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolRecord {
    pub(crate) group: Group,
    pub(crate) server_uid: u32,
    pub(crate) server_gid: u32,
    pub(crate) gateway_identity: ((u64, u64), i64),
    pub(crate) application_group: Vec<u8>,
    /// Of its socket; empty for a service.
    pub(crate) path: Vec<u8>,
    /// What further workers load in advance.
    pub(crate) scripts: Vec<Script>,
    pub(crate) standing: Standing,
    /// What it runs below a base, as bytes; empty for none.
    pub(crate) application: Vec<u8>,
    /// What a template loads, too.
    pub(crate) asked: Vec<Vec<u8>>,
}

/// How a pool stands to the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Current = 1,
    Superseded = 2,
    Retired = 3,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkerRecord {
    /// Number of its pool's record.
    pub(crate) pool: u64,
    pub(crate) pid: Pid,
    /// When the process was started, in the kernel's count.
    pub(crate) start: u64,
    /// Who it runs as.
    pub(crate) uid: u32,
    /// It has been ready.
    pub(crate) ready: bool,
    pub(crate) asked: bool,
    pub(crate) leaving: Option<LeaveReason>,
    /// Since when it is ready, or was started.
    pub(crate) since: u64,
    /// When it is killed; 0: not.
    pub(crate) deadline: u64,
    /// Its control group, `<user>/<application>` in the tree; empty for none.
    pub(crate) cgroup: Vec<u8>,
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u16(LAYOUT);
        out.put_u16(VERSION);
        match self {
            Self::Config => out.put_u8(1),
            Self::Door(door) => {
                out.put_u8(2);
                out.put_bytes(&door.path);
                out.put_u32(door.server_gid);
            }
            Self::Pool(pool) => {
                out.put_u8(3);
                pool.put(&mut out);
            }
            Self::Worker(worker) => {
                out.put_u8(4);
                worker.put(&mut out);
            }
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(bytes);
        let layout = f.u16("layout")?;
        if layout != LAYOUT {
            return Err(WireError::Value {
                field: "layout",
                found: layout.into(),
            });
        }
        let version = f.u16("version")?;
        if version != VERSION {
            return Err(WireError::Version { theirs: version });
        }
        Ok(match f.u8("record")? {
            1 => Self::Config,
            2 => Self::Door(DoorRecord {
                path: f.bytes("path")?.into(),
                server_gid: f.u32("server gid")?,
            }),
            3 => Self::Pool(Box::new(PoolRecord::take(&mut f)?)),
            4 => Self::Worker(WorkerRecord::take(&mut f)?),
            found => {
                return Err(WireError::Value {
                    field: "record",
                    found: found.into(),
                });
            }
        })
    }
}

impl PoolRecord {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_bytes(&FromHttpd::Group(Box::new(self.group.clone())).encode());
        out.put_u32(self.server_uid);
        out.put_u32(self.server_gid);
        let ((device, inode), modified) = self.gateway_identity;
        out.put_u64(device);
        out.put_u64(inode);
        out.put_i64(modified);
        out.put_bytes(&self.application_group);
        out.put_bytes(&self.path);
        Script::put_list(&self.scripts, out);
        out.put_u8(self.standing as u8);
        out.put_bytes(&self.application);
        out.put_list(&self.asked);
    }

    fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        let FromHttpd::Group(group) = FromHttpd::decode(f.bytes("group")?)? else {
            return Err(WireError::Short { field: "group" });
        };
        Ok(Self {
            group: *group,
            server_uid: f.u32("server uid")?,
            server_gid: f.u32("server gid")?,
            gateway_identity: (
                (f.u64("gateway device")?, f.u64("gateway inode")?),
                f.i64("gateway mtime")?,
            ),
            application_group: f.bytes("application group")?.into(),
            path: f.bytes("path")?.into(),
            scripts: Script::take_list(f, "scripts")?,
            standing: match f.u8("standing")? {
                1 => Standing::Current,
                2 => Standing::Superseded,
                3 => Standing::Retired,
                found => {
                    return Err(WireError::Value {
                        field: "standing",
                        found: found.into(),
                    });
                }
            },
            application: f.bytes("application")?.into(),
            asked: f.list("scripts asked for")?.into_iter().map(Into::into).collect(),
        })
    }
}

impl WorkerRecord {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u64(self.pool);
        out.put_i64(self.pid.0.into());
        out.put_u64(self.start);
        out.put_u32(self.uid);
        out.put_u8(self.ready.into());
        out.put_u8(self.asked.into());
        out.put_u8(self.leaving.map_or(0, |reason| reason as u8));
        out.put_u64(self.since);
        out.put_u64(self.deadline);
        out.put_bytes(&self.cgroup);
    }

    fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            pool: f.u64("pool")?,
            pid: Pid(i32::try_from(f.i64("pid")?).unwrap_or(0)),
            start: f.u64("start")?,
            uid: f.u32("uid")?,
            ready: f.bool("ready")?,
            asked: f.bool("asked")?,
            leaving: match f.u8("leave reason")? {
                0 => None,
                number => Some(LeaveReason::from_wire(number)?),
            },
            since: f.u64("since")?,
            deadline: f.u64("deadline")?,
            cgroup: f.bytes("control group")?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> [Record; 4] {
        [
            Record::Config,
            Record::Door(DoorRecord {
                path: b"/run/x/manager.sock".to_vec(),
                server_gid: 33,
            }),
            Record::Pool(Box::new(PoolRecord {
                group: Group {
                    name: b"site".to_vec(),
                    uid: 1000,
                    ..Group::default()
                },
                server_uid: 33,
                server_gid: 33,
                gateway_identity: ((1, 2), -3),
                application_group: b"app".to_vec(),
                path: b"/run/x/1.sock".to_vec(),
                scripts: vec![Script {
                    path: b"/a".to_vec(),
                    callables: vec![b"application".to_vec()],
                }],
                standing: Standing::Superseded,
                application: b"bytes".to_vec(),
                asked: vec![b"/b".to_vec(), b"/c".to_vec()],
            })),
            Record::Worker(WorkerRecord {
                pool: 1 << 40,
                pid: Pid(77),
                start: 12345,
                uid: 1000,
                ready: true,
                asked: false,
                leaving: Some(LeaveReason::ScriptReload),
                since: 1,
                deadline: 0,
                cgroup: b"1000-ann/7-site".to_vec(),
            }),
        ]
    }

    #[test]
    fn records_survive_the_round_trip_and_later_fields_are_passed_over() {
        for record in records() {
            let mut bytes = record.encode();
            assert!((0..bytes.len()).all(|cut| Record::decode(&bytes[..cut]).is_err()));
            bytes.extend(b"more");
            assert_eq!(Record::decode(&bytes).unwrap(), record);
        }
    }

    // R7
    #[test]
    fn what_a_manager_of_another_version_has_left_is_refused() {
        for record in records() {
            let mut bytes = record.encode();
            bytes[2] = 200;
            assert_eq!(Record::decode(&bytes), Err(WireError::Version { theirs: 200 }));
            bytes[0] = 9;
            assert!(Record::decode(&bytes).is_err());
        }
    }
}
