//! What a manager does first: it goes on with what the one before it has left to the keeper. The first of all finds nothing.
//!
//! Pools come back with the settings that they were made with, workers with their state; then the configuration is put in force as at a
//! restart of httpd. So what a death of the manager means to a worker is decided where it is decided for every other change.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rwsgi_os::poll::readable;
use rwsgi_os::process::{self, End, Pid};
use rwsgi_os::signal::Signal;
use rwsgi_os::{OsError, OwnedFd, fd, memory, message};
use rwsgi_wire::WireError;
use rwsgi_wire::bytes::Fields;
use rwsgi_wire::control::{Group, ToHttpd};
use rwsgi_wire::quota::Quotas;
use rwsgi_wire::response::Level;
use rwsgi_wire::scale::Scale;

use crate::applications::Application;
use crate::codes;
use crate::commit::{Received, Settings};
use crate::deaths;
use crate::keeping::{CONFIG_ID, from_messages};
use crate::kept::{FromKeeper, PACKET_MAX};
use crate::log::Logs;
use crate::pools::{Entrance, Pool};
use crate::records::{DoorRecord, PoolRecord, Record, WorkerRecord};
use crate::runtime_dir::RuntimeDir;
use crate::supervise::{Manager, Token};
use crate::workers::Person;

/// Largest configuration, bytes.
const CONFIG_MAX: usize = 1 << 30;

/// How long the keeper may take to tell of an end that can be seen.
const NEWS_LIMIT: Duration = Duration::from_millis(300);

/// Why a manager cannot go on with what is there.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// A manager of another version has left it.
    Version(WireError),
    /// The kernel refuses a call.
    Os(OsError),
}

impl From<OsError> for Unfit {
    fn from(e: OsError) -> Self {
        Self::Os(e)
    }
}

/// A record as it came.
struct Left {
    id: u64,
    end: Option<End>,
    descriptors: Vec<OwnedFd>,
}

/// All that was left, by kind.
#[derive(Default)]
struct Estate {
    before: Option<(Pid, End)>,
    config: Option<Left>,
    doors: Vec<(Left, DoorRecord)>,
    pools: Vec<(Left, PoolRecord)>,
    workers: Vec<(Left, WorkerRecord)>,
}

type Directories = HashMap<Vec<u8>, Rc<RuntimeDir>>;

impl Manager {
    /// Takes over what is left. Blocks until the keeper has told all, which it does at once.
    pub(crate) fn adopt(&mut self) -> Result<(), Unfit> {
        let estate = self.receive_estate()?;
        let Some((pid, end)) = estate.before else {
            return Ok(());
        };
        // httpd may wait for an answer that the one before owes, who has taken part of the question along.
        let _ = message::try_send(&self.control, &ToHttpd::Started.encode());
        let mut directories = Directories::new();
        for (left, door) in estate.doors {
            self.adopt_door(left, &door, &mut directories);
        }
        for (left, pool) in estate.pools {
            self.adopt_pool(left, pool, &mut directories);
        }
        let mut ended = Vec::new();
        for (left, worker) in estate.workers {
            ended.extend(self.adopt_worker(left, &worker));
        }
        for directory in directories.values() {
            directory.remove_sockets_but(|path| self.is_in_use(path));
        }
        if let Some(left) = estate.config {
            self.adopt_config(left);
        }
        let lost = self
            .workers
            .values()
            .filter(|worker| worker.lost.is_some())
            .count();
        let (workers, pools) = (self.workers.len() - ended.len() - lost, self.pools.len());
        let text = format!(
            "the manager (pid {pid}) {}; this one goes on with {workers} workers of {pools} pools",
            deaths::words(end)
        );
        self.log.say(Level::Warn, codes::SUCCEEDED, &text);
        for id in self.workers.keys() {
            self.audit(*id, "adopt", "");
        }
        for (id, end) in ended {
            self.bury(id, Some(end), None);
        }
        self.settle();
        Ok(())
    }

    fn receive_estate(&mut self) -> Result<Estate, Unfit> {
        let mut estate = Estate::default();
        let mut buffer = vec![0; PACKET_MAX];
        loop {
            self.deadman.renew()?;
            let got = message::receive_packet(&self.keeper, &mut buffer)?;
            let packet = buffer.get(..got.len).unwrap_or_default();
            let (id, end, record) = match FromKeeper::decode(packet).map_err(Unfit::Version)? {
                FromKeeper::Kept { id, end, record } => (id, end, record),
                FromKeeper::All { before } => {
                    estate.before = before;
                    return Ok(estate);
                }
                FromKeeper::Ended { .. } => continue,
            };
            self.ids_from(id);
            let left = Left {
                id,
                end,
                descriptors: got.fds,
            };
            match Record::decode(&record).map_err(Unfit::Version)? {
                Record::Config => estate.config = Some(left),
                Record::Door(door) => estate.doors.push((left, door)),
                Record::Pool(pool) => estate.pools.push((left, *pool)),
                Record::Worker(worker) => estate.workers.push((left, worker)),
            }
        }
    }

    /// The directory that a socket lies in.
    fn directory_of(
        &self,
        socket: &[u8],
        server_gid: u32,
        directories: &mut Directories,
    ) -> Option<Rc<RuntimeDir>> {
        let end = socket.iter().rposition(|b| *b == b'/')?;
        let path = socket.get(..end)?;
        if let Some(directory) = directories.get(path) {
            return Some(Rc::clone(directory));
        }
        let made = Rc::new(RuntimeDir::take_over(path, server_gid, self.root).ok()?);
        directories.insert(path.to_vec(), Rc::clone(&made));
        Some(made)
    }

    fn adopt_door(&mut self, left: Left, door: &DoorRecord, directories: &mut Directories) {
        let directory = self.directory_of(&door.path, door.server_gid, directories);
        let (Some(directory), Some(listener)) = (directory, left.descriptors.into_iter().next()) else {
            return self.forget(left.id);
        };
        self.add_door(left.id, listener, &directory, door.path.clone());
    }

    fn adopt_pool(&mut self, left: Left, record: PoolRecord, directories: &mut Directories) {
        let mut descriptors = left.descriptors.into_iter();
        let Some(gateway) = descriptors.next() else {
            return self.forget(left.id);
        };
        let entrance = match (record.path.is_empty(), descriptors.next()) {
            (true, _) => None,
            (false, Some(listener)) => {
                match self.directory_of(&record.path, record.server_gid, directories) {
                    Some(directory) => Some(Entrance::new(directory, record.path, listener)),
                    None => return self.forget(left.id),
                }
            }
            (false, None) => return self.forget(left.id),
        };
        let settings = Rc::new(Settings {
            scale: record.group.scale,
            quotas: record.group.quotas,
            group: Group {
                log: 0,
                scale: Scale::default(),
                quotas: Quotas::default(),
                ..record.group
            },
            application: Application::take(&mut Fields::new(&record.application)).ok(),
            server_uid: record.server_uid,
            server_gid: record.server_gid,
            gateway: Rc::new(gateway),
            gateway_identity: record.gateway_identity,
        });
        let mut pool = Pool::new(&settings, &record.application_group, &self.log, entrance, false);
        pool.renewals.scripts = record.scripts;
        pool.templates.asked = record.asked;
        if let Some(until) = pool.stands(record.standing) {
            self.timers.set(until, Token::Pool(left.id));
        }
        self.pools.insert(left.id, pool);
    }

    /// Answers its number, and how it ended, when it has ended meanwhile.
    fn adopt_worker(&mut self, left: Left, record: &WorkerRecord) -> Option<(u64, End)> {
        let id = left.id;
        let [process, control, output] = match <[OwnedFd; 3]>::try_from(left.descriptors) {
            Ok(all) => all,
            Err(all) => {
                self.turn_out(id, record, all.first());
                return None;
            }
        };
        // One that has ended and is not reaped yet is still who it was, and the keeper will tell how it ended.
        let is_known = is_who_it_was(record, &process)
            && (!record.ready || self.groups.holds(&record.cgroup, record.pid));
        let over =
            left.end.is_some() || (!is_known && readable(&process, Some(Duration::ZERO)).unwrap_or(true));
        if !self.pools.contains_key(&record.pool) || !(over || is_known) {
            self.turn_out(id, record, Some(&process));
            return None;
        }
        let person = Person {
            pid: record.pid,
            start: record.start,
            process,
            is_own: false,
        };
        self.add_worker(id, record, person, control, output);
        if let Some(worker) = self.workers.get_mut(&id).filter(|_| over && left.end.is_none()) {
            // The manager before has buried it, or the keeper just does.
            let at = Instant::now() + NEWS_LIMIT;
            worker.lost = Some(at);
            self.timers.set(at, Token::Worker(id));
        }
        left.end.map(|end| (id, end))
    }

    /// A worker that cannot be gone on with: it is closed to, and killed if it is what the record says.
    fn turn_out(&mut self, id: u64, record: &WorkerRecord, process: Option<&OwnedFd>) {
        let named = process.and_then(process::named_by);
        let is_a_users = named.is_some_and(|pid| {
            process::birth(pid).is_ok_and(|(_, uid)| uid == record.uid && (uid != 0 || !self.root))
        });
        if let Some(process) = process.filter(|_| is_a_users) {
            let _ = process::signal(process, Signal::KILL);
        }
        self.forget(id);
        let text = format!(
            "process {} is not the worker that an earlier manager started, and is not gone on with{}",
            record.pid,
            if is_a_users { ": it is killed" } else { "" }
        );
        self.log.say(Level::Error, codes::NOT_ADOPTED, &text);
    }

    fn is_in_use(&self, path: &[u8]) -> bool {
        let of_pool = |pool: &Pool| pool.entrance.as_ref().is_some_and(|e| e.path() == path);
        self.pools.values().any(of_pool) || self.doors.values().any(|door| door.path == path)
    }

    fn adopt_config(&mut self, left: Left) {
        let mut descriptors = left.descriptors.into_iter();
        let read = match descriptors.next() {
            Some(file) => fd::read_all(&file, CONFIG_MAX).map_err(|e| e.to_string()),
            None => Err("it is not there".to_owned()),
        };
        let done = read
            .and_then(|bytes| from_messages(&bytes).map_err(|e| e.to_string()))
            .and_then(|(begin, groups, bases)| {
                let logs = Rc::new(Logs::new(descriptors.collect(), begin.audit));
                self.commit(Received::new(begin, logs, groups, bases))
            });
        if let Err(why) = done {
            // What runs goes on as it is, until httpd is restarted.
            let text =
                format!("the configuration of the manager before this one cannot be put in force: {why}");
            self.log.say(Level::Error, codes::NO_CONFIGURATION, &text);
            self.forget(CONFIG_ID);
        }
        memory::give_back();
    }

    /// Everything that was adopted goes on.
    fn settle(&mut self) {
        let all: Vec<u64> = self.pools.keys().copied().collect();
        for id in all {
            if self.pools.get(&id).is_some_and(Pool::is_retired) {
                self.retire(id);
            } else {
                self.tend(id, false);
            }
        }
    }
}

/// The process is the one that the record names: by number, by the time it was started, by its user. (Before it is ready it may still be
/// root on its way, and outside of its control group.)
fn is_who_it_was(record: &WorkerRecord, process: &OwnedFd) -> bool {
    process::named_by(process) == Some(record.pid)
        && process::birth(record.pid).is_ok_and(|(start, uid)| {
            start == record.start && (uid == record.uid || (!record.ready && uid == 0))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    // R71: each field forged.
    #[test]
    fn r71_a_process_that_is_not_who_it_was_is_not_gone_on_with() {
        let pid = process::this();
        let held = process::open(pid).unwrap();
        let (start, uid) = process::birth(pid).unwrap();
        let truth = WorkerRecord {
            pool: 2,
            pid,
            start,
            uid,
            ready: true,
            asked: false,
            leaving: None,
            since: 1,
            deadline: 0,
            cgroup: Vec::new(),
        };
        assert!(is_who_it_was(&truth, &held));
        let forged = |change: fn(&mut WorkerRecord)| {
            let mut record = truth.clone();
            change(&mut record);
            is_who_it_was(&record, &held)
        };
        assert!(!forged(|record| record.pid = process::parent()));
        assert!(!forged(|record| record.pid = Pid(i32::MAX)));
        assert!(!forged(|record| record.start += 1));
        assert!(!forged(|record| record.uid += 1));
        // Another process under the true number.
        let parent = process::open(process::parent()).unwrap();
        assert!(!is_who_it_was(&truth, &parent));
        // No process at all.
        assert!(!is_who_it_was(&truth, &rwsgi_os::file::null().unwrap()));
    }
}
