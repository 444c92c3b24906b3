//! Forking a process that goes on with the same program, for whoever adopts orphans.

use std::time::Duration;

use crate::process::{self, End, Pid, exit_now};
use crate::{OsError, fd, file};

/// Where a fork comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// In the process that forked.
    Original,
    /// In the new one.
    Copy,
}

/// How long the new process waits for its adoption between two looks. It takes as long as an exit does.
const GLANCE: Duration = Duration::from_micros(100);

/// Number of threads of this process; `None` without `/proc`.
pub fn threads() -> Option<usize> {
    let status =
        file::open(b"/proc/self/status", file::Links::Follow).and_then(|f| fd::read_all(&f, 1 << 16));
    let status = String::from_utf8(status.ok()?).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"))?;
    line.trim().parse().ok()
}

/// Forks a process that is no child of this one, but of the nearest ancestor that [adopts orphans](process::adopt_orphans): it is a
/// grandchild whose parent has ended. It comes back there when that has happened, so its parent is final.
///
/// EBUSY: this process has more than one thread (or it cannot be known). The others would be missing in the new one, with all that
/// they hold locked. Else what `fork` says.
pub fn orphan() -> Result<Side, OsError> {
    if threads() != Some(1) {
        return Err(OsError::new("fork", "a process with threads", libc::EBUSY));
    }
    // SAFETY: this is the only thread, so the copy is whole and may do whatever this process may.
    match unsafe { libc::fork() } {
        -1 => Err(OsError::last("fork", "")),
        0 => between(),
        child => match process::wait(Pid(child)) {
            Ok(End::Exit(0)) => Ok(Side::Original),
            Ok(End::Exit(errno)) => Err(OsError::new("fork", "", errno)),
            Ok(End::Signal(_)) => Err(OsError::new(
                "fork",
                "the process in between was killed",
                libc::ECHILD,
            )),
            // Somebody ignores SIGCHLD: then it cannot be told, but it has ended.
            Err(_) => Ok(Side::Original),
        },
    }
}

/// The process in between: it forks once more and is gone.
fn between() -> Result<Side, OsError> {
    let between = process::this();
    // SAFETY: as above.
    match unsafe { libc::fork() } {
        -1 => exit_now(OsError::last("fork", "").errno.clamp(1, 255)),
        0 => {
            while process::parent() == between {
                std::thread::sleep(GLANCE);
            }
            Ok(Side::Copy)
        }
        _ => exit_now(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_counted_and_forbid_a_fork() {
        let before = threads().unwrap();
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || told.recv());
        assert!(threads().unwrap() > 1 && before >= 1);
        assert_eq!(orphan().unwrap_err().errno, libc::EBUSY);
        drop(tell);
        let _ = other.join();
    }
}
