//! Where an application of a user is, and what is looked at there before it runs: all of it as that user, on descriptors, each once.
//!
//! The numbers C5 to C24 are those of the requirements in `docs/security.md`.

use rwsgi_os::file::Status;
use rwsgi_os::system::System;
use rwsgi_os::walk::Kind;
use rwsgi_wire::WireError;
use rwsgi_wire::bytes::{Fields, Put};
use rwsgi_wire::limits::SCRIPT_MAX;

use crate::codes;
use crate::journey::Stop;

/// Most symbolic links on the way to a base, as in the kernel.
const LINKS_MAX: usize = 40;
/// "No such file", the same number on every Linux.
const ENOENT: i32 = 2;
/// "Permission denied".
const EACCES: i32 = 13;

/// An application below a base.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The user's directory of the base, absolute.
    pub base: Vec<u8>,
    /// The application's, relative to that; may be empty.
    pub directory: Vec<u8>,
    /// The script's name in it.
    pub script: Vec<u8>,
    /// As in [`BaseRules`](rwsgi_wire::base::BaseRules).
    pub root_owned: bool,
    /// As there.
    pub python_versions: Vec<Vec<u8>>,
    /// As there.
    pub user_log: Vec<u8>,
}

impl Place {
    /// Appends it to settings.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.put_bytes(&self.base);
        out.put_bytes(&self.directory);
        out.put_bytes(&self.script);
        out.put_u8(self.root_owned.into());
        out.put_list(&self.python_versions);
        out.put_bytes(&self.user_log);
    }

    /// Takes it from settings.
    pub fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            base: f.bytes("base")?.into(),
            directory: f.bytes("directory")?.into(),
            script: f.bytes("script")?.into(),
            root_owned: f.bool("root owned")?,
            python_versions: f.list("python versions")?.into_iter().map(Into::into).collect(),
            user_log: f.bytes("user log")?.into(),
        })
    }

    /// The application's directory, absolute.
    pub fn path(&self) -> Vec<u8> {
        match &self.directory[..] {
            b"" => self.base.clone(),
            directory => [&self.base[..], b"/", directory].concat(),
        }
    }

    /// The log of the user with this home, absolute; empty for none.
    pub fn log_of(&self, home: &[u8]) -> Vec<u8> {
        match &self.user_log[..] {
            b"" => Vec::new(),
            log => [home, b"/", log].concat(),
        }
    }

    /// The script, absolute.
    pub fn script_path(&self) -> Vec<u8> {
        [&self.path()[..], b"/", &self.script].concat()
    }
}

/// Whose it all must be.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// User id.
    pub uid: u32,
    /// Login name.
    pub name: &'a str,
    /// Home directory.
    pub home: &'a [u8],
}

/// Looks at everything from the root directory to the script; answers the application's directory.
pub fn check<S: System>(system: &mut S, place: &Place, owner: Owner<'_>) -> Result<S::Opened, Stop> {
    let checks = Checks { place, owner };
    checks.home(system)?;
    let base = checks.way_to_base(system)?;
    let directory = checks.way_to_application(system, base)?;
    checks.script(system, &directory)?;
    Ok(directory)
}

struct Checks<'a> {
    place: &'a Place,
    owner: Owner<'a>,
}

impl Checks<'_> {
    /// C22
    fn home<S: System>(&self, system: &mut S) -> Result<(), Stop> {
        let (home, name) = (text(self.owner.home), self.owner.name);
        let refused = |what: String| Err(Stop::new(codes::HOME_NOT_OWN, what));
        match system.status_of(self.owner.home) {
            Ok(status) if status.is_directory() && status.uid == self.owner.uid => Ok(()),
            Ok(status) if status.is_directory() => refused(format!(
                "the home directory {home} of {name} belongs to uid {}: give it to {name} (chown)",
                status.uid
            )),
            Ok(_) => refused(format!("the home of {name}, {home}, is not a directory")),
            Err(error) => refused(format!(
                "the home directory {home} of {name} cannot be used: {}; create it, or correct the account",
                error.reason()
            )),
        }
    }

    /// C12, C13: from `/` to the base, through links only where root has made them.
    fn way_to_base<S: System>(&self, system: &mut S) -> Result<S::Opened, Stop> {
        let mut todo = components(&self.place.base);
        todo.reverse();
        let root = system.root_directory().map_err(|e| self.stopped(b"/", &e))?;
        let mut way = vec![(Vec::new(), root)];
        let mut links = 0;
        while let Some(name) = todo.pop() {
            let Some((above, here)) = way.last() else {
                break;
            };
            if name == b".." {
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            let path = [&above[..], b"/", &name].concat();
            let opened = system
                .component(here, &name)
                .map_err(|e| self.stopped(&path, &e))?;
            let status = system.status(&opened).map_err(|e| self.stopped(&path, &e))?;
            if status.is_link() {
                links += 1;
                if status.uid != 0 || links > LINKS_MAX {
                    return Err(leads_out(format!(
                        "{} is a symbolic link of uid {}: on the way to {} only root's links are followed; use a directory",
                        text(&path),
                        status.uid,
                        text(&self.place.base)
                    )));
                }
                let target = system.target(&opened).map_err(|e| self.stopped(&path, &e))?;
                if target.first() == Some(&b'/') {
                    way.truncate(1);
                }
                todo.extend(components(&target).into_iter().rev());
                continue;
            }
            self.is_safe(&path, &status)?;
            way.push((path, opened));
        }
        let (path, base) = way
            .pop()
            .ok_or_else(|| self.outside(&self.place.base, "has no directory"))?;
        let status = system.status(&base).map_err(|e| self.stopped(&path, &e))?;
        self.is_own(&path, &status)?;
        Ok(base)
    }

    /// C12, C13, C17: below the base, through no link at all, and everything is the user's.
    fn way_to_application<S: System>(&self, system: &mut S, base: S::Opened) -> Result<S::Opened, Stop> {
        let (mut here, mut path) = (base, self.place.base.clone());
        for name in components(&self.place.directory) {
            path = [&path[..], b"/", &name].concat();
            let opened = system
                .beneath(&here, &name, Kind::Directory)
                .map_err(|e| self.stopped(&path, &e))?;
            let status = system.status(&opened).map_err(|e| self.stopped(&path, &e))?;
            self.is_safe(&path, &status)?;
            self.is_own(&path, &status)?;
            here = opened;
        }
        Ok(here)
    }

    /// C14 to C18
    fn script<S: System>(&self, system: &mut S, directory: &S::Opened) -> Result<(), Stop> {
        let path = self.place.script_path();
        let shown = text(&path);
        let name = self.owner.name;
        let opened = system
            .beneath(directory, &self.place.script, Kind::File)
            .map_err(|error| match error.errno {
                EACCES => Stop::new(
                    codes::SCRIPT_UNREADABLE,
                    format!("{name} may not read the script {shown}: correct its permissions (chmod u+r)"),
                ),
                ENOENT => not_a_file(format!("the script {shown} does not exist")),
                _ => not_a_file(format!(
                    "the script {shown} cannot be opened: {}; it must be a regular file, not a symbolic link",
                    error.reason()
                )),
            })?;
        let status = system.status(&opened).map_err(|e| self.stopped(&path, &e))?;
        if !status.is_file() {
            return Err(not_a_file(format!("the script {shown} is not a regular file")));
        }
        let refused = |code, what: String| Err(Stop::new(code, format!("the script {shown} {what}")));
        if status.mode & 0o022 != 0 {
            let mode = status.mode & 0o7777;
            let what = format!("has mode {mode:04o}, so that others than {name} may write it: chmod go-w it");
            return refused(codes::SCRIPT_WRITABLE, what);
        }
        if status.mode & 0o6000 != 0 {
            let what = format!(
                "has mode {:04o}: take the set-id bits away (chmod ug-s)",
                status.mode & 0o7777
            );
            return refused(codes::SCRIPT_SETUID, what);
        }
        if !self.is_owner(&status) {
            return Err(not_own(format!("the script {shown} {}", self.belongs(&status))));
        }
        if status.size > SCRIPT_MAX {
            let what = format!(
                "has {} bytes, and no more than {SCRIPT_MAX} are loaded: put data into files of their own",
                status.size
            );
            return refused(codes::SCRIPT_TOO_LARGE, what);
        }
        Ok(())
    }

    /// C13: nobody but root and the user can exchange what is in it.
    fn is_safe(&self, path: &[u8], status: &Status) -> Result<(), Stop> {
        let refused = |what: String| Err(not_safe(format!("{} {what}", text(path))));
        let name = self.owner.name;
        if !status.is_directory() {
            return Err(self.outside(path, "is not a directory"));
        }
        if status.uid != 0 && status.uid != self.owner.uid {
            return refused(format!(
                "belongs to uid {}, who could exchange what {name} runs: it must be root's or {name}'s",
                status.uid
            ));
        }
        let is_sticky = status.mode & 0o1000 != 0 && status.uid == 0;
        if status.mode & 0o022 != 0 && !is_sticky {
            return refused(format!(
                "has mode {:04o}, so that others could exchange what {name} runs: chmod go-w it",
                status.mode & 0o7777
            ));
        }
        Ok(())
    }

    /// C17
    fn is_own(&self, path: &[u8], status: &Status) -> Result<(), Stop> {
        let is_shared = status.mode & 0o022 != 0;
        if is_shared {
            // Sticky, which is enough on the way but not for what is the user's own.
            return Err(not_safe(format!(
                "{} may be written by others than {}: chmod go-w it",
                text(path),
                self.owner.name
            )));
        }
        match self.is_owner(status) {
            true => Ok(()),
            false => Err(not_own(format!("{} {}", text(path), self.belongs(status)))),
        }
    }

    fn is_owner(&self, status: &Status) -> bool {
        status.uid == self.owner.uid || (self.place.root_owned && status.uid == 0)
    }

    fn belongs(&self, status: &Status) -> String {
        let name = self.owner.name;
        let or_root = if self.place.root_owned { " or root" } else { "" };
        format!(
            "belongs to uid {}, and what runs as {name} must belong to {name}{or_root}: chown it",
            status.uid
        )
    }

    fn outside(&self, path: &[u8], why: &str) -> Stop {
        leads_out(format!(
            "{} {why}: below {} an application is reached through directories only, not through symbolic links",
            text(path),
            text(&self.place.base)
        ))
    }

    fn stopped(&self, path: &[u8], error: &rwsgi_os::OsError) -> Stop {
        match error.errno {
            EACCES => leads_out(format!(
                "{} has no permission to pass {}",
                self.owner.name,
                text(parent_of(path))
            )),
            ENOENT => leads_out(format!("{} does not exist", text(path))),
            _ => self.outside(path, &format!("cannot be passed ({})", error.reason())),
        }
    }
}

/// C12
fn leads_out(text: String) -> Stop {
    Stop::new(codes::WAY_LEADS_OUT, text)
}

/// C13
fn not_safe(text: String) -> Stop {
    Stop::new(codes::WAY_NOT_SAFE, text)
}

/// C14
fn not_a_file(text: String) -> Stop {
    Stop::new(codes::SCRIPT_NOT_A_FILE, text)
}

/// C17
fn not_own(text: String) -> Stop {
    Stop::new(codes::NOT_OWN, text)
}

fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|b| *b == b'/');
    parts
        .filter(|c| !matches!(*c, b"" | b"."))
        .map(<[u8]>::to_vec)
        .collect()
}

fn parent_of(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|b| *b == b'/') {
        None | Some(0) => b"/",
        Some(end) => path.get(..end).unwrap_or(path),
    }
}

fn text(bytes: &[u8]) -> String {
    crate::lines::escape(bytes)
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
