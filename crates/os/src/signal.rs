//! Signals: blocking them, reading them as events, their names.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread::{Builder, JoinHandle};

use crate::error::retry_size;
use crate::fd::{self, own};
use crate::process::Pid;
use crate::{OsError, file};

/// A signal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(pub i32);

impl Signal {
    /// Cannot be caught.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// Asks to end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// From a terminal.
    pub const INT: Self = Self(libc::SIGINT);
    /// The terminal went away.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// A child ended.
    pub const CHLD: Self = Self(libc::SIGCHLD);
    /// httpd's graceful restart.
    pub const USR1: Self = Self(libc::SIGUSR1);
    /// Free.
    pub const USR2: Self = Self(libc::SIGUSR2);
    /// A write to a closed pipe.
    pub const PIPE: Self = Self(libc::SIGPIPE);
    /// The soft limit on processor time.
    pub const XCPU: Self = Self(libc::SIGXCPU);
    /// The last real-time signal but one, by number: workers show the stacks of their threads at it. The last one valgrind keeps for itself.
    pub const STACKS: Self = Self(63);

    /// Name and meaning, "signal 11 (SIGSEGV, invalid memory access)".
    pub fn describe(self) -> String {
        match NAMES.iter().find(|(n, _, _)| *n == self.0) {
            Some((n, name, meaning)) => format!("signal {n} ({name}, {meaning})"),
            None => format!("signal {}", self.0),
        }
    }
}

const NAMES: [(i32, &str, &str); 16] = [
    (libc::SIGHUP, "SIGHUP", "hang-up"),
    (libc::SIGINT, "SIGINT", "interrupt"),
    (libc::SIGQUIT, "SIGQUIT", "quit"),
    (libc::SIGILL, "SIGILL", "illegal instruction"),
    (libc::SIGTRAP, "SIGTRAP", "trap"),
    (libc::SIGABRT, "SIGABRT", "abort"),
    (libc::SIGBUS, "SIGBUS", "invalid access to mapped memory"),
    (libc::SIGFPE, "SIGFPE", "arithmetic error"),
    (libc::SIGKILL, "SIGKILL", "killed"),
    (libc::SIGSEGV, "SIGSEGV", "invalid memory access"),
    (libc::SIGPIPE, "SIGPIPE", "broken pipe"),
    (libc::SIGALRM, "SIGALRM", "alarm"),
    (libc::SIGTERM, "SIGTERM", "asked to end"),
    (libc::SIGXCPU, "SIGXCPU", "processor time limit"),
    (libc::SIGXFSZ, "SIGXFSZ", "file size limit"),
    (libc::SIGSYS, "SIGSYS", "forbidden system call"),
];

/// A set of signals.
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

impl Mask {
    /// These signals.
    pub fn of(signals: &[Signal]) -> Self {
        let mut set = Self::empty();
        for s in signals {
            // SAFETY: the set is initialised; an impossible number is an error that changes nothing.
            unsafe { libc::sigaddset(&raw mut set.0, s.0) };
        }
        set
    }

    fn empty() -> Self {
        // SAFETY: all zeroes is a valid sigset_t to initialise.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is writable.
        unsafe { libc::sigemptyset(&raw mut set) };
        Self(set)
    }

    fn full() -> Self {
        let mut set = Self::empty();
        // SAFETY: the set is writable.
        unsafe { libc::sigfillset(&raw mut set.0) };
        set
    }
}

/// Blocks these signals in this thread, besides those blocked already (`pthread_sigmask`); answers the mask before.
pub fn block(mask: &Mask) -> Result<Mask, OsError> {
    change(libc::SIG_BLOCK, mask)
}

/// Blocks every signal in this thread; answers the mask before.
pub fn block_all() -> Result<Mask, OsError> {
    change(libc::SIG_SETMASK, &Mask::full())
}

/// Starts a thread that takes no signal: httpd steers its children, and Python its process, by signals to their own threads.
pub fn without_signals<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, OsError> {
    let before = block_all()?;
    let started = Builder::new().name(name.into()).spawn(run);
    restore(&before)?;
    started.map_err(|why| OsError::new("pthread_create", "", why.raw_os_error().unwrap_or_default()))
}

/// Makes `mask` the blocked signals of this thread.
pub fn restore(mask: &Mask) -> Result<(), OsError> {
    change(libc::SIG_SETMASK, mask).map(drop)
}

fn change(how: libc::c_int, mask: &Mask) -> Result<Mask, OsError> {
    let mut before = Mask::empty();
    // SAFETY: both sets are initialised and live through the call.
    match unsafe { libc::pthread_sigmask(how, &raw const mask.0, &raw mut before.0) } {
        0 => Ok(before),
        errno => Err(OsError::new("pthread_sigmask", "", errno)),
    }
}

/// A descriptor that is readable while one of these signals waits, close-on-exec and non-blocking (`signalfd`). The signals must be
/// [blocked](block).
pub fn descriptor(mask: &Mask) -> Result<OwnedFd, OsError> {
    // SAFETY: -1 makes a new descriptor; the set is initialised.
    let fd = unsafe { libc::signalfd(-1, &raw const mask.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        Err(OsError::last("signalfd", ""))
    } else {
        Ok(own(fd))
    }
}

/// The next waiting signal of a [`descriptor`], or `None`.
pub fn next(descriptor: impl AsFd) -> Result<Option<Signal>, OsError> {
    // SAFETY: all zeroes is a valid signalfd_siginfo.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = std::mem::size_of_val(&info);
    let raw = descriptor.as_fd().as_raw_fd();
    // SAFETY: the structure is writable for its size.
    match retry_size("read", || unsafe {
        libc::read(raw, (&raw mut info).cast(), size)
    }) {
        Ok(n) if n == size => Ok(Some(Signal(i32::try_from(info.ssi_signo).unwrap_or(0)))),
        Ok(_) => Ok(None),
        Err(e) if e.is_would_block() => Ok(None),
        Err(e) => Err(e),
    }
}

/// Sends a signal to this very thread, and returns when its handler has (`raise`).
pub fn raise(signal: Signal) -> Result<(), OsError> {
    // SAFETY: an integer; what a handler does is up to who installed it.
    match unsafe { libc::raise(signal.0) } {
        0 => Ok(()),
        _ => Err(OsError::last("raise", "")),
    }
}

/// Whether a process has a handler of its own for this signal, as `/proc` says; `false` when that cannot be known.
pub fn is_caught(by: Pid, signal: Signal) -> bool {
    let path = format!("/proc/{by}/status");
    let status = file::open(path.as_bytes(), file::Links::Follow).and_then(|f| fd::read_all(&f, 1 << 16));
    let status = String::from_utf8(status.unwrap_or_default()).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    let bit = u32::try_from(signal.0 - 1).ok().and_then(|n| 1u64.checked_shl(n));
    matches!((mask, bit), (Some(mask), Some(bit)) if mask & bit != 0)
}

/// Gives every signal its default action and blocks none: how a program expects to be started.
pub fn reset() {
    reset_in_child();
    unblock_in_child();
}

/// Default actions for all signals; async-signal-safe.
pub(crate) fn reset_in_child() {
    // SAFETY: all zeroes is a sigaction with SIG_DFL, no flags and an empty mask.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    for n in 1..=64 {
        // SAFETY: the action lives through the call; numbers that cannot be changed are errors that change nothing.
        unsafe { libc::sigaction(n, &raw const default, std::ptr::null_mut()) };
    }
    // The C library keeps two for itself and refuses to touch them, but who ignores them hands that down as well.
    let kernels: [u64; 8] = [0; 8];
    let none: *const u64 = std::ptr::null();
    for n in 32..=33 {
        // SAFETY: all zeroes is the kernel's structure for SIG_DFL, which is shorter than this; its set has 8 bytes.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, n, kernels.as_ptr(), none, 8usize) };
    }
}

/// Blocks no signal; async-signal-safe.
pub(crate) fn unblock_in_child() {
    let none = Mask::empty();
    // SAFETY: the set is initialised; null for the former mask is allowed.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none.0, std::ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read_as_an_event() {
        let mask = Mask::of(&[Signal::USR2]);
        let before = block(&mask).unwrap();
        let events = descriptor(&mask).unwrap();
        assert_eq!(next(&events).unwrap(), None);
        // SAFETY: raises a signal that is blocked in this very thread.
        unsafe { libc::raise(libc::SIGUSR2) };
        assert_eq!(next(&events).unwrap(), Some(Signal::USR2));
        restore(&before).unwrap();
    }

    #[test]
    fn nobody_catches_a_signal_by_default() {
        assert!(!is_caught(crate::process::this(), Signal::XCPU));
        assert!(!is_caught(Pid(i32::MAX), Signal::XCPU));
    }

    #[test]
    fn a_signal_is_described_by_name_and_meaning() {
        assert_eq!(
            Signal(11).describe(),
            "signal 11 (SIGSEGV, invalid memory access)"
        );
        assert_eq!(Signal(40).describe(), "signal 40");
    }
}
