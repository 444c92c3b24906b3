//! Processor time and memory that have been used (`getrusage`).

use std::time::Duration;

/// What has been used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time outside the kernel.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// Most memory of the process that was resident at once, in bytes.
    pub max_resident: u64,
}

/// The calling thread's; its memory is that of the process.
pub fn of_thread() -> Usage {
    usage(libc::RUSAGE_THREAD)
}

/// That of all threads of this process.
pub fn of_process() -> Usage {
    usage(libc::RUSAGE_SELF)
}

fn usage(who: libc::c_int) -> Usage {
    // SAFETY: all zeroes is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a place for the answer. It fails for an unknown `who` only, and then leaves the zeroes.
    unsafe { libc::getrusage(who, &raw mut usage) };
    from_c(&usage)
}

/// What the kernel counted.
pub(crate) fn from_c(usage: &libc::rusage) -> Usage {
    let time = |t: libc::timeval| {
        let seconds = Duration::from_secs(u64::try_from(t.tv_sec).unwrap_or(0));
        seconds + Duration::from_micros(u64::try_from(t.tv_usec).unwrap_or(0))
    };
    Usage {
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        max_resident: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn work_shows_in_the_time_and_memory_is_in_bytes() {
        let before = super::of_thread();
        let start = std::time::Instant::now();
        while super::of_thread().user <= before.user {
            std::hint::black_box((0..1000).sum::<u64>());
            assert!(start.elapsed().as_secs() < 20, "no time is counted");
        }
        assert!(super::of_process().max_resident > 1 << 20);
    }
}
