//! The audit log (`WSGIAuditLog`): what the manager did and what it refused, one line per event, each line a JSON object.
//!
//! Every line has `time` (UTC), `mono` (seconds of the monotonic clock), `id` (counted from 1 in each manager's life), `manager` (its process
//! id) and `event`. What else is in it depends on the event; names, paths and texts are escaped as in the error log, and what is not known is
//! absent. No header, query, body, environment or key ever gets here, because none reaches the manager.
//!
//! | event | says | with |
//! |---|---|---|
//! | `configuration` | a configuration is in force | `generation`, `groups`, `hash` |
//! | `start` | a worker is being started | `pid` |
//! | `ready` | it serves | `pid` |
//! | `adopt` | a manager goes on with it, after the one that had started it has died | `pid` |
//! | `leave` | it takes no more requests | `pid`, `why` |
//! | `kill` | it is killed | `pid`, `why` |
//! | `end` | it has ended | `pid`, `kind`, `why`, `user_seconds`, `system_seconds`, `max_rss_bytes` |
//! | `order` | root has told the manager, with `rwsgictl`, to do something with an application | `order`, `group`, `application_group` |
//! | `message` | a message of the manager at warning or above, as in the error log | `level`, `code`, `text` |
//! | `child` | one of httpd's children has logged a message at warning or above; its words are in the error log | `pid` (`uid` of who is none), `level`, `code`, `request` (httpd's `%L`), `file` that it was mapped to, `untold`: so many before it are not here |
//! | `stop` | the manager ends its workers | `why` |
//!
//! `lost` and `unwritten` say how many lines are missing before this one: those for which there was no room, and those that the disk did not take.
//! Events of a worker also have `group`, `application_group`, `uid` and `gid`.

use std::cell::Cell;
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use rwsgi_os::process::{self, Pid};
use rwsgi_os::usage::Usage;
use rwsgi_os::{clock, fd, poll};

use crate::lines::escape;
use crate::pools::Pool;
use crate::supervise::Manager;

/// Longest text in a line, bytes. A line has three long ones at most, and goes into a pipe in one piece.
const VALUE_MAX: usize = 1200;

thread_local! {
    /// Of the manager's one thread; lines are counted through all configurations.
    static LINES: Cell<u64> = const { Cell::new(0) };
    /// Lines that could not be written since the last one that was.
    static LOST: Cell<u64> = const { Cell::new(0) };
}

/// The open file.
#[derive(Debug)]
pub struct Audit(OwnedFd);

impl AsFd for Audit {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Audit {
    /// Writes to this descriptor.
    pub fn new(file: OwnedFd) -> Self {
        Self(file)
    }

    /// Writes one line, unless it would have to wait. The next one says how many are missing.
    pub fn record(&self, record: &Record) {
        let id = LINES.replace(LINES.get() + 1) + 1;
        let mut line = format!(
            "{{\"time\":\"{}\",\"mono\":{:.6},\"id\":{id},\"manager\":{}{}",
            clock::utc(SystemTime::now()),
            clock::monotonic().as_secs_f64(),
            process::this(),
            record.0
        );
        if LOST.get() > 0 {
            let _ = write!(line, ",\"lost\":{}", LOST.get());
        }
        line.push_str("}\n");
        let written = poll::writable(&self.0, Some(Duration::ZERO)) == Ok(true)
            && fd::write(&self.0, line.as_bytes()).is_ok_and(|n| n == line.len());
        LOST.set(if written { 0 } else { LOST.get() + 1 });
    }
}

/// An event with its fields, without those that every line has.
#[derive(Debug, Clone)]
pub struct Record(String);

impl Record {
    /// An event of this name.
    pub fn new(event: &'static str) -> Self {
        Self(String::new()).text("event", event.as_bytes())
    }

    /// A field that holds text.
    #[must_use]
    pub fn text(mut self, name: &'static str, value: &[u8]) -> Self {
        let _ = write!(self.0, ",\"{name}\":\"");
        let end = self.0.len() + VALUE_MAX;
        for c in escape(value).chars() {
            if self.0.len() >= end {
                self.0.push('…');
                break;
            }
            match c {
                '"' | '\\' => {
                    self.0.push('\\');
                    self.0.push(c);
                }
                '\t' => self.0.push_str("\\t"),
                c => self.0.push(c),
            }
        }
        self.0.push('"');
        self
    }

    /// A field that holds a number.
    #[must_use]
    pub fn number(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        let _ = write!(self.0, ",\"{name}\":{value}");
        self
    }

    /// What was used until the end.
    #[must_use]
    pub fn usage(self, usage: &Usage) -> Self {
        self.number("user_seconds", usage.user.as_secs_f64())
            .number("system_seconds", usage.system.as_secs_f64())
            .number("max_rss_bytes", usage.max_resident)
    }

    /// Which worker, and whose.
    #[must_use]
    pub(crate) fn of_worker(self, pid: Pid, pool: Option<&Pool>) -> Self {
        let record = self.number("pid", pid);
        let Some(pool) = pool else {
            return record;
        };
        let group = &pool.settings.group;
        record
            .text("group", &group.name)
            .text("application_group", &pool.application_group)
            .number("uid", group.uid)
            .number("gid", group.gid)
    }
}

impl Manager {
    /// Records an event in the life of a worker, and why, if there is a reason.
    pub(crate) fn audit(&self, id: u64, event: &'static str, why: &str) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        worker.target.logs.record(|| {
            let record = Record::new(event).of_worker(worker.pid, self.pools.get(&worker.pool));
            match why {
                "" => record,
                why => record.text("why", why.as_bytes()),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // R72, R74
    #[test]
    fn a_line_is_one_json_object_whatever_is_in_it() {
        let (read_end, write_end) = fd::pipe().unwrap();
        let audit = Audit::new(write_end);
        let hostile = b"a\"b\\c\nd\x1b[2J\xff\t{\"event\":\"end\"}";
        audit.record(&Record::new("message").text("text", hostile).number("code", 7));
        let mut buffer = [0; 1000];
        let n = fd::read(&read_end, &mut buffer).unwrap();
        let line = String::from_utf8(buffer[..n].to_vec()).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(
            line.starts_with("{\"time\":\"2") && line.ends_with("}\n"),
            "{line}"
        );
        let text = r#","event":"message","text":"a\"b\\c\\nd\\x1b[2J\\xff\t{\"event\":\"end\"}","code":7}"#;
        assert!(line.trim_end().ends_with(text), "{line}");
    }

    // R72, F41
    #[test]
    fn lines_that_are_lost_are_counted_in_the_next_one() {
        let (read_end, write_end) = fd::pipe().unwrap();
        fd::set_nonblocking(&write_end, true).unwrap();
        let audit = Audit::new(write_end);
        let big = Record::new("message").text("text", &[b'x'; 4000]);
        for _ in 0..200 {
            audit.record(&big);
        }
        assert!(LOST.get() > 0);
        let mut buffer = vec![0; 1 << 20];
        let _ = fd::read(&read_end, &mut buffer).unwrap();
        let lost = LOST.get();
        audit.record(&Record::new("stop"));
        let n = fd::read(&read_end, &mut buffer).unwrap();
        let line = String::from_utf8_lossy(&buffer[..n]).into_owned();
        assert!(line.ends_with(&format!(",\"lost\":{lost}}}\n")), "{line}");
        assert_eq!(LOST.get(), 0);
    }
}
