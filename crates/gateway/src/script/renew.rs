//! Loading a newer version of a script in place: embedded mode, where there is no other process to do it in.

use rwsgi_wire::head::Head;
use rwsgi_wire::response::Level;

use super::Scripts;
use super::newer::{Found, Newer};
use super::version::{Stamp, Standing};
use crate::codes;
use crate::cpython::{Attached, Object, PyResult};
use crate::wsgi::fault::report;
use crate::wsgi::request::{Request, lock};

/// The file that the URL was mapped to: for a handler script it is another than the script.
fn requested_file<'h>(head: &Head<'h>) -> &'h [u8] {
    let mapped = head.environ.iter().find(|(name, _)| *name == b"SCRIPT_FILENAME");
    mapped.map_or(head.script, |(_, path)| path)
}

impl Scripts {
    /// The script's own word on whether it is to be loaded again although its file is the same; `say` logs what it raises.
    pub fn is_reload_required(&self, py: Attached<'_>, head: &Head<'_>, say: impl Fn(&str)) -> bool {
        let Some(globals) = self.find(py, head.script) else {
            return false;
        };
        let ask = || -> PyResult<'_, bool> {
            match globals.lookup(&py.text("reload_required")?)? {
                Some(function) => function.call(&[&py.file_name(requested_file(head))?])?.is_true(),
                None => Ok(false),
            }
        };
        ask().unwrap_or_else(|exception| {
            say(&format!(
                "{}: reload_required() of script '{}' raised {}, which counts as no\n{}",
                codes::RELOAD_REQUIRED_RAISED,
                String::from_utf8_lossy(head.script),
                exception.sentence(),
                exception.traceback()
            ));
            false
        })
    }

    /// The newest version that can be had, given the one that is loaded.
    pub(super) fn up_to_date<'py>(
        &self,
        py: Attached<'py>,
        request: &Request,
        head: &Head<'_>,
        loaded: Object<'py>,
    ) -> Object<'py> {
        let (stamp, asked) = match self.versions.standing(head.script, head.script_mtime) {
            Standing::Current | Standing::Unknown => return loaded,
            Standing::Outdated(stamp) => (stamp, false),
            Standing::AskIt(stamp) => (stamp, true),
        };
        let say = |text: &str| request.report(Level::Error, text);
        if asked && !self.is_reload_required(py, head, say) {
            return loaded;
        }
        let found = Found {
            stamp,
            asked,
            callables: self.versions.needed(head.script, head.callable),
        };
        let Some(stamp) = self.complete(py, head.script, &found) else {
            return loaded;
        };
        let _loading = lock(py, &self.loading);
        match self.find(py, head.script) {
            Some(now) if !now.is(&loaded) => return now,
            _ => {}
        }
        // While this request waited for the lock, another may have found that it does not load.
        if self
            .newers
            .lock()
            .get(head.script)
            .is_some_and(|newer| newer.has_failed() && newer.stamp == stamp)
        {
            return loaded;
        }
        match self.load(py, head.script, false, &found.callables) {
            Ok(globals) => {
                self.newers.lock().remove(head.script);
                globals
            }
            Err(failure) => {
                self.newers.failed(head.script, stamp.number());
                request.report(Level::Error, &failure.describe(head.script));
                let text = format!(
                    "the new version of script '{}' does not load (see above); the old one goes on serving until the file changes again",
                    String::from_utf8_lossy(head.script)
                );
                report(request, &codes::OLD_VERSION_KEPT, &text);
                loaded
            }
        }
    }

    /// Waits a while until nobody is writing the file; what is on disk then. `None`: the loaded version is to serve.
    fn complete(&self, py: Attached<'_>, script: &[u8], found: &Found) -> Option<Stamp> {
        loop {
            let left = {
                let mut table = self.newers.lock();
                let newer = Newer::entry(&mut table, script, found);
                if newer.is_complete(|| self.versions.on_disk(script)) {
                    return Some(newer.stamp);
                }
                newer.time_left()?
            };
            py.detach(|| std::thread::sleep(left));
        }
    }
}
