//! What the manager has its keeper keep: every change that the next manager must know is there before anything follows from it.

use std::os::fd::{AsFd, BorrowedFd};

use rwsgi_os::process::Pid;
use rwsgi_os::{OsError, clock, fd, message};
use rwsgi_wire::WireError;
use rwsgi_wire::base::Base;
use rwsgi_wire::bytes::{Fields, Put};
use rwsgi_wire::control::{Begin, FromHttpd, Group};
use rwsgi_wire::response::Level;

use crate::codes;
use crate::kept::{FromKeeper, PACKET_MAX, ToKeeper};
use crate::log::Logs;
use crate::records::{DoorRecord, PoolRecord, Record, WorkerRecord};
use crate::supervise::Manager;
use crate::workers::State;

/// Number of the record of the configuration; there is one at most.
pub(crate) const CONFIG_ID: u64 = 1;

impl Manager {
    fn keep(
        &self,
        id: u64,
        pid: Pid,
        record: &Record,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), OsError> {
        let record = record.encode();
        let keep = ToKeeper::Keep { id, pid, record }.encode();
        // The keeper has nothing else to do than to read this.
        message::send_descriptors(&self.keeper, &keep, descriptors)
    }

    /// What is not kept is served on, but does not outlive this manager.
    fn not_kept(&mut self, what: &str, e: &OsError) {
        if self.may_tell_peer() {
            let text = format!("{what} cannot be kept for the next manager: {e}");
            self.log.say(Level::Warn, codes::NOT_KEPT, &text);
        }
    }

    pub(crate) fn forget(&self, id: u64) {
        let _ = message::send(&self.keeper, &ToKeeper::Forget { id }.encode());
    }

    /// The configuration: its messages, and the error logs.
    pub(crate) fn keep_config(&mut self, messages: &[u8], logs: &Logs) {
        let done = fd::memory_file("rwsgi-configuration").and_then(|file| {
            fd::write_all(&file, messages)?;
            let all: Vec<_> = std::iter::once(file.as_fd()).chain(logs.descriptors()).collect();
            self.keep(CONFIG_ID, Pid(0), &Record::Config, &all)
        });
        if let Err(e) = done {
            self.not_kept("the configuration", &e);
        }
    }

    pub(crate) fn keep_door(&mut self, id: u64) {
        let Some(door) = self.doors.get(&id) else {
            return;
        };
        let record = Record::Door(DoorRecord {
            path: door.path.clone(),
            server_gid: door.directory.group().unwrap_or_default(),
        });
        if let Err(e) = self.keep(id, Pid(0), &record, &[door.listener.as_fd()]) {
            self.not_kept("the manager's socket", &e);
        }
    }

    pub(crate) fn keep_pool(&mut self, id: u64) {
        let Some(pool) = self.pools.get(&id) else {
            return;
        };
        let settings = &pool.settings;
        let mut application = Vec::new();
        if let Some(found) = &settings.application {
            found.put(&mut application);
        }
        let path = pool.entrance.as_ref().map(|e| e.path().to_vec());
        let record = Record::Pool(Box::new(PoolRecord {
            group: Group {
                scale: settings.scale,
                quotas: settings.quotas,
                ..settings.group.clone()
            },
            server_uid: settings.server_uid,
            server_gid: settings.server_gid,
            gateway_identity: settings.gateway_identity,
            application_group: pool.application_group.clone(),
            path: path.unwrap_or_default(),
            scripts: pool.renewals.scripts.clone(),
            standing: pool.standing(),
            application,
            asked: pool.templates.asked.clone(),
        }));
        let listener = pool.entrance.as_ref().map(|e| e.listener.as_fd());
        let all: Vec<_> = std::iter::once(settings.gateway.as_fd())
            .chain(listener)
            .collect();
        if let Err(e) = self.keep(id, Pid(0), &record, &all) {
            let title = pool.title();
            self.not_kept(&title, &e);
        }
    }

    fn record_of(&self, id: u64) -> Option<Record> {
        let worker = self.workers.get(&id)?;
        Some(Record::Worker(WorkerRecord {
            pool: worker.pool,
            pid: worker.pid,
            start: worker.person.start,
            uid: self.pools.get(&worker.pool)?.settings.group.uid,
            ready: matches!(worker.state, State::Ready | State::Leaving),
            asked: worker.known.asked,
            leaving: worker.known.leaving,
            since: clock::to_number(worker.since),
            deadline: worker.deadline().map_or(0, clock::to_number),
            cgroup: self.groups.name_of(worker.cgroup).to_vec(),
        }))
    }

    /// Whether it is kept, so that it may outlive this manager.
    pub(crate) fn keep_worker(&mut self, id: u64) -> bool {
        let (Some(record), Some(worker)) = (self.record_of(id), self.workers.get(&id)) else {
            return false;
        };
        let pid = worker.pid;
        let all = [
            Some(&worker.person.process),
            Some(worker.control()),
            worker.output(),
        ];
        let all: Vec<_> = all.into_iter().flatten().map(AsFd::as_fd).collect();
        let kept = self.keep(id, pid, &record, &all);
        if let Err(e) = &kept {
            self.not_kept(&format!("worker {pid}"), e);
        }
        kept.is_ok()
    }

    /// What is known of a worker has changed.
    pub(crate) fn amend_worker(&self, id: u64) {
        if let Some(record) = self.record_of(id) {
            let record = record.encode();
            let _ = message::send(&self.keeper, &ToKeeper::Amend { id, record }.encode());
        }
    }

    /// The keeper tells of the ends of workers that are its children.
    pub(crate) fn on_keeper(&mut self) -> Result<(), OsError> {
        let mut buffer = vec![0; PACKET_MAX];
        loop {
            let length = match message::try_receive(&self.keeper, &mut buffer) {
                Ok(0) => return Err(OsError::new("recv", "the keeper has ended", 32)),
                Ok(length) => length,
                Err(e) if e.is_would_block() => return Ok(()),
                Err(e) => return Err(e),
            };
            let packet = buffer.get(..length).unwrap_or_default();
            if let Ok(FromKeeper::Ended { id, end }) = FromKeeper::decode(packet) {
                self.bury(id, Some(end), None);
                self.kill_strays();
            }
        }
    }
}

/// A configuration as the messages that make it.
pub(crate) fn messages(begin: &Begin, groups: &[Group], bases: &[Base]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_bytes(&FromHttpd::Begin(begin.clone()).encode());
    for group in groups {
        out.put_bytes(&FromHttpd::Group(Box::new(group.clone())).encode());
    }
    for base in bases {
        out.put_bytes(&FromHttpd::Base(Box::new(base.clone())).encode());
    }
    out
}

/// The way back.
pub(crate) fn from_messages(bytes: &[u8]) -> Result<(Begin, Vec<Group>, Vec<Base>), WireError> {
    let short = || WireError::Short {
        field: "configuration",
    };
    let mut f = Fields::new(bytes);
    let FromHttpd::Begin(begin) = FromHttpd::decode(f.bytes("beginning")?)? else {
        return Err(short());
    };
    let (mut groups, mut bases) = (Vec::new(), Vec::new());
    while !f.is_empty() {
        match FromHttpd::decode(f.bytes("group")?)? {
            FromHttpd::Group(group) => groups.push(*group),
            FromHttpd::Base(base) => bases.push(*base),
            _ => return Err(short()),
        }
    }
    Ok((begin, groups, bases))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_survives_the_way_through_its_messages() {
        let begin = Begin {
            generation: 7,
            ..Begin::default()
        };
        let groups = ["a", "b"].map(|name| Group {
            name: name.into(),
            ..Group::default()
        });
        let bases = [Base {
            pattern: b"/home/*/public_wsgi".to_vec(),
            ..Base::default()
        }];
        let bytes = messages(&begin, &groups, &bases);
        let expected = (begin, groups.to_vec(), bases.to_vec());
        assert_eq!(from_messages(&bytes).unwrap(), expected);
        assert!(from_messages(&bytes[..bytes.len() - 1]).is_err());
        assert!(from_messages(&[]).is_err());
    }
}
