//! What httpd's children say for the audit log: each about itself, in its own share, and who it is the kernel says.
//!
//! A child that somebody else has taken over can say what it likes of its own requests, as it can serve what it likes. It cannot say what
//! the manager says, nor for another child, nor so much that the log does not hold the rest.

use std::collections::HashMap;
use std::time::Instant;

use rwsgi_wire::flow::{AUDIT_BURST, AUDIT_RATE, Flow};
use rwsgi_wire::response::Level;

use crate::asking::Account;
use crate::audit::Record;
use crate::log;
use crate::supervise::Manager;

/// Codes of messages of httpd's children.
const CODES: std::ops::Range<u16> = 1..400;
/// Who is remembered. Children come and go.
const REMEMBERED: usize = 1024;
/// An honest child, which counts by itself, is not cut here.
const MORE: f64 = 2.0;

/// How much each has said.
#[derive(Debug, Default)]
pub(crate) struct Heard(HashMap<Account, Flow>);

impl Heard {
    /// Whether this one may say one thing more, and how many it has said in vain before.
    fn admits(&mut self, account: Account, now: Instant) -> Option<u64> {
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&account) {
            self.0.retain(|_, flow| !flow.is_at_rest(now));
            if self.0.len() >= REMEMBERED {
                return None;
            }
        }
        let fresh = || Flow::of(MORE * AUDIT_RATE, MORE * AUDIT_BURST, now);
        let flow = self.0.entry(account).or_insert_with(fresh);
        flow.admits(now).then(|| flow.take_dropped().unwrap_or(0))
    }
}

/// A message of a child.
pub(crate) struct Logged {
    pub(crate) level: Level,
    pub(crate) code: u16,
    pub(crate) request: Vec<u8>,
    pub(crate) file: Vec<u8>,
    pub(crate) lost: u32,
}

impl Logged {
    /// A child can have it.
    fn is_possible(&self) -> bool {
        CODES.contains(&self.code) && self.level as u8 <= Level::Warn as u8
    }
}

impl Manager {
    /// `false`: it is none that a child has.
    pub(crate) fn on_logged(&mut self, account: Account, said: &Logged) -> bool {
        if !said.is_possible() {
            return false;
        }
        let Some(lost) = self.heard.admits(account, Instant::now()) else {
            return true;
        };
        let lost = lost.saturating_add(said.lost.into());
        self.log.logs.record(|| {
            let record = match account {
                Account::Child(pid) => Record::new("child").number("pid", pid),
                // A process that is no child of httpd's parent, or no more.
                Account::Others(uid) => Record::new("child").number("uid", uid),
            };
            let record = record.text("level", log::name(said.level).as_bytes());
            let record = record.text("code", format!("RW{:04}", said.code).as_bytes());
            let given = |record: Record, name, value: &[u8]| match value {
                [] => record,
                value => record.text(name, value),
            };
            let record = given(given(record, "request", &said.request), "file", &said.file);
            match lost {
                0 => record,
                lost => record.number("untold", lost),
            }
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rwsgi_os::process::Pid;

    use super::*;

    // R72, R74
    #[test]
    fn r74_who_says_much_has_a_share_and_leaves_the_others_theirs() {
        let (mut heard, t) = (Heard::default(), Instant::now());
        let admitted = |heard: &mut Heard, pid| heard.admits(Account::Child(Pid(pid)), t).is_some();
        let many = (0..5000).filter(|_| admitted(&mut heard, 1)).count();
        assert_eq!(many, (MORE * AUDIT_BURST) as usize);
        assert!(admitted(&mut heard, 2));
        let later = heard.admits(Account::Child(Pid(1)), t + Duration::from_secs(1));
        assert_eq!(later, Some(5000 - many as u64));
        for pid in 0..5000 {
            admitted(&mut heard, pid);
        }
        assert!(heard.0.len() <= REMEMBERED);
    }

    // R74
    #[test]
    fn r74_a_child_has_no_message_of_the_manager() {
        let said = |level, code| Logged {
            level,
            code,
            request: Vec::new(),
            file: Vec::new(),
            lost: 0,
        };
        assert!(said(Level::Warn, 316).is_possible());
        for (level, code) in [(Level::Warn, 0), (Level::Error, 404), (Level::Info, 316)] {
            assert!(!said(level, code).is_possible(), "{code}");
        }
    }
}
