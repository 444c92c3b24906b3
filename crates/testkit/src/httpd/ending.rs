//! The end of a private httpd, and what is checked then: log, processes, zombies, sockets, descriptors.

use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use procfs::net::{TcpNetEntry, TcpState};

use super::Httpd;
use crate::case::UnderTest;
use crate::family::Process;
use crate::poll::until_some;
use crate::{error_log, suite};

/// What httpd's event MPM says when it is stopped right after an answer: its own listener has closed its pollset.
const OF_THE_STOP: [&str; 2] = ["AH03092", "AH03093"];

/// What httpd says of children of the original that do not end at SIGTERM; seen with prefork and embedded mode.
const OF_THEIR_STOP: [&str; 2] = ["AH00045", "AH00046"];

impl Httpd {
    /// Stops httpd and checks what it leaves behind; panics with all complaints.
    pub fn stop(&self) {
        let complaints = self.end();
        if !complaints.is_empty() {
            suite::evidence(&self.evidence());
            panic!("{}", complaints.join("\n"));
        }
    }

    pub(super) fn ended(&self) -> Option<ExitStatus> {
        self.child
            .lock()
            .expect("child")
            .try_wait()
            .expect("wait for httpd")
    }

    /// Waits for httpd to end by itself (it was signalled), then checks as [`Httpd::stop`].
    pub fn was_killed(&self) {
        until_some("httpd to end", Duration::from_secs(20), || self.ended());
        self.stop();
    }

    fn end(&self) -> Vec<String> {
        if self.stopped.swap(true, Ordering::Relaxed) {
            return Vec::new();
        }
        let mut complaints = Vec::new();
        let running = self.ended().is_none();
        if running {
            complaints.extend(self.check_while_running());
            self.let_connections_close();
            if let Some(parent) = self.parent() {
                parent.signal(Signal::SIGTERM);
            }
        }
        let start = Instant::now();
        while self.ended().is_none() {
            if start.elapsed() > Duration::from_secs(20) {
                complaints.push("httpd did not end within 20 s of SIGTERM".to_owned());
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        complaints.extend(self.check_after_end());
        let left = self.control_groups.iter().filter(|tree| tree.exists());
        complaints.extend(left.map(|tree| format!("control group left over: {}", tree.display())));
        self.family.kill_all();
        let _ = self.child.lock().expect("child").wait();
        let mut announced = self.announced.lock().expect("announced").clone();
        announced.texts.extend(OF_THE_STOP.map(str::to_owned));
        if self.under_test == UnderTest::Theirs {
            announced.texts.extend(OF_THEIR_STOP.map(str::to_owned));
        }
        let lines = error_log::unannounced(self.log(), &announced);
        complaints.extend(
            lines
                .iter()
                .map(|line| format!("unannounced log line: {}", line.text)),
        );
        complaints
    }

    /// Waits, up to five seconds, until httpd is through with the connections that its clients have closed.
    ///
    /// At SIGTERM a child of event or worker closes the sockets its threads are serving. A thread that is just freeing
    /// one makes it read freed memory: AH00052 with a segmentation fault, also of an httpd without any module of ours
    /// (`close_worker_sockets` in httpd 2.4's event.c and worker.c).
    pub fn let_connections_close(&self) {
        let closing = |connection: &TcpNetEntry| {
            let states = [
                TcpState::FinWait1,
                TcpState::FinWait2,
                TcpState::CloseWait,
                TcpState::LastAck,
                TcpState::Closing,
            ];
            // A connection without an inode is no process's any more.
            connection.local_address.port() == self.port()
                && connection.inode != 0
                && states.contains(&connection.state)
        };
        for _ in 0..500 {
            let idle = procfs::net::tcp().is_ok_and(|table| !table.iter().any(closing));
            // The thread has closed the socket and has yet to forget it.
            std::thread::sleep(Duration::from_millis(10));
            if idle {
                return;
            }
        }
    }

    fn check_while_running(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let start = Instant::now();
        let zombies = || self.processes().into_iter().filter(|p| p.state == 'Z');
        // The same ones: prefork ends a child that it does not need any more each second, and reaps it in the next.
        let mut left: Vec<Process> = zombies().collect();
        while !left.is_empty() {
            if start.elapsed() > Duration::from_secs(15) {
                complaints.push(format!("zombies: {left:?}"));
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            let now: Vec<u32> = zombies().map(|p| p.pid).collect();
            left.retain(|p| now.contains(&p.pid));
        }
        // The parent serves nobody: whatever it has open more than at the start is a leak. The original opens one
        // socket per group after the first log line; restarts reopen logs. Hence the slack of two.
        let now = self.parent().map_or(0, |parent| parent.descriptors());
        if self.descriptors > 0 && now > self.descriptors + 2 {
            let targets = self
                .parent()
                .map(|parent| parent.descriptor_targets())
                .unwrap_or_default();
            complaints.push(format!(
                "httpd's parent had {} descriptors, now {now}: {targets:?}",
                self.descriptors
            ));
        }
        complaints
    }

    fn check_after_end(&self) -> Vec<String> {
        let start = Instant::now();
        loop {
            let left: Vec<Process> = self
                .processes()
                .into_iter()
                .filter(|p| p.pid != self.family.head)
                .collect();
            let sockets = self.socket_files();
            if left.is_empty() && sockets.is_empty() {
                return Vec::new();
            }
            if start.elapsed() > Duration::from_secs(15) {
                let mut complaints: Vec<String> = left
                    .iter()
                    .map(|p| format!("left over: {p:?} {:?}", p.arguments()))
                    .collect();
                complaints.extend(
                    sockets
                        .iter()
                        .map(|path| format!("socket left over: {}", path.display())),
                );
                return complaints;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn evidence(&self) -> String {
        let lines: Vec<String> = self.log().into_iter().map(|line| line.text).collect();
        let from = lines.len().saturating_sub(60);
        format!(
            "--- error log of {} ({} lines) ---\n{}\n---",
            self.test,
            lines.len(),
            lines[from..].join("\n")
        )
    }
}

impl Drop for Httpd {
    fn drop(&mut self) {
        let complaints = self.end();
        if std::thread::panicking() {
            suite::evidence(&self.evidence());
            for complaint in complaints.iter().take(5) {
                suite::evidence(complaint);
            }
        } else if !complaints.is_empty() {
            suite::evidence(&self.evidence());
            panic!("{}", complaints.join("\n"));
        }
    }
}
