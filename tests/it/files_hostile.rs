//! A worker that passes what it should not: httpd's child believes nothing, keeps nothing, and goes on.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Process, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        what_a_hostile_worker_passes_is_refused,
        memory_that_a_hostile_worker_lends_harms_nobody,
    ]);
}

/// The part of a hostile application with which it finds the connection between its worker, which has one thread, and httpd.
pub const CONNECTION: &str = r#"
import os, select, socket, struct

def is_open(connection):
    ended = select.poll()
    ended.register(connection, select.POLLRDHUP)
    return not ended.poll(0)

def connection():
    """The connection with httpd that this request came over, or one that was given back just now."""
    for name in os.listdir("/proc/self/fd"):
        try:
            found = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        if found.family == socket.AF_UNIX and found.type == socket.SOCK_STREAM:
            try:
                found.getpeername()
                if is_open(found):
                    return found
            except OSError:
                pass
        found.close()

def frame(kind, payload=b""):
    return struct.pack("<IB3x", len(payload), kind) + payload
"#;

/// An application that writes to the connection with httpd by itself.
const SCRIPT: &str = r#"
import tempfile

RESPONSE, DATA, END, LOG, FILE = 19, 20, 21, 23, 24
HEAD = struct.pack("<HI2sI", 200, 2, b"OK", 0)

def part(start=0, length=5, wait=0):
    return frame(FILE, struct.pack("<QQB", start, length, wait))

def plain(content=b"0123456789"):
    file = tempfile.TemporaryFile()
    file.write(content)
    file.flush()
    return file.fileno(), file

def opened(path, flags):
    return os.open(path, flags), None

TRICKS = {
    "unasked": lambda: (frame(DATA, b"x") + frame(END), [plain()]),
    "two": lambda: (part() + frame(END), [plain(), plain()]),
    "many": lambda: (part() + frame(END), [plain()] * 200),
    "none": lambda: (part() + frame(END), []),
    "pipe": lambda: (part(), [(os.pipe()[0], None)]),
    "socket": lambda: (part(), [(connection().detach(), None)]),
    "directory": lambda: (part(), [opened("/", os.O_RDONLY)]),
    "path_only": lambda: (part(), [opened(__file__, os.O_PATH)]),
    "terminal": lambda: (part(), [opened("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)]),
    "zero": lambda: (part(), [opened("/dev/zero", os.O_RDONLY)]),
    "write_only": lambda: (part(), [opened(tempfile.mkstemp()[1], os.O_WRONLY)]),
    "end": lambda: (part(1 << 63, 1 << 63), [plain()]),
    "kind": lambda: (frame(99), [plain()]),
    "after": lambda: (part() + frame(DATA, b"more") + frame(END), [plain()]),
}

def application(environ, start_response):
    trick = TRICKS.get(environ["PATH_INFO"][1:])
    if trick is None:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"fine"]
    what, passed = trick()
    with connection() as httpd:
        httpd.sendall(frame(RESPONSE, HEAD))
        socket.send_fds(httpd, [what], [number for number, _ in passed])
        select.select([httpd], [], [], 2)
    return []
"#;

/// The names of what a script can do.
fn tricks(script: &str) -> Vec<&str> {
    let lines = script.lines().filter(|line| line.contains(": lambda: ("));
    lines.filter_map(|line| line.split('"').nth(1)).collect()
}

/// It is the same child as before, and has no more descriptors.
fn is_unharmed(httpd: &Httpd, child: &Process, before: usize) {
    assert_eq!(httpd.children().first().map(|child| child.pid), Some(child.pid));
    until("the descriptors to be closed", Duration::from_secs(10), || {
        child.descriptors() <= before + 2
    });
    httpd.provoked(&[&["RW0306"], codes::APPLICATION]);
    httpd.announce_traceback();
}

/// R33, R40
fn what_a_hostile_worker_passes_is_refused(case: &Case) {
    case.needs_ours("it has another protocol");
    // Each child of prefork has a connection of its own to the worker, and the script could not tell them apart.
    case.needs_threads();
    let httpd = case
        .httpd()
        .children(1)
        .daemon("processes=1 threads=1")
        .source("/", "app.wsgi", &format!("{CONNECTION}{SCRIPT}"))
        .start();
    assert_eq!(httpd.get("/").text(), "fine");
    let child = httpd.children().first().expect("a child").clone();
    let before = child.descriptors();
    let tricks = tricks(SCRIPT);
    assert_eq!(tricks.len(), 14);
    for _ in 0..3 {
        for trick in &tricks {
            let refused = httpd.log_with("RW0306").len();
            until(
                &format!("the log line of {trick}"),
                Duration::from_secs(30),
                || {
                    let curl = httpd.curl(&format!("/{trick}")).run();
                    // What is wrong after the file came after the whole answer.
                    assert!(
                        curl.exit != 0 || curl.status >= 500 || *trick == "after",
                        "{trick}: {curl:?}"
                    );
                    httpd.log_with("RW0306").len() > refused
                },
            );
            assert_eq!(httpd.get("/").text(), "fine", "{trick}");
        }
    }
    is_unharmed(&httpd, &child, before);
}

/// An application that lends memory for its answers by itself.
const LENDER: &str = r#"
import ctypes, fcntl, threading, time

RESPONSE, DATA, END, FILE, SHARED = 19, 20, 21, 24, 27
HEAD = struct.pack("<HI2sI", 200, 2, b"OK", 0)
LENGTH = 1 << 20
PUNCH, KEEP_SIZE, ADD_SEALS, SEAL, SHRINK, GROW = 2, 1, 1033, 1, 2, 4
libc = ctypes.CDLL(None, use_errno=True)

def memory(length=LENGTH, seals=SEAL | SHRINK | GROW):
    number = os.memfd_create("hostile", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(number, length)
    if seals:
        fcntl.fcntl(number, ADD_SEALS, seals)
    return number

def lies(start=0, length=100000):
    return frame(SHARED, struct.pack("<II", start, length))

def restless():
    """Memory whose pages come and go, and change, while they are read."""
    number, over = memory(), time.monotonic() + 1
    def punch():
        while time.monotonic() < over:
            libc.fallocate(number, PUNCH | KEEP_SIZE, ctypes.c_long(0), ctypes.c_long(LENGTH))
    def scribble():
        while time.monotonic() < over:
            os.pwrite(number, b"y" * LENGTH, 0)
    for work in (punch, punch, scribble):
        threading.Thread(target=work).start()
    return number

REFUSED = {
    "not_lent": lambda: (lies() + frame(END), []),
    "short": lambda: (lies() + frame(END), [memory(LENGTH - 4096)]),
    "unsealed": lambda: (lies() + frame(END), [memory(seals=0)]),
    "growing": lambda: (lies() + frame(END), [memory(seals=SEAL | SHRINK)]),
    "zero": lambda: (lies() + frame(END), [os.open("/dev/zero", os.O_RDONLY)]),
    "file": lambda: (lies() + frame(END), [os.open(__file__, os.O_RDONLY)]),
    "beyond": lambda: (lies(LENGTH - 4096, 8192) + frame(END), [memory()]),
    "far": lambda: (lies(0xffffffff, 0xffffffff) + frame(END), [memory()]),
    "empty": lambda: (lies(0, 0) + frame(END), [memory()]),
    "again": lambda: (lies(0, LENGTH) * 100 + frame(END), [memory()]),
    "two": lambda: (lies() + frame(END), [memory(), memory()]),
    "unasked": lambda: (frame(DATA, b"x") + frame(END), [memory()]),
    "as_file": lambda: (lies() + frame(FILE, struct.pack("<QQB", 0, 5, 0)) + frame(END), [memory()]),
}
SENT = {
    "restless": lambda: (lies(0, LENGTH) + frame(END), [restless()]),
}

def application(environ, start_response):
    name = environ["PATH_INFO"][1:]
    trick = REFUSED.get(name) or SENT.get(name)
    if trick is None:
        start_response("200 OK", [("Content-Type", "text/plain")])
        # From then on httpd's child shows what comes back.
        return [b"x" * 100000 if name == "large" else b"fine"]
    what, passed = trick()
    with connection() as httpd:
        httpd.sendall(frame(RESPONSE, HEAD))
        socket.send_fds(httpd, [what], passed)
        select.select([httpd], [], [], 2)
    return []
"#;

/// Memory of a length that may change, or that was not lent, or that changes while httpd sends it.
fn memory_that_a_hostile_worker_lends_harms_nobody(case: &Case) {
    case.needs_ours("it has another protocol");
    // Each child of prefork has a connection of its own to the worker, and the script could not tell them apart.
    case.needs_threads();
    let httpd = case
        .httpd()
        .children(1)
        .daemon("processes=1 threads=1")
        .source("/", "app.wsgi", &format!("{CONNECTION}{LENDER}"))
        .start();
    let prepare = || assert_eq!(httpd.get("/large").body.len(), 100_000);
    // Its connection is given up, so that each begins with a new one.
    let refused = |trick: &str| {
        let before = httpd.log_with("RW0306").len();
        let curl = httpd.curl(&format!("/{trick}")).run();
        assert!(curl.exit != 0 || curl.status >= 500, "{trick}: {curl:?}");
        let what = format!("the log line of {trick}");
        until(&what, Duration::from_secs(30), || {
            httpd.log_with("RW0306").len() > before
        });
    };
    assert_eq!(httpd.get("/").text(), "fine");
    let child = httpd.children().first().expect("a child").clone();
    let before = child.descriptors();
    let tricks = tricks(LENDER);
    assert_eq!(tricks.len(), 14);
    for trick in tricks.into_iter().filter(|trick| *trick != "restless") {
        prepare();
        refused(trick);
    }
    for _ in 0..3 {
        prepare();
        let curl = httpd.curl("/restless").run();
        let seen = (curl.exit, curl.status, curl.body.len());
        assert_eq!(seen, (0, 200, 1 << 20), "{curl:?}");
        // What its worker says besides goes to whoever comes next, until its connection is given up.
        until("a new connection", Duration::from_secs(30), || {
            httpd.get("/").status == 200
        });
    }
    prepare();
    is_unharmed(&httpd, &child, before);
}
