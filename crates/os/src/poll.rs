//! Waiting for a few descriptors.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::OsError;

/// What a descriptor is watched for, or was found to be. Values are those of `poll` and `epoll`, which agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Events(pub(crate) u32);

impl Events {
    /// Nothing but what is always reported: errors and hang-ups.
    pub const NONE: Self = Self(0);
    /// Readable: bytes, a connection, or the end.
    pub const READ: Self = Self(libc::POLLIN as u32);
    /// Writable.
    pub const WRITE: Self = Self(libc::POLLOUT as u32);
    /// The peer has closed, or ended its sending.
    pub const PEER_CLOSED: Self = Self(libc::POLLRDHUP as u32);

    /// Both sets.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// Readable, or broken in a way that a read will tell.
    pub fn is_readable(self) -> bool {
        self.has(libc::POLLIN | libc::POLLERR | libc::POLLHUP)
    }
    /// Writable, or broken in a way that a write will tell.
    pub fn is_writable(self) -> bool {
        self.has(libc::POLLOUT | libc::POLLERR | libc::POLLHUP)
    }
    /// The peer is gone or has ended its sending (the latter only if watched for).
    pub fn is_peer_closed(self) -> bool {
        self.has(libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR)
    }
    /// The connection is gone in both directions.
    pub fn is_hung_up(self) -> bool {
        self.has(libc::POLLHUP | libc::POLLERR)
    }
    /// Whether anything was reported.
    pub fn any(self) -> bool {
        self.0 != 0
    }

    fn has(self, bits: i16) -> bool {
        self.0 & (bits as u32) != 0
    }
}

/// One descriptor to wait for, and what was found.
#[derive(Debug)]
#[repr(transparent)]
pub struct Watch<'fd> {
    raw: libc::pollfd,
    fd: PhantomData<BorrowedFd<'fd>>,
}

impl<'fd> Watch<'fd> {
    /// Waits for `events` on `fd`.
    pub fn new(fd: BorrowedFd<'fd>, events: Events) -> Self {
        Self {
            raw: libc::pollfd {
                fd: fd.as_raw_fd(),
                events: events.0 as libc::c_short,
                revents: 0,
            },
            fd: PhantomData,
        }
    }

    /// What the last [`poll`] found.
    pub fn found(&self) -> Events {
        Events(self.raw.revents as u16 as u32)
    }
}

/// Waits until something is found or the time is over (`ppoll`); answers on how many descriptors. `None` waits for ever. Goes on
/// after a signal with the time that is left.
pub fn poll(watches: &mut [Watch<'_>], limit: Option<Duration>) -> Result<usize, OsError> {
    let end = limit.and_then(|d| Instant::now().checked_add(d));
    loop {
        let left = limit.map(|d| end.map_or(d, |end| end.saturating_duration_since(Instant::now())));
        match poll_once(watches, left) {
            Err(e) if e.is_interrupted() => {}
            other => return other,
        }
    }
}

/// As [`poll`], but a signal ends the wait with EINTR (`is_interrupted`).
pub fn poll_once(watches: &mut [Watch<'_>], limit: Option<Duration>) -> Result<usize, OsError> {
    let time = limit.map(|d| libc::timespec {
        tv_sec: libc::time_t::try_from(d.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: d.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: Watch is a transparent pollfd, the slice is writable; the time is null or alive; a null mask leaves signals alone.
    let n = unsafe {
        libc::ppoll(
            watches.as_mut_ptr().cast(),
            watches.len() as libc::nfds_t,
            time,
            std::ptr::null(),
        )
    };
    usize::try_from(n).map_err(|_| OsError::last("ppoll", ""))
}

/// Whether `fd` becomes readable (or broken) within the time.
pub fn readable(fd: impl AsFd, limit: Option<Duration>) -> Result<bool, OsError> {
    poll(&mut [Watch::new(fd.as_fd(), Events::READ)], limit).map(|n| n > 0)
}

/// Whether `fd` becomes writable (or broken) within the time.
pub fn writable(fd: impl AsFd, limit: Option<Duration>) -> Result<bool, OsError> {
    poll(&mut [Watch::new(fd.as_fd(), Events::WRITE)], limit).map(|n| n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{Kind, Mode, pair};

    #[test]
    fn a_closed_peer_is_found_and_an_open_one_is_only_writable() {
        let (a, b) = pair(Kind::Stream, Mode::Blocking).unwrap();
        let wanted = Events::READ.and(Events::WRITE).and(Events::PEER_CLOSED);
        let mut watches = [Watch::new(a.as_fd(), wanted)];
        assert_eq!(poll(&mut watches, None).unwrap(), 1);
        assert!(watches[0].found().is_writable() && !watches[0].found().is_readable());
        drop(b);
        assert_eq!(poll(&mut watches, None).unwrap(), 1);
        assert!(watches[0].found().is_peer_closed());
    }

    #[test]
    fn nothing_found_in_the_time_is_zero() {
        let (a, _b) = pair(Kind::Stream, Mode::Blocking).unwrap();
        assert!(!readable(&a, Some(Duration::from_millis(1))).unwrap());
    }
}
