//! A [`System`] that does nothing but remember: every call in its order, with an error or a lie where a test asks for one.

use std::collections::BTreeMap;

use crate::OsError;
use crate::capability::Sets;
use crate::file::{Right, Status};
use crate::ids::Ids;
use crate::process::Pid;
use crate::rlimit::Resource;
use crate::signal::Signal;
use crate::system::System;
use crate::walk::Kind;

/// The double. It behaves as a process of root would: ids change when they are set, and a drop cannot be undone.
#[derive(Debug, Clone)]
pub struct Fake {
    /// Every call so far, "set_user(1000)".
    pub calls: Vec<String>,
    /// The call of this name fails with this error number.
    pub fails: Option<(&'static str, i32)>,
    /// The call of this name says it succeeded and does nothing.
    pub lies: Option<&'static str>,
    /// The user ids.
    pub user: Ids,
    /// The group ids.
    pub group: Ids,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// The capabilities. The double keeps them when the user changes, as some containers do.
    pub capabilities: Sets,
    /// The parent's process id.
    pub parent: Pid,
    /// The files: path to mode, contents (or target of a link). What is not here does not exist.
    pub files: BTreeMap<Vec<u8>, (u32, Vec<u8>)>,
    /// Who owns them; what is not here is root's.
    pub owners: BTreeMap<Vec<u8>, u32>,
    /// Paths that may not be passed, read or executed.
    pub forbidden: Vec<Vec<u8>>,
}

impl Default for Fake {
    fn default() -> Self {
        let root = Ids {
            real: 0,
            effective: 0,
            saved: 0,
        };
        Self {
            calls: Vec::new(),
            fails: None,
            lies: None,
            user: root,
            group: root,
            groups: vec![0],
            capabilities: Sets {
                effective: u64::MAX,
                permitted: u64::MAX,
                inheritable: 0,
            },
            parent: Pid(2),
            files: BTreeMap::new(),
            owners: BTreeMap::new(),
            forbidden: Vec::new(),
        }
    }
}

/// What a call does: really, only in words, or not at all.
enum Turn {
    Do,
    Lie,
}

impl Fake {
    /// Adds a directory.
    pub fn directory(&mut self, path: &str) {
        self.files
            .insert(path.into(), (libc::S_IFDIR | 0o755, Vec::new()));
    }
    /// Adds a file.
    pub fn file(&mut self, path: &str, contents: &str) {
        self.files
            .insert(path.into(), (libc::S_IFREG | 0o755, contents.into()));
    }
    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.files
            .insert(path.into(), (libc::S_IFLNK | 0o777, target.into()));
    }
    /// Gives what is there to a user, with these permission bits.
    pub fn give(&mut self, path: &str, uid: u32, permissions: u32) {
        self.owners.insert(path.into(), uid);
        if let Some((mode, _)) = self.files.get_mut(path.as_bytes()) {
            *mode = *mode & libc::S_IFMT | permissions;
        }
    }
    /// The names of the calls so far, without arguments.
    pub fn names(&self) -> Vec<&str> {
        self.calls
            .iter()
            .map(|c| c.split('(').next().unwrap_or(c))
            .collect()
    }

    fn turn(&mut self, name: &'static str, argument: impl std::fmt::Display) -> Result<Turn, OsError> {
        self.calls.push(format!("{name}({argument})"));
        match self.fails {
            Some((failing, errno)) if failing == name => Err(OsError::new(name, "", errno)),
            _ if self.lies == Some(name) => Ok(Turn::Lie),
            _ => Ok(Turn::Do),
        }
    }

    fn look(&mut self, call: &'static str, path: &[u8]) -> Result<(u32, Vec<u8>), OsError> {
        let text = String::from_utf8_lossy(path).into_owned();
        self.calls.push(format!("{call}({text})"));
        let parents = (1..path.len())
            .filter(|i| path.get(*i) == Some(&b'/'))
            .filter_map(|i| path.get(..i));
        if parents.clone().any(|p| self.forbidden.iter().any(|f| f == p)) {
            return Err(OsError::new(call, text, libc::EACCES));
        }
        if path == b"/" {
            return Ok((libc::S_IFDIR | 0o755, Vec::new()));
        }
        self.files
            .get(path)
            .cloned()
            .ok_or(OsError::new(call, text, libc::ENOENT))
    }

    fn described(&self, path: &[u8], mode: u32, contents: &[u8]) -> Status {
        Status {
            identity: (0, 0),
            mode,
            uid: self.owners.get(path).copied().unwrap_or(0),
            gid: 0,
            size: contents.len() as u64,
            modified: 0,
        }
    }

    /// Follows links of the last component (absolute ones only); answers what is there in the end, and where that is.
    fn follow(&mut self, call: &'static str, path: &[u8]) -> Result<(u32, Vec<u8>, Vec<u8>), OsError> {
        let mut path = path.to_vec();
        for _ in 0..8 {
            let (mode, contents) = self.look(call, &path)?;
            if mode & libc::S_IFMT != libc::S_IFLNK {
                return Ok((mode, contents, path));
            }
            path = contents;
        }
        Err(OsError::new(call, "", libc::ELOOP))
    }
}

impl System for Fake {
    /// Its path.
    type Opened = Vec<u8>;

    fn set_limit(&mut self, resource: Resource, soft: u64, _hard: u64) -> Result<(), OsError> {
        self.turn("set_limit", format_args!("{resource:?} {soft}"))
            .map(drop)
    }
    fn limit(&mut self, _: Resource) -> Result<(u64, u64), OsError> {
        Ok((crate::rlimit::UNLIMITED, crate::rlimit::UNLIMITED))
    }
    fn set_priority(&mut self, nice: i32) -> Result<(), OsError> {
        self.turn("set_priority", nice).map(drop)
    }
    fn change_root(&mut self, path: &[u8]) -> Result<(), OsError> {
        self.turn("change_root", String::from_utf8_lossy(path)).map(drop)
    }
    fn drop_bounding_set(&mut self) -> Result<(), OsError> {
        self.turn("drop_bounding_set", "").map(drop)
    }
    fn capabilities(&mut self) -> Result<Sets, OsError> {
        self.turn("capabilities", "").map(|_| self.capabilities)
    }
    fn drop_capabilities(&mut self) -> Result<(), OsError> {
        if let Turn::Do = self.turn("drop_capabilities", "")? {
            self.capabilities = Sets::default();
        }
        Ok(())
    }
    fn join_group(&mut self, door: i32) -> Result<(), OsError> {
        self.turn("join_group", door).map(drop)
    }
    fn be_killed_first(&mut self) -> Result<(), OsError> {
        self.turn("be_killed_first", "").map(drop)
    }
    fn umask(&mut self, mask: u32) {
        self.calls.push(format!("umask({mask:03o})"));
    }
    fn new_session(&mut self) -> Result<(), OsError> {
        self.turn("new_session", "").map(drop)
    }
    fn set_groups(&mut self, groups: &[u32]) -> Result<(), OsError> {
        if let Turn::Do = self.turn("set_groups", format_args!("{groups:?}"))? {
            self.groups = groups.to_vec();
            self.groups.sort_unstable();
        }
        Ok(())
    }
    fn set_group(&mut self, gid: u32) -> Result<(), OsError> {
        if let Turn::Do = self.turn("set_group", gid)? {
            self.group = Ids {
                real: gid,
                effective: gid,
                saved: gid,
            };
        }
        Ok(())
    }
    fn set_user(&mut self, uid: u32) -> Result<(), OsError> {
        if let Turn::Do = self.turn("set_user", uid)? {
            self.user = Ids {
                real: uid,
                effective: uid,
                saved: uid,
            };
        }
        Ok(())
    }
    fn user_ids(&mut self) -> Ids {
        self.user
    }
    fn group_ids(&mut self) -> Ids {
        self.group
    }
    fn groups(&mut self) -> Result<Vec<u32>, OsError> {
        self.turn("groups", "").map(|_| self.groups.clone())
    }
    fn can_regain_root(&mut self) -> bool {
        self.calls.push("can_regain_root()".into());
        self.lies == Some("can_regain_root")
            || [self.user.real, self.user.effective, self.user.saved].contains(&0)
    }
    fn can_take_group(&mut self, gid: u32) -> bool {
        self.calls.push(format!("can_take_group({gid})"));
        self.lies == Some("can_take_group") || self.user.effective == 0 || self.group.saved == gid
    }
    fn no_new_privileges(&mut self) -> Result<(), OsError> {
        self.turn("no_new_privileges", "").map(drop)
    }
    fn die_with_parent(&mut self, signal: Signal) -> Result<(), OsError> {
        self.turn("die_with_parent", signal.0).map(drop)
    }
    fn parent(&mut self) -> Pid {
        self.parent
    }
    fn change_directory(&mut self, path: &[u8]) -> Result<(), OsError> {
        self.turn("change_directory", String::from_utf8_lossy(path))
            .map(drop)
    }
    fn status_of(&mut self, path: &[u8]) -> Result<Status, OsError> {
        let (mode, contents, real) = self.follow("status_of", path)?;
        Ok(self.described(&real, mode, &contents))
    }
    fn read_link(&mut self, path: &[u8]) -> Result<Option<Vec<u8>>, OsError> {
        let (mode, target) = self.look("read_link", path)?;
        Ok(Some(target).filter(|_| mode & libc::S_IFMT == libc::S_IFLNK))
    }
    fn check(&mut self, path: &[u8], _right: Right) -> Result<(), OsError> {
        let (_, _, real) = self.follow("check", path)?;
        if self.forbidden.contains(&real) {
            let text = String::from_utf8_lossy(path).into_owned();
            return Err(OsError::new("check", text, libc::EACCES));
        }
        Ok(())
    }
    fn read_file(&mut self, path: &[u8], _limit: usize) -> Result<Vec<u8>, OsError> {
        let (_, contents, _) = self.follow("read_file", path)?;
        self.check(path, Right::Read)?;
        Ok(contents)
    }
    fn names_in(&mut self, path: &[u8]) -> Result<Vec<Vec<u8>>, OsError> {
        self.look("names_in", path)?;
        let prefix = [path, b"/"].concat();
        let below = self
            .files
            .keys()
            .filter_map(|file| file.strip_prefix(&prefix[..]));
        let names = below.filter(|name| !name.contains(&b'/'));
        Ok(names.map(<[u8]>::to_vec).collect())
    }
    fn root_directory(&mut self) -> Result<Vec<u8>, OsError> {
        self.turn("root_directory", "").map(|_| Vec::new())
    }
    fn component(&mut self, directory: &Vec<u8>, name: &[u8]) -> Result<Vec<u8>, OsError> {
        let path = [&directory[..], b"/", name].concat();
        self.look("component", &path)?;
        Ok(path)
    }
    fn target(&mut self, link: &Vec<u8>) -> Result<Vec<u8>, OsError> {
        self.look("target", link).map(|(_, target)| target)
    }
    fn beneath(&mut self, directory: &Vec<u8>, path: &[u8], kind: Kind) -> Result<Vec<u8>, OsError> {
        let path = [&directory[..], b"/", path].concat();
        let (mode, _) = self.look("beneath", &path)?;
        let errno = match (mode & libc::S_IFMT, kind) {
            (libc::S_IFLNK, _) => libc::ELOOP,
            (other, Kind::Directory) if other != libc::S_IFDIR => libc::ENOTDIR,
            (_, Kind::File) if self.forbidden.contains(&path) => libc::EACCES,
            _ => return Ok(path),
        };
        Err(OsError::new("beneath", "", errno))
    }
    fn status(&mut self, opened: &Vec<u8>) -> Result<Status, OsError> {
        let (mode, contents) = match &opened[..] {
            b"" => (libc::S_IFDIR | 0o755, Vec::new()),
            path => self.look("status", path)?,
        };
        Ok(self.described(opened, mode, &contents))
    }
    fn read(&mut self, opened: &Vec<u8>, _limit: usize) -> Result<Vec<u8>, OsError> {
        self.look("read", opened).map(|(_, contents)| contents)
    }
    fn enter(&mut self, directory: &Vec<u8>) -> Result<(), OsError> {
        self.turn("enter", String::from_utf8_lossy(directory)).map(drop)
    }
    fn append(&mut self, path: &[u8], line: &[u8]) -> Result<(), OsError> {
        let (path, line) = (String::from_utf8_lossy(path), String::from_utf8_lossy(line));
        let text = format!("{path}: {line}");
        self.turn("append", text).map(drop)
    }
    fn close_from(&mut self, first: u32) -> Result<(), OsError> {
        self.turn("close_from", first).map(drop)
    }
    fn exec(&mut self, program: &[u8], _arguments: &[Vec<u8>], _environment: &[Vec<u8>]) -> OsError {
        match self.turn("exec", String::from_utf8_lossy(program)) {
            Err(e) => e,
            // A real exec does not come back; this error number says so to the tests.
            Ok(_) => OsError::new("exec", "", 0),
        }
    }
}
