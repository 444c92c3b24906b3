//! The Pythons of this machine, by version, and small virtual environments made from them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::case::Case;

/// A Python installation.
#[derive(Clone, Debug)]
pub struct Python {
    /// Such as `3.12`.
    pub version: String,
    /// The interpreter's file.
    pub executable: PathBuf,
    /// Its `sys.prefix`, usable as python-home.
    pub prefix: PathBuf,
}

/// Where pyenv keeps its Pythons, if it is here.
pub fn pyenv_root() -> Option<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")))?;
    root.join("versions").is_dir().then_some(root)
}

/// The Python `version` (such as `3.12`); skips the test where it is not installed.
pub fn python(case: &Case, version: &str) -> Python {
    find(version).unwrap_or_else(|| case.skip(&format!("Python {version} is not installed")))
}

fn find(version: &str) -> Option<Python> {
    let of_pyenv = pyenv_root().into_iter().flat_map(|root| {
        let entries = std::fs::read_dir(root.join("versions"))
            .into_iter()
            .flatten()
            .flatten();
        let mut found: Vec<PathBuf> = entries
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with(&format!("{version}."))
            })
            .map(|entry| entry.path().join("bin").join(format!("python{version}")))
            .collect();
        found.sort();
        found
    });
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| {
        std::env::split_paths(&path)
            .filter(|directory| !directory.ends_with("shims"))
            .map(|directory| directory.join(format!("python{version}")))
            .collect::<Vec<_>>()
    });
    of_pyenv
        .chain(on_path)
        .filter(|path| path.exists())
        .find_map(|executable| {
            let asked = Command::new(&executable)
                .args(["-c", "import sys; print(sys.prefix)"])
                .output()
                .ok()?;
            let prefix = PathBuf::from(String::from_utf8(asked.stdout).ok()?.trim());
            asked.status.success().then(|| Python {
                version: version.to_owned(),
                executable,
                prefix,
            })
        })
}

/// Makes a venv of `python` in `directory`, without pip, with a module `marker.py` in it that says `NAME = <name>`.
pub fn venv_of(python: &Python, directory: &Path, name: &str) -> PathBuf {
    let venv = directory.join(format!("venv-{name}"));
    let made = Command::new(&python.executable)
        .args(["-m", "venv", "--without-pip"])
        .arg(&venv)
        .output()
        .expect("python runs");
    assert!(
        made.status.success(),
        "venv: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    let site = venv.join(format!("lib/python{}/site-packages", python.version));
    std::fs::write(site.join("marker.py"), format!("NAME = {name:?}\n")).expect("marker");
    venv
}
