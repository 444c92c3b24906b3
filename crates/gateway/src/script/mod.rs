//! Scripts: found, loaded once as modules, reloaded when they changed.

pub mod case;
mod explain;
pub mod load;
pub mod md5;
pub mod newer;
pub mod packages;
mod renew;
pub mod version;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rwsgi_wire::base::ScriptOwner;
use rwsgi_wire::head::Head;
use rwsgi_wire::response::{AbortReason, Level};

use crate::codes;
use crate::cpython::{Attached, Exception, Object, PyResult, Stored};
use crate::wsgi::fault::{Fault, report};
use crate::wsgi::request::{ProcessLog, Request, lock};
use case::Case;
use explain::{hint, unreadable};
use load::NotLoaded;
use newer::Newers;
use version::{Stamp, Standing, Versions};

/// The loaded scripts of one interpreter.
#[derive(Default)]
pub struct Scripts {
    /// Their modules' dictionaries.
    loaded: RefCell<BTreeMap<Vec<u8>, Stored>>,
    /// Held while a script is executed: it is loaded once, however many requests want it.
    loading: Mutex<()>,
    /// How often a script did not load, and the last one.
    failures: RefCell<(u64, Vec<u8>)>,
    versions: Arc<Versions>,
    /// Script and callable that a request was last given, which the versions know.
    given: RefCell<(Vec<u8>, Vec<u8>)>,
    /// Versions that are to replace loaded ones in place.
    newers: Newers,
    case: Case,
    /// Whose they must be.
    owner: ScriptOwner,
}

impl Scripts {
    /// None is loaded.
    pub fn new(case: Case, owner: ScriptOwner) -> Self {
        // Those of users are renewed as people are used to it from elsewhere.
        let versions = match owner {
            ScriptOwner::Any => Versions::default(),
            ScriptOwner::User | ScriptOwner::UserOrRoot => Versions::with_restarts(),
        };
        Self {
            case,
            owner,
            versions: Arc::new(versions),
            ..Self::default()
        }
    }

    /// The table of modification times.
    pub fn versions(&self) -> Arc<Versions> {
        Arc::clone(&self.versions)
    }

    /// The names of a script that httpd asks, in the very version that is on disk: what decides who may come in must not go on deciding by an
    /// old one because the new one does not load.
    pub fn very_latest<'py>(
        &self,
        py: Attached<'py>,
        request: &Request,
        head: &Head<'_>,
    ) -> Result<Object<'py>, Fault> {
        let is_outdated = || {
            let standing = self.versions.standing(head.script, head.script_mtime);
            matches!(standing, Standing::Outdated(_))
        };
        match self.find(py, head.script) {
            None => return self.load_first(py, request, head.script),
            Some(globals) if !is_outdated() => return Ok(globals),
            Some(_) => {}
        }
        let _loading = lock(py, &self.loading);
        match self.find(py, head.script) {
            // Another request has loaded it meanwhile.
            Some(globals) if !is_outdated() => Ok(globals),
            _ => self.load(py, head.script, false, &[]).map_err(|failure| {
                request.report(Level::Error, &failure.describe(head.script));
                Fault(AbortReason::Import)
            }),
        }
    }

    /// The callable that a request asks for; loads or reloads its script.
    pub fn application<'py>(
        &self,
        py: Attached<'py>,
        request: &Request,
        head: &Head<'_>,
    ) -> Result<Object<'py>, Fault> {
        if let Some(script) = self.case.other_path(head.script) {
            let head = Head {
                script: &script,
                ..head.clone()
            };
            return self.callable(py, request, &head);
        }
        self.callable(py, request, head)
    }

    fn callable<'py>(
        &self,
        py: Attached<'py>,
        request: &Request,
        head: &Head<'_>,
    ) -> Result<Object<'py>, Fault> {
        let not_found = |globals: &_, failure: Option<&str>| {
            let module = self.case.module_name(head.script);
            not_found(py, request, head, &module, globals, failure)
        };
        let globals = match self.find(py, head.script) {
            Some(globals) => self.up_to_date(py, request, head, globals),
            None => self.load_first(py, request, head.script)?,
        };
        let name = py
            .latin1(head.callable)
            .map_err(|e| not_found(&globals, Some(&e.sentence())))?;
        match globals.lookup(&name) {
            Ok(Some(application)) if application.is_callable() => {
                self.note_given(py, head);
                Ok(application)
            }
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
            Ok(None) => Err(not_found(&globals, None)),
            Err(exception) => Err(not_found(&globals, Some(&exception.sentence()))),
        }
    }

    /// Remembers which callable a request is given. Mostly it is that of the request before.
    fn note_given(&self, py: Attached<'_>, head: &Head<'_>) {
        let is_last = {
            let (script, callable) = &*self.given.borrow();
            callable == head.callable && script == head.script
        };
        if !is_last {
            self.given.replace((head.script.to_vec(), head.callable.to_vec()));
            let (versions, script, callable) = (&*self.versions, head.script, head.callable);
            py.detach(|| versions.is_given(script, callable));
        }
    }

    /// Loads a script in advance, which must have these callables.
    pub fn preload<'py>(
        &self,
        py: Attached<'py>,
        script: &[u8],
        callables: &[Vec<u8>],
    ) -> Result<(), NotLoaded<'py>> {
        let _loading = lock(py, &self.loading);
        self.load(py, script, true, callables).map(drop)
    }

    /// Loads a script for a request, unless it is loaded, which must have these callables.
    pub fn load_beside<'py>(
        &self,
        py: Attached<'py>,
        script: &[u8],
        callables: &[Vec<u8>],
    ) -> Result<(), NotLoaded<'py>> {
        let _loading = lock(py, &self.loading);
        match self.find(py, script) {
            Some(_) => Ok(()),
            None => self.load(py, script, false, callables).map(drop),
        }
    }

    fn find<'py>(&self, py: Attached<'py>, script: &[u8]) -> Option<Object<'py>> {
        let loaded = self.loaded.try_borrow().ok()?;
        loaded.get(script).map(|globals| globals.get(py))
    }

    /// Loads a script of which no version is loaded.
    fn load_first<'py>(
        &self,
        py: Attached<'py>,
        request: &Request,
        script: &[u8],
    ) -> Result<Object<'py>, Fault> {
        let before = self.failures.borrow().0;
        let _loading = lock(py, &self.loading);
        if let Some(globals) = self.find(py, script) {
            return Ok(globals);
        }
        if self.failures.borrow().0 != before && self.failures.borrow().1 == script {
            // It would fail again, perhaps for a misleading reason.
            let script = String::from_utf8_lossy(script);
            let text = format!("script '{script}' failed to load for another request just now; see there");
            report(request, &codes::JUST_FAILED, &text);
            return Err(Fault(AbortReason::Import));
        }
        self.load(py, script, false, &[]).map_err(|failure| {
            request.report(Level::Error, &failure.describe(script));
            Fault(AbortReason::Import)
        })
    }

    fn load<'py>(
        &self,
        py: Attached<'py>,
        script: &[u8],
        fresh: bool,
        callables: &[Vec<u8>],
    ) -> Result<Object<'py>, NotLoaded<'py>> {
        let name = self.case.module_name(script);
        // Before anything is read: what is touched or installed meanwhile is another version.
        let before = self.versions.surroundings(script);
        let loaded = load::load(py, script, &name, self.owner, callables).and_then(|(module, mtime)| {
            let globals = module.attribute(c"__dict__").map_err(NotLoaded::Raised)?;
            let name = py.text("reload_required").map_err(NotLoaded::Raised)?;
            let asks = globals.lookup(&name).map_err(NotLoaded::Raised)?.is_some();
            Ok((globals, mtime, asks))
        });
        if let Err(failure) = &loaded {
            let count = self.failures.borrow().0;
            self.failures.replace((count + 1, script.to_vec()));
            if matches!(failure, NotLoaded::Raised(_)) {
                self.versions.has_raised();
            }
        }
        let (globals, mtime, asks) = loaded?;
        let entry = globals.clone().store();
        let old = self.loaded.borrow_mut().insert(script.to_vec(), entry);
        // Outside the borrow: this may run destructors of the old module.
        drop(old);
        let stamp = Stamp {
            script: mtime,
            ..before
        };
        self.versions.insert(script, stamp, asks, fresh, callables);
        self.given.take();
        Ok(globals)
    }
}

impl NotLoaded<'_> {
    /// What went wrong, in short.
    pub fn sentence(&self, script: &[u8]) -> String {
        match self {
            Self::NotRead(error) => format!("it cannot be read: {}", unreadable(script, error)),
            Self::NotOwn(why) => format!("it {why}"),
            Self::NoCallable(name, hint) => {
                format!("it has no callable '{}'{hint}", String::from_utf8_lossy(name))
            }
            Self::NotCompiled(exception) | Self::Raised(exception) => {
                format!("{}{}", exception.sentence(), hint(exception))
            }
        }
    }

    /// Code, sentence and traceback, in lines.
    pub fn describe(&self, script: &[u8]) -> String {
        let path = String::from_utf8_lossy(script);
        let (code, what, exception) = match self {
            Self::NotRead(error) => {
                return format!(
                    "{}: script '{path}' cannot be read: {}",
                    codes::SCRIPT_NOT_READ,
                    unreadable(script, error)
                );
            }
            Self::NotOwn(why) => {
                return format!(
                    "{}: script '{path}' is not loaded: it {why}",
                    codes::SCRIPT_NOT_OWN
                );
            }
            Self::NoCallable(..) => {
                return format!(
                    "{}: the new version of script '{path}' does not take the place of the one before: {}",
                    codes::CALLABLE_GONE,
                    self.sentence(script)
                );
            }
            Self::NotCompiled(exception) => (codes::SCRIPT_NOT_COMPILED, "is not valid Python", exception),
            Self::Raised(exception) => (codes::SCRIPT_RAISED, "failed to load", exception),
        };
        format!(
            "{code}: script '{path}' {what}: {}{}\n{}",
            exception.sentence(),
            hint(exception),
            exception.traceback()
        )
    }
}

/// Names that other servers and frameworks use for the callable.
const USUAL_NAMES: [&str; 4] = ["application", "app", "wsgi_app", "main"];

/// Says which of them a script has, as the end of a sentence.
fn other_callable<'py>(py: Attached<'py>, globals: &Object<'py>) -> String {
    let is_there = |name: &&str| {
        let value = py.text(name).and_then(|name| globals.lookup(&name));
        value.ok().flatten().is_some_and(|value| value.is_callable())
    };
    match USUAL_NAMES.iter().find(|name| is_there(name)) {
        Some(name) => format!("; it defines '{name}': WSGICallableObject {name} would use that"),
        None => String::new(),
    }
}

fn not_found<'py>(
    py: Attached<'py>,
    request: &Request,
    head: &Head<'_>,
    module: &str,
    globals: &Object<'py>,
    failure: Option<&str>,
) -> Fault {
    let hint = match failure {
        Some(failure) => format!(" ({failure})"),
        None => other_callable(py, globals),
    };
    let text = format!(
        "script '{}' (module {module}) has no callable '{}'{hint}",
        String::from_utf8_lossy(head.script),
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
