//! A control group of one's own, where the machine lets us: the surest way to know which processes belong to an httpd.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Hierarchies in which a plain child group only counts: v2 alone, v1 `pids` and `systemd`, the v2 tree beside v1.
const ROOTS: [&str; 4] = [
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/pids",
    "/sys/fs/cgroup/systemd",
    "/sys/fs/cgroup/unified",
];

/// A group; removed on drop, when its processes have ended.
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes a group, or nothing where that is not allowed.
    pub fn make() -> Option<Cgroup> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "rwsgi-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        for root in ROOTS.map(Path::new) {
            if !root.join("cgroup.procs").exists() {
                continue;
            }
            let path = root.join(&name);
            if std::fs::create_dir(&path).is_err() {
                continue;
            }
            if std::fs::OpenOptions::new()
                .write(true)
                .open(path.join("cgroup.procs"))
                .is_ok()
            {
                return Some(Cgroup { path });
            }
            let _ = std::fs::remove_dir(&path);
        }
        None
    }

    /// The file into which a process writes itself to join.
    pub fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// The members, those of groups below included. Zombies are not listed in v2; [`crate::family`] finds those by their parents.
    pub fn members(&self) -> Vec<u32> {
        members_of(&self.path)
    }
}

fn remove_all(group: &Path) -> bool {
    for below in groups_below(group) {
        remove_all(&below);
    }
    std::fs::remove_dir(group).is_ok()
}

/// The members of a group and of those below.
pub fn members_of(group: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = text.lines().filter_map(|line| line.parse().ok());
    let below = groups_below(group)
        .into_iter()
        .flat_map(|group| members_of(&group));
    own.chain(below).collect()
}

/// The groups right below a group, in no order.
pub fn groups_below(group: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(group).into_iter().flatten().flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.map(|entry| entry.path()).collect()
}

/// Where the groups of the manager of `httpd` are, or would be: one directory in each hierarchy, that of `pids` first where version 1 has it.
pub fn trees_of(httpd: u32) -> Vec<PathBuf> {
    let groups = std::fs::read_to_string(format!("/proc/{httpd}/cgroup")).unwrap_or_default();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut trees = Vec::new();
    for controller in ["pids", "memory", "cpu", ""] {
        let own = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (names, path) = (parts.next()?, parts.next()?);
            names.split(',').any(|name| name == controller).then_some(path)
        });
        let mount = mounts.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let is_it = match controller {
                "" => words.get(2) == Some(&"cgroup2"),
                name => {
                    words.get(2) == Some(&"cgroup") && words.get(3)?.split(',').any(|option| option == name)
                }
            };
            is_it.then(|| words[1].to_owned())
        });
        // Where the manager divides a group of version 2, httpd itself is put into one of its parts.
        let own = own.map(|own| own.strip_suffix("/rwsgi-httpd").unwrap_or(own));
        if let (Some(own), Some(mount)) = (own, mount) {
            trees.push(PathBuf::from(format!("{mount}{own}")).join(format!("rwsgi-{httpd}")));
        }
    }
    trees
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel may need a moment after the last exit. What a killed manager has left is removed, too.
        for _ in 0..100 {
            if remove_all(&self.path) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
