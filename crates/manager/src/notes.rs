//! What users' own logs get from the manager: what their processes have written past Python, what they died of, and why an account runs none. It is written by a process that
//! becomes the user first, as a worker does, and is gone when it has written.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use rwsgi_os::process::Pid;
use rwsgi_os::spawn::Spawn;
use rwsgi_os::{OsError, clock, fd, file};

use crate::commit::Settings;
use crate::entry::Entry;
use crate::pools::Pool;
use crate::supervise::{Manager, Token};

/// So long lines wait for others, so that a process is worth it.
const WHILE: Duration = Duration::from_secs(1);
/// Most bytes that wait for one user.
const MOST: usize = 64 << 10;
/// Most users for whom lines wait.
const USERS_MAX: usize = 1000;
/// Most of these processes at once.
const AT_ONCE: usize = 4;
/// Who has not written by then has a home that hangs, and keeps nobody else from it any longer.
const LIMIT: Duration = Duration::from_secs(5);

/// Lines for users, and who writes them.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// By user id: a user below two bases has what is common to them.
    waiting: HashMap<u32, Note>,
    writers: HashMap<Pid, Writer>,
}

#[derive(Debug)]
struct Note {
    settings: Rc<Settings>,
    text: Vec<u8>,
    /// Lines that there was no room for.
    lost: usize,
}

#[derive(Debug)]
struct Writer {
    uid: u32,
    since: Instant,
}

impl Notes {
    fn add(&mut self, settings: &Rc<Settings>, lines: &str) {
        let uid = settings.group.uid;
        if self.waiting.len() >= USERS_MAX && !self.waiting.contains_key(&uid) {
            return;
        }
        let note = self.waiting.entry(uid).or_insert_with(|| Note {
            settings: Rc::clone(settings),
            text: Vec::new(),
            lost: 0,
        });
        match note.text.len() + lines.len() <= MOST {
            true => note.text.extend_from_slice(lines.as_bytes()),
            false => note.lost += lines.lines().count(),
        }
    }

    /// A process has ended, which may have been one of these.
    pub(crate) fn ended(&mut self, pid: Pid) {
        self.writers.remove(&pid);
    }

    /// Somebody whose lines may be written now.
    fn next(&mut self, now: Instant) -> Option<Note> {
        let timely = |writer: &&Writer| now < writer.since + LIMIT;
        if self.writers.values().filter(timely).count() >= AT_ONCE {
            return None;
        }
        let has_one = |uid: &u32| self.writers.values().any(|writer| writer.uid == *uid);
        let uid = self.waiting.keys().copied().find(|uid| !has_one(uid))?;
        self.waiting.remove(&uid)
    }
}

/// A line as it is in users' logs, of a text that is escaped already.
pub(crate) fn line(pid: Pid, text: &str) -> String {
    format!("[{}] [pid {pid}] {text}\n", clock::log_time(SystemTime::now()))
}

impl Pool {
    /// Its user has a log.
    pub(crate) fn has_own_log(&self) -> bool {
        self.settings.has_own_log()
    }
}

impl Settings {
    fn has_own_log(&self) -> bool {
        self.place().is_some_and(|place| !place.user_log.is_empty())
    }
}

impl Manager {
    /// These lines are for the log of the user, if the pool is of one who has one.
    pub(crate) fn note(&mut self, pool: u64, lines: &str) {
        let pool = self.pools.get(&pool).filter(|_| !lines.is_empty());
        if let Some(settings) = pool.map(|pool| Rc::clone(&pool.settings)) {
            self.note_for(&settings, lines);
        }
    }

    /// The same for the user whose application has these settings.
    pub(crate) fn note_for(&mut self, settings: &Rc<Settings>, lines: &str) {
        if !settings.has_own_log() {
            return;
        }
        if self.notes.waiting.is_empty() {
            self.timers.set(Instant::now() + WHILE, Token::Notes);
        }
        self.notes.add(settings, lines);
    }

    /// Has written what waits, as far as may be now.
    pub(crate) fn write_notes(&mut self) {
        let now = Instant::now();
        while let Some(note) = self.notes.next(now) {
            let uid = note.settings.group.uid;
            // What cannot be written is in the log of the administrator.
            if let Ok(pid) = self.write_note(note) {
                self.notes.writers.insert(pid, Writer { uid, since: now });
            }
        }
        if !self.notes.waiting.is_empty() {
            self.timers.set(now + WHILE, Token::Notes);
        }
    }

    fn write_note(&self, note: Note) -> Result<Pid, OsError> {
        let Note {
            settings,
            mut text,
            lost,
        } = note;
        if lost > 0 {
            let more = format!("{lost} more lines were too many for this log");
            text.extend_from_slice(line(rwsgi_os::process::this(), &more).as_bytes());
        }
        let entry = Entry {
            note: text,
            ..self.entry_of(&settings)
        };
        let (null, told) = (file::null()?, fd::memory_file("rwsgi-settings")?);
        fd::write_all(&told, &entry.encode())?;
        // Where a worker has its output, sockets and reports, there is nothing.
        let mut descriptors = vec![null.as_fd(); 7];
        descriptors.push(told.as_fd());
        Spawn {
            program: b"/proc/self/exe",
            arguments: &[b"rwsgi-manager".to_vec(), b"enter".to_vec()],
            environment: &[],
            descriptors: &descriptors,
            dies_with_parent: true,
        }
        .start()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rwsgi_wire::control::Group;
    use rwsgi_wire::quota::Quotas;
    use rwsgi_wire::scale::Scale;

    fn settings(uid: u32) -> Rc<Settings> {
        Rc::new(Settings {
            group: Group {
                uid,
                ..Group::default()
            },
            scale: Scale::default(),
            application: None,
            quotas: Quotas::default(),
            server_uid: 0,
            server_gid: 0,
            gateway: Rc::new(file::null().unwrap()),
            gateway_identity: ((0, 0), 0),
        })
    }

    // R67
    #[test]
    fn lines_without_end_fill_no_memory_and_the_loss_is_counted() {
        let mut notes = Notes::default();
        let line = "x".repeat(999) + "\n";
        for _ in 0..1000 {
            notes.add(&settings(1), &line);
        }
        let note = notes.next(Instant::now()).unwrap();
        assert!(note.text.len() <= MOST);
        assert_eq!(note.lost + note.text.len() / line.len(), 1000);
        for uid in 0..2000 {
            notes.add(&settings(uid), "x\n");
        }
        assert_eq!(notes.waiting.len(), USERS_MAX);
    }

    #[test]
    fn who_has_a_home_that_hangs_keeps_others_waiting_for_a_while_only() {
        let mut notes = Notes::default();
        let now = Instant::now();
        for uid in 0..6 {
            notes.add(&settings(uid), "x\n");
        }
        for pid in 1..=4 {
            let uid = notes.next(now).unwrap().settings.group.uid;
            notes.writers.insert(Pid(pid), Writer { uid, since: now });
        }
        assert!(notes.next(now).is_none());
        let uid = notes.writers[&Pid(1)].uid;
        notes.ended(Pid(1));
        notes.add(&settings(uid), "y\n");
        assert!(notes.next(now).is_some());
        let later = now + LIMIT;
        assert!(notes.next(later).is_some() && notes.next(later).is_some());
        // The others have theirs still under way.
        let busy = notes.writers[&Pid(2)].uid;
        notes.add(&settings(busy), "z\n");
        assert!(notes.next(later).is_none());
    }
}
