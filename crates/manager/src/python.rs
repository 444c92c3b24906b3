//! Which Python a worker runs, and what is wrong when there is none. Runs as the user, after the change of identity, so that
//! every answer is about what that user may do.

use rwsgi_os::file::Right;
use rwsgi_os::system::System;

use crate::codes;
use crate::journey::Stop;

/// Where programs are looked for; also the `PATH` of workers.
pub const PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Oldest minor version of Python 3 that serves.
const OLDEST: u32 = 9;
/// Most links followed on the way to a program, as in the kernel.
const LINKS_MAX: usize = 40;
/// Largest `pyvenv.cfg` that is read, bytes.
const CFG_MAX: usize = 64 << 10;

/// The program to execute: `bin/python3` or `bin/python` of `home` (a venv or a prefix), or the first `python3` of [`PATH`] if
/// `home` is empty. `user` is for the messages.
pub fn find(system: &mut impl System, home: &[u8], user: &str) -> Result<Vec<u8>, Stop> {
    if home.is_empty() {
        return find_system(system, user);
    }
    let shown = text(home);
    if home.first() != Some(&b'/') {
        return Err(Stop::new(
            codes::HOME_RELATIVE,
            format!("python-home={shown} is not an absolute path: write the whole path"),
        ));
    }
    let search = Search {
        home: trimmed(home),
        shown,
        user,
    };
    search.check_home(system)?;
    search.check_venv(system)?;
    let (program, resolved) = search.find_program(system)?;
    search.check_age(system, &resolved)?;
    Ok(program)
}

fn find_system(system: &mut impl System, user: &str) -> Result<Vec<u8>, Stop> {
    PATH.iter()
        .map(|directory| format!("{directory}/python3").into_bytes())
        .find(|path| {
            system.status_of(path).is_ok_and(|s| s.is_file()) && system.check(path, Right::Execute).is_ok()
        })
        .ok_or_else(|| {
            Stop::new(
                codes::NO_SYSTEM_PYTHON,
                format!(
                    "there is no python3 that {user} may execute in {}: install Python 3.9 or newer, or set python-home",
                    PATH.join(":")
                ),
            )
        })
}

struct Search<'a> {
    home: &'a [u8],
    shown: String,
    user: &'a str,
}

impl Search<'_> {
    fn check_home(&self, system: &mut impl System) -> Result<(), Stop> {
        match walk(system, self.home) {
            Ok(_) => {}
            Err(Way::Missing(component)) => {
                return Err(Stop::new(
                    codes::HOME_MISSING,
                    format!(
                        "python-home={} does not exist ({} is missing): correct it, or create the venv there",
                        self.shown,
                        text(&component)
                    ),
                ));
            }
            Err(way) => return Err(self.blocked(way)),
        }
        match system.status_of(self.home) {
            Ok(status) if status.is_directory() => Ok(()),
            _ => {
                let above = parent_of_bin(self.home)
                    .map(|p| format!(", probably {}", text(p)))
                    .unwrap_or_default();
                Err(Stop::new(
                    codes::HOME_NOT_DIRECTORY,
                    format!(
                        "python-home={} is not a directory: name the directory that holds bin/python3{above}",
                        self.shown
                    ),
                ))
            }
        }
    }

    /// What `pyvenv.cfg` says, if there is one: a base Python that is gone or too old.
    fn check_venv(&self, system: &mut impl System) -> Result<(), Stop> {
        let path = [self.home, b"/pyvenv.cfg"].concat();
        let contents = match system.read_file(&path, CFG_MAX) {
            Ok(contents) => contents,
            Err(e) if e.is_not_found() => return Ok(()),
            Err(_) => return Err(self.blocked(Way::Forbidden(path))),
        };
        if let Some(version) = value_of(&contents, "version_info").or_else(|| value_of(&contents, "version"))
        {
            if is_too_old(&version) {
                return Err(self.too_old(&text(version.as_bytes())));
            }
        }
        let Some(base) = value_of(&contents, "home") else {
            return Ok(());
        };
        match walk(system, base.as_bytes()) {
            Ok(_) => Ok(()),
            Err(Way::Missing(_)) => Err(self.orphaned(&text(base.as_bytes()))),
            Err(way) => Err(self.blocked(way)),
        }
    }

    /// The program and what it is after following links.
    fn find_program(&self, system: &mut impl System) -> Result<(Vec<u8>, Vec<u8>), Stop> {
        for name in [&b"/bin/python3"[..], b"/bin/python"] {
            let program = [self.home, name].concat();
            match walk(system, &program) {
                Ok(resolved) => {
                    let fit = system.status_of(&program).is_ok_and(|s| s.is_file())
                        && system.check(&program, Right::Execute).is_ok();
                    if fit {
                        return Ok((program, resolved));
                    }
                    return Err(Stop::new(
                        codes::PYTHON_NOT_EXECUTABLE,
                        format!(
                            "{} is not a program that {} may execute: correct its permissions (chmod a+rx)",
                            text(&resolved),
                            self.user
                        ),
                    ));
                }
                // A link whose target is gone: something is there, but not a Python.
                Err(Way::Missing(at)) if system.read_link(&program).is_ok_and(|l| l.is_some()) => {
                    return Err(self.orphaned(&text(&at)));
                }
                Err(Way::Missing(_)) => {}
                Err(way) => return Err(self.blocked(way)),
            }
        }
        let hint = if self.home.ends_with(b"/bin") {
            format!(
                "name the directory above it, {}",
                text(parent_of(self.home).unwrap_or(self.home))
            )
        } else {
            "name a venv, or the prefix of a Python installation".to_owned()
        };
        Err(Stop::new(
            codes::HOME_WITHOUT_PYTHON,
            format!(
                "python-home={} has neither bin/python3 nor bin/python: {hint}",
                self.shown
            ),
        ))
    }

    /// What the program's name or the prefix's library directories show; the program itself is asked after it has started.
    fn check_age(&self, system: &mut impl System, resolved: &[u8]) -> Result<(), Stop> {
        let name = resolved.rsplit(|b| *b == b'/').next().unwrap_or_default();
        if let Some(version) = text(name).strip_prefix("python").map(str::to_owned) {
            if version.contains('.') {
                return if is_too_old(&version) {
                    Err(self.too_old(&version))
                } else {
                    Ok(())
                };
            }
        }
        let mut has = |version: &str| {
            let path = [self.home, b"/lib/python", version.as_bytes()].concat();
            system.status_of(&path).is_ok_and(|s| s.is_directory())
        };
        if (OLDEST..40).any(|minor| has(&format!("3.{minor}"))) {
            return Ok(());
        }
        let old = (0..OLDEST).rev().map(|minor| format!("3.{minor}"));
        match old.chain(["2.7".to_owned()]).find(|v| has(v)) {
            Some(version) => Err(self.too_old(&version)),
            None => Ok(()),
        }
    }

    fn too_old(&self, version: &str) -> Stop {
        Stop::new(
            codes::PYTHON_TOO_OLD,
            format!(
                "python-home={} is Python {version}, and rwsgi needs 3.9 or newer: create the venv with a newer Python",
                self.shown
            ),
        )
    }

    fn orphaned(&self, what: &str) -> Stop {
        Stop::new(
            codes::VENV_ORPHANED,
            format!(
                "python-home={} is a venv whose own Python is gone ({what} is missing), so that its bin/python leads nowhere: create the venv again",
                self.shown
            ),
        )
    }

    fn blocked(&self, way: Way) -> Stop {
        let (Way::Forbidden(at) | Way::Missing(at) | Way::Endless(at)) = way;
        Stop::new(
            codes::PYTHON_FORBIDDEN,
            format!(
                "{} has no permission to pass {} on the way to python-home={}: open it to this user, or install Python where this user may read",
                self.user,
                text(&at),
                self.shown
            ),
        )
    }
}

/// Where a path stops.
enum Way {
    /// This component does not exist (or is not a directory, so nothing can be in it).
    Missing(Vec<u8>),
    /// This directory or file is closed to the user.
    Forbidden(Vec<u8>),
    /// Links lead in a circle.
    Endless(Vec<u8>),
}

/// Goes from `/` to `path` component by component, through links; answers where it really is, or the first component that stops
/// this process.
fn walk(system: &mut impl System, path: &[u8]) -> Result<Vec<u8>, Way> {
    let mut todo: Vec<Vec<u8>> = components(path);
    todo.reverse();
    let mut here: Vec<u8> = Vec::new();
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == b".." {
            here.truncate(here.iter().rposition(|b| *b == b'/').unwrap_or(0));
            continue;
        }
        let next = [&here[..], b"/", &name].concat();
        match system.read_link(&next) {
            Ok(Some(target)) => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Way::Endless(next));
                }
                if target.first() == Some(&b'/') {
                    here.clear();
                }
                todo.extend(components(&target).into_iter().rev());
            }
            Ok(None) => here = next,
            // The directory is closed, not what is in it.
            Err(e) if e.errno == EACCES => {
                return Err(Way::Forbidden(if here.is_empty() { b"/".to_vec() } else { here }));
            }
            Err(_) => return Err(Way::Missing(next)),
        }
    }
    Ok(here)
}

/// "Permission denied", the same number on every Linux.
const EACCES: i32 = 13;

fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|b| *b == b'/')
        .filter(|c| !c.is_empty() && *c != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

fn trimmed(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
    path.get(..end).unwrap_or(path)
}

fn parent_of(path: &[u8]) -> Option<&[u8]> {
    path.get(..path.iter().rposition(|b| *b == b'/')?)
}

/// For `/venv/bin/python3`: `/venv`.
fn parent_of_bin(path: &[u8]) -> Option<&[u8]> {
    let bin = parent_of(path).filter(|p| p.ends_with(b"/bin"))?;
    parent_of(bin)
}

fn value_of(cfg: &[u8], key: &str) -> Option<String> {
    String::from_utf8_lossy(cfg).lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim().eq_ignore_ascii_case(key)).then(|| value.trim().to_owned())
    })
}

/// "3.8.10" is, "3.11.2" and anything unreadable is not: then the Python itself is asked.
fn is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|p| p.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(3), Some(minor)) => minor < OLDEST,
        (Some(major), _) => major < 3,
        _ => false,
    }
}

fn text(bytes: &[u8]) -> String {
    crate::lines::escape(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rwsgi_os::fake::Fake;

    fn machine() -> Fake {
        let mut fake = Fake::default();
        for d in [
            "/opt",
            "/opt/py",
            "/opt/py/bin",
            "/opt/py/lib",
            "/opt/py/lib/python3.12",
            "/venv",
            "/venv/bin",
        ] {
            fake.directory(d);
        }
        fake.file("/opt/py/bin/python3.12", "");
        fake.link("/opt/py/bin/python3", "python3.12");
        fake.file("/venv/pyvenv.cfg", "home = /opt/py/bin\nversion = 3.12.1\n");
        fake.link("/venv/bin/python", "/opt/py/bin/python3.12");
        fake.link("/venv/bin/python3", "python");
        // The double follows only absolute links.
        fake.files.get_mut(&b"/venv/bin/python3"[..]).unwrap().1 = b"/venv/bin/python".to_vec();
        fake.files.get_mut(&b"/opt/py/bin/python3"[..]).unwrap().1 = b"/opt/py/bin/python3.12".to_vec();
        fake
    }

    fn refusal(fake: &mut Fake, home: &str) -> (u16, String) {
        let stop = find(fake, home.as_bytes(), "ann").unwrap_err();
        (stop.code.number, stop.text)
    }

    #[test]
    fn a_venv_and_a_prefix_are_run_by_their_own_path() {
        assert_eq!(
            find(&mut machine(), b"/venv/", "ann").unwrap(),
            b"/venv/bin/python3"
        );
        assert_eq!(
            find(&mut machine(), b"/opt/py", "ann").unwrap(),
            b"/opt/py/bin/python3"
        );
    }

    #[test]
    fn a_missing_home_names_the_first_missing_component() {
        let (code, text) = refusal(&mut machine(), "/opt/nothing/venv");
        assert_eq!(code, 441);
        assert!(text.contains("/opt/nothing is missing"), "{text}");
    }

    #[test]
    fn a_home_that_is_the_program_gets_the_right_directory_as_remedy() {
        let (code, text) = refusal(&mut machine(), "/opt/py/bin/python3.12");
        assert_eq!(code, 442);
        assert!(text.contains("probably /opt/py"), "{text}");
        let mut fake = machine();
        let (code, text) = refusal(&mut fake, "/opt/py/bin");
        assert_eq!(code, 443);
        assert!(text.contains("directory above it, /opt/py"), "{text}");
    }

    #[test]
    fn a_directory_without_python_is_refused() {
        let (code, _) = refusal(&mut machine(), "/opt");
        assert_eq!(code, 443);
    }

    #[test]
    fn the_component_that_stops_the_user_is_named_even_behind_a_link() {
        let mut fake = machine();
        fake.forbidden = vec![b"/opt".to_vec()];
        let (code, text) = refusal(&mut fake, "/venv");
        assert_eq!(code, 445);
        assert!(text.contains("ann has no permission to pass /opt "), "{text}");
    }

    #[test]
    fn a_program_without_execute_permission_is_refused() {
        let mut fake = machine();
        fake.forbidden = vec![b"/opt/py/bin/python3.12".to_vec()];
        assert_eq!(refusal(&mut fake, "/opt/py").0, 444);
    }

    #[test]
    fn a_venv_whose_python_is_gone_is_told_so() {
        let mut fake = machine();
        fake.files.remove(&b"/opt/py/bin"[..]);
        fake.files.remove(&b"/opt/py/bin/python3.12"[..]);
        assert_eq!(refusal(&mut fake, "/venv").0, 446);
        let mut fake = machine();
        fake.files.remove(&b"/opt/py/bin/python3.12"[..]);
        assert_eq!(refusal(&mut fake, "/venv").0, 446);
    }

    #[test]
    fn an_older_python_is_refused_by_its_cfg_its_name_or_its_library() {
        let mut fake = machine();
        fake.file("/venv/pyvenv.cfg", "home = /opt/py/bin\nversion = 3.8.10\n");
        assert_eq!(refusal(&mut fake, "/venv").0, 447);

        let mut fake = machine();
        fake.file("/opt/py/bin/python2.7", "");
        fake.link("/opt/py/bin/python3", "/opt/py/bin/python2.7");
        assert_eq!(refusal(&mut fake, "/opt/py").0, 447);

        let mut fake = machine();
        fake.file("/opt/py/bin/python3", "");
        fake.files.remove(&b"/opt/py/lib/python3.12"[..]);
        fake.directory("/opt/py/lib/python3.7");
        let (code, text) = refusal(&mut fake, "/opt/py");
        assert_eq!(code, 447);
        assert!(text.contains("Python 3.7"), "{text}");
    }

    #[test]
    fn a_relative_home_is_refused() {
        assert_eq!(refusal(&mut machine(), "venv").0, 440);
    }

    #[test]
    fn without_a_home_the_systems_python_is_used_or_its_want_is_told() {
        let mut fake = machine();
        assert_eq!(refusal(&mut fake, "").0, 448);
        fake.file("/usr/bin/python3", "");
        assert_eq!(find(&mut fake, b"", "ann").unwrap(), b"/usr/bin/python3");
    }
}
