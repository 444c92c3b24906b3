//! A worker on a real Python, driven by hand: this file plays httpd and the manager.
#![allow(dead_code)] // Each test file uses its own part.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rwsgi_os::process::{self, End, Pid};
use rwsgi_os::socket::{self, Access, Kind as SocketKind, Mode};
use rwsgi_os::spawn::Spawn;
use rwsgi_os::{fd, file, message, poll};
use rwsgi_wire::control::{FromWorker, Start, ToWorker};
use rwsgi_wire::frame::{Decoder, Kind, put, put_with};
use rwsgi_wire::head::Head;
use rwsgi_wire::identity::Identity;
use rwsgi_wire::life::{LeaveReason, Life};
use rwsgi_wire::limits::{CHUNK_MAX, CONTROL_MAX};
use rwsgi_wire::pairs::PairList;
use rwsgi_wire::response::{Abort, AbortReason, BodyAbort, BodyFault, File, Log, Response, Taken, Want};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long nobody reads what a worker writes.
const GLANCE: Duration = Duration::from_millis(10);

/// What the manager's bootstrap does, without its error reports.
const BOOT: &str = "\
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
sys.path[:] = [entry for entry in sys.path if entry]
loader = ExtensionFileLoader('_rwsgi', '/proc/self/fd/5')
_rwsgi = module_from_spec(spec_from_file_location('_rwsgi', '/proc/self/fd/5', loader=loader))
sys.modules['_rwsgi'] = _rwsgi
loader.exec_module(_rwsgi)
import os
os.close(5)
_rwsgi.serve(3, 4)
";

/// Every Python from 3.9 on that can be found: the versions of pyenv, and `python3.X` on the PATH.
pub fn pythons() -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv"));
    let versions = root.or(home).map(|root| root.join("versions"));
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    let mut consider = |program: PathBuf| {
        if let Some(minor) = minor_version(&program).filter(|minor| *minor >= 9) {
            if !found.iter().any(|(known, _)| *known == minor) {
                found.push((minor, program));
            }
        }
    };
    for entry in versions
        .and_then(|path| path.read_dir().ok())
        .into_iter()
        .flatten()
        .flatten()
    {
        consider(entry.path().join("bin/python3"));
    }
    (9..=13).for_each(|minor| consider(PathBuf::from(format!("/usr/bin/python3.{minor}"))));
    assert!(!found.is_empty(), "no Python from 3.9 on was found");
    found.sort();
    found.into_iter().map(|(_, program)| program).collect()
}

fn minor_version(program: &Path) -> Option<u32> {
    let code = "import sys; print(sys.version_info[0] == 3 and sys.version_info[1])";
    let output = Command::new(program).args(["-c", code]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// The library under test.
fn library() -> PathBuf {
    // Beside this test, where cargo builds it for the test; the copy one directory up may be older.
    let own = std::env::current_exe().expect("this program has a path");
    let path = own.with_file_name("lib_rwsgi.so");
    assert!(path.is_file(), "{} is not built", path.display());
    path
}

/// A directory of its own, removed at the end.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rwsgi-gateway-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory can be made");
        Self(path)
    }

    pub fn write(&self, name: &str, text: &str) -> Vec<u8> {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path.into_os_string().into_encoded_bytes()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running worker.
pub struct Worker {
    pub directory: Directory,
    pub pid: Pid,
    control: OwnedFd,
    output: OwnedFd,
    /// What has been read of its output.
    written: Mutex<Vec<u8>>,
    address: Vec<u8>,
    /// What it said to the manager.
    pub said: Vec<FromWorker>,
    ended: bool,
    pub version: String,
}

/// The beginning of a command line that executes the rest as the manager would: without capabilities, and without a way to any.
fn without_powers() -> Vec<Vec<u8>> {
    let mut words = vec!["setpriv", "--no-new-privs"];
    if rwsgi_os::ids::user_ids().effective == 0 {
        words.extend(["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"]);
    }
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// Settings that most tests use.
pub fn settings() -> Start {
    Start {
        group: b"site".to_vec(),
        application_group: b"app".to_vec(),
        identity: Identity {
            uid: rwsgi_os::ids::user_ids().effective,
            groups: None,
        },
        server_uid: rwsgi_os::ids::user_ids().effective,
        threads: 2,
        life: Life {
            shutdown_timeout: 5,
            graceful_timeout: 5,
            ..Life::default()
        },
        log_level: 6,
        ..Start::default()
    }
}

impl Worker {
    /// Starts one and waits until it is ready.
    pub fn start(python: &Path, start: Start) -> Self {
        let mut worker = Self::launch(python, Directory::new(), start);
        worker.wait_until("it is ready", |said| said.contains(&FromWorker::Ready));
        worker
    }

    /// Starts one in a directory that is prepared already.
    pub fn launch(python: &Path, directory: Directory, start: Start) -> Self {
        let address = directory.0.join("socket").into_os_string().into_encoded_bytes();
        let access = Access {
            mode: 0o600,
            uid: None,
            gid: None,
        };
        let listener = socket::listen(SocketKind::Stream, &address, access, 16).expect("a listener");
        let (control, theirs) = socket::pair(SocketKind::SeqPacket, Mode::Blocking).expect("a pair");
        let (output, output_in) = fd::pipe().expect("a pipe");
        let null = file::null().expect("/dev/null");
        let library = std::fs::File::open(library()).expect("the library opens");
        let mut arguments = without_powers();
        arguments.extend([
            python.as_os_str().as_encoded_bytes().to_vec(),
            b"-c".to_vec(),
            BOOT.into(),
        ]);
        let environment = [b"PATH=/usr/bin:/bin".to_vec(), b"LANG=C.UTF-8".to_vec()];
        let pid = Spawn {
            program: b"/usr/bin/setpriv",
            arguments: &arguments,
            environment: &environment,
            descriptors: &[
                null.as_fd(),
                output_in.as_fd(),
                output_in.as_fd(),
                listener.as_fd(),
                theirs.as_fd(),
                library.as_fd(),
            ],
            dies_with_parent: true,
        }
        .start()
        .expect("python starts");
        message::send(&control, &ToWorker::Start(Box::new(start)).encode()).expect("the settings are sent");
        let version = python.display().to_string();
        Self {
            directory,
            pid,
            control,
            output,
            written: Mutex::default(),
            address,
            said: vec![],
            ended: false,
            version,
        }
    }

    /// Waits until what it said fulfils a condition.
    pub fn wait_until(&mut self, what: &str, is_so: impl Fn(&[FromWorker]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.said) {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut packet = vec![0; CONTROL_MAX];
            let came = poll::readable(&self.control, Some(left)).expect("poll");
            let n = if came {
                message::receive(&self.control, &mut packet).unwrap_or(0)
            } else {
                0
            };
            if n == 0 {
                panic!(
                    "{}: waited in vain until {what}; it said {:?}; {}",
                    self.version,
                    self.said,
                    self.text()
                );
            }
            self.said
                .push(FromWorker::decode(&packet[..n]).expect("a message"));
        }
    }

    /// Takes what it has said by now.
    pub fn listen(&mut self) {
        let mut packet = vec![0; CONTROL_MAX];
        while let Ok(n) = message::try_receive(&self.control, &mut packet) {
            if n == 0 {
                return;
            }
            self.said
                .push(FromWorker::decode(&packet[..n]).expect("a message"));
        }
    }

    /// Lines it logged for its group.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.said.iter().filter_map(|said| match said {
            FromWorker::Log(_, text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        });
        lines.collect()
    }

    /// What it wrote to its standard streams since this was asked for the last time.
    pub fn text(&self) -> String {
        self.read_output();
        let written = std::mem::take(&mut *self.written.lock().unwrap());
        String::from_utf8_lossy(&written).into_owned()
    }

    fn read_output(&self) {
        fd::set_nonblocking(&self.output, true).expect("fcntl");
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = fd::read(&self.output, &mut buffer) {
            self.written.lock().unwrap().extend_from_slice(&buffer[..n]);
        }
    }

    pub fn has_left(&self, reason: LeaveReason) -> bool {
        self.said.contains(&FromWorker::Leaving(reason))
    }

    pub fn drain(&self) {
        self.drain_for(LeaveReason::ShutdownSignal);
    }

    pub fn drain_for(&self, reason: LeaveReason) {
        message::send(&self.control, &ToWorker::Drain(reason).encode()).expect("it listens");
    }

    pub fn keep(&self, script: &[u8], mtime: i64) {
        let script = script.to_vec();
        message::send(&self.control, &ToWorker::Keep { script, mtime }.encode()).expect("it listens");
    }

    pub fn signal(&self, signal: rwsgi_os::signal::Signal) {
        let pidfd = process::open(self.pid).expect("it lives");
        process::signal(&pidfd, signal).expect("it can be signalled");
    }

    /// Waits until it has ended, and takes what it says and writes meanwhile: one that goes on writing would wait for that.
    pub fn wait(&mut self) -> End {
        let deadline = Instant::now() + PATIENCE;
        let pidfd = process::open(self.pid).expect("it was not reaped");
        while !poll::readable(&pidfd, Some(GLANCE)).expect("poll") {
            self.listen();
            self.read_output();
            let (late, version) = (Instant::now() > deadline, &self.version);
            assert!(!late, "{version}: it does not end; {}", self.text());
        }
        self.listen();
        self.ended = true;
        process::wait(self.pid).expect("a child")
    }

    pub fn connect(&self) -> Client {
        let stream = socket::connect(SocketKind::Stream, &self.address, Mode::Blocking).expect("it listens");
        Client {
            stream,
            decoder: Decoder::new(),
            passed: None,
        }
    }

    /// One request on a new connection.
    pub fn get(&self, script: &[u8], path: &str) -> Answer {
        self.connect().get(script, path)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.ended {
            let pidfd = process::open(self.pid).expect("it was not reaped");
            let _ = process::signal(&pidfd, rwsgi_os::signal::Signal::KILL);
            let _ = process::wait(self.pid);
        }
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Complete,
    Aborted(AbortReason),
    Stale,
    Closed,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub taken: Option<u32>,
    pub status: u16,
    pub reason: String,
    pub headers: Vec<(String, String)>,
    pub blocks: Vec<Vec<u8>>,
    pub logs: Vec<String>,
    pub wants: Vec<u32>,
    pub ended: Ended,
}

impl Answer {
    pub fn body(&self) -> Vec<u8> {
        self.blocks.concat()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    /// The only block, after checking that the answer is whole.
    #[track_caller]
    pub fn whole(&self) -> String {
        assert_eq!((self.ended, self.status), (Ended::Complete, 200), "{self:?}");
        self.text()
    }

    #[track_caller]
    pub fn logged(&self, text: &str) {
        assert!(
            self.logs.iter().any(|line| line.contains(text)),
            "{text:?} is not in {:#?}",
            self.logs
        );
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What the client sends.
pub enum Body<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// So much, then it breaks off.
    Broken(&'a [u8]),
}

/// One connection of an httpd child.
pub struct Client {
    pub stream: OwnedFd,
    decoder: Decoder,
    passed: Option<OwnedFd>,
}

/// Variables that httpd always sends.
pub fn variables(path: &str) -> Vec<(&'static [u8], Vec<u8>)> {
    let mut list: Vec<(&'static [u8], Vec<u8>)> = vec![
        (b"REQUEST_METHOD", b"GET".to_vec()),
        (b"SERVER_PROTOCOL", b"HTTP/1.1".to_vec()),
        (b"REQUEST_SCHEME", b"http".to_vec()),
        (b"QUERY_STRING", b"".to_vec()),
        (b"REQUEST_URI", path.into()),
        (b"SCRIPT_NAME", b"".to_vec()),
        (b"PATH_INFO", path.into()),
        (b"SERVER_NAME", b"localhost".to_vec()),
        (b"SERVER_PORT", b"80".to_vec()),
        (b"REMOTE_ADDR", b"127.0.0.1".to_vec()),
        (b"SCRIPT_FILENAME", b"/srv/\xc3\xa9.wsgi".to_vec()),
    ];
    for (name, value) in [
        (b"HTTP_HOST".as_slice(), "localhost"),
        (b"HTTP_ACCEPT", "*/*"),
        (b"HTTP_USER_AGENT", "test"),
    ] {
        list.push((name, value.into()));
    }
    list
}

impl Client {
    pub fn get(&mut self, script: &[u8], path: &str) -> Answer {
        let variables = variables(path);
        let environ = variables
            .iter()
            .map(|(name, value)| (*name, value.as_slice()))
            .collect::<PairList>();
        self.exchange(
            &Head {
                script,
                callable: b"application",
                environ: environ.pairs(),
                httpd_version: [2, 4, 71],
                ..Head::default()
            },
            Body::Whole(b""),
        )
    }

    pub fn post(&mut self, script: &[u8], path: &str, body: Body<'_>) -> Answer {
        let variables = variables(path);
        let environ = variables
            .iter()
            .map(|(name, value)| (*name, value.as_slice()))
            .collect::<PairList>();
        let head = Head {
            script,
            callable: b"application",
            environ: environ.pairs(),
            has_body: true,
            ..Head::default()
        };
        self.exchange(&head, body)
    }

    pub fn send_head(&self, head: &Head<'_>) {
        let mut out = Vec::new();
        put_with(&mut out, Kind::Head, |out| head.encode(out));
        let _ = message::send_all(&self.stream, &out);
    }

    /// Sends a request and answers what is asked for until the exchange has ended.
    pub fn exchange(&mut self, head: &Head<'_>, body: Body<'_>) -> Answer {
        self.send_head(head);
        self.finish(body)
    }

    /// Plays along until the exchange has ended.
    pub fn finish(&mut self, body: Body<'_>) -> Answer {
        let (mut rest, breaks) = match body {
            Body::Whole(bytes) => (bytes, false),
            Body::Broken(bytes) => (bytes, true),
        };
        let mut answer = Answer {
            taken: None,
            status: 0,
            reason: String::new(),
            headers: vec![],
            blocks: vec![],
            logs: vec![],
            wants: vec![],
            ended: Ended::Closed,
        };
        while let Some((kind, payload)) = self.frame() {
            let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
            match kind {
                Kind::Taken => answer.taken = Some(Taken::decode(&payload).unwrap().pid),
                Kind::Log => {
                    answer
                        .logs
                        .push(String::from_utf8_lossy(Log::decode(&payload).unwrap().text).into_owned());
                }
                Kind::Response => {
                    let response = Response::decode(&payload).unwrap();
                    answer.status = response.status;
                    answer.reason = text(response.reason);
                    answer.headers = response.headers.iter().map(|(n, v)| (text(n), text(v))).collect();
                }
                Kind::Data => answer.blocks.push(payload),
                Kind::File => {
                    let part = File::decode(&payload).unwrap();
                    let file = self.passed.take().expect("its descriptor comes before it");
                    answer.blocks.push(read_part(&file, part));
                    if part.wait {
                        let mut out = Vec::new();
                        put(&mut out, Kind::Sent, b"");
                        message::send_all(&self.stream, &out).unwrap();
                    }
                }
                Kind::Want => {
                    let wanted = Want::decode(&payload).unwrap().bytes;
                    answer.wants.push(wanted);
                    let mut out = Vec::new();
                    let n = rest.len().min(wanted as usize).min(CHUNK_MAX);
                    let (piece, later) = rest.split_at(n);
                    if n > 0 {
                        put(&mut out, Kind::Body, piece);
                    } else if breaks {
                        let abort = BodyAbort {
                            fault: BodyFault::ClientGone,
                            text: b"the client went away",
                        };
                        put_with(&mut out, Kind::BodyAbort, |out| abort.encode(out));
                    }
                    rest = later;
                    if rest.is_empty() && !breaks {
                        put(&mut out, Kind::BodyEnd, b"");
                    }
                    message::send_all(&self.stream, &out).unwrap();
                }
                Kind::End => {
                    answer.ended = Ended::Complete;
                    break;
                }
                Kind::Abort => {
                    answer.ended = Ended::Aborted(Abort::decode(&payload).unwrap().reason);
                    break;
                }
                Kind::Stale => {
                    answer.ended = Ended::Stale;
                    break;
                }
                other => panic!("{other:?} came from a worker"),
            }
        }
        answer
    }

    /// The next frame; `None` at the end of the connection.
    pub fn frame(&mut self) -> Option<(Kind, Vec<u8>)> {
        loop {
            if let Some(frame) = self.decoder.next().expect("well-formed frames") {
                return Some((frame.kind, frame.payload.to_vec()));
            }
            assert!(
                poll::readable(&self.stream, Some(PATIENCE)).expect("poll"),
                "no frame came in time"
            );
            match message::try_receive_with(&self.stream, self.decoder.space()) {
                Ok(part) if part.len > 0 => {
                    self.decoder.filled(part.len);
                    self.passed = part.passed.or(self.passed.take());
                }
                _ => return None,
            }
        }
    }

    /// Whether the worker has closed the connection.
    pub fn is_closed(&self) -> bool {
        matches!(message::try_peek(&self.stream, &mut [0]), Ok(0))
    }
}

/// What a part of a file holds.
pub fn read_part(file: impl AsFd, part: File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(part.length).unwrap()];
    let mut got = 0;
    while got < bytes.len() {
        let at = i64::try_from(part.from).unwrap() + i64::try_from(got).unwrap();
        match fd::read_at(file.as_fd(), &mut bytes[got..], at).unwrap() {
            0 => panic!("the file is shorter than was said"),
            n => got += n,
        }
    }
    bytes
}

/// Runs a test on every Python.
pub fn on_every_python(test: impl Fn(&Path)) {
    for python in pythons() {
        println!("{}", python.display());
        test(&python);
    }
}
