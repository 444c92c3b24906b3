//! Newer versions of loaded scripts on their way: still being written, being loaded, or known not to load.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rwsgi_wire::script::Script;

use super::version::{Stamp, is_settled};

/// Longest that requests wait until the file is complete, and then until another worker has loaded it.
const COMPLETE_LIMIT: Duration = Duration::from_secs(2);
const READY_LIMIT: Duration = Duration::from_secs(10);
/// A script that wants to be loaded again, and then fails, is asked again after this; and one that lacked a callable is tried again when
/// another is asked for.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// How often a file that is being written is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// A version that a request has found to be newer.
#[derive(Clone)]
pub struct Found {
    /// What is on disk.
    pub stamp: Stamp,
    /// The script itself wants to be loaded again; the file is the same.
    pub asked: bool,
    /// The callables that it must have.
    pub callables: Vec<Vec<u8>>,
}

/// By script.
#[derive(Default)]
pub struct Newers(Mutex<HashMap<Vec<u8>, Newer>>);

/// One of them.
pub struct Newer {
    /// What is on disk.
    pub stamp: Stamp,
    /// Requests that wait for it.
    pub waiting: usize,
    /// When this was first seen.
    seen: Instant,
    stage: Stage,
    /// The script itself wants to be loaded again; the file is the same.
    asked: bool,
    /// The callables that it must have; `None`: not known here.
    callables: Option<Vec<Vec<u8>>>,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Somebody may still be writing it.
    Incomplete { since: Instant },
    /// Another worker loads it.
    Elsewhere { since: Instant },
    /// It does not load: what is loaded stays.
    Failed { since: Instant },
}

impl Newers {
    /// All of them, for a moment.
    pub fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Newer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version of this [number](Stamp::number) does not load.
    pub fn failed(&self, script: &[u8], number: i64) {
        let mut table = self.lock();
        // One that was not seen here: of what times the number is made does not matter.
        let unseen = Stamp {
            script: number,
            restart: 0,
            packages: 0,
        };
        let newer = table
            .entry(script.to_vec())
            .or_insert_with(|| Newer::new(unseen, false, None));
        // If the file has changed since, the next version is on its way already.
        if newer.stamp.number() == number {
            let since = Instant::now();
            newer.stage = Stage::Failed { since };
        }
    }
}

impl Newer {
    fn new(stamp: Stamp, asked: bool, callables: Option<Vec<Vec<u8>>>) -> Self {
        let seen = Instant::now();
        Self {
            stamp,
            waiting: 0,
            seen,
            stage: Stage::Incomplete { since: seen },
            asked,
            callables,
        }
    }

    /// What is known of this script, brought up to date with what was found.
    pub fn entry<'t>(table: &'t mut HashMap<Vec<u8>, Self>, script: &[u8], found: &Found) -> &'t mut Self {
        let Found { stamp, asked, .. } = *found;
        let callables = Some(&found.callables);
        let newer = table
            .entry(script.to_vec())
            .or_insert_with(|| Self::new(stamp, asked, callables.cloned()));
        newer.asked = asked;
        let is_other = newer.callables.is_some() && newer.callables.as_ref() != callables;
        let is_over = matches!(newer.stage, Stage::Failed { since } if since.elapsed() > ASK_AGAIN);
        if newer.stamp.number() != stamp.number() || is_over && (asked || is_other) {
            newer.renew(stamp);
        }
        if newer.callables.is_none() || matches!(newer.stage, Stage::Incomplete { .. }) {
            newer.callables = callables.cloned();
        }
        newer
    }

    /// Another version is there.
    fn renew(&mut self, stamp: Stamp) {
        (self.stamp, self.seen) = (stamp, Instant::now());
        // While somebody writes, the time does not begin again with each byte.
        if !matches!(self.stage, Stage::Incomplete { .. }) {
            self.stage = Stage::Incomplete { since: self.seen };
        }
    }

    /// Another worker is to load it.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self.stage, Stage::Elsewhere { .. })
    }

    /// It does not load.
    pub fn has_failed(&self) -> bool {
        matches!(self.stage, Stage::Failed { .. })
    }

    /// Looks at what is `on_disk`: whether it is complete, and nobody is loading it yet.
    pub fn is_complete(&mut self, on_disk: impl FnOnce() -> Stamp) -> bool {
        if !matches!(self.stage, Stage::Incomplete { .. }) {
            return false;
        }
        let stamp = on_disk();
        if !self.asked && stamp.number() != self.stamp.number() {
            self.renew(stamp);
        }
        self.asked || is_settled(self.stamp.latest(), self.seen)
    }

    /// What whoever loads it must find at this path.
    pub fn script(&self, path: &[u8]) -> Script {
        Script {
            path: path.to_vec(),
            callables: self.callables.clone().unwrap_or_default(),
        }
    }

    /// Another worker loads it from now on.
    pub fn is_loaded_elsewhere(&mut self) {
        let since = Instant::now();
        self.stage = Stage::Elsewhere { since };
    }

    /// How long to wait for news; `None`: no longer.
    pub fn time_left(&self) -> Option<Duration> {
        let (end, most) = match self.stage {
            Stage::Incomplete { since } => (since + COMPLETE_LIMIT, GLANCE),
            Stage::Elsewhere { since } => (since + READY_LIMIT, READY_LIMIT),
            Stage::Failed { .. } => return None,
        };
        let left = end.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left.min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn stamp(script: i64) -> Stamp {
        Stamp {
            script,
            restart: 0,
            packages: 0,
        }
    }

    fn found(script: i64, callable: &str) -> Found {
        Found {
            stamp: stamp(script),
            asked: false,
            callables: vec![callable.into()],
        }
    }

    #[test]
    fn a_failed_version_is_not_tried_again_until_the_file_changes() {
        let newers = Newers::default();
        newers.failed(b"/x", 7);
        let mut table = newers.lock();
        assert!(Newer::entry(&mut table, b"/x", &found(7, "a")).has_failed());
        assert!(
            Newer::entry(&mut table, b"/x", &found(7, "a"))
                .time_left()
                .is_none()
        );
        assert!(!Newer::entry(&mut table, b"/x", &found(8, "a")).has_failed());
        drop(table);
        newers.failed(b"/x", 7);
        assert!(
            !newers.lock()[&b"/x"[..]].has_failed(),
            "an answer that comes late"
        );
    }

    #[test]
    fn one_that_lacked_a_callable_is_tried_again_for_another_after_a_while() {
        let mut table = HashMap::new();
        let failed = |table: &mut HashMap<_, Newer>, since| {
            let newer = Newer::entry(table, b"/x", &found(7, "application"));
            newer.stage = Stage::Failed { since };
        };
        failed(&mut table, Instant::now());
        assert!(Newer::entry(&mut table, b"/x", &found(7, "app")).has_failed());
        failed(&mut table, Instant::now() - ASK_AGAIN * 2);
        assert!(Newer::entry(&mut table, b"/x", &found(7, "application")).has_failed());
        assert!(!Newer::entry(&mut table, b"/x", &found(7, "app")).has_failed());
        assert!(!Newer::entry(&mut table, b"/x", &found(7, "app")).has_failed());
    }

    #[test]
    fn what_is_loaded_elsewhere_is_waited_for_and_not_loaded_again() {
        let mut newer = Newer::new(stamp(1), false, None);
        assert!(newer.is_complete(|| stamp(0)), "it has been gone since 1970");
        newer.is_loaded_elsewhere();
        assert!(!newer.is_complete(|| stamp(0)));
        assert!(newer.time_left() > Some(COMPLETE_LIMIT));
    }
}
