//! How often the kernel has killed for want of memory, the only trace that such a kill leaves; and what a process needs.

use rwsgi_os::process::Pid;
use rwsgi_os::{fd, file};

/// The number so far, for the whole machine and for this process's memory cgroup, added up. 0 where nothing can be read.
pub fn kills() -> u64 {
    let mut total = counter(b"/proc/vmstat");
    let groups = read(b"/proc/self/cgroup");
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        if controllers.is_empty() {
            total += counter(format!("/sys/fs/cgroup{path}/memory.events").as_bytes());
        } else if controllers.split(',').any(|c| c == "memory") {
            total += counter(format!("/sys/fs/cgroup/memory{path}/memory.oom_control").as_bytes());
        }
    }
    total
}

/// Less than a twentieth of the machine's memory is to be had without taking it from somebody. `false` where that cannot be seen.
pub fn is_scarce() -> bool {
    is_scarce_by(&read(b"/proc/meminfo"))
}

fn is_scarce_by(text: &str) -> bool {
    const SPARE: u64 = 20;
    let value = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    let both = value("MemTotal:").zip(value("MemAvailable:"));
    both.is_some_and(|(total, available)| available < total / SPARE)
}

/// What a process has in memory, without what it shares, bytes; 0 when it has gone.
pub fn resident(pid: Pid) -> u64 {
    /// Of every machine that this runs on; a larger one makes the figure too small.
    const PAGE: u64 = 4096;
    let text = read(format!("/proc/{pid}/statm").as_bytes());
    let mut fields = text
        .split_ascii_whitespace()
        .skip(1)
        .map(|field| field.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
    resident.saturating_sub(shared) * PAGE
}

fn counter(path: &[u8]) -> u64 {
    count_in(&read(path))
}

fn count_in(text: &str) -> u64 {
    let value = text.lines().find_map(|l| l.strip_prefix("oom_kill "));
    value.and_then(|v| v.trim().parse().ok()).unwrap_or(0)
}

fn read(path: &[u8]) -> String {
    let bytes = file::open(path, file::Links::Follow).and_then(|f| fd::read_all(&f, 1 << 20));
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_needs_memory_of_its_own() {
        assert!(resident(rwsgi_os::process::this()) > 100_000);
        assert_eq!(resident(Pid(i32::MAX)), 0);
    }

    // F42
    #[test]
    fn memory_is_scarce_below_a_twentieth() {
        let machine =
            |available| format!("MemTotal:  2000 kB\nMemFree: 1 kB\nMemAvailable:   {available} kB\n");
        assert!(is_scarce_by(&machine(99)) && !is_scarce_by(&machine(100)));
        assert!(!is_scarce_by("MemTotal: 2000 kB\nMemFree: 1 kB\n") && !is_scarce_by(""));
    }

    #[test]
    fn the_counter_is_found_among_other_lines() {
        assert_eq!(count_in("nr_free 3\noom_kill_disable 0\noom_kill 12\n"), 12);
        assert_eq!(count_in("nothing"), 0);
    }
}
