//! The calls that turn root into a user and a process into a program, as a trait: [`Real`] makes them, the double of [`fake`](crate::fake)
//! records their order and can make each fail or lie.

use crate::capability::Sets;
use crate::file::{Right, Status};
use crate::ids::Ids;
use crate::process::Pid;
use crate::rlimit::Resource;
use crate::signal::Signal;
use crate::walk::Kind;
use crate::{OsError, OwnedFd, capability, cgroup, fd, file, ids, own_log, process, rlimit, walk};

/// One method per call; each documented at the face of the same name.
#[allow(missing_docs)]
pub trait System {
    fn join_group(&mut self, door: i32) -> Result<(), OsError>;
    /// A file or directory that has been opened.
    type Opened;
    fn limit(&mut self, resource: Resource) -> Result<(u64, u64), OsError>;
    fn set_limit(&mut self, resource: Resource, soft: u64, hard: u64) -> Result<(), OsError>;
    fn set_priority(&mut self, nice: i32) -> Result<(), OsError>;
    fn umask(&mut self, mask: u32);
    fn new_session(&mut self) -> Result<(), OsError>;
    fn change_root(&mut self, path: &[u8]) -> Result<(), OsError>;
    fn drop_bounding_set(&mut self) -> Result<(), OsError>;
    fn capabilities(&mut self) -> Result<Sets, OsError>;
    fn drop_capabilities(&mut self) -> Result<(), OsError>;
    fn be_killed_first(&mut self) -> Result<(), OsError>;
    fn set_groups(&mut self, groups: &[u32]) -> Result<(), OsError>;
    fn set_group(&mut self, gid: u32) -> Result<(), OsError>;
    fn set_user(&mut self, uid: u32) -> Result<(), OsError>;
    fn user_ids(&mut self) -> Ids;
    fn group_ids(&mut self) -> Ids;
    fn groups(&mut self) -> Result<Vec<u32>, OsError>;
    fn can_regain_root(&mut self) -> bool;
    fn can_take_group(&mut self, gid: u32) -> bool;
    fn no_new_privileges(&mut self) -> Result<(), OsError>;
    fn die_with_parent(&mut self, signal: Signal) -> Result<(), OsError>;
    fn parent(&mut self) -> Pid;
    fn change_directory(&mut self, path: &[u8]) -> Result<(), OsError>;
    fn status_of(&mut self, path: &[u8]) -> Result<Status, OsError>;
    fn read_link(&mut self, path: &[u8]) -> Result<Option<Vec<u8>>, OsError>;
    fn check(&mut self, path: &[u8], right: Right) -> Result<(), OsError>;
    fn read_file(&mut self, path: &[u8], limit: usize) -> Result<Vec<u8>, OsError>;
    fn names_in(&mut self, path: &[u8]) -> Result<Vec<Vec<u8>>, OsError>;
    fn root_directory(&mut self) -> Result<Self::Opened, OsError>;
    fn component(&mut self, directory: &Self::Opened, name: &[u8]) -> Result<Self::Opened, OsError>;
    fn target(&mut self, link: &Self::Opened) -> Result<Vec<u8>, OsError>;
    fn beneath(&mut self, directory: &Self::Opened, path: &[u8], kind: Kind)
    -> Result<Self::Opened, OsError>;
    fn status(&mut self, opened: &Self::Opened) -> Result<Status, OsError>;
    fn read(&mut self, opened: &Self::Opened, limit: usize) -> Result<Vec<u8>, OsError>;
    fn enter(&mut self, directory: &Self::Opened) -> Result<(), OsError>;
    fn append(&mut self, path: &[u8], line: &[u8]) -> Result<(), OsError>;
    fn close_from(&mut self, first: u32) -> Result<(), OsError>;
    fn exec(&mut self, program: &[u8], arguments: &[Vec<u8>], environment: &[Vec<u8>]) -> OsError;
}

/// The system itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Real;

impl System for Real {
    type Opened = OwnedFd;

    fn join_group(&mut self, door: i32) -> Result<(), OsError> {
        cgroup::join(door)
    }
    fn limit(&mut self, resource: Resource) -> Result<(u64, u64), OsError> {
        rlimit::of(resource)
    }
    fn set_limit(&mut self, resource: Resource, soft: u64, hard: u64) -> Result<(), OsError> {
        rlimit::set(resource, soft, hard)
    }
    fn set_priority(&mut self, nice: i32) -> Result<(), OsError> {
        process::set_priority(nice)
    }
    fn umask(&mut self, mask: u32) {
        process::umask(mask);
    }
    fn new_session(&mut self) -> Result<(), OsError> {
        process::new_session()
    }
    fn change_root(&mut self, path: &[u8]) -> Result<(), OsError> {
        process::change_root(path)
    }
    fn drop_bounding_set(&mut self) -> Result<(), OsError> {
        capability::bound(0)
    }
    fn capabilities(&mut self) -> Result<Sets, OsError> {
        capability::sets()
    }
    fn drop_capabilities(&mut self) -> Result<(), OsError> {
        capability::set(Sets::default())
    }
    fn be_killed_first(&mut self) -> Result<(), OsError> {
        process::be_killed_first()
    }
    fn set_groups(&mut self, groups: &[u32]) -> Result<(), OsError> {
        ids::set_groups(groups)
    }
    fn set_group(&mut self, gid: u32) -> Result<(), OsError> {
        ids::set_group(gid)
    }
    fn set_user(&mut self, uid: u32) -> Result<(), OsError> {
        ids::set_user(uid)
    }
    fn user_ids(&mut self) -> Ids {
        ids::user_ids()
    }
    fn group_ids(&mut self) -> Ids {
        ids::group_ids()
    }
    fn groups(&mut self) -> Result<Vec<u32>, OsError> {
        ids::groups()
    }
    fn can_regain_root(&mut self) -> bool {
        ids::can_regain_root()
    }
    fn can_take_group(&mut self, gid: u32) -> bool {
        ids::can_take_group(gid)
    }
    fn no_new_privileges(&mut self) -> Result<(), OsError> {
        process::no_new_privileges()
    }
    fn die_with_parent(&mut self, signal: Signal) -> Result<(), OsError> {
        process::die_with_parent(signal)
    }
    fn parent(&mut self) -> Pid {
        process::parent()
    }
    fn change_directory(&mut self, path: &[u8]) -> Result<(), OsError> {
        process::change_directory(path)
    }
    fn status_of(&mut self, path: &[u8]) -> Result<Status, OsError> {
        file::status_of(path)
    }
    fn read_link(&mut self, path: &[u8]) -> Result<Option<Vec<u8>>, OsError> {
        file::read_link(path)
    }
    fn check(&mut self, path: &[u8], right: Right) -> Result<(), OsError> {
        file::check(path, right)
    }
    fn read_file(&mut self, path: &[u8], limit: usize) -> Result<Vec<u8>, OsError> {
        let opened = file::open(path, file::Links::Follow)?;
        fd::read_all(&opened, limit)
            .map_err(|e| OsError::new(e.call, String::from_utf8_lossy(path).into_owned(), e.errno))
    }
    fn names_in(&mut self, path: &[u8]) -> Result<Vec<Vec<u8>>, OsError> {
        file::names_in(path)
    }
    fn root_directory(&mut self) -> Result<OwnedFd, OsError> {
        walk::root()
    }
    fn component(&mut self, directory: &OwnedFd, name: &[u8]) -> Result<OwnedFd, OsError> {
        walk::component(directory, name)
    }
    fn target(&mut self, link: &OwnedFd) -> Result<Vec<u8>, OsError> {
        walk::target(link)
    }
    fn beneath(&mut self, directory: &OwnedFd, path: &[u8], kind: Kind) -> Result<OwnedFd, OsError> {
        walk::beneath(directory, path, kind)
    }
    fn status(&mut self, opened: &OwnedFd) -> Result<Status, OsError> {
        file::status(opened)
    }
    fn read(&mut self, opened: &OwnedFd, limit: usize) -> Result<Vec<u8>, OsError> {
        fd::read_all(opened, limit)
    }
    fn enter(&mut self, directory: &OwnedFd) -> Result<(), OsError> {
        walk::enter(directory)
    }
    fn append(&mut self, path: &[u8], line: &[u8]) -> Result<(), OsError> {
        own_log::append(path, line)
    }
    fn close_from(&mut self, first: u32) -> Result<(), OsError> {
        fd::close_from(first)
    }
    fn exec(&mut self, program: &[u8], arguments: &[Vec<u8>], environment: &[Vec<u8>]) -> OsError {
        process::exec(program, arguments, environment)
    }
}
