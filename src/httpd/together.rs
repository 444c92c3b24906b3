//! Keeps the lines of a traceback together in the error log, although other threads and other children write there, too.

use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use rwsgi_os::file;

use super::server::Server;

/// Order in the log is worth no more than this: it is given up where a log is slow, or was left locked by a fork.
const PATIENCE: Duration = Duration::from_millis(500);
const GLANCE: Duration = Duration::from_micros(200);

static THREADS: Mutex<()> = Mutex::new(());

/// Until dropped, other lines that belong together wait.
pub struct Together<'s> {
    log: Option<BorrowedFd<'s>>,
    _threads: Option<MutexGuard<'static, ()>>,
}

impl Server<'_> {
    /// One line for the log of this server follows, or several.
    pub fn lines_together(&self) -> Together<'_> {
        let end = Instant::now() + PATIENCE;
        let threads = until(end, || match THREADS.try_lock() {
            Ok(guard) => Some(Some(guard)),
            Err(TryLockError::Poisoned(guard)) => Some(Some(guard.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        })
        .flatten();
        // The lock on the file is the process's: only the thread that has the other one may give it back.
        let log = self.error_log().filter(|_| threads.is_some()).filter(|log| {
            until(end, || match file::try_lock(log) {
                Ok(true) => Some(true),
                Ok(false) => None,
                Err(_) => Some(false),
            }) == Some(true)
        });
        Together {
            log,
            _threads: threads,
        }
    }
}

impl Drop for Together<'_> {
    fn drop(&mut self) {
        if let Some(log) = self.log {
            let _ = file::unlock(log);
        }
    }
}

fn until<T>(end: Instant, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    loop {
        if let Some(done) = attempt() {
            return Some(done);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(GLANCE);
    }
}
