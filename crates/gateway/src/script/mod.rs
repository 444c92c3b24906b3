//! Scripts: found, loaded once as modules, reloaded when they changed.

pub mod load;
pub mod md5;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rwsgi_wire::head::Head;
use rwsgi_wire::response::{AbortReason, Level};

use crate::codes;
use crate::cpython::{Attached, Exception, Object, PyResult, Stored};
use crate::wsgi::fault::{Fault, report};
use crate::wsgi::request::{ProcessLog, Request, lock};
use load::{NotLoaded, module_name};

/// The loaded scripts of one interpreter.
#[derive(Default)]
pub struct Scripts {
    loaded: RefCell<HashMap<Vec<u8>, Loaded>>,
    /// Held while a script is executed: it is loaded once, however many requests want it.
    loading: Mutex<()>,
    versions: Arc<Versions>,
}

struct Loaded {
    /// The module's dictionary.
    globals: Stored,
    /// Modification time in microseconds.
    mtime: i64,
}

/// Modification times of the loaded scripts, readable without Python.
#[derive(Default)]
pub struct Versions(Mutex<HashMap<Vec<u8>, i64>>);

impl Versions {
    /// Whether `script` is loaded in a version older than the one on disk, which httpd saw with `mtime` (0: do not look).
    pub fn is_stale(&self, script: &[u8], mtime: i64) -> bool {
        let loaded = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(script)
            .copied();
        match loaded {
            Some(loaded) if mtime != 0 && loaded != mtime => load::mtime_of(script) != Some(loaded),
            _ => false,
        }
    }

    fn insert(&self, script: &[u8], mtime: i64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(script.to_vec(), mtime);
    }
}

impl Scripts {
    /// The table of modification times.
    pub fn versions(&self) -> Arc<Versions> {
        Arc::clone(&self.versions)
    }

    /// The callable that a request asks for; loads or reloads its script.
    pub fn application<'py>(
        &self,
        py: Attached<'py>,
        request: &Request,
        head: &Head<'_>,
    ) -> Result<Object<'py>, Fault> {
        let globals = match self.find(py, head.script, head.script_mtime) {
            Some(globals) => globals,
            None => {
                let _loading = lock(py, &self.loading);
                match self.find(py, head.script, head.script_mtime) {
                    Some(globals) => globals,
                    None => self.load(py, head.script).map_err(|failure| {
                        request.report(Level::Error, &failure.describe(head.script));
                        Fault(AbortReason::Import)
                    })?,
                }
            }
        };
        let name = py
            .latin1(head.callable)
            .map_err(|e| not_found(py, request, head, &globals, Some(&e.sentence())))?;
        match globals.lookup(&name) {
            Ok(Some(application)) if application.is_callable() => Ok(application),
            Ok(Some(other)) => {
                let text = format!(
                    "'{}' in script '{}' is {}, which is not callable",
                    String::from_utf8_lossy(head.callable),
                    String::from_utf8_lossy(head.script),
                    other.type_name()
                );
                report(request, &codes::NOT_CALLABLE, &text);
                Err(Fault(AbortReason::Callable))
            }
            Ok(None) => Err(not_found(py, request, head, &globals, None)),
            Err(exception) => Err(not_found(
                py,
                request,
                head,
                &globals,
                Some(&exception.sentence()),
            )),
        }
    }

    /// Loads a script in advance.
    pub fn preload<'py>(&self, py: Attached<'py>, script: &[u8]) -> Result<(), NotLoaded<'py>> {
        let _loading = lock(py, &self.loading);
        self.load(py, script).map(drop)
    }

    fn find<'py>(&self, py: Attached<'py>, script: &[u8], mtime: i64) -> Option<Object<'py>> {
        let loaded = self.loaded.try_borrow().ok()?;
        let loaded = loaded.get(script)?;
        let current = mtime == 0 || loaded.mtime == mtime || load::mtime_of(script) == Some(loaded.mtime);
        current.then(|| loaded.globals.get(py))
    }

    fn load<'py>(&self, py: Attached<'py>, script: &[u8]) -> Result<Object<'py>, NotLoaded<'py>> {
        let (module, mtime) = load::load(py, script)?;
        let globals = module.attribute(c"__dict__").map_err(NotLoaded::Raised)?;
        let entry = Loaded {
            globals: globals.clone().store(),
            mtime,
        };
        let before = self.loaded.borrow_mut().insert(script.to_vec(), entry);
        // Outside the borrow: this may run destructors of the old module.
        drop(before);
        self.versions.insert(script, mtime);
        Ok(globals)
    }
}

impl NotLoaded<'_> {
    /// Code, sentence and traceback, in lines.
    pub fn describe(&self, script: &[u8]) -> String {
        let path = String::from_utf8_lossy(script);
        let (code, what, exception) = match self {
            Self::NotRead(error) => {
                return format!(
                    "{}: script '{path}' cannot be read: {error}",
                    codes::SCRIPT_NOT_READ
                );
            }
            Self::NotCompiled(exception) => (codes::SCRIPT_NOT_COMPILED, "is not valid Python", exception),
            Self::Raised(exception) => (codes::SCRIPT_RAISED, "failed to load", exception),
        };
        format!(
            "{code}: script '{path}' {what}: {}\n{}",
            exception.sentence(),
            exception.traceback()
        )
    }
}

/// Names that other servers and frameworks use for the callable.
const USUAL_NAMES: [&str; 4] = ["application", "app", "wsgi_app", "main"];

fn not_found<'py>(
    py: Attached<'py>,
    request: &Request,
    head: &Head<'_>,
    globals: &Object<'py>,
    failure: Option<&str>,
) -> Fault {
    let is_there = |name: &&str| {
        let value = py.text(name).and_then(|name| globals.lookup(&name));
        value.ok().flatten().is_some_and(|value| value.is_callable())
    };
    let hint = match (failure, USUAL_NAMES.iter().find(|name| is_there(name))) {
        (Some(failure), _) => format!(" ({failure})"),
        (None, Some(name)) => format!("; it defines '{name}': WSGICallableObject {name} would use that"),
        (None, None) => String::new(),
    };
    let text = format!(
        "script '{}' (module {}) has no callable '{}'{hint}",
        String::from_utf8_lossy(head.script),
        module_name(head.script),
        String::from_utf8_lossy(head.callable),
    );
    report(request, &codes::NO_CALLABLE, &text);
    Fault(AbortReason::Callable)
}

/// Puts directories in front of `sys.path` the way `site` does it for site-packages: `.pth` files are honoured, and everything
/// that was added keeps its order. On failure the rest is left out and the failed directory is returned.
pub fn add_to_path<'py>(
    py: Attached<'py>,
    directories: &[Vec<u8>],
) -> PyResult<'py, Option<(Vec<u8>, Exception<'py>)>> {
    if directories.is_empty() {
        return Ok(None);
    }
    let sys = py.import(c"sys")?;
    let builtins = py.import(c"builtins")?;
    let before = builtins.call_method(c"list", &[&sys.attribute(c"path")?])?;
    let site = py.import(c"site")?;
    let mut failed = None;
    for directory in directories {
        if let Err(exception) = site.call_method(c"addsitedir", &[&py.file_name(directory)?]) {
            failed = Some((directory.clone(), exception));
            break;
        }
    }
    let path = sys.attribute(c"path")?;
    let (front, rest) = (py.list()?, py.list()?);
    for index in 0..path.len() {
        let Some(entry) = path.item(index) else { break };
        let known = before.call_method(c"count", &[&entry])?.to_int()? > 0;
        if known {
            rest.append(&entry)?
        } else {
            front.append(&entry)?
        }
    }
    front.call_method(c"extend", &[&rest])?;
    // `sys.path[:] = …`, since others may hold the list itself.
    path.call_method(c"clear", &[])?;
    path.call_method(c"extend", &[&front])?;
    Ok(failed)
}

/// Says that a directory is not on `sys.path`; `option` is where it was written.
pub fn path_not_added(log: &dyn ProcessLog, option: &str, directory: &[u8], exception: &Exception<'_>) {
    let text = format!(
        "{}: {option} '{}' was not added to sys.path, nor what follows it: {}",
        codes::PATH_NOT_ADDED,
        String::from_utf8_lossy(directory),
        exception.sentence()
    );
    log.line(Level::Warn, text.as_bytes());
}
