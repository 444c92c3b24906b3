//! Waiting for many descriptors.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use crate::OsError;
use crate::fd::own;
use crate::poll::Events;

/// A set of watched descriptors (`epoll_create1`). A descriptor leaves the set when its last copy is closed, so one that was
/// passed on must be [removed](Epoll::remove) before it is dropped.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

/// What was found on one descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The number given when it was added.
    pub token: u64,
    /// What it is ready for.
    pub events: Events,
}

/// How often one readiness is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Again at every wait until it is gone.
    Level,
    /// Once, to one waiter; [`Epoll::change`] arms it again.
    Once,
    /// To one waiter at a time (EPOLLEXCLUSIVE), for a listener in the sets of several processes. Cannot be changed, only removed.
    Exclusive,
}

impl Trigger {
    fn bits(self) -> u32 {
        match self {
            Self::Level => 0,
            Self::Once => libc::EPOLLONESHOT as u32,
            Self::Exclusive => libc::EPOLLEXCLUSIVE as u32,
        }
    }
}

impl Epoll {
    /// An empty set.
    pub fn new() -> Result<Self, OsError> {
        // SAFETY: one integer.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            Err(OsError::last("epoll_create1", ""))
        } else {
            Ok(Self(own(fd)))
        }
    }

    /// Watches `fd`. EEXIST: it is watched already.
    pub fn add(&self, fd: impl AsFd, token: u64, events: Events, trigger: Trigger) -> Result<(), OsError> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, events.0 | trigger.bits())
    }

    /// Watches `fd` for something else, or arms it again. ENOENT: it is not watched.
    pub fn change(&self, fd: impl AsFd, token: u64, events: Events, trigger: Trigger) -> Result<(), OsError> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, events.0 | trigger.bits())
    }

    /// Watches `fd` no longer. ENOENT: it is not watched.
    pub fn remove(&self, fd: impl AsFd) -> Result<(), OsError> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    fn control(&self, what: libc::c_int, fd: impl AsFd, token: u64, events: u32) -> Result<(), OsError> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: the event lives through the call; both descriptors are open.
        let done =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), what, fd.as_fd().as_raw_fd(), &raw mut event) };
        if done < 0 {
            Err(OsError::last("epoll_ctl", ""))
        } else {
            Ok(())
        }
    }

    /// Waits until something is found or the time is over (`epoll_wait`), then fills `found` with at most 64 entries. `None`
    /// waits for ever; times are rounded up to milliseconds. A signal ends the wait early with nothing found.
    pub fn wait(&self, found: &mut Vec<Found>, limit: Option<Duration>) -> Result<(), OsError> {
        found.clear();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        let limit = limit.map_or(-1, |d| {
            i32::try_from(d.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
        });
        // SAFETY: the array has room for as many events as are named.
        let n = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), 64, limit) };
        let Ok(n) = usize::try_from(n) else {
            let e = OsError::last("epoll_wait", "");
            return if e.is_interrupted() { Ok(()) } else { Err(e) };
        };
        found.extend(events.iter().take(n).map(|e| Found {
            token: e.u64,
            events: Events(e.events),
        }));
        Ok(())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd;

    #[test]
    fn a_one_time_watch_reports_once_until_armed_again() {
        let set = Epoll::new().unwrap();
        let event = fd::event().unwrap();
        fd::notify(&event);
        set.add(&event, 7, Events::READ, Trigger::Once).unwrap();
        let mut found = Vec::new();
        let none = Some(Duration::ZERO);
        set.wait(&mut found, none).unwrap();
        assert_eq!(found.first().map(|f| f.token), Some(7));
        set.wait(&mut found, none).unwrap();
        assert!(found.is_empty());
        set.change(&event, 8, Events::READ, Trigger::Once).unwrap();
        set.wait(&mut found, none).unwrap();
        assert_eq!(found.first().map(|f| f.token), Some(8));
        set.remove(&event).unwrap();
    }
}
