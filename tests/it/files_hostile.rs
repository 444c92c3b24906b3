//! A worker that passes what it should not: httpd's child believes nothing, keeps nothing, and goes on.

use crate::codes;
use rwsgi_testkit::{Case, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![what_a_hostile_worker_passes_is_refused]);
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
    let tricks: Vec<&str> = SCRIPT
        .lines()
        .filter(|line| line.contains(": lambda: ("))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
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
    assert_eq!(httpd.children().first().map(|child| child.pid), Some(child.pid));
    until("the descriptors to be closed", Duration::from_secs(10), || {
        child.descriptors() <= before + 2
    });
    httpd.provoked(&[&["RW0306"], codes::APPLICATION]);
    httpd.announce_traceback();
}
