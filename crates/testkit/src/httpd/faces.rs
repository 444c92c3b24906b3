//! What a test asks of a running httpd: requests, files, logs and processes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Httpd;
use crate::case::UnderTest;
use crate::curl::Curl;
use crate::error_log::{self, Line};
use crate::family::Process;
use crate::http::{Reply, Request};
use crate::places;
use crate::poll::until_some;
use crate::raw::Raw;
use crate::root::write_readable;

impl Httpd {
    /// The TCP port it listens on.
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// The private server root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory that applications may write to.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Replaces a script in one step, with a modification time that differs from the old one.
    pub fn rewrite_script(&self, script: &str, content: &str) {
        let path = self.root.join("scripts").join(script);
        let before = path.metadata().and_then(|meta| meta.modified()).ok();
        until_some("a new modification time", Duration::from_secs(5), || {
            write_readable(&path, content.as_bytes());
            let after = path.metadata().and_then(|meta| meta.modified()).ok();
            (after != before).then_some(())
        });
    }

    /// Replaces the configuration's text between two restarts.
    pub fn rewrite_conf(&self, change: impl FnOnce(String) -> String) {
        let path = self.root.join("httpd.conf");
        let text = std::fs::read_to_string(&path).expect("httpd.conf");
        write_readable(&path, change(text).as_bytes());
    }

    /// A request to be filled in and sent.
    pub fn request(&self, method: &str, path: &str) -> Request {
        Request::new(
            method,
            &format!("http://127.0.0.1:{}{path}", self.port.number),
            &self.test,
        )
    }

    /// Sends GET and reads the answer.
    pub fn get(&self, path: &str) -> Reply {
        self.request("GET", path).send()
    }

    /// Sends POST with a body and reads the answer.
    pub fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Reply {
        self.request("POST", path).body(body).send()
    }

    /// A connection for exact bytes.
    pub fn raw(&self) -> Raw {
        Raw::connect(self.port.number)
    }

    /// Opens a connection and sends `GET path` with `Connection: close`.
    pub fn raw_get(&self, path: &str) -> Raw {
        let mut raw = self.raw();
        raw.send(format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Test: {}\r\nConnection: close\r\n\r\n",
            self.test
        ));
        raw
    }

    /// The curl program on `path`.
    pub fn curl(&self, path: &str) -> Curl {
        let body = self.root.join(format!("curl-{:?}", std::thread::current().id()));
        Curl::new(
            &format!("http://127.0.0.1:{}{path}", self.port.number),
            &self.test,
            body,
        )
    }

    /// Allows lines of level warn or worse that contain `text`.
    pub fn announce(&self, text: &str) {
        self.announced
            .lock()
            .expect("announced")
            .texts
            .push(text.to_owned());
    }

    /// Allows messages with these codes of ours, which the test provokes on purpose. The original's codes are not told apart.
    pub fn provoked(&self, codes: &[&[&str]]) {
        match self.under_test {
            UnderTest::Ours => codes
                .iter()
                .flat_map(|list| list.iter())
                .for_each(|code| self.announce(code)),
            UnderTest::Theirs => self.announce("WSGI0"),
        }
    }

    /// Allows what an exception of the application leaves in the log: lines of the module without a code.
    pub fn announce_traceback(&self) {
        self.announced.lock().expect("announced").uncoded = true;
    }

    /// Waits for a line that contains `text`, allows such lines, and returns the first.
    pub fn wait_log(&self, text: &str) -> Line {
        self.announce(text);
        until_some(
            &format!("a log line with {text:?}"),
            Duration::from_secs(10),
            || self.log().into_iter().find(|line| line.text.contains(text)),
        )
    }

    /// The whole error log.
    pub fn log(&self) -> Vec<Line> {
        error_log::read(&self.error_log_path())
    }

    /// The error log's lines that contain `text`.
    pub fn log_with(&self, text: &str) -> Vec<Line> {
        self.log()
            .into_iter()
            .filter(|line| line.text.contains(text))
            .collect()
    }

    /// The lines of another log file of the server root, such as a virtual host's.
    pub fn log_file(&self, name: &str) -> Vec<Line> {
        error_log::read(&self.root.join(name))
    }

    /// The access log's text.
    pub fn access_log(&self) -> String {
        std::fs::read_to_string(self.root.join("access.log")).unwrap_or_default()
    }

    pub(super) fn error_log_path(&self) -> PathBuf {
        self.root.join("error.log")
    }

    pub(super) fn words(&self) -> String {
        let read = |name: &str| std::fs::read(self.root.join(name)).unwrap_or_default();
        let both = [read("console.log"), read("error.log")].concat();
        String::from_utf8_lossy(&both).into_owned()
    }

    /// Everybody that belongs to this httpd, itself included.
    pub fn processes(&self) -> Vec<Process> {
        self.family.members()
    }

    /// httpd's parent process.
    pub fn parent(&self) -> Option<Process> {
        Process::read(self.family.head)
    }

    /// httpd's children that serve requests (same program, child of the parent).
    pub fn children(&self) -> Vec<Process> {
        let program = places::httpd()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let workers = self.workers();
        self.processes()
            .into_iter()
            .filter(|p| p.parent == self.family.head && p.name == program && p.state != 'Z')
            .filter(|p| !workers.iter().any(|w| w.pid == p.pid))
            .collect()
    }

    /// The processes that run the application in daemon mode.
    pub fn workers(&self) -> Vec<Process> {
        let all = self.processes();
        match self.under_test {
            UnderTest::Ours => {
                // Those of an earlier manager are the keeper's children.
                let is_ours = |p: &Process| p.name == "rwsgi-manager";
                let of_ours = |parent: u32| all.iter().any(|p| p.pid == parent && is_ours(p));
                all.iter()
                    .filter(|p| p.state != 'Z' && of_ours(p.parent) && !is_ours(p) && !is_ours_only(p))
                    .cloned()
                    .collect()
            }
            // The original forks them from httpd's parent; its log says which they are.
            UnderTest::Theirs => {
                let log = self.log_with("Starting daemon process");
                let started = |p: &Process| log.iter().any(|l| l.text.contains(&format!("[pid {}:", p.pid)));
                all.into_iter().filter(|p| p.state != 'Z' && started(p)).collect()
            }
        }
    }

    /// The processes that write our manager's logs.
    pub fn scribes(&self) -> Vec<Process> {
        self.processes().into_iter().filter(is_scribe).collect()
    }

    /// Who starts our manager, and starts it again; the original has neither.
    pub fn keeper(&self) -> Option<Process> {
        self.processes()
            .into_iter()
            .find(|p| p.name == "rwsgi-manager" && p.parent == self.family.head)
    }

    /// Where its manager makes control groups: one directory in each hierarchy, that of `pids` first where version 1 has it.
    pub fn control_groups(&self) -> &[PathBuf] {
        &self.control_groups
    }

    /// Our manager.
    pub fn manager(&self) -> Option<Process> {
        let keeper = self.keeper()?.pid;
        self.processes()
            .into_iter()
            .find(|p| p.name == "rwsgi-manager" && p.parent == keeper && p.state != 'Z')
    }

    /// Sockets (of the file system) that exist below the server root.
    pub fn socket_files(&self) -> Vec<PathBuf> {
        socket_files(&self.root)
    }

    /// Those on which workers take requests: all but the manager's own.
    pub fn pool_sockets(&self) -> Vec<PathBuf> {
        let mut all = self.socket_files();
        all.retain(|path| !path.ends_with("manager.sock") && !path.ends_with("ctl.sock"));
        all
    }
}

fn socket_files(directory: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt as _;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(socket_files(&entry.path())),
            Ok(kind) if kind.is_socket() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// The name is that of the link by which every process of the manager is executed.
const BY_LINK: &str = "exe";

fn is_scribe(process: &Process) -> bool {
    process.name == BY_LINK && process.arguments().get(1).is_some_and(|word| word == "scribe")
}

/// It writes logs or looks up users, or is just ending, without arguments by then: it does not become a worker.
fn is_ours_only(process: &Process) -> bool {
    process.name == BY_LINK && process.arguments().get(1).is_none_or(|word| word != "enter")
}
