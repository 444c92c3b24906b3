//! A timer of the kernel that kills this process unless it is set anew in time: also a process that is stopped, or hangs in a loop.

use std::time::Duration;

use crate::OsError;

/// The timer (`timer_create` with SIGKILL on the monotonic clock). It is not inherited by fork and does not survive exec.
#[derive(Debug)]
pub struct Deadman {
    timer: libc::timer_t,
    limit: libc::itimerspec,
}

impl Deadman {
    /// From now on this process is killed when `limit` (not zero) has passed since the last [`renew`](Self::renew).
    pub fn new(limit: Duration) -> Result<Self, OsError> {
        // SAFETY: all zeroes is a valid sigevent.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGKILL;
        // SAFETY: all zeroes is a valid timer_t to be written over.
        let mut timer: libc::timer_t = unsafe { std::mem::zeroed() };
        // SAFETY: the event is initialised, the timer is writable; both live through the call.
        if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) } < 0 {
            return Err(OsError::last("timer_create", ""));
        }
        // SAFETY: all zeroes is a valid itimerspec.
        let mut spec: libc::itimerspec = unsafe { std::mem::zeroed() };
        spec.it_value.tv_sec = libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX);
        spec.it_value.tv_nsec = limit.subsec_nanos().into();
        let made = Self { timer, limit: spec };
        made.renew()?;
        Ok(made)
    }

    /// The time begins anew.
    pub fn renew(&self) -> Result<(), OsError> {
        // SAFETY: a timer of this process, and a structure that lives through the call; null for the former value is allowed.
        let done = unsafe { libc::timer_settime(self.timer, 0, &raw const self.limit, std::ptr::null_mut()) };
        if done < 0 {
            return Err(OsError::last("timer_settime", ""));
        }
        Ok(())
    }
}

impl Drop for Deadman {
    fn drop(&mut self) {
        // SAFETY: a timer of this process that nobody uses any more.
        unsafe { libc::timer_delete(self.timer) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::Signal;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Not a test by itself: the other half of the next one, which runs it in processes that may be killed.
    #[test]
    fn a_process_with_a_deadman() {
        let Ok(how) = std::env::var("RWSGI_TEST_DEADMAN") else {
            return;
        };
        let deadman = Deadman::new(Duration::from_millis(1500)).unwrap();
        if how == "renews" {
            for _ in 0..20 {
                std::thread::sleep(Duration::from_millis(100));
                deadman.renew().unwrap();
            }
            drop(deadman);
            std::thread::sleep(Duration::from_millis(1600));
            return;
        }
        if how == "stops" {
            crate::signal::raise(Signal(libc::SIGSTOP)).unwrap();
        }
        std::thread::sleep(Duration::from_secs(60));
    }

    // F28
    #[test]
    fn who_does_not_renew_it_is_killed_even_when_stopped() {
        let run = |how: &str| {
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "deadman::tests::a_process_with_a_deadman"])
                .env("RWSGI_TEST_DEADMAN", how)
                .stdout(std::process::Stdio::null())
                .status()
                .unwrap();
            (status.code(), status.signal())
        };
        assert_eq!(run("sleeps"), (None, Some(libc::SIGKILL)));
        assert_eq!(run("stops"), (None, Some(libc::SIGKILL)));
        assert_eq!(run("renews"), (Some(0), None));
    }
}
