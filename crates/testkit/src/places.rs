//! Where things are: the repository, the build, httpd, its modules, the virtual environments.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::case::UnderTest;

/// The top of the repository: where cargo runs the test, else where it was compiled.
pub fn repository() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = PathBuf::from(package);
    let top = package
        .ancestors()
        .find(|directory| directory.join("tests/apps").is_dir());
    top.unwrap_or_else(|| panic!("no tests/apps above {}", package.display()))
        .to_path_buf()
}

/// A file below `tests/`.
pub fn test_file(name: &str) -> PathBuf {
    repository().join("tests").join(name)
}

/// Where `make build` left our artefacts: `$RWSGI_BUILD_DIR`, else `build/`.
pub fn build_dir() -> PathBuf {
    std::env::var_os("RWSGI_BUILD_DIR").map_or_else(|| repository().join("build"), PathBuf::from)
}

/// The virtual environment with the frameworks, if `tests/prepare.sh` made it.
pub fn apps_venv() -> Option<PathBuf> {
    let venv = repository().join(".venvs/apps");
    venv.join(".made-from").exists().then_some(venv)
}

/// A Python for tests that start one themselves: that of the applications' venv, else `python3`.
pub fn apps_python() -> PathBuf {
    apps_venv().map_or_else(|| PathBuf::from("python3"), |venv| venv.join("bin/python"))
}

/// The module to load, or why there is none.
pub fn module(under_test: UnderTest) -> Result<PathBuf, String> {
    match under_test {
        UnderTest::Ours => {
            let module = build_dir().join("mod_rwsgi.so");
            if module.exists() {
                Ok(module)
            } else {
                Err(format!("{} is missing: run `make build`", module.display()))
            }
        }
        UnderTest::Theirs => find_theirs()
            .ok_or_else(|| "the original is not installed: run `tests/prepare.sh apps theirs`".to_owned()),
    }
}

fn find_theirs() -> Option<PathBuf> {
    let lib = repository().join(".venvs/theirs/lib");
    let python = lib.read_dir().ok()?.flatten().map(|entry| entry.path()).next()?;
    let server = python.join("site-packages/mod_wsgi/server");
    server
        .read_dir()
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            name.starts_with("mod_wsgi-py") && name.ends_with(".so")
        })
}

/// The httpd program: `$RWSGI_HTTPD`, else `apache2` or `httpd`.
pub fn httpd() -> &'static Path {
    static HTTPD: OnceLock<PathBuf> = OnceLock::new();
    HTTPD.get_or_init(|| {
        if let Some(path) = std::env::var_os("RWSGI_HTTPD") {
            return path.into();
        }
        [
            "/usr/sbin/apache2",
            "/usr/sbin/httpd",
            "/usr/local/apache2/bin/httpd",
            "/usr/bin/httpd",
        ]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .expect("no httpd found; install apache2 or set RWSGI_HTTPD")
    })
}

/// The directory of httpd's own modules, as apxs says.
pub fn modules() -> &'static Path {
    static MODULES: OnceLock<PathBuf> = OnceLock::new();
    MODULES.get_or_init(|| {
        let apxs = std::env::var("APXS").unwrap_or_else(|_| "apxs".to_owned());
        let asked = Command::new(apxs).args(["-q", "LIBEXECDIR"]).output();
        match asked {
            Ok(output) if output.status.success() => {
                PathBuf::from(String::from_utf8_lossy(&output.stdout).trim().to_owned())
            }
            _ => PathBuf::from("/usr/lib/apache2/modules"),
        }
    })
}
