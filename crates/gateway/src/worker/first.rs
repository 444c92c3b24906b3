//! The first load of a script in this worker. When others of the pool have it already, a failure here must not be an answer: the request goes
//! to one of them, and this worker makes room.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rwsgi_wire::head::Head;
use rwsgi_wire::life::LeaveReason;
use rwsgi_wire::response::Level;
use rwsgi_wire::script::Script;

use super::Worker;
use super::renewal::Place;

/// How long the manager's word is waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// What the manager says of scripts that are to be loaded.
#[derive(Default)]
pub struct Firsts {
    /// By path, what has been answered: the script as others have it, or that nobody has.
    answers: Mutex<HashMap<Vec<u8>, Option<Script>>>,
    news: Condvar,
    /// Held while one is loaded that others have.
    loading: Mutex<()>,
}

impl Firsts {
    /// The manager has answered.
    pub fn answered(&self, script: Script, there: bool) {
        let path = script.path.clone();
        self.lock().insert(path, there.then_some(script));
        self.news.notify_all();
    }

    /// Waits for the answer, at most so long; `None`: nobody has it.
    fn answer(&self, path: &[u8], limit: Duration) -> Option<Script> {
        let end = Instant::now() + limit;
        let mut answers = self.lock();
        loop {
            if let Some(answer) = answers.get(path) {
                return answer.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.news.wait_timeout(answers, left);
            answers = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Option<Script>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Where to serve a request whose script has not been loaded here.
    pub(super) fn first_load(&self, head: &Head<'_>) -> Place {
        let version = self.versions.on_disk(head.script).files();
        let others = match self.start.processes {
            0 | 1 => {
                self.control.loads(head.script, version);
                None
            }
            _ => {
                self.firsts.lock().remove(head.script);
                self.control.loads(head.script, version);
                self.firsts.answer(head.script, ANSWER_LIMIT)
            }
        };
        match others {
            Some(script) => self.load_beside(&script),
            None => Place::First,
        }
    }

    /// Loads what others have. Nothing has run of the request, so that it can be repeated even if this ends the process.
    fn load_beside(&self, script: &Script) -> Place {
        let Firsts { loading, .. } = &self.firsts;
        let _loading = loading.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_leaving() {
            return Place::Elsewhere;
        }
        let Script { path, callables } = script;
        let loaded = self.interpreter.enter(|py, state| {
            let loaded = state.scripts.load_beside(py, path, callables);
            loaded.map_err(|failure| {
                self.control.say(Level::Error, &failure.describe(path));
                failure.sentence(path)
            })
        });
        match loaded {
            Ok(Ok(())) => {
                self.control.given(script);
                Place::Here
            }
            Ok(Err(why)) => {
                self.control.not_loaded(path, &why);
                self.leave(LeaveReason::ImportFailed);
                Place::Elsewhere
            }
            Err(_) => Place::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_managers_word_is_waited_for_and_not_for_ever() {
        let firsts = Firsts::default();
        assert_eq!(firsts.answer(b"/x", Duration::from_millis(1)), None);
        let limit = Duration::from_secs(60);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| firsts.answer(b"/x", limit));
            firsts.answered(Script::at(b"/y"), false);
            firsts.answered(Script::at(b"/x"), true);
            assert_eq!(waits.join().unwrap(), Some(Script::at(b"/x")));
        });
        assert_eq!(firsts.answer(b"/y", limit), None);
    }
}
