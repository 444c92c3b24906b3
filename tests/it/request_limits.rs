//! How many requests an application or a user may have under way in all of httpd's children together.

use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Raw, Signal, Topic, test, until};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r59_an_application_that_hangs_is_cut_off_and_others_are_not,
        r59_a_user_has_one_number_for_all_its_applications,
        r59_a_share_of_all_that_httpd_serves,
        r59_never_more_than_the_limit_are_in_the_application,
        r59_what_began_before_a_restart_counts,
        f33_killed_children_leave_nothing_behind,
        f54_cancelled_streams_leave_nothing_behind,
        limits_on_requests_refuse_other_values,
    ]);
}

const LONG: Duration = Duration::from_secs(20);

/// Waits for `data/go` at `/wait`; says at `/most` how many requests it had at once.
const APPLICATION: &str = "import os, threading, time\n\
    DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')\n\
    lock = threading.Lock()\n\
    now = most = 0\n\
    def application(environ, start_response):\n    \
    global now, most\n    \
    start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
    if environ['PATH_INFO'] == '/most':\n        return [b'%d' % most]\n    \
    if environ['PATH_INFO'] == '/wait':\n        \
    with open(os.path.join(DATA, 'waiting'), 'a') as note:\n            note.write('x')\n        \
    while not os.path.exists(os.path.join(DATA, 'go')):\n            time.sleep(0.005)\n    \
    with lock:\n        now += 1\n        most = max(now, most)\n    \
    time.sleep(0.005)\n    \
    with lock:\n        now -= 1\n    \
    return [b'fine']\n";

fn site(case: &Case, options: &str) -> Builder {
    case.needs_ours("the original has no limits on requests");
    case.needs_threads();
    case.httpd()
        .daemon(&format!("processes=1 threads=12 {options}"))
        // The longer one first.
        .source("/other", "other.wsgi", APPLICATION)
        .children(2)
}

/// With the application at `/`, behind all others.
fn start(site: Builder) -> Httpd {
    site.source("/", "app.wsgi", APPLICATION).start()
}

fn waiting(httpd: &Httpd) -> usize {
    std::fs::read(httpd.data().join("waiting")).map_or(0, |text| text.len())
}

fn occupy(httpd: &Httpd, path: &str, count: usize) -> Vec<Raw> {
    let before = waiting(httpd);
    let all = (0..count).map(|_| httpd.raw_get(path)).collect();
    until("the requests to be in the application", LONG, || {
        waiting(httpd) == before + count
    });
    all
}

fn release(httpd: &Httpd, held: Vec<Raw>) {
    std::fs::write(httpd.data().join("go"), "").expect("go");
    for mut raw in held {
        assert_eq!(raw.reply().head.status, 200);
    }
    std::fs::remove_file(httpd.data().join("go")).expect("stop");
}

/// Until the request is answered 200: those that ended a moment ago may still count.
fn served(httpd: &Httpd, path: &str) {
    until("a request to be let in", LONG, || httpd.get(path).status == 200);
}

/// R59, F44
fn r59_an_application_that_hangs_is_cut_off_and_others_are_not(case: &Case) {
    let httpd = start(site(case, "request-limit=3"));
    assert_eq!(httpd.get("/").status, 200);
    let held = occupy(&httpd, "/wait", 3);
    let mut times: Vec<Duration> = (0..40)
        .map(|_| {
            let start = Instant::now();
            let reply = httpd.get("/");
            assert_eq!(reply.status, 503);
            let after: u32 = reply
                .header("retry-after")
                .expect("Retry-After")
                .parse()
                .expect("seconds");
            assert!((1..=5).contains(&after), "{after}");
            start.elapsed()
        })
        .collect();
    times.sort();
    // One that waited would do so until the others are released.
    assert!(times[20] < Duration::from_secs(2), "{times:?}");
    assert_eq!(
        httpd.get("/other").status,
        200,
        "another application group of the same process group"
    );
    let told = httpd.log_with("RW0075");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].text.contains("as many as request-limit allows"),
        "{told:?}"
    );
    release(&httpd, held);
    until("the end of it to be told", LONG, || {
        assert_eq!(httpd.get("/").status, 200);
        !httpd
            .log_with("is below its limit on requests again; 40 were answered 503")
            .is_empty()
    });
    assert_eq!(httpd.log_with("is below its limit").len(), 1);
    httpd.provoked(&[codes::REQUEST_LIMIT]);
}

/// R59
fn r59_a_user_has_one_number_for_all_its_applications(case: &Case) {
    let httpd = start(
        site(case, "request-limit=2 user-request-limit=3")
            .conf("WSGIDaemonProcess free threads=2")
            .conf("WSGIScriptAlias /free @SCRIPTS@/other.wsgi process-group=free"),
    );
    let mut held = occupy(&httpd, "/wait", 2);
    assert_eq!(httpd.get("/").status, 503);
    held.extend(occupy(&httpd, "/other/wait", 1));
    assert_eq!(httpd.get("/other").status, 503, "the user has three");
    assert_eq!(
        httpd.get("/free").status,
        200,
        "a group of the same user without a limit"
    );
    let told: Vec<String> = httpd
        .log_with("RW0075")
        .into_iter()
        .map(|line| line.text)
        .collect();
    assert!(
        told.len() == 2 && told[1].contains("the user '") && told[1].contains("user-request-limit"),
        "{told:?}"
    );
    release(&httpd, held);
    served(&httpd, "/other");
    httpd.provoked(&[codes::REQUEST_LIMIT]);
}

/// R59
fn r59_a_share_of_all_that_httpd_serves(case: &Case) {
    // Two children of eight threads.
    let httpd = start(site(case, "request-limit=25%"));
    let held = occupy(&httpd, "/wait", 4);
    assert_eq!(httpd.get("/").status, 503);
    release(&httpd, held);
    served(&httpd, "/");
    httpd.provoked(&[codes::REQUEST_LIMIT]);
}

/// R59
fn r59_never_more_than_the_limit_are_in_the_application(case: &Case) {
    let httpd = start(site(case, "request-limit=4"));
    let (served, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for _ in 0..60 {
                    match httpd.get("/").status {
                        200 => served.fetch_add(1, Ordering::Relaxed),
                        503 => refused.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other}"),
                    };
                }
            });
        }
    });
    let most: usize = httpd.get("/most").text().parse().expect("a number");
    assert!(most <= 4, "{most}");
    assert!(served.into_inner() > 50 && refused.into_inner() > 0);
    httpd.provoked(&[codes::REQUEST_LIMIT]);
}

/// R59
fn r59_what_began_before_a_restart_counts(case: &Case) {
    // Room for new children while the old ones have requests.
    let httpd = start(site(case, "request-limit=3").conf("ServerLimit 8"));
    let mut held = occupy(&httpd, "/wait", 2);
    httpd.graceful();
    served(&httpd, "/");
    held.extend(occupy(&httpd, "/wait", 1));
    assert_eq!(httpd.get("/").status, 503);
    release(&httpd, held);
    served(&httpd, "/");
    httpd.provoked(&[codes::REQUEST_LIMIT]);
}

/// R59, F33
fn f33_killed_children_leave_nothing_behind(case: &Case) {
    let httpd = start(site(case, "request-limit=6"));
    served(&httpd, "/");
    let stop = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // One that was in a killed child has no answer.
                    if let Ok(reply) = httpd.request("GET", "/").try_send() {
                        assert!(matches!(reply.status, 200 | 503), "{}", reply.status);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for round in 0..case.rounds(6, 300) {
            let before = answered.load(Ordering::Relaxed);
            until("answers", LONG, || answered.load(Ordering::Relaxed) > before + 30);
            let children = httpd.children();
            if let Some(child) = children.get(round % children.len().max(1)) {
                child.signal(Signal::SIGKILL);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Also with all places taken at the moment of death.
    let lost = occupy(&httpd, "/wait", 6);
    for child in httpd.children() {
        child.signal(Signal::SIGKILL);
    }
    drop(lost);
    until("new children", LONG, || {
        httpd
            .request("GET", "/")
            .try_send()
            .is_ok_and(|reply| reply.status == 200)
    });
    // The worker has noticed that the clients have gone; its threads wait for the file all the same.
    std::fs::write(httpd.data().join("go"), "").expect("go");
    served(&httpd, "/");
    std::fs::remove_file(httpd.data().join("go")).expect("stop");
    let held = occupy(&httpd, "/wait", 6);
    assert_eq!(httpd.get("/").status, 503);
    release(&httpd, held);
    httpd.announce("exit signal Killed");
    httpd.provoked(&[codes::REQUEST_LIMIT, codes::DEATH]);
}

/// R59, F54
fn f54_cancelled_streams_leave_nothing_behind(case: &Case) {
    case.needs_http2();
    let httpd = start(site(case, "request-limit=5").http2());
    served(&httpd, "/");
    let all = case.rounds(400, 100_000);
    let mut cancelled = 0;
    while cancelled < all {
        let mut raw = httpd.raw();
        // Preface and empty settings.
        let mut open = raw.try_send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        for stream in (1..200u32).step_by(2) {
            if !open {
                break;
            }
            // httpd closes a connection on which too much is cancelled.
            open = raw.try_send(head_and_reset(stream));
            cancelled += 1;
        }
    }
    until("the cancelled ones to be over", LONG, || {
        httpd.get("/").status == 200
    });
    let held = occupy(&httpd, "/wait", 5);
    assert_eq!(httpd.get("/").status, 503);
    release(&httpd, held);
    httpd.provoked(&[codes::REQUEST_LIMIT]);
}

/// A GET request of `/` on that stream, and its end.
fn head_and_reset(stream: u32) -> Vec<u8> {
    // Indexed :method GET, :scheme http, :path /; :authority as a literal.
    let block = b"\x82\x86\x84\x01\x01h";
    let mut bytes = vec![0, 0, block.len() as u8, 1, 0x5];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(block);
    bytes.extend([0, 0, 4, 3, 0]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(8u32.to_be_bytes());
    bytes
}

fn limits_on_requests_refuse_other_values(case: &Case) {
    case.needs_ours("the original has no limits on requests");
    for (option, why) in [
        ("request-limit=-1", "not a number of requests"),
        ("request-limit=101%", "from 1% to 100%"),
        ("user-request-limit=many", "user-request-limit=many"),
    ] {
        let said = case
            .httpd()
            .bare()
            .conf(&format!("WSGIDaemonProcess g {option}"))
            .refused();
        assert!(said.contains(why), "{option}: {said}");
    }
}
