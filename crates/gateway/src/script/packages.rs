//! The packages of a virtual environment: whether some were installed, upgraded or removed since an application was loaded from it.
//!
//! What tells is the list of what lies in `site-packages`, when its metadata (`*.dist-info`) were written, and when `pyvenv.cfg` was. A change
//! counts once it is at rest, for an installer takes its time and half of a package is worse than none. Files that are edited inside a package are
//! not seen.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::version::microseconds;

/// How often it is looked, at most.
const LOOK: Duration = Duration::from_secs(1);
/// What has not changed for so long is complete, unless it says that it is not.
const SETTLED: Duration = Duration::from_secs(3);
/// What says that it is not complete, and has not changed for so long, was left by an installer that has died.
const ABANDONED: Duration = Duration::from_secs(120);

/// The packages of one virtual environment.
pub struct Packages {
    configuration: PathBuf,
    directory: PathBuf,
    seen: Mutex<Seen>,
}

struct Seen {
    /// When it was looked at last.
    looked: Instant,
    /// When the directory and the configuration were changed, as they were when the list was read last.
    changed: [i64; 2],
    list: List,
    /// Since when the list is what it is.
    since: Instant,
    /// What counts, see [`Packages::number`].
    number: i64,
}

/// What lies there.
#[derive(Clone, Copy, PartialEq, Eq)]
struct List {
    /// Stands for all of it.
    hash: u64,
    /// When metadata in it were written last.
    written: i64,
    /// Something has been begun and not ended.
    in_part: bool,
}

impl Packages {
    /// Of the Python of this version whose `sys.prefix` is `prefix`; `None` when that is no virtual environment.
    pub fn of(prefix: &Path, version: (i64, i64)) -> Option<Self> {
        let configuration = prefix.join("pyvenv.cfg");
        let directory = prefix.join(format!("lib/python{}.{}/site-packages", version.0, version.1));
        let changed = changed(&directory, &configuration);
        if changed[1] == 0 {
            return None;
        }
        let list = list(&directory, changed[1]);
        let now = Instant::now();
        Some(Self {
            configuration,
            directory,
            seen: Mutex::new(Seen {
                looked: now,
                changed,
                list,
                since: now,
                number: list.number(),
            }),
        })
    }

    /// What is installed, in one number, to be compared and nothing else: as it was when it was last at rest.
    pub fn number(&self) -> i64 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.looked.elapsed() >= LOOK {
            seen.looked = Instant::now();
            self.look(&mut seen);
        }
        seen.number
    }

    fn look(&self, seen: &mut Seen) {
        let changed = changed(&self.directory, &self.configuration);
        let is_same = changed == seen.changed && !seen.list.in_part;
        if is_same && seen.number == seen.list.number() {
            return;
        }
        // Metadata are written into directories of their own, so until all is at rest the list is read each time.
        let list = list(&self.directory, changed[1]);
        if changed != seen.changed || list != seen.list {
            seen.since = Instant::now();
        }
        (seen.changed, seen.list) = (changed, list);
        let rest = if list.in_part { ABANDONED } else { SETTLED };
        // An environment that is being made anew is not there for a while.
        let is_there = changed.iter().all(|at| *at != 0);
        let latest = list.written.max(changed[0]).max(changed[1]);
        if is_there && (age(latest) >= rest || seen.since.elapsed() >= rest) {
            seen.number = list.number();
        }
    }
}

impl List {
    fn number(self) -> i64 {
        i64::from_ne_bytes(self.hash.to_ne_bytes())
    }
}

/// When the two were changed, in microseconds since 1970; 0: not there.
fn changed(directory: &Path, configuration: &Path) -> [i64; 2] {
    [directory, configuration].map(|path| std::fs::metadata(path).map_or(0, |status| microseconds(&status)))
}

/// How long ago that is, by the clock.
fn age(at: i64) -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX);
    Duration::from_micros(u64::try_from(now.saturating_sub(at)).unwrap_or_default())
}

fn list(directory: &Path, configured: i64) -> List {
    let (mut hash, mut latest, mut in_part) = (0_u64, 0, false);
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.as_bytes();
        // What Python itself writes when it imports says nothing.
        if name == b"__pycache__" {
            continue;
        }
        // What pip is about to remove.
        in_part |= name.starts_with(b"~");
        let mut written = 0;
        if name.ends_with(b".dist-info") {
            let path = entry.path();
            written = std::fs::metadata(&path).map_or(0, |status| microseconds(&status));
            // Installers write the list of all files last.
            in_part |= !path.join("RECORD").exists();
            latest = latest.max(written);
        }
        let mut of_entry = DefaultHasher::new();
        (name, written).hash(&mut of_entry);
        // In whatever order they come.
        hash = hash.wrapping_add(of_entry.finish());
    }
    let mut all = DefaultHasher::new();
    (hash, configured).hash(&mut all);
    List {
        hash: all.finish(),
        written: latest,
        in_part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Venv(PathBuf);

    impl Venv {
        fn new(name: &str) -> Self {
            let prefix = std::env::temp_dir().join(format!("rwsgi-packages-{name}-{}", std::process::id()));
            let venv = Self(prefix);
            std::fs::create_dir_all(venv.packages()).unwrap();
            let configuration = venv.0.join("pyvenv.cfg");
            std::fs::write(&configuration, "home = /usr/bin\n").unwrap();
            venv.add("one.dist-info/RECORD");
            Self::date(&configuration, LONG_AGO);
            venv
        }

        fn packages(&self) -> PathBuf {
            self.0.join("lib/python3.11/site-packages")
        }

        fn add(&self, name: &str) {
            let path = self.packages().join(name);
            let parent = path.parent().unwrap();
            std::fs::create_dir_all(parent).unwrap();
            std::fs::write(&path, "").unwrap();
            if name.contains(".dist-info") {
                Self::date(parent, LONG_AGO);
            }
        }

        fn date(path: &Path, ago: Duration) {
            let at = SystemTime::now() - ago;
            std::fs::File::open(path).unwrap().set_modified(at).unwrap();
        }

        /// The number after a look, with the directory changed so long ago.
        fn number(&self, packages: &Packages, ago: Duration) -> i64 {
            Self::date(&self.packages(), ago);
            let mut seen = packages.seen.lock().unwrap();
            packages.look(&mut seen);
            seen.number
        }
    }

    impl Drop for Venv {
        fn drop(&mut self) {
            // It is below the directory for temporary files.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const LONG_AGO: Duration = Duration::from_secs(3600);

    #[test]
    fn what_is_installed_counts_once_it_is_at_rest() {
        let venv = Venv::new("rest");
        let packages = Packages::of(&venv.0, (3, 11)).unwrap();
        let before = packages.number();
        venv.add("two/__init__.py");
        venv.add("two.dist-info/RECORD");
        assert_eq!(venv.number(&packages, Duration::ZERO), before);
        assert_eq!(venv.number(&packages, Duration::from_secs(1)), before);
        let after = venv.number(&packages, SETTLED);
        assert_ne!(after, before);
        assert_eq!(venv.number(&packages, SETTLED), after);
        assert_eq!(Packages::of(&venv.0, (3, 11)).unwrap().number(), after);
    }

    #[test]
    fn what_an_installer_has_not_finished_does_not_count_unless_it_was_left_so() {
        for begun in ["two.dist-info/METADATA", "~wo/__init__.py"] {
            let venv = Venv::new(&begun[..3]);
            let packages = Packages::of(&venv.0, (3, 11)).unwrap();
            let before = packages.number();
            venv.add(begun);
            assert_eq!(venv.number(&packages, SETTLED * 2), before, "{begun}");
            assert_ne!(venv.number(&packages, ABANDONED), before, "{begun}");
        }
    }

    #[test]
    fn what_python_compiles_says_nothing() {
        let venv = Venv::new("compiled");
        let packages = Packages::of(&venv.0, (3, 11)).unwrap();
        let before = venv.number(&packages, LONG_AGO);
        venv.add("__pycache__/six.cpython-311.pyc");
        assert_eq!(venv.number(&packages, LONG_AGO), before);
    }

    #[test]
    fn an_environment_that_is_not_there_for_a_while_is_waited_for() {
        let venv = Venv::new("gone");
        let packages = Packages::of(&venv.0, (3, 11)).unwrap();
        let before = packages.number();
        std::fs::remove_dir_all(venv.packages()).unwrap();
        let mut seen = packages.seen.lock().unwrap();
        packages.look(&mut seen);
        assert_eq!(seen.number, before);
        drop(seen);
        assert!(
            Packages::of(&venv.packages(), (3, 11)).is_none(),
            "no environment"
        );
    }
}
