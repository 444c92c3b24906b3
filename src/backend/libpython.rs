//! Finds the library of a Python installation without running it, and opens it.

use std::fs;
use std::path::{Path, PathBuf};

use rwsgi_embedding::host::Guest;
use rwsgi_embedding::load;

/// A Python installation.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The program from which Python finds itself: in a virtual environment its `bin/python`.
    pub program: PathBuf,
    /// A prefix without a program.
    pub home: Option<PathBuf>,
    /// Where its library may be, best first; the last is a bare name for the loader.
    pub libraries: Vec<PathBuf>,
}

/// The Python that a configuration without `WSGIPythonHome` means.
const DEFAULT_PROGRAM: &str = "/usr/bin/python3";

/// Oldest version.
const OLDEST: Version = Version(3, 9);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

/// Finds the installation that `WSGIPythonHome` names; the sentence says what is wrong with it and what to do.
pub fn find(home: Option<&Path>) -> Result<Found, String> {
    let Some(home) = home else {
        return default();
    };
    let shown = home.display();
    match fs::metadata(home) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!(
                "WSGIPythonHome {shown} does not exist; name a virtual environment or a Python prefix"
            ));
        }
        Err(why) => {
            return Err(format!(
                "WSGIPythonHome {shown}: {why}; name a virtual environment or a Python prefix that httpd's user can read"
            ));
        }
        Ok(status) if !status.is_dir() => {
            return Err(format!(
                "WSGIPythonHome {shown} is not a directory; name a virtual environment or a Python prefix"
            ));
        }
        Ok(_) => {}
    }
    let config = home.join("pyvenv.cfg");
    if config.is_file() {
        let text = fs::read_to_string(&config)
            .map_err(|why| format!("{}: {why}; let httpd's user read it", config.display()))?;
        return virtual_environment(home, &text);
    }
    prefix(home)
}

fn default() -> Result<Found, String> {
    let program = PathBuf::from(DEFAULT_PROGRAM);
    let real = fs::canonicalize(&program).map_err(|why| {
        format!("{DEFAULT_PROGRAM}: {why}; install Python (Debian: python3), or set WSGIPythonHome")
    })?;
    let version = version_in_name(&real).ok_or_else(|| {
        format!(
            "{DEFAULT_PROGRAM} is {}, whose version its name does not tell; set WSGIPythonHome",
            real.display()
        )
    })?;
    let base = real.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    found(program, None, base, version)
}

fn virtual_environment(home: &Path, config: &str) -> Result<Found, String> {
    let shown = home.display();
    let value = |key: &str| {
        config.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim())
        })
    };
    let bin = value("home").ok_or_else(|| {
        format!(
            "WSGIPythonHome {shown}: its pyvenv.cfg has no line 'home = …'; make the virtual environment anew"
        )
    })?;
    let base = Path::new(bin).parent().unwrap_or(Path::new("/"));
    let version = value("version")
        .or_else(|| value("version_info"))
        .and_then(parse_version);
    let version = version
        .or_else(|| fs::canonicalize(home.join("bin/python")).ok().and_then(|real| version_in_name(&real)))
        .ok_or_else(|| {
            format!("WSGIPythonHome {shown}: its pyvenv.cfg does not tell its Python version; make the virtual environment anew")
        })?;
    found(home.join("bin/python"), None, base, version)
}

fn prefix(home: &Path) -> Result<Found, String> {
    let shown = home.display();
    let program = ["bin/python3", "bin/python"]
        .map(|name| home.join(name))
        .into_iter()
        .find(|path| path.exists());
    let by_program = program
        .as_ref()
        .and_then(|program| fs::canonicalize(program).ok())
        .and_then(|real| version_in_name(&real));
    let version = by_program.or_else(|| newest_library_directory(home)).ok_or_else(|| {
        format!(
            "WSGIPythonHome {shown} holds no Python (neither bin/python3 nor lib/python3.X); name a virtual environment or a \
             Python prefix"
        )
    })?;
    match program {
        Some(program) => found(program, None, home, version),
        None => found(PathBuf::new(), Some(home.to_owned()), home, version),
    }
}

fn newest_library_directory(home: &Path) -> Option<Version> {
    let entries = fs::read_dir(home.join("lib")).ok()?;
    entries
        .filter_map(|entry| version_in_name(&entry.ok()?.path()))
        .max()
}

fn found(program: PathBuf, home: Option<PathBuf>, base: &Path, version: Version) -> Result<Found, String> {
    let Version(major, minor) = version;
    if version < OLDEST {
        return Err(format!(
            "{} is Python {major}.{minor}, and rwsgi needs 3.9 or newer; name a newer one in WSGIPythonHome",
            base.display()
        ));
    }
    let name = format!("libpython{major}.{minor}.so.1.0");
    let multiarch = format!("lib/{}-linux-gnu", std::env::consts::ARCH);
    let mut libraries: Vec<PathBuf> = ["lib", "lib64", &multiarch]
        .into_iter()
        .map(|directory| base.join(directory).join(&name))
        .filter(|path| path.exists())
        .collect();
    libraries.push(PathBuf::from(name));
    Ok(Found {
        program,
        home,
        libraries,
    })
}

/// `python3.11` and the like.
fn version_in_name(path: &Path) -> Option<Version> {
    parse_version(path.file_name()?.to_str()?.strip_prefix("python")?)
}

fn parse_version(text: &str) -> Option<Version> {
    let mut parts = text.split('.');
    let major = parts.next()?.trim().parse().ok()?;
    let minor = parts.next()?.trim().parse().ok()?;
    Some(Version(major, minor))
}

/// Opens the first library that can be opened, and the Python half on top of it.
pub fn open(libraries: &[PathBuf], gateway: &Path) -> Result<Guest, String> {
    let mut said = String::new();
    for library in libraries {
        match load::guest(library, gateway) {
            Ok(guest) => return Ok(guest),
            Err(why) if why.starts_with(&*gateway.to_string_lossy()) => {
                return Err(format!(
                    "_rwsgi.abi3.so cannot be opened ({why}); install all files of rwsgi anew"
                ));
            }
            Err(why) if said.is_empty() => said = why,
            Err(_) => {}
        }
    }
    let name = libraries
        .last()
        .map(|name| name.display().to_string())
        .unwrap_or_default();
    let package = name.strip_suffix(".so.1.0").unwrap_or(&name);
    Err(format!(
        "{said}; embedded mode needs {name}, readable for httpd's user (Debian: the package {package}), or use WSGIDaemonProcess"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rwsgi-libpython-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_virtual_environment_tells_base_and_version() {
        let base = Directory::new("venv");
        fs::create_dir_all(base.0.join("base/lib")).unwrap();
        fs::write(base.0.join("base/lib/libpython3.12.so.1.0"), "").unwrap();
        let home = base.0.join("venv");
        fs::create_dir_all(&home).unwrap();
        let config = format!("home = {}\nversion = 3.12.1\n", base.0.join("base/bin").display());
        fs::write(home.join("pyvenv.cfg"), config).unwrap();
        let found = find(Some(&home)).unwrap();
        assert_eq!(found.program, home.join("bin/python"));
        assert_eq!(found.libraries[0], base.0.join("base/lib/libpython3.12.so.1.0"));
        assert_eq!(found.libraries[1], Path::new("libpython3.12.so.1.0"));
    }

    #[test]
    fn a_prefix_is_known_by_its_library_directory() {
        let base = Directory::new("prefix");
        for name in ["lib/python3.9", "lib/python3.10"] {
            fs::create_dir_all(base.0.join(name)).unwrap();
        }
        let found = find(Some(&base.0)).unwrap();
        assert_eq!(found.home.as_deref(), Some(base.0.as_path()));
        assert_eq!(found.libraries.last().unwrap(), Path::new("libpython3.10.so.1.0"));
    }

    #[test]
    fn each_wrong_home_has_its_own_sentence() {
        let base = Directory::new("wrong");
        let said = |path: &Path| find(Some(path)).unwrap_err();
        assert!(
            said(&base.0.join("none")).contains("does not exist"),
            "{}",
            said(&base.0.join("none"))
        );
        assert!(said(&base.0).contains("holds no Python"));
        let file = base.0.join("file");
        fs::write(&file, "").unwrap();
        assert!(said(&file).contains("is not a directory"));
        let old = base.0.join("old");
        fs::create_dir_all(old.join("lib/python3.8")).unwrap();
        assert!(said(&old).contains("is Python 3.8"));
        let venv = base.0.join("venv");
        fs::create_dir_all(&venv).unwrap();
        fs::write(venv.join("pyvenv.cfg"), "version = 3.11\n").unwrap();
        assert!(said(&venv).contains("no line 'home"));
    }
}
