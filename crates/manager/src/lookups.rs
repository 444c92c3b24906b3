//! Accounts, looked up by processes of their own: the name service may hang, and runs code of its own, neither of which belongs in the manager.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rwsgi_os::process::{self, Pid};
use rwsgi_os::signal::Signal;
use rwsgi_os::spawn::Spawn;
use rwsgi_os::{OsError, OwnedFd, fd, file};

use crate::account::Found;
use crate::supervise::{Manager, Token};

/// How long a look-up may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How long an account is believed to be as it was.
const FRESH: Duration = Duration::from_secs(60);
/// The same of a name that was not found, or could not be looked up.
const FRESH_FAILURE: Duration = Duration::from_secs(5);
/// Look-ups at once.
const AT_ONCE: usize = 16;
/// Names that wait for their turn.
const WAITING_MAX: usize = 1024;
/// Names that are remembered.
const KNOWN_MAX: usize = 8192;
/// Largest answer, bytes.
const ANSWER_MAX: usize = 1 << 20;

/// What is known, being asked and to be asked.
#[derive(Default)]
pub(crate) struct Lookups {
    known: HashMap<Vec<u8>, Known>,
    running: HashMap<u64, Running>,
    waiting: VecDeque<Vec<u8>>,
    /// Names of both.
    asked: HashSet<Vec<u8>>,
}

struct Known {
    found: Rc<Found>,
    until: Instant,
    /// The log has heard that it is refused.
    is_told: bool,
}

struct Running {
    name: Vec<u8>,
    pid: Pid,
    output: OwnedFd,
    answer: Vec<u8>,
    until: Instant,
}

impl Lookups {
    /// What is known of a name.
    pub(crate) fn fresh(&self, name: &[u8]) -> Option<Rc<Found>> {
        let known = self.known.get(name)?;
        (Instant::now() < known.until).then(|| Rc::clone(&known.found))
    }

    /// What was found of a name when it was looked up last, however long ago.
    pub(crate) fn last(&self, name: &[u8]) -> Option<&Found> {
        self.known.get(name).map(|known| &*known.found)
    }

    /// Whether the log has not heard yet that this user is refused; it has, afterwards.
    pub(crate) fn is_untold(&mut self, name: &[u8]) -> bool {
        let known = self.known.get_mut(name);
        known.is_some_and(|known| !std::mem::replace(&mut known.is_told, true))
    }

    fn learn(&mut self, name: Vec<u8>, found: Found) {
        let now = Instant::now();
        if self.known.len() >= KNOWN_MAX {
            self.known.retain(|_, known| now < known.until);
        }
        if self.known.len() >= KNOWN_MAX {
            // More users at once than are remembered: the oldest is asked for again.
            let oldest = self.known.iter().min_by_key(|(_, known)| known.until);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| self.known.remove(&name));
        }
        let how_long = match found {
            Found::Account(_) => FRESH,
            Found::Nobody | Found::Failure(_) => FRESH_FAILURE,
        };
        self.asked.remove(&name);
        let (found, until) = (Rc::new(found), now + how_long);
        let is_told = false;
        self.known.insert(
            name,
            Known {
                found,
                until,
                is_told,
            },
        );
    }
}

impl Manager {
    /// Has a name looked up, unless it is being looked up already; [`on_account`](Self::on_account) follows.
    pub(crate) fn look_up(&mut self, name: &[u8]) {
        if self.lookups.asked.contains(name) {
            return;
        }
        if self.lookups.waiting.len() >= WAITING_MAX {
            let found = Found::Failure("too many accounts are looked up at once".to_owned());
            return self.learn(name.to_vec(), found);
        }
        self.lookups.asked.insert(name.to_vec());
        self.lookups.waiting.push_back(name.to_vec());
        self.start_lookups();
    }

    fn start_lookups(&mut self) {
        while self.lookups.running.len() < AT_ONCE {
            let Some(name) = self.lookups.waiting.pop_front() else {
                return;
            };
            let started = start(&name);
            let id = self.fresh_id();
            let watched = started.and_then(|(pid, output)| {
                self.watch(&output, Token::Lookup(id))?;
                Ok((pid, output))
            });
            match watched {
                Ok((pid, output)) => {
                    let until = Instant::now() + LIMIT;
                    self.timers.set(until, Token::Lookup(id));
                    let answer = Vec::new();
                    let running = Running {
                        name,
                        pid,
                        output,
                        answer,
                        until,
                    };
                    self.lookups.running.insert(id, running);
                }
                Err(e) => self.learn(
                    name,
                    Found::Failure(format!("a process for it cannot be started: {e}")),
                ),
            }
        }
    }

    /// News from a look-up.
    pub(crate) fn on_lookup(&mut self, id: u64) {
        let Some(running) = self.lookups.running.get_mut(&id) else {
            return;
        };
        let mut buffer = [0; 4096];
        match fd::read(&running.output, &mut buffer) {
            Ok(n) if n > 0 && running.answer.len() < ANSWER_MAX => {
                running
                    .answer
                    .extend_from_slice(buffer.get(..n).unwrap_or_default());
            }
            Err(e) if e.is_would_block() => {}
            // The end, or more than an account can be.
            _ => {
                let found = Found::decode(&running.answer);
                let found = found
                    .unwrap_or_else(|_| Found::Failure("the look-up ended without an answer".to_owned()));
                self.end_lookup(id, found);
            }
        }
    }

    pub(crate) fn wake_lookup(&mut self, id: u64) {
        let over = |running: &Running| running.until <= Instant::now();
        if self.lookups.running.get(&id).is_some_and(over) {
            let why = format!("the name service did not answer within {} s", LIMIT.as_secs());
            self.end_lookup(id, Found::Failure(why));
        }
    }

    fn end_lookup(&mut self, id: u64, found: Found) {
        if let Some(running) = self.lookups.running.remove(&id) {
            self.timers.forget(Token::Lookup(id));
            // It has ended by itself, or has to.
            let _ = process::signal_child(running.pid, Signal::KILL);
            self.learn(running.name, found);
        }
        self.start_lookups();
    }

    fn learn(&mut self, name: Vec<u8>, found: Found) {
        self.lookups.learn(name.clone(), found);
        self.on_account(&name);
    }
}

fn start(name: &[u8]) -> Result<(Pid, OwnedFd), OsError> {
    let null = file::null()?;
    let (output, theirs) = fd::pipe()?;
    fd::set_nonblocking(&output, true)?;
    let pid = Spawn {
        program: b"/proc/self/exe",
        arguments: &[b"rwsgi-manager".to_vec(), b"lookup".to_vec(), name.to_vec()],
        environment: &[],
        descriptors: &[null.as_fd(), theirs.as_fd(), null.as_fd()],
        dies_with_parent: true,
    }
    .start()?;
    Ok((pid, output))
}

#[cfg(test)]
mod tests {
    use super::*;

    // R17, R67, F47
    #[test]
    fn r67_names_without_end_do_not_fill_the_memory() {
        let mut lookups = Lookups::default();
        for n in 0..KNOWN_MAX + 10 {
            lookups.learn(n.to_string().into_bytes(), Found::Nobody);
        }
        assert!(lookups.known.len() <= KNOWN_MAX);
        let last = (KNOWN_MAX + 9).to_string();
        assert_eq!(lookups.fresh(last.as_bytes()).as_deref(), Some(&Found::Nobody));
        assert_eq!(lookups.fresh(b"ann"), None);
    }
}
