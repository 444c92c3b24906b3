//! Which version of a script is on disk: its modification time, that of the file which is touched to renew it, the packages of its environment, and
//! whether somebody is still writing it.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rwsgi_wire::script::Script;

use super::packages::Packages;

/// A file that has not changed for so long is taken for complete.
pub const SETTLED: Duration = Duration::from_millis(200);

/// Most callables of one script that are remembered.
const CALLABLES_MAX: usize = 32;

/// Modification time of a file in microseconds since 1970.
pub fn mtime_of(script: &[u8]) -> Option<i64> {
    std::fs::metadata(path_of(script))
        .ok()
        .map(|status| microseconds(&status))
}

/// What tells versions of a script apart: modification times in microseconds since 1970; 0: there is no such file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Of the script.
    pub script: i64,
    /// Of its `tmp/restart.txt`, where that is looked at.
    pub restart: i64,
    /// What is installed in the virtual environment, where that is looked at: no time, but [a number](Packages::number) to be compared.
    pub packages: i64,
}

impl Stamp {
    /// The version in one number, to be compared and nothing else. Not the later of the two times: a script that is put back to an older one
    /// after the other file was touched is another version, too.
    pub fn number(self) -> i64 {
        self.files().wrapping_add(self.packages)
    }

    /// As httpd's children tell versions apart, who look at the files only.
    pub fn files(self) -> i64 {
        self.script.wrapping_add(self.restart)
    }

    /// When one of the files has changed last. Packages count once they are at rest.
    pub fn latest(self) -> i64 {
        self.script.max(self.restart)
    }

    /// Whether it is to take the place of what was `loaded`. That the file to be touched has been removed says nothing.
    fn replaces(self, loaded: Self) -> bool {
        let is_touched = self.restart != 0 && self.restart != loaded.restart;
        self.script != loaded.script || is_touched || self.packages != loaded.packages
    }
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

/// Is told what requests are given of a script.
type Teller = Box<dyn Fn(&Script) + Send + Sync>;

/// The versions of the loaded scripts, readable without Python.
#[derive(Default)]
pub struct Versions {
    loaded: Mutex<BTreeMap<Vec<u8>, Version>>,
    raised: AtomicBool,
    /// Who is told what requests are given.
    teller: OnceLock<Teller>,
    /// Whether `tmp/restart.txt` beside a script renews it.
    restarts: bool,
    /// What a change of renews all of them.
    packages: OnceLock<Packages>,
}

struct Version {
    stamp: Stamp,
    /// Names of the callables that requests have been given.
    callables: Vec<Vec<u8>>,
    /// It defines `reload_required`.
    asks: bool,
    /// No request has come for it since it was loaded in advance.
    fresh: bool,
}

/// How a loaded script compares with the one on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the same.
    Current,
    /// It is not loaded.
    Unknown,
    /// The one on disk is another, this one.
    Outdated(Stamp),
    /// It is the same, but the script wants to be asked whether it must be loaded again.
    AskIt(Stamp),
}

impl Versions {
    /// Of the application of a user, which is renewed when its `tmp/restart.txt` is touched.
    pub fn with_restarts() -> Self {
        Self {
            restarts: true,
            ..Self::default()
        }
    }

    /// Modification time of the file that is touched to renew this script; 0: there is none, or it does not count here.
    fn restart_of(&self, script: &[u8]) -> i64 {
        if !self.restarts {
            return 0;
        }
        let file = path_of(script).with_file_name("tmp/restart.txt");
        mtime_of(file.as_os_str().as_bytes()).unwrap_or_default()
    }

    /// Has the scripts renewed when these packages change.
    pub fn renew_with(&self, packages: Packages) {
        // There is one environment.
        let _ = self.packages.set(packages);
    }

    /// What is on disk besides the script itself.
    pub fn surroundings(&self, script: &[u8]) -> Stamp {
        Stamp {
            script: 0,
            restart: self.restart_of(script),
            packages: self.packages.get().map_or(0, Packages::number),
        }
    }

    /// What is on disk.
    pub fn on_disk(&self, script: &[u8]) -> Stamp {
        Stamp {
            script: mtime_of(script).unwrap_or_default(),
            ..self.surroundings(script)
        }
    }

    /// Whether no script has been loaded yet.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Compares. `mtime` is what httpd saw; 0: do not look.
    pub fn standing(&self, script: &[u8], mtime: i64) -> Standing {
        let (loaded, asks) = {
            let mut versions = self.lock();
            let Some(version) = versions.get_mut(script) else {
                return Standing::Unknown;
            };
            if mtime == 0 {
                return Standing::Current;
            }
            let was_fresh = std::mem::replace(&mut version.fresh, false);
            (version.stamp, version.asks && !was_fresh)
        };
        let seen = Stamp {
            script: match loaded.script == mtime {
                true => mtime,
                false => mtime_of(script).unwrap_or_default(),
            },
            ..self.surroundings(script)
        };
        if seen.replaces(loaded) {
            return Standing::Outdated(seen);
        }
        if asks {
            return Standing::AskIt(loaded);
        }
        Standing::Current
    }

    /// A script has been loaded, with these callables that were asked for before; `fresh`: not by a request.
    pub fn insert(&self, script: &[u8], stamp: Stamp, asks: bool, fresh: bool, callables: &[Vec<u8>]) {
        let version = Version {
            stamp,
            callables: callables.to_vec(),
            asks,
            fresh,
        };
        self.lock().insert(script.to_vec(), version);
    }

    /// A request is given this callable of a loaded script.
    pub fn is_given(&self, script: &[u8], callable: &[u8]) {
        {
            let mut versions = self.lock();
            let Some(version) = versions.get_mut(script) else {
                return;
            };
            let is_known = version.callables.iter().any(|known| known == callable);
            if is_known || version.callables.len() >= CALLABLES_MAX {
                return;
            }
            version.callables.push(callable.to_vec());
        }
        if let Some(tell) = self.teller.get() {
            tell(&Script {
                path: script.to_vec(),
                callables: vec![callable.to_vec()],
            });
        }
    }

    /// Has `tell` called when requests are given more callables of a script than before.
    pub fn tell_given(&self, tell: impl Fn(&Script) + Send + Sync + 'static) {
        // There is one who is told.
        let _ = self.teller.set(Box::new(tell));
    }

    /// What the next version of a script must have, for which a request wants this callable: all that requests have been given. If this
    /// one was not among them, another is configured now, and only that counts. Where nothing has been given nothing can be lost.
    pub fn needed(&self, script: &[u8], callable: &[u8]) -> Vec<Vec<u8>> {
        let given = self
            .lock()
            .get(script)
            .map(|v| v.callables.clone())
            .unwrap_or_default();
        match given.is_empty() || given.iter().any(|name| name == callable) {
            true => given,
            false => vec![callable.to_vec()],
        }
    }

    /// A script has raised while it was loaded.
    pub fn has_raised(&self) {
        self.raised.store(true, Ordering::Relaxed);
    }

    /// Nothing is loaded, and what a script had imported before it raised may be in the way of the next try.
    pub fn is_spoiled(&self) -> bool {
        self.raised.load(Ordering::Relaxed) && self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Version>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is loaded, and what of it requests have been given.
    pub fn scripts(&self) -> Vec<Script> {
        let versions = self.lock();
        let scripts = versions.iter().map(|(path, version)| Script {
            path: path.clone(),
            callables: version.callables.clone(),
        });
        scripts.collect()
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
        assert_eq!(versions.standing(b"/x", 5), Standing::Unknown);
        assert_eq!(versions.standing(b"/x", 0), Standing::Unknown);
        let stamp = |script| Stamp {
            script,
            restart: 0,
            packages: 0,
        };
        versions.insert(b"/x", stamp(5), true, true, &[]);
        assert_eq!(versions.standing(b"/x", 5), Standing::Current);
        assert_eq!(versions.standing(b"/x", 5), Standing::AskIt(stamp(5)));
        assert_eq!(versions.standing(b"/x", 6), Standing::Outdated(stamp(0)));
        assert_eq!(versions.standing(b"/x", 0), Standing::Current);
    }

    #[test]
    fn the_next_version_must_have_what_requests_were_given_unless_another_is_configured_now() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| name.as_bytes().to_vec())
                .collect::<Vec<_>>()
        };
        let versions = Versions::default();
        let stamp = Stamp {
            script: 5,
            restart: 0,
            packages: 0,
        };
        versions.insert(b"/x", stamp, false, false, &[]);
        assert_eq!(versions.needed(b"/x", b"application"), names(&[]));
        for callable in ["application", "admin", "application"] {
            versions.is_given(b"/x", callable.as_bytes());
        }
        let both = names(&["application", "admin"]);
        assert_eq!(versions.needed(b"/x", b"admin"), both);
        assert_eq!(versions.needed(b"/x", b"app"), names(&["app"]));
        assert_eq!(versions.scripts()[0].callables, both);
        versions.insert(b"/x", stamp, false, false, &names(&["app"]));
        assert_eq!(versions.needed(b"/x", b"app"), names(&["app"]));
    }

    #[test]
    fn a_version_is_another_when_either_file_is_and_not_when_the_one_to_touch_is_gone() {
        let stamp = |script, restart| Stamp {
            script,
            restart,
            packages: 11,
        };
        let loaded = stamp(5, 7);
        let upgraded = Stamp {
            packages: -3,
            ..loaded
        };
        assert!(upgraded.replaces(loaded) && upgraded.number() != loaded.number());
        for other in [stamp(6, 7), stamp(4, 7), stamp(5, 8), stamp(5, 6), stamp(6, 0)] {
            assert!(other.replaces(loaded), "{other:?}");
            assert_ne!(other.number(), loaded.number());
        }
        assert!(stamp(5, 1).replaces(stamp(5, 0)), "it was not there");
        assert!(!loaded.replaces(loaded));
        assert!(!stamp(5, 0).replaces(loaded));
        assert_eq!((stamp(5, 0).files(), stamp(5, 7).latest()), (5, 7));
    }

    #[test]
    fn the_file_to_touch_is_looked_at_beside_the_script_and_only_where_it_counts() {
        let directory = std::env::temp_dir().join(format!("rwsgi-version-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("tmp")).unwrap();
        std::fs::write(directory.join("tmp/restart.txt"), "").unwrap();
        let script = directory.join("app.wsgi").into_os_string().into_encoded_bytes();
        let restart = Versions::with_restarts().on_disk(&script).restart;
        let elsewhere = Versions::default().on_disk(&script).restart;
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(restart > 0);
        assert_eq!(elsewhere, 0);
        assert_eq!(Versions::with_restarts().on_disk(&script).restart, 0);
    }
}
