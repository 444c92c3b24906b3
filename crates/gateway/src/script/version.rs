//! Which version of a script is on disk: its modification time, and whether somebody is still writing it.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A file that has not changed for so long is taken for complete.
pub const SETTLED: Duration = Duration::from_millis(200);

/// Modification time of a file in microseconds since 1970.
pub fn mtime_of(script: &[u8]) -> Option<i64> {
    std::fs::metadata(path_of(script))
        .ok()
        .map(|status| microseconds(&status))
}

/// The path as a path.
pub fn path_of(script: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(script))
}

/// Modification time in microseconds since 1970.
pub fn microseconds(status: &std::fs::Metadata) -> i64 {
    status
        .mtime()
        .saturating_mul(1_000_000)
        .saturating_add(status.mtime_nsec() / 1000)
}

/// Whether nobody has written to the file for a while: by its modification time or, where clocks differ, by what was seen.
pub fn is_settled(mtime: i64, seen: Instant) -> bool {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
    let age = now.saturating_sub(mtime);
    age >= SETTLED.as_micros() as i64 || seen.elapsed() >= SETTLED
}

/// The versions of the loaded scripts, readable without Python.
#[derive(Default)]
pub struct Versions {
    loaded: Mutex<HashMap<Vec<u8>, Version>>,
    raised: AtomicBool,
}

#[derive(Clone, Copy)]
struct Version {
    mtime: i64,
    /// It defines `reload_required`.
    asks: bool,
    /// No request has come for it since it was loaded in advance.
    fresh: bool,
}

/// How a loaded script compares with the one on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the same, or nothing is loaded.
    Current,
    /// The one on disk is another, of this modification time (0: it cannot be seen).
    Outdated(i64),
    /// It is the same, but the script wants to be asked whether it must be loaded again.
    AskIt(i64),
}

impl Versions {
    /// Whether no script has been loaded yet.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Compares. `mtime` is what httpd saw; 0: do not look.
    pub fn standing(&self, script: &[u8], mtime: i64) -> Standing {
        if mtime == 0 {
            return Standing::Current;
        }
        let loaded = {
            let mut versions = self.lock();
            let Some(version) = versions.get_mut(script) else {
                return Standing::Current;
            };
            let before = *version;
            version.fresh = false;
            before
        };
        let on_disk = || mtime_of(script).unwrap_or_default();
        if loaded.mtime != mtime && loaded.mtime != on_disk() {
            return Standing::Outdated(on_disk());
        }
        if loaded.asks && !loaded.fresh {
            return Standing::AskIt(loaded.mtime);
        }
        Standing::Current
    }

    /// A script has been loaded; `fresh`: not by a request.
    pub fn insert(&self, script: &[u8], mtime: i64, asks: bool, fresh: bool) {
        self.lock()
            .insert(script.to_vec(), Version { mtime, asks, fresh });
    }

    /// A script has raised while it was loaded.
    pub fn has_raised(&self) {
        self.raised.store(true, Ordering::Relaxed);
    }

    /// Nothing is loaded, and what a script had imported before it raised may be in the way of the next try.
    pub fn is_spoiled(&self) -> bool {
        self.raised.load(Ordering::Relaxed) && self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Version>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is loaded.
    pub fn scripts(&self) -> Vec<Vec<u8>> {
        self.lock().keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_settled_by_its_age_or_by_what_was_seen() {
        let now = Instant::now();
        assert!(is_settled(1, now));
        assert!(!is_settled(i64::MAX, now));
        assert!(is_settled(i64::MAX, now - SETTLED));
    }

    #[test]
    fn a_script_is_asked_only_after_it_has_served() {
        let versions = Versions::default();
        assert_eq!(versions.standing(b"/x", 5), Standing::Current);
        versions.insert(b"/x", 5, true, true);
        assert_eq!(versions.standing(b"/x", 5), Standing::Current);
        assert_eq!(versions.standing(b"/x", 5), Standing::AskIt(5));
        assert_eq!(versions.standing(b"/x", 6), Standing::Outdated(0));
        assert_eq!(versions.standing(b"/x", 0), Standing::Current);
    }
}
