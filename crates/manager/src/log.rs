//! Log lines in the form of httpd's own, written to the error logs that httpd's parent passed, by way of those who write for us ([`crate::scribe`]);
//! without them to syslog. Never waits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use rwsgi_os::process::{self, Pid};
use rwsgi_os::{clock, fd, poll};
use rwsgi_wire::code::Code;
use rwsgi_wire::control::NO_LOG;
use rwsgi_wire::response::Level;

use crate::audit::{Audit, Record};

/// Longest line written in one piece, bytes: what a pipe that is writable takes without waiting.
const PIECE_MAX: usize = 4096;

/// The error logs of one configuration.
#[derive(Debug)]
pub struct Logs {
    files: Vec<OwnedFd>,
    audit: Option<Audit>,
    syslog: Option<UnixDatagram>,
}

impl Logs {
    /// These descriptors, in the order of their index. That of the audit log is the last, if there is one.
    pub fn new(mut files: Vec<OwnedFd>, audit: u8) -> Self {
        let has_audit = audit != NO_LOG && usize::from(audit) + 1 == files.len();
        let audit = if has_audit { files.pop() } else { None };
        Self {
            audit: audit.map(Audit::new),
            files,
            syslog: syslog(),
        }
    }

    /// Writes to the audit log, if there is one.
    pub fn record(&self, record: impl FnOnce() -> Record) {
        if let Some(audit) = &self.audit {
            audit.record(&record());
        }
    }

    /// The descriptors, as they were given.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let audit = self.audit.as_ref().map(AsFd::as_fd);
        self.files.iter().map(AsFd::as_fd).chain(audit)
    }

    /// Descriptor 2, until httpd has passed others.
    pub fn inherited() -> Self {
        Self::new(
            fd::duplicate(fd::standard(fd::Standard::Err), 3)
                .into_iter()
                .collect(),
            NO_LOG,
        )
    }

    fn write(&self, index: u8, level: Level, pid: Pid, text: &str) -> bool {
        let file = self.files.get(usize::from(index)).filter(|_| index != NO_LOG);
        let Some(file) = file else {
            return self.write_syslog(level, pid, text);
        };
        let line = line(&clock::log_time(SystemTime::now()), level, pid, text);
        // The descriptor is shared with httpd, so it must not be made non-blocking; a writable pipe takes one piece.
        match poll::writable(file.as_fd(), Some(Duration::ZERO)) {
            Ok(true) => match fd::write(file, line.as_bytes()) {
                // Who writes has been killed; the next configuration brings another one.
                Err(e) if e.is_closed() => self.write_syslog(level, pid, text),
                // Less than all of it: the disk is full.
                done => done.is_ok_and(|n| n == line.len()),
            },
            _ => false,
        }
    }

    fn write_syslog(&self, level: Level, pid: Pid, text: &str) -> bool {
        /// Facility "daemon" in the number that syslog wants.
        const DAEMON: u8 = 3 << 3;
        let Some(socket) = &self.syslog else {
            return false;
        };
        let line = format!("<{}>rwsgi[{pid}]: {text}", DAEMON | level as u8);
        socket.send(line.as_bytes()).is_ok()
    }
}

fn syslog() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect("/dev/log").ok()?;
    Some(socket)
}

/// One line as httpd's default `ErrorLogFormat` has it, cut to what is written in one piece.
pub(crate) fn line(time: &str, level: Level, pid: Pid, text: &str) -> String {
    let mut line = format!("[{time}] [rwsgi:{}] [pid {pid}:tid {pid}] {text}", name(level));
    if line.len() >= PIECE_MAX {
        let end = (0..PIECE_MAX)
            .rev()
            .find(|i| line.is_char_boundary(*i))
            .unwrap_or(0);
        line.truncate(end);
    }
    line.push('\n');
    line
}

pub(crate) fn name(level: Level) -> &'static str {
    match level {
        Level::Crit => "crit",
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Notice => "notice",
        Level::Info => "info",
        Level::Debug => "debug",
    }
}

/// Where the messages about one thing go: a log and its level.
#[derive(Debug, Clone)]
pub struct Target {
    /// The logs of the configuration that named it.
    pub logs: Rc<Logs>,
    /// Which of them.
    pub index: u8,
    /// The least severe level that is written (httpd's numbers).
    pub level: u8,
}

impl Target {
    /// Whether a message of this level would be written.
    pub fn wants(&self, level: Level) -> bool {
        level as u8 <= self.level
    }

    /// A message of the manager without a code, below warning.
    pub fn note(&self, level: Level, text: impl FnOnce() -> String) {
        if self.wants(level) {
            self.logs.write(self.index, level, process::this(), &text());
        }
    }

    /// A message of the manager at warning or above. The audit log has it whatever the level of the error log.
    pub fn coded(&self, level: Level, code: u16, text: &str) {
        self.logs.record(|| {
            Record::new("message")
                .text("level", name(level).as_bytes())
                .text("code", format!("RW{code:04}").as_bytes())
                .text("text", text.as_bytes())
        });
        self.try_coded(level, code, text);
    }

    /// As [`coded`](Self::coded), but for the error log alone; `false` if it was lost.
    pub fn try_coded(&self, level: Level, code: u16, text: &str) -> bool {
        self.line_of(process::this(), level, &format!("RW{code:04}: {text}"))
    }

    /// As [`coded`](Self::coded), with an entry of the table.
    pub fn say(&self, level: Level, code: Code, text: &str) {
        self.coded(level, code.number, text);
    }

    /// A line of another process, escaped already; `false` if it was lost.
    pub fn line_of(&self, pid: Pid, level: Level, text: &str) -> bool {
        !self.wants(level) || self.logs.write(self.index, level, pid, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_form_of_httpds_error_log() {
        let got = line(
            "Fri Nov 20 12:33:06.123456 2026",
            Level::Warn,
            Pid(7),
            "RW0453: text",
        );
        assert_eq!(
            got,
            "[Fri Nov 20 12:33:06.123456 2026] [rwsgi:warn] [pid 7:tid 7] RW0453: text\n"
        );
    }

    // R75, F48
    #[test]
    fn when_who_writes_is_gone_the_lines_go_to_syslog() {
        let (reader, pipe) = fd::pipe().unwrap();
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut logs = Logs::new(vec![pipe], NO_LOG);
        logs.syslog = Some(ours);
        assert!(logs.write(0, Level::Warn, Pid(7), "one"));
        assert!(theirs.recv(&mut [0; 64]).is_err());
        drop(reader);
        assert!(logs.write(0, Level::Warn, Pid(7), "two"));
        let mut line = [0; 64];
        let length = theirs.recv(&mut line).unwrap();
        assert_eq!(&line[..length], b"<28>rwsgi[7]: two");
    }

    #[test]
    fn a_long_line_is_cut_to_one_piece_at_a_character() {
        let got = line("t", Level::Info, Pid(7), &"é".repeat(5000));
        assert!(got.len() <= PIECE_MAX && got.ends_with("é\n"), "{}", got.len());
    }

    #[test]
    fn lines_below_the_level_are_not_written_and_others_reach_the_descriptor() {
        let (read_end, write_end) = fd::pipe().unwrap();
        let target = Target {
            logs: Rc::new(Logs::new(vec![write_end], NO_LOG)),
            index: 0,
            level: Level::Warn as u8,
        };
        target.note(Level::Info, || unreachable!("not formatted below the level"));
        target.coded(Level::Error, 453, "x");
        let mut buffer = [0; 200];
        let n = fd::read(&read_end, &mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
        assert!(
            text.contains("[rwsgi:error]") && text.ends_with(" RW0453: x\n"),
            "{text}"
        );
    }

    // R62, R75, F48
    #[test]
    fn a_full_pipe_loses_the_line_instead_of_waiting() {
        let (_read_end, write_end) = fd::pipe().unwrap();
        let target = Target {
            logs: Rc::new(Logs::new(vec![write_end], NO_LOG)),
            index: 0,
            level: 7,
        };
        let text = "x".repeat(3000);
        let written = (0..200)
            .take_while(|_| target.line_of(Pid(1), Level::Error, &text))
            .count();
        assert!(written > 5 && written < 100, "{written}");
    }
}
