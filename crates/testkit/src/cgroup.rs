//! A control group of one's own, where the machine lets us: the surest way to know which processes belong to an httpd.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Hierarchies in which a plain child group only counts: v1 `pids` and `systemd`, the v2 tree beside v1, v2 alone.
const ROOTS: [&str; 4] = [
    "/sys/fs/cgroup/pids",
    "/sys/fs/cgroup/systemd",
    "/sys/fs/cgroup/unified",
    "/sys/fs/cgroup",
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

    /// The members. Zombies are not listed in v2; [`crate::family`] finds those by their parents.
    pub fn members(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(self.procs()).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel may need a moment after the last exit.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
