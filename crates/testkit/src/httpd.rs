//! A running private httpd, and what is checked when it ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::case::UnderTest;
use crate::cgroup::Cgroup;
use crate::conf::{Builder, write_readable};
use crate::curl::Curl;
use crate::error_log::{self, Line};
use crate::family::{Family, Process};
use crate::http::{Reply, Request};
use crate::poll::until_some;
use crate::ports::Port;
use crate::raw::Raw;
use crate::{places, suite};

const READY: &str = "resuming normal operations";

/// What httpd's event MPM says when it is stopped right after an answer: its own listener has closed its pollset.
const OF_THE_STOP: [&str; 2] = ["AH03092", "AH03093"];

/// What became of a start.
pub(crate) enum Outcome {
    Running(Box<Httpd>),
    Refused(String),
}

/// A private httpd. Dropping it stops it and checks what it leaves behind.
pub struct Httpd {
    root: PathBuf,
    port: Port,
    test: String,
    under_test: UnderTest,
    child: Mutex<Child>,
    family: Family,
    announced: Mutex<Vec<String>>,
    descriptors: usize,
    stopped: AtomicBool,
}

impl Httpd {
    pub(crate) fn start(builder: Builder) -> Outcome {
        loop {
            let port = Port::take();
            write_readable(
                &builder.root.join("httpd.conf"),
                builder.text(port.number).as_bytes(),
            );
            for log in ["error.log", "console.log", "httpd.pid"] {
                let _ = std::fs::remove_file(builder.root.join(log));
            }
            let cgroup = Cgroup::make();
            let child = launch(&builder.root, cgroup.as_ref());
            let family = Family::new(child.id(), cgroup);
            let httpd = Httpd {
                root: builder.root.clone(),
                port,
                test: builder.test.clone(),
                under_test: builder.under_test,
                child: Mutex::new(child),
                family,
                announced: Mutex::default(),
                descriptors: 0,
                stopped: AtomicBool::new(false),
            };
            match httpd.wait_for_start() {
                Ok(httpd) => return Outcome::Running(Box::new(httpd)),
                Err(text) if text.contains("Address already in use") => {}
                Err(text) => return Outcome::Refused(text),
            }
        }
    }

    fn wait_for_start(mut self) -> Result<Httpd, String> {
        let start = Instant::now();
        loop {
            let ended = self.ended();
            if ended.is_some() || start.elapsed() > Duration::from_secs(40) {
                self.family.kill_all();
                let _ = self.child.lock().expect("child").wait();
                self.stopped.store(true, Ordering::Relaxed);
                let text = self.words();
                let left = if ended.is_none() {
                    "(it neither started nor ended in 40 s)\n"
                } else {
                    ""
                };
                self.remove_root();
                return Err(format!("{left}{text}"));
            }
            if error_log::read(&self.error_log_path())
                .iter()
                .any(|line| line.text.contains(READY))
            {
                self.descriptors = self.parent().map_or(0, |parent| parent.descriptors());
                return Ok(self);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    // --- addresses and files ---------------------------------------------------------------------

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

    // --- clients -----------------------------------------------------------------------------------

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

    // --- the error log -----------------------------------------------------------------------------

    /// Allows lines of level warn or worse that contain `text`.
    pub fn announce(&self, text: &str) {
        self.announced.lock().expect("announced").push(text.to_owned());
    }

    /// Allows what an exception of the application leaves in the log: its traceback, but no other coded message of ours.
    pub fn announce_traceback(&self) {
        match self.under_test {
            // One record per line, each with the script's name or without; no way to tell them apart.
            UnderTest::Theirs => self.announce("[wsgi:error]"),
            UnderTest::Ours => {
                for text in [
                    "Traceback (most recent call last)",
                    "  File \"",
                    "    ",
                    "Error: ",
                    "Exception: ",
                ] {
                    self.announce(text);
                }
            }
        }
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

    fn error_log_path(&self) -> PathBuf {
        self.root.join("error.log")
    }

    fn words(&self) -> String {
        let read = |name: &str| std::fs::read(self.root.join(name)).unwrap_or_default();
        let both = [read("console.log"), read("error.log")].concat();
        String::from_utf8_lossy(&both).into_owned()
    }

    // --- processes ---------------------------------------------------------------------------------

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
                let is_manager = |pid: u32| all.iter().any(|p| p.pid == pid && p.name == "rwsgi-manager");
                all.iter()
                    .filter(|p| p.state != 'Z' && is_manager(p.parent))
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

    /// Our manager; the original has none.
    pub fn manager(&self) -> Option<Process> {
        self.processes()
            .into_iter()
            .find(|p| p.name == "rwsgi-manager" && p.parent == self.family.head)
    }

    /// Sockets (of the file system) that exist below the server root.
    pub fn socket_files(&self) -> Vec<PathBuf> {
        socket_files(&self.root)
    }

    // --- life --------------------------------------------------------------------------------------

    /// Graceful restart (USR1); returns when the new generation serves.
    pub fn graceful(&self) {
        self.signal_and_wait(Signal::SIGUSR1);
    }

    /// Full restart (HUP); returns when the new generation serves.
    pub fn restart(&self) {
        self.signal_and_wait(Signal::SIGHUP);
    }

    fn signal_and_wait(&self, signal: Signal) {
        let before = self.log_with(READY).len();
        self.parent().expect("httpd runs").signal(signal);
        until_some(
            "httpd to resume normal operations",
            Duration::from_secs(30),
            || {
                let ended = self.ended();
                assert!(ended.is_none(), "httpd ended at a restart:\n{}", self.words());
                (self.log_with(READY).len() > before).then_some(())
            },
        );
    }

    /// Stops httpd and checks what it leaves behind; panics with all complaints.
    pub fn stop(&self) {
        let complaints = self.end();
        if !complaints.is_empty() {
            suite::evidence(&self.evidence());
            panic!("{}", complaints.join("\n"));
        }
    }

    fn ended(&self) -> Option<ExitStatus> {
        self.child
            .lock()
            .expect("child")
            .try_wait()
            .expect("wait for httpd")
    }

    /// As [`Httpd::stop`], and then looks at what httpd left in its logs.
    pub fn stop_then(&self, look: impl FnOnce(&Httpd)) {
        self.stop();
        look(self);
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
        self.family.kill_all();
        let _ = self.child.lock().expect("child").wait();
        self.announced
            .lock()
            .expect("announced")
            .extend(OF_THE_STOP.map(str::to_owned));
        let lines = error_log::unannounced(self.log(), &self.announced.lock().expect("announced"));
        complaints.extend(
            lines
                .iter()
                .map(|line| format!("unannounced log line: {}", line.text)),
        );
        complaints
    }

    fn check_while_running(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let start = Instant::now();
        loop {
            let zombies: Vec<Process> = self.processes().into_iter().filter(|p| p.state == 'Z').collect();
            if zombies.is_empty() {
                break;
            }
            if start.elapsed() > Duration::from_secs(4) {
                complaints.push(format!("zombies: {zombies:?}"));
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
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
            if start.elapsed() > Duration::from_secs(5) {
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

    fn remove_root(&self) {
        if std::env::var_os("RWSGI_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.root);
        }
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
            self.remove_root();
        } else if complaints.is_empty() {
            self.remove_root();
        } else {
            suite::evidence(&self.evidence());
            self.remove_root();
            panic!("{}", complaints.join("\n"));
        }
    }
}

/// Starts httpd in a session of its own, inside `cgroup`, to be ended when this thread ends.
fn launch(root: &Path, cgroup: Option<&Cgroup>) -> Child {
    let console = std::fs::File::create(root.join("console.log")).expect("console.log");
    let join = cgroup.map_or_else(PathBuf::new, Cgroup::procs);
    let script = r#"[ -z "$1" ] || echo $$ >"$1"; shift; exec setsid setpriv --pdeathsig TERM "$@""#;
    Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .arg(join)
        .arg(places::httpd())
        .arg("-f")
        .arg(root.join("httpd.conf"))
        .arg("-DFOREGROUND")
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LANG", "C")
        // No worker may see what httpd was started with.
        .env("RWSGI_TEST_SECRET", "of httpd alone")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(console.try_clone().expect("console.log"))
        .stderr(console)
        .spawn()
        .expect("httpd starts")
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
