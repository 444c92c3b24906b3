//! A site that wants everything, with limits, and another that must not notice.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Topic, test};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r64_a_fork_bomb_is_not_noticed_by_a_neighbour,
        r64_a_memory_hog_is_not_noticed_by_a_neighbour,
        r64_a_processor_hog_is_not_noticed_by_a_neighbour,
        r64_a_descriptor_hog_is_not_noticed_by_a_neighbour,
    ]);
}

const LIMITS: &str = "application-memory-limit=134217728 application-processes-limit=40 application-cpu-limit=40 shutdown-timeout=1";

const NOISE: &str = r#"
import os, socket, threading
def bomb():
    while True:
        try:
            os.fork()
        except OSError:
            pass
def hog():
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1 << 16) * 64))
def compute():
    while True:
        pass
def descriptors():
    kept = []
    while True:
        try:
            kept.append(socket.socketpair())
        except OSError:
            pass
def application(environ, start_response):
    globals()[environ["PATH_INFO"].strip("/")]()
"#;

const WELL: &str =
    "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'well']\n";

/// Nobody waits longer than this by itself on a machine that others use, too.
const NOTHING: Duration = Duration::from_millis(50);

/// The time that 99 of 100 requests to the neighbour take at most.
fn p99(httpd: &Httpd, length: Duration) -> Duration {
    let (begin, mut times) = (Instant::now(), Vec::new());
    while begin.elapsed() < length || times.len() < 100 {
        let since = Instant::now();
        let reply = httpd.get("/well");
        assert_eq!((reply.status, &reply.text()[..]), (200, "well"));
        times.push(since.elapsed());
    }
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

fn is_not_noticed(case: &Case, noise: &str) {
    case.needs_root();
    case.needs_ours("it has no limits on an application");
    let httpd = case
        .httpd()
        .bare()
        .file("scripts/noise.wsgi", NOISE)
        .file("scripts/well.wsgi", WELL)
        .conf(&format!(
            "WSGIDaemonProcess noisy user=games group=games threads=3 {LIMITS}"
        ))
        .conf("WSGIDaemonProcess well user=daemon group=daemon threads=2")
        .conf("WSGIScriptAlias /noise @SCRIPTS@/noise.wsgi process-group=noisy application-group=a")
        .conf("WSGIScriptAlias /well @SCRIPTS@/well.wsgi process-group=well application-group=a")
        .start();
    httpd.provoked(&[
        codes::LIMIT,
        codes::DEATH,
        codes::BACK_OFF,
        codes::LATE,
        codes::FORCE,
        codes::APPLICATION,
    ]);
    httpd.announce_traceback();
    if !httpd.log_with("RW0501").is_empty() {
        httpd.announce("RW0501");
        case.skip("no control groups with all controllers can be made here");
    }
    let length = Duration::from_millis(case.rounds(700, 5_000) as u64);
    let mut seen = Vec::new();
    // The machine may be busy with something else at one time, but the noise is there each time.
    for _ in 0..3 {
        let quiet = p99(&httpd, length);
        let noisy: Vec<_> = (0..3)
            .map(|_| httpd.raw_get(&format!("/noise/{noise}")))
            .collect();
        let loud = p99(&httpd, case.rounds(1, 3) as u32 * length);
        drop(noisy);
        if loud < (2 * quiet).max(NOTHING) {
            return;
        }
        seen.push((quiet, loud));
    }
    panic!("99 of 100 requests, in quiet and beside {noise}: {seen:?}");
}

/// F18, N3
fn r64_a_fork_bomb_is_not_noticed_by_a_neighbour(case: &Case) {
    is_not_noticed(case, "bomb");
}

/// F4, N3
fn r64_a_memory_hog_is_not_noticed_by_a_neighbour(case: &Case) {
    is_not_noticed(case, "hog");
}

fn r64_a_processor_hog_is_not_noticed_by_a_neighbour(case: &Case) {
    is_not_noticed(case, "compute");
}

/// F16
fn r64_a_descriptor_hog_is_not_noticed_by_a_neighbour(case: &Case) {
    is_not_noticed(case, "descriptors");
}
