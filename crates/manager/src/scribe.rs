//! The process that writes the logs. It is the only one of ours that has the files open: a write, and even a close, may never return when
//! the file system of a log hangs (NFS, FUSE), and whoever waits for it cannot be killed. That must be nobody whom a request waits for.
//!
//! Manager and keeper have a pipe for each log in place of the file and never wait for room in it; what finds none is lost and counted by them.
//! What cannot be written (a full disk, a logger that does not read) is lost and counted here, which the log is told as soon as it takes a line.
//! There is one such process for each file system of a configuration's logs, so that one that hangs silences none but its own.
//!
//! It has no capability, opens nothing, and ends when nobody can write to its pipes any more.

use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use rwsgi_os::poll::{self, Events, Watch};
use rwsgi_os::spawn::Spawn;
use rwsgi_os::{OsError, capability, clock, fd, file, process};
use rwsgi_wire::response::Level;

use crate::codes;
use crate::log;

/// What waits for a log that is written slowly, bytes.
const WAITING_MAX: u32 = 1 << 20;
/// Bytes read at once.
const GULP: usize = 64 << 10;
/// Longest line; nobody who writes here has a longer one.
const LINE_MAX: usize = 8 << 10;
/// How often it is tried to tell of lost lines.
const AGAIN: Duration = Duration::from_secs(1);
/// The first descriptor of the pairs of a pipe and its log.
const FIRST: i32 = 3;

/// Pipes in place of these logs, each with a process behind it that writes. `audit`: which of them holds JSON, if one does.
pub(crate) fn between(logs: Vec<OwnedFd>, audit: Option<usize>) -> Result<Vec<OwnedFd>, OsError> {
    let mut devices = Vec::new();
    let mut pipes = Vec::new();
    for log in &logs {
        devices.push(file::device_of(log)?);
        pipes.push(fd::pipe()?);
    }
    let mut done = Vec::new();
    for device in &devices {
        if done.contains(device) {
            continue;
        }
        done.push(*device);
        let of_device = (0..logs.len()).filter(|at| devices.get(*at) == Some(device));
        let of_device: Vec<usize> = of_device.collect();
        let its = of_device
            .iter()
            .filter_map(|at| Some((pipes.get(*at)?.0.as_fd(), logs.get(*at)?.as_fd())));
        let audit = of_device.iter().position(|at| Some(*at) == audit);
        start(&its.collect::<Vec<_>>(), audit)?;
    }
    let ends = pipes.into_iter().map(|(_, end)| end);
    ends.map(|end| {
        fd::set_nonblocking(&end, true)?;
        // Where that is more than a process may have, the usual size has to do.
        let _ = fd::set_pipe_size(&end, WAITING_MAX);
        Ok(end)
    })
    .collect()
}

fn start(pairs: &[(BorrowedFd<'_>, BorrowedFd<'_>)], audit: Option<usize>) -> Result<(), OsError> {
    let null = file::null()?;
    let mut descriptors = vec![null.as_fd(); 3];
    descriptors.extend(pairs.iter().flat_map(|(pipe, log)| [*pipe, *log]));
    let audit = audit.map_or_else(String::new, |at| at.to_string());
    let arguments = ["rwsgi-manager", "scribe", &pairs.len().to_string(), &audit];
    Spawn {
        program: b"/proc/self/exe",
        arguments: &arguments.map(|word| word.as_bytes().to_vec()),
        environment: &crate::keeper::time_zone(),
        descriptors: &descriptors,
        dies_with_parent: false,
    }
    .start()
    .map(drop)
}

/// A log and what comes for it.
struct Log {
    pipe: OwnedFd,
    file: OwnedFd,
    is_audit: bool,
    held: Vec<u8>,
    lost: u64,
}

/// Writes until all pipes are closed.
pub fn main(count: usize, audit: Option<usize>) -> ExitCode {
    let begun = process::set_dumpable(false)
        .and_then(|()| capability::keep_only(0))
        .and_then(|()| logs(count, audit));
    let done = begun.and_then(|mut logs| {
        while !logs.is_empty() {
            wait(&logs)?;
            logs.retain_mut(Log::take);
        }
        Ok(())
    });
    done.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn logs(count: usize, audit: Option<usize>) -> Result<Vec<Log>, OsError> {
    let numbers = (FIRST..).step_by(2).take(count).enumerate();
    numbers
        .map(|(at, number)| {
            let (pipe, file) = (fd::adopt(number)?, fd::adopt(number + 1)?);
            fd::set_nonblocking(&pipe, true)?;
            Ok(Log {
                pipe,
                file,
                is_audit: Some(at) == audit,
                held: Vec::new(),
                lost: 0,
            })
        })
        .collect()
}

fn wait(logs: &[Log]) -> Result<(), OsError> {
    let limit = logs
        .iter()
        .any(|log| log.lost > 0 && !log.is_audit)
        .then_some(AGAIN);
    let watches = logs.iter().map(|log| Watch::new(log.pipe.as_fd(), Events::READ));
    poll::poll(&mut watches.collect::<Vec<_>>(), limit).map(drop)
}

impl Log {
    /// Writes what has come; `false` when nothing more will.
    fn take(&mut self) -> bool {
        let mut buffer = vec![0; GULP];
        let is_open = match fd::read(&self.pipe, &mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.held
                    .extend_from_slice(buffer.get(..length).unwrap_or_default());
                true
            }
            Err(e) => e.is_would_block(),
        };
        let held = std::mem::take(&mut self.held);
        for line in held.split_inclusive(|byte| *byte == b'\n') {
            if line.ends_with(b"\n") || line.len() > LINE_MAX || !is_open {
                self.write(line);
            } else {
                self.held = line.to_vec();
            }
        }
        self.tell();
        is_open
    }

    fn write(&mut self, line: &[u8]) {
        let whole = line
            .strip_suffix(b"}\n")
            .filter(|_| self.is_audit && self.lost > 0);
        let written = match whole {
            Some(object) => {
                let mut line = object.to_vec();
                let _ = writeln!(line, ",\"unwritten\":{}}}", self.lost);
                self.put(&line)
            }
            None => {
                self.tell();
                (self.lost == 0 || self.is_audit) && self.put(line)
            }
        };
        match written {
            true => self.lost = 0,
            false => self.lost += 1,
        }
    }

    /// Tells how many lines are missing, if some are. An audit log has it in its next line.
    fn tell(&mut self) {
        if self.lost == 0 || self.is_audit {
            return;
        }
        let text = format!(
            "{}: {} lines for this log were dropped: its disk is full, or whoever reads it does not",
            codes::LINES_LOST,
            self.lost
        );
        let time = clock::log_time(SystemTime::now());
        let line = log::line(&time, Level::Warn, process::this(), &text);
        if self.put(line.as_bytes()) {
            self.lost = 0;
        }
    }

    fn put(&self, line: &[u8]) -> bool {
        // The descriptor is shared with httpd, so it must not be made non-blocking; a writable pipe takes one piece.
        poll::writable(self.file.as_fd(), Some(Duration::ZERO)) == Ok(true)
            && fd::write(&self.file, line) == Ok(line.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(is_audit: bool) -> (OwnedFd, OwnedFd, Log) {
        let ((pipe, to), (from, file)) = (fd::pipe().unwrap(), fd::pipe().unwrap());
        fd::set_nonblocking(&pipe, true).unwrap();
        fd::set_nonblocking(&from, true).unwrap();
        let (held, lost) = (Vec::new(), 0);
        (
            to,
            from,
            Log {
                pipe,
                file,
                is_audit,
                held,
                lost,
            },
        )
    }

    fn read(from: &OwnedFd) -> String {
        let mut all = Vec::new();
        let mut buffer = vec![0; 1 << 20];
        while let Ok(n @ 1..) = fd::read(from, &mut buffer) {
            all.extend_from_slice(&buffer[..n]);
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    #[test]
    fn lines_are_written_as_they_are_and_none_by_halves() {
        let (to, from, mut log) = log(false);
        fd::write_all(&to, b"a line\nhalf").unwrap();
        assert!(log.take());
        assert_eq!(read(&from), "a line\n");
        fd::write_all(&to, b" of one\n").unwrap();
        drop(to);
        assert!(log.take());
        assert!(!log.take());
        assert_eq!(read(&from), "half of one\n");
    }

    // R75, F48
    #[test]
    fn r75_a_log_that_takes_nothing_is_told_later_how_much_it_missed() {
        let (to, from, mut log) = log(false);
        let line = [&[b'x'; 4000][..], b"\n"].concat();
        for _ in 0..50 {
            fd::write_all(&to, &line).unwrap();
            assert!(log.take());
        }
        let written = read(&from).lines().count();
        assert!(written < 50, "{written}");
        assert!(log.take());
        let told = read(&from);
        let text = format!("RW0472: {} lines for this log were dropped", 50 - written);
        assert!(told.contains(&text), "{told}");
    }

    // R72
    #[test]
    fn what_an_audit_log_missed_is_in_its_next_line() {
        let (to, from, mut log) = log(true);
        log.lost = 7;
        fd::write_all(&to, b"{\"event\":\"end\"}\n").unwrap();
        assert!(log.take());
        assert_eq!(read(&from), "{\"event\":\"end\",\"unwritten\":7}\n");
    }
}
