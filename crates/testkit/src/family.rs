//! The processes that belong to one httpd: found by control group, session and parentage; counted, measured, ended.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup::Cgroup;

/// What /proc says about one process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's id.
    pub parent: u32,
    /// The session it is in.
    pub session: u32,
    /// `R`, `S`, `Z`, …
    pub state: char,
    /// The command's name, at most 15 bytes.
    pub name: String,
}

impl Process {
    /// Reads `/proc/<pid>/stat`; nothing when it has gone.
    pub fn read(pid: u32) -> Option<Process> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat).into_owned();
        // pid (name) state ppid pgrp session …; the name may hold anything, also parentheses.
        let (front, back) = stat.rsplit_once(')')?;
        let name = front.split_once('(')?.1.to_owned();
        let mut fields = back.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        Some(Process {
            pid,
            parent,
            session,
            state,
            name,
        })
    }

    /// Number of open descriptors; 0 when it has gone or is not ours to look at.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(self.file("fd")).map_or(0, Iterator::count)
    }

    /// What each descriptor refers to, sorted by number.
    pub fn descriptor_targets(&self) -> Vec<(u32, String)> {
        let Ok(entries) = std::fs::read_dir(self.file("fd")) else {
            return Vec::new();
        };
        let mut all: Vec<(u32, String)> = entries
            .flatten()
            .filter_map(|entry| {
                let number = entry.file_name().to_string_lossy().parse().ok()?;
                let target = std::fs::read_link(entry.path()).ok()?;
                Some((number, target.to_string_lossy().into_owned()))
            })
            .collect();
        all.sort_unstable();
        all
    }

    /// A field of `/proc/<pid>/status`, such as `NoNewPrivs`.
    pub fn status(&self, field: &str) -> Option<String> {
        let status = std::fs::read_to_string(self.file("status")).ok()?;
        let line = status
            .lines()
            .find(|line| line.split(':').next() == Some(field))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    }

    /// Peak resident size in KiB.
    pub fn peak_kib(&self) -> u64 {
        let text = self.status("VmHWM").unwrap_or_default();
        text.split_whitespace()
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    }

    /// What it needs of memory now, in KiB: its own pages, and its share of those it shares (PSS).
    pub fn pss_kib(&self) -> u64 {
        self.rolled_up("Pss:")
    }

    /// The memory that no file is behind, in KiB: to be compared over time, since its share of the others grows when those it shares them
    /// with end.
    pub fn anonymous_kib(&self) -> u64 {
        self.rolled_up("Anonymous:")
    }

    fn rolled_up(&self, field: &str) -> u64 {
        let rollup = std::fs::read_to_string(self.file("smaps_rollup")).unwrap_or_default();
        let line = rollup.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }

    /// The environment it was started with.
    pub fn environment(&self) -> Vec<String> {
        let bytes = std::fs::read(self.file("environ")).unwrap_or_default();
        bytes
            .split(|b| *b == 0)
            .filter(|e| !e.is_empty())
            .map(|e| String::from_utf8_lossy(e).into_owned())
            .collect()
    }

    /// Its arguments.
    pub fn arguments(&self) -> Vec<String> {
        let bytes = std::fs::read(self.file("cmdline")).unwrap_or_default();
        bytes
            .split(|b| *b == 0)
            .filter(|e| !e.is_empty())
            .map(|e| String::from_utf8_lossy(e).into_owned())
            .collect()
    }

    /// Whether every thread of it has stopped, or it has gone. SIGSTOP stops one after the other, and until its turn comes a thread may take from
    /// the kernel what has arrived for it.
    pub fn stands_still(&self) -> bool {
        let Ok(threads) = std::fs::read_dir(self.file("task")) else {
            return true;
        };
        threads.flatten().all(|thread| {
            let stat = std::fs::read(thread.path().join("stat")).unwrap_or_default();
            let stat = String::from_utf8_lossy(&stat);
            stat.rsplit_once(')')
                .is_none_or(|(_, back)| back.starts_with(" T") || back.starts_with(" Z"))
        })
    }

    /// Sends a signal; a process that has gone is no error.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid as i32), signal);
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }
}

/// Every process of the machine that we can see.
pub fn processes_running() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
        .filter_map(Process::read)
        .collect()
}

/// The family of one httpd.
pub struct Family {
    cgroup: Option<Cgroup>,
    /// httpd's own pid, which is also its session's id.
    pub head: u32,
}

impl Family {
    /// Of the httpd `head`, which was started as leader of its own session and inside `cgroup`.
    pub fn new(head: u32, cgroup: Option<Cgroup>) -> Family {
        Family { cgroup, head }
    }

    /// Everybody alive or zombie, httpd included.
    pub fn members(&self) -> Vec<Process> {
        let all = processes_running();
        let mut ids: BTreeSet<u32> = self.cgroup.iter().flat_map(Cgroup::members).collect();
        ids.insert(self.head);
        loop {
            let before = ids.len();
            let related = |p: &&Process| p.session == self.head || ids.contains(&p.parent);
            let found: Vec<u32> = all.iter().filter(related).map(|p| p.pid).collect();
            ids.extend(found);
            if ids.len() == before {
                break;
            }
        }
        all.into_iter().filter(|p| ids.contains(&p.pid)).collect()
    }

    /// Kills whoever is left.
    pub fn kill_all(&self) {
        for process in self.members() {
            process.signal(Signal::SIGKILL);
        }
    }
}
