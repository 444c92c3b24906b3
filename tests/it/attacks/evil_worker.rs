//! A worker that dies, falls silent or talks for ever, at every place of an answer: httpd's child stays, and the next request is answered.

use super::hosted;
use crate::codes;
use crate::files_hostile::CONNECTION;
use rwsgi_testkit::{Case, Httpd, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r40_a_worker_may_die_at_any_byte_of_an_answer,
        r40_a_worker_may_stand_still_or_never_end,
    ]);
}

/// Writes an answer by itself: the first bytes of it and then its end, or something endless.
const SCRIPT: &str = r#"
import os, signal, sys, time
from urllib.parse import parse_qs

TAKEN, WANT, RESPONSE, DATA, END, ABORT, LOG = 16, 18, 19, 20, 21, 22, 23
HEAD = frame(RESPONSE, struct.pack("<HI2sI", 200, 2, b"OK", 1) + struct.pack("<I4sI3s", 4, b"X-Me", 3, b"yes"))
ANSWER = HEAD + frame(DATA, b"hello") + frame(END)
ENDLESS = {
    "data": HEAD + frame(DATA, b"x" * 60000),
    "want": frame(WANT, struct.pack("<I", 10)),
    "heads": HEAD,
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
        .source("/", "app.wsgi", &format!("{CONNECTION}{SCRIPT}"))
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

/// R40, R68, F14
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
    for what in ["data", "want", "heads"] {
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
