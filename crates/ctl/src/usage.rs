//! What processes use, as the kernel says: read here, for the manager has other things to do.

use rwsgi_os::cgroup::{self, Version};
use rwsgi_os::fd;
use rwsgi_os::file::{self, Links};
use rwsgi_os::process::{self, Pid};
use rwsgi_wire::admin::{Cgroup, WorkerReport};

use crate::shown::{GroupUsage, Memory};

/// Clock ticks per second in what `/proc` shows, on every Linux.
const TICKS: f64 = 100.0;
/// Largest file, bytes.
const FILE_MAX: usize = 1 << 20;

/// Memory and processor time of one process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) memory: Memory,
    pub(crate) cpu_seconds: Option<f64>,
}

/// What a worker uses; nothing is known of one that has ended meanwhile. `in_full`: its share of what it has in common with others, too, which takes
/// the kernel milliseconds.
pub(crate) fn of_worker(worker: &WorkerReport, in_full: bool) -> Usage {
    let Ok(pid) = i32::try_from(worker.pid).map(Pid) else {
        return Usage::default();
    };
    let read = |name: &str| read(&format!("/proc/{pid}/{name}"));
    let usage = Usage {
        memory: Memory {
            rss_bytes: read("status").and_then(|text| kilobytes(&text, "VmRSS:")),
            pss_bytes: in_full
                .then(|| read("smaps_rollup"))
                .flatten()
                .and_then(|text| kilobytes(&text, "Pss:")),
        },
        cpu_seconds: read("stat").and_then(|text| cpu_seconds(&text)),
    };
    // The number may be another's by now; afterwards it was not while it was read.
    let is_same = process::birth(pid).is_ok_and(|(start, _)| start == worker.start);
    if is_same { usage } else { Usage::default() }
}

/// What all processes of an application use together: `None` where there are no control groups.
pub(crate) fn of_groups(groups: &[Cgroup]) -> Option<GroupUsage> {
    let first = |read: &dyn Fn(&Cgroup) -> Option<u64>| groups.iter().find_map(read);
    let number = |group: &Cgroup, name: &str| cgroup::read(&group.path, name).ok()?.trim().parse().ok();
    let usage = GroupUsage {
        memory_bytes: first(&|group| {
            let version = if group.is_unified {
                Version::Two
            } else {
                Version::One
            };
            cgroup::memory(&group.path, version)
        }),
        processes: first(&|group| number(group, "pids.current")),
        cpu_seconds: first(&|group| {
            let text = cgroup::read(&group.path, "cpu.stat").ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
            line?.trim().parse().ok()
        })
        .map(|micros| micros as f64 / 1e6)
        .or_else(|| first(&|group| number(group, "cpuacct.usage")).map(|nanos| nanos as f64 / 1e9)),
    };
    (usage != GroupUsage::default()).then_some(usage)
}

fn read(path: &str) -> Option<String> {
    let bytes = file::open(path.as_bytes(), Links::Follow).and_then(|f| fd::read_all(&f, FILE_MAX));
    bytes
        .ok()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Bytes of a line "name  123 kB".
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// The 14th and 15th field, of which those from the third on follow a name in parentheses that may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let after = stat.get(stat.rfind(')')? + 1..)?;
    let mut fields = after.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    Some(user.saturating_add(system) as f64 / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_another_one_under_its_number_is_not_taken_for_it() {
        let pid = process::this();
        let (start, _) = process::birth(pid).unwrap();
        let mut worker = WorkerReport {
            pid: pid.0.unsigned_abs(),
            start,
            ..WorkerReport::default()
        };
        let usage = of_worker(&worker, true);
        assert!(usage.memory.rss_bytes.unwrap() > 100_000 && usage.memory.pss_bytes.unwrap() > 10_000);
        assert!(usage.cpu_seconds.is_some());
        assert_eq!(of_worker(&worker, false).memory.pss_bytes, None);
        worker.start += 1;
        assert_eq!(of_worker(&worker, true), Usage::default());
    }

    #[test]
    fn the_kernels_words_are_read_whatever_a_process_is_called() {
        let stat = "12 (a) 9 9 (b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(
            kilobytes("VmPeak:\t 9 kB\nVmRSS:\t   2 kB\n", "VmRSS:"),
            Some(2048)
        );
        assert_eq!(
            (cpu_seconds("12 (x"), kilobytes("VmRSS: x kB", "VmRSS:")),
            (None, None)
        );
    }
}
