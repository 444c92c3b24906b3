//! Control groups of either version: where they are mounted, which group this process is in, and the files of a group.
//!
//! A group is a directory of the kernel's, named here by its path. Root owns them all, so no lesser user can move what a path leads to.
//! Source of the names: the kernel's `admin-guide/cgroup-v1` and `admin-guide/cgroup-v2.rst`.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::file::{self, Links};
use crate::process::{self, Pid};
use crate::signal::Signal;
use crate::{OsError, fd};

/// Which of the two interfaces a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A tree for each controller, or for a few.
    One,
    /// One tree for all.
    Two,
}

/// What a group can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Memory, the page cache included.
    Memory,
    /// Processes and threads.
    Pids,
    /// Processor time.
    Cpu,
}

impl Controller {
    /// All that are used here.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }

    fn among<'n>(names: impl Iterator<Item = &'n str>) -> Vec<Self> {
        let names: Vec<&str> = names.collect();
        let named = Self::ALL.iter().filter(|c| names.contains(&c.name()));
        named.copied().collect()
    }
}

/// A mounted hierarchy, as this process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its interface.
    pub version: Version,
    /// Which controllers this process's group has here.
    pub controllers: Vec<Controller>,
    /// The directory of this process's group.
    pub own: Vec<u8>,
    /// The path of that group within the hierarchy.
    pub group: Vec<u8>,
}

/// The hierarchies that are mounted and hold this process (`/proc/self/mountinfo`, `/proc/self/cgroup`). Those of version 1 without a
/// controller of [`Controller::ALL`] are left out; so is one that is mounted a second time.
pub fn hierarchies() -> Vec<Hierarchy> {
    let (mounts, groups) = (text_of(b"/proc/self/mountinfo"), text_of(b"/proc/self/cgroup"));
    let mut found = parse(&mounts, &groups);
    for hierarchy in found.iter_mut().filter(|h| h.version == Version::Two) {
        let names = read(&hierarchy.own, "cgroup.controllers").unwrap_or_default();
        hierarchy.controllers = Controller::among(names.split_ascii_whitespace());
    }
    found
}

fn text_of(path: &[u8]) -> String {
    let bytes = file::open(path, Links::Follow).and_then(|f| fd::read_all(&f, 1 << 20));
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

fn parse(mounts: &str, groups: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let Some((front, back)) = line.split_once(" - ") else {
            continue;
        };
        let mut front = front.split(' ').skip(3);
        let (Some(root), Some(place)) = (front.next(), front.next()) else {
            continue;
        };
        let mut back = back.split(' ');
        let (kind, options) = (back.next(), back.nth(1).unwrap_or_default());
        let version = match kind {
            Some("cgroup") => Version::One,
            Some("cgroup2") => Version::Two,
            _ => continue,
        };
        let controllers = match version {
            Version::One => Controller::among(options.split(',')),
            Version::Two => Vec::new(),
        };
        let known = found
            .iter()
            .any(|h| h.version == version && h.controllers == controllers);
        if known || (version == Version::One && controllers.is_empty()) {
            continue;
        }
        let Some(group) = group_in(groups, version, &controllers) else {
            continue;
        };
        if let Some(own) = below(&unescape(place), &unescape(root), group.as_bytes()) {
            found.push(Hierarchy {
                version,
                controllers,
                own,
                group: group.into(),
            });
        }
    }
    found
}

/// The path of a process's group, from its `/proc/…/cgroup`.
fn group_in<'g>(groups: &'g str, version: Version, controllers: &[Controller]) -> Option<&'g str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next()?, parts.next()?);
        let is_it = match version {
            Version::Two => names.is_empty(),
            Version::One => controllers
                .iter()
                .any(|c| names.split(',').any(|name| name == c.name())),
        };
        is_it.then_some(path)
    })
}

/// The directory of a group under a mount that shows the hierarchy from `root` on; `None` when the group is outside of it.
fn below(place: &[u8], root: &[u8], group: &[u8]) -> Option<Vec<u8>> {
    let root = root.strip_suffix(b"/").unwrap_or(root);
    let rest = group.strip_prefix(root)?;
    let is_inside = (rest.is_empty() || rest.starts_with(b"/")) && !rest.starts_with(b"/..");
    let rest = rest.strip_suffix(b"/").unwrap_or(rest);
    is_inside.then(|| [place, rest].concat())
}

/// Blanks and the like are three octal digits in `mountinfo`.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let code = more.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() {
            more.get(3..).unwrap_or_default()
        } else {
            more
        };
    }
    out
}

fn named(group: &[u8], name: &str) -> Vec<u8> {
    [group, b"/", name.as_bytes()].concat()
}

/// Makes a group; one that is there already is as good.
pub fn make(group: &[u8]) -> Result<(), OsError> {
    match file::make_directory(group, 0o755) {
        Err(e) if e.errno == libc::EEXIST => Ok(()),
        other => other,
    }
}

/// Removes a group without members and groups below. EBUSY: it has some. One that is gone already is as good.
pub fn remove(group: &[u8]) -> Result<(), OsError> {
    match file::remove_directory(group) {
        Err(e) if e.is_not_found() => Ok(()),
        Err(e) if e.errno == libc::EACCES => remove_from_closed(group, e),
        other => other,
    }
}

/// The top of a hierarchy has mode 0555: its owner, without the capability to ignore that, opens it for a moment.
fn remove_from_closed(group: &[u8], refused: OsError) -> Result<(), OsError> {
    let end = group.iter().rposition(|b| *b == b'/').unwrap_or(0);
    let above = file::open_directory(group.get(..end).unwrap_or_default(), Links::Refuse)?;
    let mode = file::status(&above)?.mode & 0o7777;
    if mode & 0o200 != 0 {
        return Err(refused);
    }
    file::set_access(&above, None, None, mode | 0o200)?;
    let removed = file::remove_directory(group);
    file::set_access(&above, None, None, mode)?;
    removed
}

/// The names of the groups right below.
pub fn children(group: &[u8]) -> Vec<Vec<u8>> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let entries = std::fs::read_dir(std::ffi::OsStr::from_bytes(group));
    let directories = entries.into_iter().flatten().flatten().filter(|entry| {
        let kind = entry.file_type();
        kind.is_ok_and(|kind| kind.is_dir())
    });
    directories.map(|entry| entry.file_name().into_vec()).collect()
}

/// Takes a group's lock, which lasts as long as the descriptor; `None`: another process has it (`flock`).
pub fn lock(group: &[u8]) -> Result<Option<OwnedFd>, OsError> {
    let opened = file::open_directory(group, Links::Refuse)?;
    Ok(file::try_lock_whole(&opened)?.then_some(opened))
}

/// What a file of a group holds, up to 1 MiB.
pub fn read(group: &[u8], name: &str) -> Result<String, OsError> {
    let opened = file::open(&named(group, name), Links::Follow)?;
    let bytes = fd::read_all(&opened, 1 << 20)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes to a file of a group. The kernel takes it as a whole or refuses it.
pub fn write(group: &[u8], name: &str, text: &str) -> Result<(), OsError> {
    let path = named(group, name);
    let opened = file::open_to_write(&path)?;
    fd::write_all(&opened, text.as_bytes())
        .map_err(|e| OsError::new("write", String::from_utf8_lossy(&path).into_owned(), e.errno))
}

/// The file that makes whoever writes `0` to it a member of the group, opened.
pub fn door(group: &[u8]) -> Result<OwnedFd, OsError> {
    file::open_to_write(&named(group, "cgroup.procs"))
}

/// This process, which should have one thread, becomes a member of the group behind the [`door`] with this number.
pub fn join(number: i32) -> Result<(), OsError> {
    let door = fd::adopt(number)?;
    fd::write_all(&door, b"0").map_err(|e| OsError::new("write", "cgroup.procs", e.errno))
}

/// The members, without those of groups below. None when it is gone.
pub fn members(group: &[u8]) -> Vec<Pid> {
    let text = read(group, "cgroup.procs").unwrap_or_default();
    let ids = text.lines().filter_map(|line| line.parse().ok());
    // 0 is a process of another namespace.
    ids.map(Pid).filter(|pid| pid.0 > 0).collect()
}

/// The number behind `key` in a file of lines "key number".
fn counter(group: &[u8], name: &str, key: &str) -> u64 {
    let text = read(group, name).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

fn number(group: &[u8], name: &str) -> u64 {
    let text = read(group, name).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Kills every member. Who is killed may take a moment to vanish; with version 1 one may have forked meanwhile, so ask again until
/// there are no [`members`].
pub fn kill(group: &[u8], version: Version) {
    // Since Linux 5.14: at once, those included that are just being forked.
    if version == Version::Two && write(group, "cgroup.kill", "1").is_ok() {
        return;
    }
    // Nobody can fork any more, where this controller is.
    let _ = write(group, "pids.max", "0");
    for some in members(group).chunks(512) {
        kill_listed(group, some);
    }
}

/// Kills those of whom these were the numbers a moment ago, if they are members still.
pub(crate) fn kill_listed(group: &[u8], listed: &[Pid]) {
    let open = |pid: &Pid| Some((*pid, process::open(*pid).ok()?));
    let held: Vec<_> = listed.iter().filter_map(open).collect();
    // A number may have got another owner before it was opened. Whose number is among the members now, and who still lives, has had it all
    // the while: it is a member.
    let still = members(group);
    for (pid, process) in held {
        if still.contains(&pid) {
            let _ = process::signal(&process, Signal::KILL);
        }
    }
}

/// Most of something that the members of a group may have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of memory.
    Memory(u64),
    /// Processes and threads.
    Processes(u32),
    /// Processor time in hundredths of one processor.
    Cpu(u32),
}

/// What `cpu` limits are measured over, microseconds. Whenever the members of a group may run again they keep somebody else waiting, once and until the
/// kernel's next tick; with the kernel's own 100,000 that happens to one of 100 requests of the other sites.
const PERIOD: u64 = 500_000;

impl Limit {
    /// What it takes.
    pub fn controller(self) -> Controller {
        match self {
            Self::Memory(_) => Controller::Memory,
            Self::Processes(_) => Controller::Pids,
            Self::Cpu(_) => Controller::Cpu,
        }
    }

    /// Puts it into force; 0 lifts it. EBUSY with memory: the members use more, and it cannot be taken from them.
    ///
    /// Of a group with version 1, a `cpu` limit must not be higher than that of the group above (EINVAL).
    pub fn set(self, group: &[u8], version: Version) -> Result<(), OsError> {
        let or = |value: u64, none: &str| match value {
            0 => none.to_owned(),
            value => value.to_string(),
        };
        match (self, version) {
            (Self::Processes(count), _) => write(group, "pids.max", &or(count.into(), "max")),
            (Self::Cpu(percent), Version::Two) => {
                let quota = u64::from(percent) * PERIOD / 100;
                write(group, "cpu.max", &format!("{} {PERIOD}", or(quota, "max")))
            }
            (Self::Cpu(percent), Version::One) => {
                let quota = u64::from(percent) * PERIOD / 100;
                if number(group, "cpu.cfs_period_us") != PERIOD {
                    // A quota of another period would be another limit, perhaps one that the group above or one below does not allow.
                    write(group, "cpu.cfs_quota_us", "-1")?;
                    write(group, "cpu.cfs_period_us", &PERIOD.to_string())?;
                }
                write(group, "cpu.cfs_quota_us", &or(quota, "-1"))
            }
            (Self::Memory(bytes), Version::Two) => {
                // All members die when one must: half an application serves nobody.
                write(group, "memory.oom.group", if bytes > 0 { "1" } else { "0" })?;
                // Kernels without swap lack it.
                let _ = write(group, "memory.swap.max", if bytes > 0 { "0" } else { "max" });
                write(group, "memory.max", &or(bytes, "max"))
            }
            (Self::Memory(bytes), Version::One) => set_memory_of_one(group, &or(bytes, "-1")),
        }
    }
}

/// Memory alone may never be limited higher than memory and swap together.
fn set_memory_of_one(group: &[u8], text: &str) -> Result<(), OsError> {
    let alone = |text| write(group, "memory.limit_in_bytes", text);
    let lowered = alone(text);
    match write(group, "memory.memsw.limit_in_bytes", text) {
        // Kernels that do not account for swap lack it.
        Err(e) if e.errno == libc::ENOENT || e.errno == libc::EACCES || e.errno == libc::EOPNOTSUPP => {
            lowered
        }
        Err(e) => Err(e),
        Ok(()) => match lowered {
            Ok(()) => Ok(()),
            Err(_) => alone(text),
        },
    }
}

/// What a group's share of processor time is with version 1 (`cpu.shares`) when nothing is said, and that of a process beside it.
pub const SHARE: usize = 1024;

/// When others want processor time, too, the group gets as much as one process with this nice value would. With version 2 the kernel reckons,
/// with version 1 it is reckoned here as the kernel has it for processes: each step is a quarter more.
pub fn set_share(group: &[u8], version: Version, nice: i8) -> Result<(), OsError> {
    match version {
        Version::Two => write(group, "cpu.weight.nice", &nice.to_string()),
        Version::One => {
            let share = (SHARE as f64 * 1.25_f64.powi(-i32::from(nice))).round();
            write(group, "cpu.shares", &format!("{share}"))
        }
    }
}

/// What has happened in a group, since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events {
    /// Members that were killed for want of memory.
    pub kills: u64,
    /// How often memory reached the limit of this very group and nothing could be freed (version 2), or something had to be (version 1).
    pub full: u64,
    /// Processes and threads that were refused.
    pub refusals: u64,
    /// How long members had to wait because of the limit on processor time.
    pub throttled: Duration,
}

/// The events of a group in one hierarchy; those whose controller is elsewhere are none.
pub fn events(group: &[u8], version: Version, controllers: &[Controller]) -> Events {
    let mut events = Events::default();
    for controller in controllers {
        match (controller, version) {
            (Controller::Memory, Version::Two) => {
                events.kills = counter(group, "memory.events", "oom_kill");
                events.full = counter(group, "memory.events.local", "oom");
            }
            (Controller::Memory, Version::One) => {
                events.kills = counter(group, "memory.oom_control", "oom_kill");
                events.full = number(group, "memory.failcnt");
            }
            (Controller::Pids, _) => events.refusals = counter(group, "pids.events", "max"),
            (Controller::Cpu, Version::Two) => {
                events.throttled = Duration::from_micros(counter(group, "cpu.stat", "throttled_usec"));
            }
            (Controller::Cpu, Version::One) => {
                events.throttled = Duration::from_nanos(counter(group, "cpu.stat", "throttled_time"));
            }
        }
    }
    events
}

/// Bytes of memory that the members use and that cannot simply be dropped, groups below included; `None` where that is not known.
pub fn memory(group: &[u8], version: Version) -> Option<u64> {
    let (used, droppable) = match version {
        Version::Two => ("memory.current", "inactive_file"),
        Version::One => ("memory.usage_in_bytes", "total_inactive_file"),
    };
    let used: u64 = read(group, used).ok()?.trim().parse().ok()?;
    Some(used.saturating_sub(counter(group, "memory.stat", droppable)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "\
24 1 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
30 24 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 /docker/7 /sys/fs/cgroup/mem\\040ory rw shared:9 - cgroup cgroup rw,memory
33 24 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 24 0:28 /docker/7 /elsewhere rw - cgroup cgroup rw,memory
";

    // R65
    #[test]
    fn hierarchies_of_both_versions_are_found_with_the_own_group() {
        let groups =
            "5:memory:/docker/7/in\n4:cpu,cpuacct:/\n1:name=systemd:/x\n0::/system.slice/httpd.service\n";
        let found = parse(BOTH, groups);
        let shown: Vec<_> = found
            .iter()
            .map(|h| {
                (
                    h.version,
                    &h.controllers[..],
                    String::from_utf8_lossy(&h.own).into_owned(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (
                    Version::Two,
                    &[][..],
                    "/sys/fs/cgroup/unified/system.slice/httpd.service".to_owned()
                ),
                (
                    Version::One,
                    &[Controller::Cpu][..],
                    "/sys/fs/cgroup/cpu,cpuacct".to_owned()
                ),
                (
                    Version::One,
                    &[Controller::Memory][..],
                    "/sys/fs/cgroup/mem ory/in".to_owned()
                ),
            ]
        );
        // A group outside of what is mounted.
        assert_eq!(below(b"/m", b"/docker/7", b"/docker/77"), None);
        assert_eq!(below(b"/m", b"/", b"/../x"), None);
    }

    /// A directory that stands for a group: what is written can be read back, without a kernel that has the controller.
    fn double(files: &[&str]) -> (std::path::PathBuf, Vec<u8>) {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "rwsgi-cgroup-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        for file in files {
            std::fs::write(path.join(file), "").unwrap();
        }
        let group = path.clone().into_os_string().into_encoded_bytes();
        (path, group)
    }

    // R65
    #[test]
    fn limits_are_written_as_each_version_wants_them() {
        let all = [
            (Version::Two, Limit::Memory(1 << 26), "memory.max", "67108864"),
            (Version::Two, Limit::Memory(1 << 26), "memory.oom.group", "1"),
            (Version::Two, Limit::Memory(0), "memory.max", "max"),
            (Version::Two, Limit::Processes(40), "pids.max", "40"),
            (Version::Two, Limit::Cpu(50), "cpu.max", "250000 500000"),
            (Version::Two, Limit::Cpu(0), "cpu.max", "max 500000"),
            (
                Version::One,
                Limit::Memory(1 << 26),
                "memory.limit_in_bytes",
                "67108864",
            ),
            (
                Version::One,
                Limit::Memory(1 << 26),
                "memory.memsw.limit_in_bytes",
                "67108864",
            ),
            (Version::One, Limit::Memory(0), "memory.limit_in_bytes", "-1"),
            (Version::One, Limit::Processes(0), "pids.max", "max"),
            (Version::One, Limit::Cpu(250), "cpu.cfs_quota_us", "1250000"),
            (Version::One, Limit::Cpu(250), "cpu.cfs_period_us", "500000"),
            (Version::One, Limit::Cpu(0), "cpu.cfs_quota_us", "-1"),
        ];
        for (version, limit, file, wanted) in all {
            let (path, group) = double(&[
                "memory.max",
                "memory.oom.group",
                "memory.limit_in_bytes",
                "memory.memsw.limit_in_bytes",
                "pids.max",
                "cpu.max",
                "cpu.cfs_period_us",
                "cpu.cfs_quota_us",
            ]);
            limit.set(&group, version).unwrap();
            assert_eq!(read(&group, file).unwrap(), wanted, "{version:?} {limit:?}");
            std::fs::remove_dir_all(path).unwrap();
        }
        // Without a controller there is no file.
        let (path, group) = double(&[]);
        assert!(
            Limit::Processes(1)
                .set(&group, Version::Two)
                .unwrap_err()
                .is_not_found()
        );
        std::fs::remove_dir_all(path).unwrap();
    }

    // R65
    #[test]
    fn shares_are_those_of_processes_with_that_nice_value() {
        let (path, group) = double(&["cpu.shares", "cpu.weight.nice"]);
        // The second are those of the kernel's table for processes.
        for (nice, kernel) in [(-20, 88761), (-10, 9548), (0, 1024), (5, 335), (19, 15)] {
            set_share(&group, Version::One, nice).unwrap();
            let share: i64 = read(&group, "cpu.shares").unwrap().trim().parse().unwrap();
            assert!((share - kernel).abs() * 50 <= kernel, "{nice}: {share} {kernel}");
            std::fs::write(path.join("cpu.shares"), "").unwrap();
            set_share(&group, Version::Two, nice).unwrap();
            assert_eq!(read(&group, "cpu.weight.nice").unwrap(), nice.to_string());
            std::fs::write(path.join("cpu.weight.nice"), "").unwrap();
        }
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn events_are_read_from_the_files_of_each_version() {
        let (path, group) = double(&[]);
        let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
        write("memory.events", "low 0\noom 2\noom_kill 3\noom_group_kill 1\n");
        write("memory.events.local", "oom 2\n");
        write("pids.events", "max 7\n");
        write(
            "cpu.stat",
            "nr_throttled 4\nthrottled_usec 2500000\nthrottled_time 1500000000\n",
        );
        write(
            "memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n",
        );
        write("memory.failcnt", "9\n");
        write("memory.current", "1000\n");
        write("memory.stat", "anon 1\ninactive_file 300\n");
        let two = events(&group, Version::Two, &Controller::ALL);
        assert_eq!((two.kills, two.full, two.refusals), (3, 2, 7));
        assert_eq!(two.throttled, Duration::from_millis(2500));
        let one = events(&group, Version::One, &Controller::ALL);
        assert_eq!(
            (one.kills, one.full, one.throttled),
            (5, 9, Duration::from_millis(1500))
        );
        assert_eq!(events(&group, Version::Two, &[]), Events::default());
        assert_eq!(memory(&group, Version::Two), Some(700));
        assert_eq!(memory(&group, Version::One), None);
        std::fs::remove_dir_all(path).unwrap();
    }

    // R69
    #[test]
    fn whoever_is_no_member_is_not_killed_whatever_is_listed() {
        // A number that is listed at first, and not any more when the process behind it has been opened.
        let (path, group) = double(&["pids.max"]);
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = Pid(child.id() as i32);
        let list = path.join("cgroup.procs");
        std::fs::write(&list, format!("{pid}\n")).unwrap();
        assert_eq!(members(&group), [pid]);
        std::fs::write(&list, "0\n").unwrap();
        kill(&group, Version::One);
        assert_eq!(process::reap(pid).unwrap(), None);
        assert_eq!(read(&group, "pids.max").unwrap(), "0");
        std::fs::write(&list, format!("{pid}\n")).unwrap();
        kill(&group, Version::One);
        assert_eq!(process::wait(pid).unwrap(), process::End::Signal(libc::SIGKILL));
        let _ = child.wait();
        std::fs::remove_dir_all(path).unwrap();
    }
}
