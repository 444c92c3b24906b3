//! Which Python an application of a user runs: its own `.venv` or `venv`, else the version that its `.python-version` names, else what the base
//! says. Looked for as that user.

use rwsgi_os::system::System;
use rwsgi_os::walk::Kind;

use crate::codes;
use crate::journey::Stop;
use crate::place::{Owner, Place};
use crate::python;

/// Largest `.python-version` that is read, bytes.
const VERSION_MAX: usize = 4096;
/// Where pyenv keeps a user's versions, below the home directory.
const OWN_VERSIONS: &[u8] = b"/.pyenv/versions";
/// "No such file", the same number on every Linux.
const ENOENT: i32 = 2;

/// The program to execute. `python_home` is the base's own.
pub fn choose<S: System>(
    system: &mut S,
    place: &Place,
    directory: &S::Opened,
    owner: Owner<'_>,
    python_home: &[u8],
) -> Result<Vec<u8>, Stop> {
    for name in [&b".venv"[..], b"venv"] {
        // A broken one is refused, not passed over: what the application needs is in it.
        if system.component(directory, name).is_ok() {
            let home = [&place.path()[..], b"/", name].concat();
            return own(system, &home, owner);
        }
    }
    match wanted_version(system, place, directory)? {
        None => python::find(system, python_home, owner.name),
        Some(version) if version == "system" => python::find(system, b"", owner.name),
        Some(version) => {
            let home = find_version(system, place, &version, owner)?;
            own(system, &home, owner)
        }
    }
}

/// The Python of a prefix that the user has named: C24, nobody else may have put it there.
fn own(system: &mut impl System, home: &[u8], owner: Owner<'_>) -> Result<Vec<u8>, Stop> {
    let program = python::find(system, home, owner.name)?;
    for path in [home, &program] {
        let status = system
            .status_of(path)
            .map_err(|error| not_own(format!("{} cannot be looked at: {}", text(path), error.reason())))?;
        if status.uid != 0 && status.uid != owner.uid || status.mode & 0o022 != 0 {
            return Err(not_own(format!(
                "{} is of uid {} with mode {:04o}: a Python that {name} runs must belong to {name} or root, and others must not write \
                     it",
                text(path),
                status.uid,
                status.mode & 0o7777,
                name = owner.name
            )));
        }
    }
    Ok(program)
}

/// What `.python-version` names: its first line that is none of a comment.
fn wanted_version<S: System>(
    system: &mut S,
    place: &Place,
    directory: &S::Opened,
) -> Result<Option<String>, Stop> {
    let refused = |what: String| {
        let path = [&place.path()[..], b"/.python-version"].concat();
        no_version(format!("{} {what}", text(&path)))
    };
    let opened = match system.beneath(directory, b".python-version", Kind::File) {
        Ok(opened) => opened,
        Err(error) if error.errno == ENOENT => return Ok(None),
        Err(error) => return Err(refused(format!("cannot be read: {}", error.reason()))),
    };
    if !system.status(&opened).is_ok_and(|status| status.is_file()) {
        return Err(refused("is not a regular file".to_owned()));
    }
    let contents = system
        .read(&opened, VERSION_MAX)
        .map_err(|error| refused(format!("cannot be read: {}", error.reason())))?;
    match version_in(&contents) {
        Ok(version) => Ok(version),
        Err(line) => Err(refused(format!(
            "names '{}', which is no name of a version: letters, digits, dots, dashes and underscores",
            text(line)
        ))),
    }
}

fn version_in(contents: &[u8]) -> Result<Option<String>, &[u8]> {
    let lines = contents.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let Some(line) = lines
        .into_iter()
        .find(|line| !line.is_empty() && line.first() != Some(&b'#'))
    else {
        return Ok(None);
    };
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    let begins_well = line.first().is_some_and(u8::is_ascii_alphanumeric);
    match std::str::from_utf8(line) {
        Ok(name) if begins_well && line.iter().all(is_plain) => Ok(Some(name.to_owned())),
        _ => Err(line),
    }
}

/// The directory of a version: of this name, or the newest of which the name is the beginning ("3.12" for 3.12.7).
fn find_version(
    system: &mut impl System,
    place: &Place,
    version: &str,
    owner: Owner<'_>,
) -> Result<Vec<u8>, Stop> {
    let own = [owner.home, OWN_VERSIONS].concat();
    let places = place.python_versions.iter().chain([&own]);
    for versions in places.clone() {
        let names = system.names_in(versions).unwrap_or_default();
        if let Some(name) = best(&names, version) {
            return Ok([&versions[..], b"/", &name].concat());
        }
    }
    let looked: Vec<String> = places.map(|p| text(p)).collect();
    Err(no_version(format!(
        "{}/.python-version names Python {version}, which is in none of {}: name one that is, or make a venv",
        text(&place.path()),
        looked.join(", ")
    )))
}

fn best(names: &[Vec<u8>], version: &str) -> Option<Vec<u8>> {
    let exact = names.iter().find(|name| **name == version.as_bytes());
    if let Some(name) = exact {
        return Some(name.clone());
    }
    let longer = names.iter().filter_map(|name| {
        let rest = std::str::from_utf8(name)
            .ok()?
            .strip_prefix(version)?
            .strip_prefix('.')?;
        // Numbers only: no pre-release is what "3.12" means.
        let numbers: Option<Vec<u32>> = rest.split('.').map(|n| n.parse().ok()).collect();
        Some((numbers?, name))
    });
    longer.max().map(|(_, name)| name.clone())
}

/// C24
fn not_own(text: String) -> Stop {
    Stop::new(codes::PYTHON_NOT_OWN, text)
}

/// C24
fn no_version(text: String) -> Stop {
    Stop::new(codes::NO_SUCH_VERSION, text)
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
        for directory in [
            "/home",
            "/home/ann",
            "/home/ann/w",
            "/opt",
            "/opt/v",
            "/usr",
            "/usr/bin",
        ] {
            fake.directory(directory);
        }
        fake.file("/usr/bin/python3", "");
        for version in ["3.11.9", "3.12.7", "3.12.10", "3.12.11rc1"] {
            python(&mut fake, &format!("/opt/v/{version}"), 0);
        }
        fake
    }

    fn python(fake: &mut Fake, prefix: &str, uid: u32) {
        fake.directory(prefix);
        fake.directory(&format!("{prefix}/bin"));
        fake.file(&format!("{prefix}/bin/python3"), "");
        fake.give(prefix, uid, 0o755);
        fake.give(&format!("{prefix}/bin/python3"), uid, 0o755);
    }

    fn chosen(fake: &mut Fake) -> Result<String, u16> {
        let place = Place {
            base: b"/home/ann/w".to_vec(),
            python_versions: vec![b"/opt/v".to_vec()],
            ..Place::default()
        };
        let owner = Owner {
            uid: 1000,
            name: "ann",
            home: b"/home/ann",
        };
        choose(fake, &place, &b"/home/ann/w".to_vec(), owner, b"")
            .map(|program| String::from_utf8(program).unwrap())
            .map_err(|stop| stop.code.number)
    }

    #[test]
    fn the_venv_comes_before_the_version_and_that_before_the_systems() {
        let mut fake = machine();
        assert_eq!(chosen(&mut fake).unwrap(), "/usr/bin/python3");
        fake.file("/home/ann/w/.python-version", "# mine\n\n3.11.9\n3.12.7\n");
        assert_eq!(chosen(&mut fake).unwrap(), "/opt/v/3.11.9/bin/python3");
        python(&mut fake, "/home/ann/w/venv", 1000);
        assert_eq!(chosen(&mut fake).unwrap(), "/home/ann/w/venv/bin/python3");
        python(&mut fake, "/home/ann/w/.venv", 1000);
        assert_eq!(chosen(&mut fake).unwrap(), "/home/ann/w/.venv/bin/python3");
    }

    #[test]
    fn the_beginning_of_a_version_is_the_newest_of_them_and_system_is_the_systems() {
        let mut fake = machine();
        for (written, found) in [
            ("3.12", "/opt/v/3.12.10/bin/python3"),
            ("3.12.7\r\n", "/opt/v/3.12.7/bin/python3"),
            ("system\n", "/usr/bin/python3"),
            ("\n", "/usr/bin/python3"),
        ] {
            fake.file("/home/ann/w/.python-version", written);
            assert_eq!(chosen(&mut fake).as_deref(), Ok(found), "{written}");
        }
        for directory in ["/home/ann/.pyenv", "/home/ann/.pyenv/versions"] {
            fake.directory(directory);
        }
        python(&mut fake, "/home/ann/.pyenv/versions/3.13.1", 1000);
        fake.file("/home/ann/w/.python-version", "3.13");
        assert_eq!(
            chosen(&mut fake).unwrap(),
            "/home/ann/.pyenv/versions/3.13.1/bin/python3"
        );
    }

    #[test]
    fn a_version_that_is_not_there_or_is_no_name_is_refused() {
        let mut fake = machine();
        for written in ["3.9", "../../evil", "/opt/v/3.12.7", "3.12;rm", ".hidden", "3.1"] {
            fake.file("/home/ann/w/.python-version", written);
            assert_eq!(chosen(&mut fake), Err(496), "{written}");
        }
        fake.link("/home/ann/w/.python-version", "/etc/shadow");
        assert_eq!(chosen(&mut fake), Err(496));
    }

    // C24
    #[test]
    fn c24_a_python_that_somebody_else_can_change_is_refused() {
        for (uid, permissions) in [(1001, 0o755), (1000, 0o775), (0, 0o757)] {
            let mut fake = machine();
            python(&mut fake, "/home/ann/w/.venv", 1000);
            fake.give("/home/ann/w/.venv/bin/python3", uid, permissions);
            assert_eq!(chosen(&mut fake), Err(495), "{uid} {permissions:o}");
        }
        let mut fake = machine();
        python(&mut fake, "/home/ann/w/.venv", 1000);
        fake.give("/home/ann/w/.venv", 1001, 0o755);
        assert_eq!(chosen(&mut fake), Err(495));
    }
}
