//! The directory of the sockets: made by the manager, closed to others, removed at the end.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rwsgi_os::file::{self, Links, Status};
use rwsgi_os::process::{self, Pid};
use rwsgi_os::socket::{self, Access, Kind, Mode};
use rwsgi_os::{OsError, ids};

/// Name of the socket on which httpd's children ask.
pub const ASK_SOCKET: &[u8] = b"manager.sock";
/// Name of the socket on which administrators ask.
pub const CTL_SOCKET: &[u8] = rwsgi_wire::admin::SOCKET;

/// A runtime directory. Dropping it removes it with the sockets in it.
#[derive(Debug)]
pub struct RuntimeDir {
    path: Vec<u8>,
    opened: OwnedFd,
    /// Group of httpd's children, when there is a right to give it.
    group: std::cell::Cell<Option<u32>>,
    next: std::cell::Cell<u64>,
}

impl RuntimeDir {
    /// Makes it, or takes over what an earlier httpd left, and removes the sockets in it, and what others left beside it. The error is a sentence.
    pub fn make(path: &[u8], server_gid: u32, root: bool) -> Result<Self, String> {
        let made = Self::take_over(path, server_gid, root)?;
        made.remove_sockets_but(|_| false);
        for left in abandoned_beside(path) {
            // Not ours: it is refused, and stays.
            drop(Self::take_over(&left, server_gid, root));
        }
        Ok(made)
    }

    /// As [`make`](Self::make), leaving the sockets of an earlier manager that are gone on with.
    pub fn take_over(path: &[u8], server_gid: u32, root: bool) -> Result<Self, String> {
        let shown = String::from_utf8_lossy(path).into_owned();
        let group = root.then_some(server_gid);
        if path.first() != Some(&b'/') {
            return Err(format!("the runtime directory {shown} is not an absolute path"));
        }
        refuse_unless_safe_above(path, &shown)?;
        match file::make_directory(path, 0o700) {
            Ok(()) => {}
            Err(e) if e.errno == EEXIST => {}
            Err(e) if e.is_not_found() => {
                return Err(format!(
                    "the directory for {shown} does not exist: create it, or set WSGISocketPrefix to a path in a directory that exists"
                ));
            }
            Err(e) => {
                return Err(format!(
                    "the runtime directory cannot be made ({e}): set WSGISocketPrefix to a path that httpd's starter may write"
                ));
            }
        }
        let opened = file::open_directory(path, Links::Refuse)
            .map_err(|e| format!("the runtime directory cannot be opened ({e})"))?;
        let status = file::status(&opened).map_err(|e| e.to_string())?;
        refuse_unless_ours(&status, &shown)?;
        let mode = if group.is_some() { 0o710 } else { 0o700 };
        file::set_access(&opened, None, group, mode).map_err(|e| format!("{shown}: {e}"))?;
        let made = Self {
            path: path.to_vec(),
            opened,
            group: std::cell::Cell::new(group),
            next: std::cell::Cell::new(1),
        };
        let numbers = made.names().into_iter().filter_map(|name| {
            let number = name.strip_suffix(b".sock")?;
            std::str::from_utf8(number).ok()?.parse::<u64>().ok()
        });
        made.next
            .set(numbers.max().map_or(1, |last| last.saturating_add(1)));
        Ok(made)
    }

    /// Its path.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Group of httpd's children, when there is a right to give it.
    pub fn group(&self) -> Option<u32> {
        self.group.get()
    }

    /// Whether it is still there under its name; somebody may have cleaned up.
    pub fn is_in_place(&self) -> bool {
        match (file::status_of_link(&self.path), file::status(&self.opened)) {
            (Ok(named), Ok(opened)) => named.identity == opened.identity,
            _ => false,
        }
    }

    /// Opens it to another group of httpd's children; sockets made from now on belong to that.
    pub fn open_to(&self, server_gid: u32) -> Result<(), String> {
        if self.group.get().is_some_and(|g| g != server_gid) {
            self.group.set(Some(server_gid));
            let done = file::set_access(&self.opened, None, Some(server_gid), 0o710);
            done.map_err(|e| format!("{}: {e}", String::from_utf8_lossy(&self.path)))?;
        }
        Ok(())
    }

    /// Listens on a new socket of this name, open to httpd's group; `owner` owns it, else this user.
    pub fn listen(
        &self,
        kind: Kind,
        name: &[u8],
        backlog: u32,
        owner: Option<u32>,
    ) -> Result<(Vec<u8>, OwnedFd), OsError> {
        let path = [&self.path[..], b"/", name].concat();
        let access = Access {
            mode: if self.group.get().is_some() { 0o660 } else { 0o600 },
            uid: owner,
            gid: self.group.get(),
        };
        let listener = socket::listen(kind, &path, access, backlog)?;
        Ok((path, listener))
    }

    /// Listens on a new socket of this name, open to nobody but this user, who is root where there is a right to be.
    pub fn listen_for_root(&self, name: &[u8]) -> Result<(Vec<u8>, OwnedFd), OsError> {
        /// Connections that may wait to be accepted: nobody else comes here than who administers this machine.
        const BACKLOG: u32 = 16;
        let path = [&self.path[..], b"/", name].concat();
        let access = Access {
            mode: 0o600,
            uid: None,
            gid: None,
        };
        let listener = socket::listen(Kind::SeqPacket, &path, access, BACKLOG)?;
        Ok((path, listener))
    }

    /// A name not used before in this directory.
    pub fn fresh_name(&self) -> Vec<u8> {
        let n = self.next.get();
        self.next.set(n + 1);
        format!("{n}.sock").into_bytes()
    }

    /// Removes one socket by its path in this directory.
    pub fn remove(&self, path: &[u8]) {
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        let _ = file::remove_in(self.opened.as_fd(), name);
    }

    fn names(&self) -> Vec<Vec<u8>> {
        let entries = std::fs::read_dir(OsStr::from_bytes(&self.path));
        let entries = entries.into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().into_encoded_bytes())
            .collect()
    }

    /// Removes the sockets, except those whose path is `needed`.
    pub fn remove_sockets_but(&self, needed: impl Fn(&[u8]) -> bool) {
        for name in self.names() {
            if name.ends_with(b".sock") && !needed(&[&self.path[..], b"/", &name].concat()) {
                let _ = file::remove_in(self.opened.as_fd(), &name);
            }
        }
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        // Under this name may be another's directory by now.
        if self.is_in_place() {
            self.remove_sockets_but(|_| false);
            let _ = file::remove_directory(&self.path);
        }
    }
}

/// "File exists", the same number on every Linux.
const EEXIST: i32 = 17;

/// What is made in a directory that others may write can be swapped by them, unless the directory is sticky.
fn refuse_unless_safe_above(path: &[u8], shown: &str) -> Result<(), String> {
    let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0).max(1);
    let above = path.get(..end).unwrap_or(b"/");
    let Ok(status) = file::status_of(above) else {
        return Ok(());
    };
    if status.is_open_to_others(ids::user_ids().effective) {
        return Err(format!(
            "the directory of {shown} can be changed by others than root: set WSGISocketPrefix to a path in a directory that only root may write"
        ));
    }
    Ok(())
}

/// The directories of managers that were killed together with their httpd, as systemd does when it has waited for long enough: their names differ
/// from this one in the number at the end alone, no process has that, and nobody listens there. Other containers may have theirs here.
fn abandoned_beside(path: &[u8]) -> Vec<Vec<u8>> {
    let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    let (above, name) = path.split_at(end);
    let Some(dot) = name.iter().rposition(|b| *b == b'.') else {
        return Vec::new();
    };
    let stem = name.get(1..=dot).unwrap_or_default();
    // Where others may write they may have written any number of names.
    if !file::status_of(above).is_ok_and(|status| status.mode & 0o022 == 0) {
        return Vec::new();
    }
    let names = file::names_in(above).unwrap_or_default().into_iter();
    let is_abandoned = |name: &[u8]| {
        let number = name.strip_prefix(stem).map(std::str::from_utf8);
        let httpd = number.and_then(|text| text.ok()?.parse().ok()).map(Pid);
        let door = [above, b"/", name, b"/", ASK_SOCKET].concat();
        httpd.is_some_and(|httpd| !process::exists(httpd))
            && socket::connect(Kind::SeqPacket, &door, Mode::NonBlocking).is_err_and(|e| e.is_refused())
    };
    let left = names.filter(|name| is_abandoned(name));
    left.map(|name| [above, b"/", &name[..]].concat()).collect()
}

/// The first directory above `path` through which a process of this user cannot pass, whatever its groups.
pub fn closed_above(path: &[u8], uid: u32) -> Option<String> {
    let mut above = Path::new(OsStr::from_bytes(path))
        .ancestors()
        .skip(1)
        .collect::<Vec<_>>();
    above.reverse();
    let is_closed = |directory: &&Path| {
        file::status_of(directory.as_os_str().as_bytes()).is_ok_and(|status| {
            // Where its group may pass, or an access control list names somebody, httpd's user may be meant.
            let own = if status.uid == uid { 0o100 } else { 0 };
            status.mode & (0o011 | own) == 0
        })
    };
    let closed = above.into_iter().find(is_closed);
    closed.map(|directory| directory.display().to_string())
}

fn refuse_unless_ours(status: &Status, shown: &str) -> Result<(), String> {
    if status.uid == ids::user_ids().effective && status.mode & 0o022 == 0 {
        return Ok(());
    }
    Err(format!(
        "{shown} exists and is not this httpd's own (owner {}, mode {:o}): remove it, or set WSGISocketPrefix to another path",
        status.uid,
        status.mode & 0o7777
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> String {
        let dir = std::env::temp_dir().join(format!("rwsgi-run-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        dir.to_str().unwrap().to_owned()
    }

    #[test]
    fn it_is_made_private_and_removed_with_its_sockets() {
        let above = place("made");
        let path = format!("{above}/run.1");
        let made = RuntimeDir::make(path.as_bytes(), 0, false).unwrap();
        assert_eq!(file::status_of(path.as_bytes()).unwrap().mode & 0o777, 0o700);
        let (socket, _listener) = made.listen(Kind::Stream, &made.fresh_name(), 5, None).unwrap();
        assert!(file::status_of(&socket).unwrap().is_socket());
        drop(made);
        assert!(file::status_of(path.as_bytes()).unwrap_err().is_not_found());
        std::fs::remove_dir_all(above).unwrap();
    }

    #[test]
    fn a_closed_directory_on_the_way_is_found_unless_the_user_or_a_group_may_pass() {
        use std::os::unix::fs::PermissionsExt;
        let above = place("closed");
        let (path, stranger) = (format!("{above}/run.3"), u32::MAX - 1);
        let own = file::status_of(above.as_bytes()).unwrap().uid;
        for (mode, uid, is_closed) in [
            (0o755, stranger, false),
            (0o700, stranger, true),
            (0o710, stranger, false),
            (0o700, own, false),
            (0o600, own, true),
        ] {
            std::fs::set_permissions(&above, std::fs::Permissions::from_mode(mode)).unwrap();
            let found = closed_above(path.as_bytes(), uid);
            assert_eq!(found.is_some_and(|found| found == above), is_closed, "{mode:o}");
        }
        std::fs::remove_dir_all(above).unwrap();
    }

    // R31
    #[test]
    fn a_leftover_of_an_earlier_manager_is_taken_over_and_a_strangers_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let above = place("left");
        let path = format!("{above}/run.2");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(format!("{path}/7.sock"), b"").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        let refused = RuntimeDir::make(path.as_bytes(), 0, false).unwrap_err();
        assert!(refused.contains("not this httpd's own"), "{refused}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let made = RuntimeDir::make(path.as_bytes(), 0, false).unwrap();
        assert!(file::status_of(format!("{path}/7.sock").as_bytes()).is_err());
        drop(made);
        std::fs::remove_dir_all(above).unwrap();
    }

    #[test]
    fn f38_what_dead_managers_left_beside_it_is_removed_and_nothing_else() {
        let above = place("beside");
        let path = |name: &str| format!("{above}/{name}");
        let make = |name: &str| RuntimeDir::make(path(name).as_bytes(), 0, false).unwrap();
        let listen = |made: &RuntimeDir| made.listen(Kind::SeqPacket, ASK_SOCKET, 5, None).unwrap();
        // No process gets numbers like these; this one has the last.
        let own = format!("run.{}", std::process::id());
        let names = ["run.4194303", "run.4194304", "other.4194303", "run.x", &own];
        let made = names.map(make);
        let mut listeners = made.each_ref().map(listen).map(|(_, listener)| Some(listener));
        for dead in [0, 2, 3, 4] {
            listeners[dead] = None;
        }
        std::fs::create_dir(path("run.4194305")).unwrap();
        let new = make("run.1");
        let is_there = |name: &str| Path::new(&path(name)).exists();
        assert!(!is_there("run.4194303"));
        for name in [
            "run.4194304",
            "other.4194303",
            "run.x",
            &own,
            "run.4194305",
            "run.1",
        ] {
            assert!(is_there(name), "{name}");
        }
        drop((made, new));
        std::fs::remove_dir_all(above).unwrap();
    }

    // R31
    #[test]
    fn a_directory_that_others_may_write_and_a_missing_one_are_refused_with_the_remedy() {
        use std::os::unix::fs::PermissionsExt;
        let above = place("open");
        std::fs::set_permissions(&above, std::fs::Permissions::from_mode(0o777)).unwrap();
        let refused = RuntimeDir::make(format!("{above}/run").as_bytes(), 0, false).unwrap_err();
        assert!(refused.contains("WSGISocketPrefix"), "{refused}");
        std::fs::remove_dir_all(&above).unwrap();
        let refused = RuntimeDir::make(format!("{above}/run").as_bytes(), 0, false).unwrap_err();
        assert!(refused.contains("does not exist"), "{refused}");
    }
}
