//! A worker that dies, falls silent or talks for ever, at every place of an answer: httpd's child stays, and the next request is answered.

use super::hosted;
use crate::codes;
use crate::files_hostile::CONNECTION;
use rwsgi_testkit::{Case, Httpd, Topic, test, until};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r40_a_worker_may_die_at_any_byte_of_an_answer,
        r40_a_worker_may_stand_still_or_never_end,
        r40_more_than_a_hundred_ways_to_answer_wrongly,
    ]);
}

/// Numbers of frames, and the head of an answer.
const FRAMES: &str = r#"
TAKEN, WANT, RESPONSE, DATA, END, ABORT, LOG = 16, 18, 19, 20, 21, 22, 23
HEAD = frame(RESPONSE, struct.pack("<HI2sI", 200, 2, b"OK", 1) + struct.pack("<I4sI3s", 4, b"X-Me", 3, b"yes"))
"#;

/// Writes an answer by itself: the first bytes of it and then its end, or something endless.
const SCRIPT: &str = r#"
import os, signal, sys, time
from urllib.parse import parse_qs

ANSWER = HEAD + frame(DATA, b"hello") + frame(END)
ENDLESS = {
    "data": HEAD + frame(DATA, b"x" * 60000),
    "want": frame(WANT, struct.pack("<I", 10)),
    "heads": HEAD,
    "logs": frame(LOG, struct.pack("<BIII", 3, 0, 0, 20000) + b"evil line\n" * 2000),
}

def application(environ, start_response):
    asked = parse_qs(environ["QUERY_STRING"])
    how = environ["PATH_INFO"]
    if how == "/length":
        start_response("200 OK", [])
        return [str(len(ANSWER)).encode()]
    if how == "/plain":
        start_response("200 OK", [])
        return [b"fine"]
    with connection() as httpd:
        if how == "/die":
            httpd.sendall(ANSWER[:int(asked["bytes"][0])])
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(10)
        if how == "/still":
            httpd.sendall(ANSWER[:int(asked["bytes"][0])])
            time.sleep(4)
        if how == "/endless":
            first = ENDLESS[asked["what"][0]]
            httpd.settimeout(10)
            try:
                httpd.sendall(first)
                while True:
                    httpd.sendall(first[len(HEAD):] if first.startswith(HEAD) and len(first) > len(HEAD) else first)
            except OSError:
                pass
    return []
"#;

fn evil(case: &Case, options: &str) -> Httpd {
    case.needs_ours("it has another protocol");
    // Each child of prefork has a connection of its own to the worker, and the script could not tell them apart.
    case.needs_threads();
    hosted(case, &format!("processes=1 threads=1 {options}"))
        .children(1)
        .source("/", "app.wsgi", &format!("{CONNECTION}{FRAMES}{SCRIPT}"))
        .start()
}

fn answers(httpd: &Httpd, what: &str) {
    until(
        &format!("an answer after {what}"),
        Duration::from_secs(20),
        || {
            let reply = httpd.get("/plain");
            assert!(
                reply.text() == "fine" || reply.status >= 500,
                "{what}: {} {}",
                reply.status,
                reply.text()
            );
            reply.status == 200
        },
    );
}

/// R40, R53, F14
fn r40_a_worker_may_die_at_any_byte_of_an_answer(case: &Case) {
    let httpd = evil(case, "");
    let length: usize = httpd.get("/length").text().parse().expect("a length");
    let child = httpd.children().first().expect("a child").clone();
    let before = child.descriptors();
    for bytes in (0..length).step_by(case.rounds(9, 1)) {
        let curl = httpd.curl(&format!("/die?bytes={bytes}")).run();
        assert!(curl.exit != 0 || curl.status >= 500, "{bytes}: {curl:?}");
        answers(&httpd, &format!("{bytes} bytes"));
    }
    assert_eq!(httpd.children().first().map(|now| now.pid), Some(child.pid));
    until("the descriptors to be closed", Duration::from_secs(10), || {
        child.descriptors() <= before + 2
    });
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF, codes::BAD_ANSWER, codes::LATE]);
}

/// R40, R64, R68, R74, F14
fn r40_a_worker_may_stand_still_or_never_end(case: &Case) {
    let httpd = evil(case, "socket-timeout=1");
    assert_eq!(httpd.get("/plain").text(), "fine");
    let child = httpd.children().first().expect("a child").clone();
    let (before, memory) = (child.descriptors(), child.peak_kib());
    for bytes in [0, 5, 20, 45] {
        let curl = httpd.curl(&format!("/still?bytes={bytes}")).run();
        assert!(curl.exit != 0 || curl.status >= 500, "{bytes}: {curl:?}");
        answers(&httpd, &format!("silence after {bytes} bytes"));
    }
    let since = Instant::now();
    for what in ["data", "want", "heads", "logs"] {
        let url = format!("http://127.0.0.1:{}/endless?what={what}", httpd.port());
        let output = std::process::Command::new("curl")
            .args([
                "-sS",
                "--max-time",
                "2",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                &url,
            ])
            .output()
            .expect("curl");
        let status = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            !output.status.success() || status.starts_with('5'),
            "{what}: {status}"
        );
        answers(&httpd, what);
    }
    let (lines, passed) = (
        httpd.log_with("evil line").len(),
        since.elapsed().as_secs() as usize,
    );
    assert!(
        (5_000..=5_000 + 1_000 * (passed + 1)).contains(&lines),
        "{lines} lines in {passed} s"
    );
    httpd.wait_log("RW0320");
    assert_eq!(httpd.children().first().map(|now| now.pid), Some(child.pid));
    assert!(
        child.peak_kib() < memory + 32 * 1024,
        "{memory} KiB, then {} KiB",
        child.peak_kib()
    );
    until("the descriptors to be closed", Duration::from_secs(10), || {
        child.descriptors() <= before + 2
    });
    httpd.announce_traceback();
    httpd.provoked(&[codes::DEATH, codes::BAD_ANSWER, codes::LATE, codes::APPLICATION]);
}

/// What else a worker may write in place of an answer, each with a name.
const WAYS: &str = r#"
import json

KINDS = [TAKEN, 17, WANT, RESPONSE, DATA, END, ABORT, LOG, 24, 25]
FOREIGN = [0, 1, 2, 3, 4, 5, 6, 7, 15, 26, 27, 64, 128, 255]

def raw(length, kind, padding=b"\0\0\0", payload=b""):
    return struct.pack("<IB", length, kind) + padding + payload

def response(status=200, reason=b"OK", headers=(), count=None):
    text = lambda value: struct.pack("<I", len(value)) + value
    fields = b"".join(text(name) + text(value) for name, value in headers)
    return frame(RESPONSE, struct.pack("<H", status) + text(reason)
                 + struct.pack("<I", len(headers) if count is None else count) + fields)

def ways():
    """Names of what no client must take for an answer, and the bytes."""
    for when, before in ("first", b""), ("later", HEAD + frame(DATA, b"part")):
        for kind in FOREIGN:
            yield f"kind {kind} {when}", before + raw(0, kind)
        for kind in KINDS:
            yield f"endless {kind} {when}", before + raw(0xffffffff, kind)
            yield f"padded {kind} {when}", before + raw(0, kind, b"\0\0\1")
            if kind not in (17, END):
                yield f"cut {kind} {when}", before + raw(60, kind, payload=b"abc")
        for kind in (17, END):
            yield f"more than nothing {kind} {when}", before + raw(1, kind, payload=b"x")
        for kind in (TAKEN, WANT, RESPONSE, ABORT, LOG, 24, 25):
            yield f"empty {kind} {when}", before + raw(0, kind)
    body = frame(DATA, b"hello") + frame(END)
    for status in (0, 1, 99, 100, 101, 103, 199, 1000, 65535):
        yield f"status {status}", response(status) + body
    for reason in (b"a\r\nX-Evil: 1", b"a\nb", b"\0", b"\x7f", b"\x1b[2J"):
        yield f"reason {reason}", response(reason=reason) + body
    for name in (b"", b"a b", b"a:b", b"a\r\nX-Evil", b"\xff", b"(a)", b"a\0", b" a", b"a\t"):
        yield f"name {name}", response(headers=[(name, b"v")]) + body
    for value in (b"a\r\nX-Evil: 1", b"a\nb", b"a\rb", b"\0", b"\x7f", b"\x01"):
        yield f"value {value}", response(headers=[(b"X-A", value)]) + body
    for length in (b"-1", b"+5", b"0x5", b"5,5", b"5 5", b"", b"9" * 30, b"5\x0c5", b"five"):
        yield f"length {length}", response(headers=[(b"Content-Length", length)]) + body
    yield "two lengths", response(headers=[(b"Content-Length", b"5"), (b"content-length", b"6")]) + body
    yield "too short", response(headers=[(b"Content-Length", b"6")]) + body
    yield "fewer headers than said", response(headers=[(b"X-A", b"b")], count=2) + body
    yield "more headers than said", response(headers=[(b"X-A", b"b")], count=0) + body
    yield "headers without end", response(headers=[(b"X-A", b"b")], count=0xffffffff) + body
    yield "too many headers", response(headers=[(b"X-A", b"b")] * 1025) + body
    yield "body first", body
    yield "end first", frame(END)
    yield "head twice", HEAD + response() + body
    yield "head after the body", HEAD + frame(DATA, b"a") + response() + frame(END)
    yield "too much at once", HEAD + raw(65537, DATA, payload=b"x" * 65537) + frame(END)
    yield "no credit", frame(WANT, struct.pack("<I", 0))
    yield "endless credit", frame(WANT, struct.pack("<I", 0xffffffff))
    yield "file without a file", HEAD + frame(24, struct.pack("<QQB", 0, 5, 0)) + frame(END)
    yield "file beyond numbers", HEAD + frame(24, struct.pack("<QQB", 1 << 63, 1 << 63, 0)) + frame(END)
    yield "abort for no reason", frame(ABORT, struct.pack("<BI", 0, 0) + struct.pack("<I", 0))
    yield "log of no level", frame(LOG, b"\xff" + struct.pack("<I", 0))
    yield "verdict", frame(25, b"\1\0\0")

WAYS = list(ways())

def wrongly(number):
    with connection() as httpd:
        try:
            httpd.sendall(WAYS[number][1])
            httpd.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

def application(environ, start_response):
    how = environ["PATH_INFO"][1:]
    if how.isdigit():
        wrongly(int(how))
        return []
    start_response("200 OK", [])
    return [json.dumps([name for name, _ in WAYS]).encode() if how == "ways" else b"fine"]
"#;

/// R40, R50, R52, R54, F14
fn r40_more_than_a_hundred_ways_to_answer_wrongly(case: &Case) {
    case.needs_ours("it has another protocol");
    case.needs_threads();
    let httpd = hosted(case, "processes=1 threads=1 socket-timeout=2")
        .children(1)
        .source("/", "app.wsgi", &format!("{CONNECTION}{FRAMES}{WAYS}"))
        .start();
    let ways = httpd.get("/ways").json();
    let ways = ways.as_array().expect("names");
    assert!(ways.len() > 100, "{}", ways.len());
    let child = httpd.children().first().expect("a child").clone();
    let before = child.descriptors();
    // A part of them, from another place each time: all of them by a few runs.
    let every = case.rounds(8, 1);
    let from = std::process::id() as usize % every;
    for (number, name) in ways.iter().enumerate().skip(from).step_by(every) {
        let curl = httpd.curl(&format!("/{number}")).run();
        assert!(curl.exit != 0 || curl.status >= 500, "{name}: {curl:?}");
        answers(&httpd, &name.to_string());
    }
    assert_eq!(httpd.children().first().map(|now| now.pid), Some(child.pid));
    until("the descriptors to be closed", Duration::from_secs(10), || {
        child.descriptors() <= before + 2
    });
    httpd.announce_traceback();
    httpd.provoked(&[
        codes::DEATH,
        codes::BACK_OFF,
        codes::BAD_ANSWER,
        codes::LATE,
        codes::APPLICATION,
        codes::LENGTH,
    ]);
}
