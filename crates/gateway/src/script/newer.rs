//! Newer versions of loaded scripts on their way: still being written, being loaded, or known not to load.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::version::{Stamp, is_settled};

/// Longest that requests wait until the file is complete, and then until another worker has loaded it.
const COMPLETE_LIMIT: Duration = Duration::from_secs(2);
const READY_LIMIT: Duration = Duration::from_secs(10);
/// A script that wants to be loaded again, and then fails, is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// How often a file that is being written is looked at.
const GLANCE: Duration = Duration::from_millis(20);

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
        };
        let newer = table
            .entry(script.to_vec())
            .or_insert_with(|| Newer::new(unseen, false));
        // If the file has changed since, the next version is on its way already.
        if newer.stamp.number() == number {
            let since = Instant::now();
            newer.stage = Stage::Failed { since };
        }
    }
}

impl Newer {
    fn new(stamp: Stamp, asked: bool) -> Self {
        let seen = Instant::now();
        Self {
            stamp,
            waiting: 0,
            seen,
            stage: Stage::Incomplete { since: seen },
            asked,
        }
    }

    /// What is known of this script, brought up to date with what was found.
    pub fn entry<'t>(
        table: &'t mut HashMap<Vec<u8>, Self>,
        script: &[u8],
        stamp: Stamp,
        asked: bool,
    ) -> &'t mut Self {
        let newer = table
            .entry(script.to_vec())
            .or_insert_with(|| Self::new(stamp, asked));
        newer.asked = asked;
        let is_over = matches!(newer.stage, Stage::Failed { since } if asked && since.elapsed() > ASK_AGAIN);
        if newer.stamp.number() != stamp.number() || is_over {
            newer.renew(stamp);
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
        Stamp { script, restart: 0 }
    }

    #[test]
    fn a_failed_version_is_not_tried_again_until_the_file_changes() {
        let newers = Newers::default();
        newers.failed(b"/x", 7);
        let mut table = newers.lock();
        assert!(Newer::entry(&mut table, b"/x", stamp(7), false).has_failed());
        assert!(
            Newer::entry(&mut table, b"/x", stamp(7), false)
                .time_left()
                .is_none()
        );
        assert!(!Newer::entry(&mut table, b"/x", stamp(8), false).has_failed());
        drop(table);
        newers.failed(b"/x", 7);
        assert!(
            !newers.lock()[&b"/x"[..]].has_failed(),
            "an answer that comes late"
        );
    }

    #[test]
    fn what_is_loaded_elsewhere_is_waited_for_and_not_loaded_again() {
        let mut newer = Newer::new(stamp(1), false);
        assert!(newer.is_complete(|| stamp(0)), "it has been gone since 1970");
        newer.is_loaded_elsewhere();
        assert!(!newer.is_complete(|| stamp(0)));
        assert!(newer.time_left() > Some(COMPLETE_LIMIT));
    }
}
