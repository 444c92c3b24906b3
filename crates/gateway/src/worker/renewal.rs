//! A newer version of a loaded script: the worker tells the manager and goes on; requests wait a while for the worker that loads it.

use std::sync::{Condvar, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rwsgi_wire::head::Head;
use rwsgi_wire::response::Level;
use rwsgi_wire::script::Script;

use super::Worker;
use super::control::Control;
use crate::script::newer::{Found, Newer, Newers};
use crate::script::version::{Stamp, Standing};

/// Where a request is to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// By what this worker has loaded.
    Here,
    /// By this worker, which has yet to load its script.
    First,
    /// By another worker.
    Elsewhere,
}

/// Newer versions of scripts, and who waits for them.
#[derive(Default)]
pub struct Renewal {
    newers: Newers,
    news: Condvar,
}

impl Renewal {
    /// The manager says that this version does not load.
    pub fn keep(&self, script: &[u8], number: i64) {
        self.newers.failed(script, number);
        self.news.notify_all();
    }

    /// Says again which scripts other workers have been asked to load.
    pub fn repeat(&self, control: &Control, loaded: &[Script]) {
        for (script, newer) in self.newers.lock().iter() {
            if newer.is_elsewhere() {
                control.outdated(newer.script(script), newer.stamp.number(), loaded.to_vec());
            }
        }
    }

    /// The worker is leaving.
    pub fn stop_waiting(&self) {
        // Locked, so that nobody is between looking and waiting.
        let _table = self.newers.lock();
        self.news.notify_all();
    }
}

impl Worker {
    /// Where to serve a request. It may wait here for a while; at most half of the threads do, the others serve what is loaded.
    pub fn place_for(&self, head: &Head<'_>) -> Place {
        match self.versions.standing(head.script, head.script_mtime) {
            Standing::Current => Place::Here,
            // Under which path it is known, of those that differ in case, Python knows.
            Standing::Unknown if self.start.python.fold_case => Place::Here,
            Standing::Unknown => self.first_load(head),
            Standing::Outdated(stamp) => self.wait_for(head, stamp, false),
            Standing::AskIt(stamp) => {
                let say = |text: &str| self.control.say(Level::Error, text);
                let asked = self
                    .interpreter
                    .enter(|py, state| state.scripts.is_reload_required(py, head, say));
                match asked {
                    Ok(true) => self.wait_for(head, stamp, true),
                    _ => Place::Here,
                }
            }
        }
    }

    fn wait_for(&self, head: &Head<'_>, stamp: Stamp, asked: bool) -> Place {
        let Renewal { newers, news } = &self.renewal;
        let patience = patience(head);
        let start = std::time::Instant::now();
        let found = Found {
            stamp,
            asked,
            callables: self.versions.needed(head.script, head.callable),
        };
        let mut table = newers.lock();
        let newer = Newer::entry(&mut table, head.script, &found);
        let may_wait = newer.waiting < (self.seats.count() / 2).max(1);
        newer.waiting += usize::from(may_wait);
        let mut place = Place::Here;
        loop {
            if self.is_leaving() {
                place = Place::Elsewhere;
                break;
            }
            let Some(newer) = table.get_mut(head.script) else {
                break;
            };
            if newer.is_complete(|| self.versions.on_disk(head.script)) {
                newer.is_loaded_elsewhere();
                let loaded = self.versions.scripts();
                self.control
                    .outdated(newer.script(head.script), newer.stamp.number(), loaded);
            }
            let left = newer.time_left().filter(|_| may_wait);
            let Some(left) = left.map(|left| left.min(patience.saturating_sub(start.elapsed()))) else {
                break;
            };
            if left.is_zero() {
                break;
            }
            table = news
                .wait_timeout(table, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if let Some(newer) = table.get_mut(head.script) {
            newer.waiting = newer.waiting.saturating_sub(usize::from(may_wait));
        }
        place
    }
}

/// How long a request may wait: until half of the time has passed after which httpd gives up, for by then somebody must have taken it.
fn patience(head: &Head<'_>) -> Duration {
    if head.queue_limit == 0 {
        return Duration::MAX;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    let passed = u64::try_from(now.saturating_sub(head.queue_start)).unwrap_or(0);
    Duration::from_micros((u64::from(head.queue_limit) * 500).saturating_sub(passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_at_most_half_of_the_time_it_has() {
        let head = |queue_limit, queue_start| Head {
            queue_limit,
            queue_start,
            ..Head::default()
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
        assert_eq!(patience(&head(0, now)), Duration::MAX);
        assert!(patience(&head(60_000, now)) > Duration::from_secs(29));
        assert!(patience(&head(60_000, now)) <= Duration::from_secs(30));
        assert_eq!(patience(&head(60_000, now - 40_000_000)), Duration::ZERO);
    }
}
