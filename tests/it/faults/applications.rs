//! What applications do to their own process: they compute without end, close its descriptors, fork, leave descriptors open, outlive the time
//! that a worker has. The requests of others go on.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Process, Signal, Topic, test, until};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        f08_a_loop_in_one_thread_leaves_the_others_alone,
        f12_a_worker_that_stood_still_gives_nobody_a_late_answer,
        f15_what_an_application_does_to_its_process_costs_that_process_at_most,
        f15_a_daemon_that_keeps_what_its_worker_had_open_keeps_nobody_waiting,
        f16_a_worker_without_descriptors_left_makes_room_for_another,
        f23_a_request_that_outlives_the_time_of_its_worker_is_told_and_alone,
    ]);
}

const SLOW: Duration = Duration::from_secs(40);

const SOURCE: &str = r#"
import ctypes, os, resource, signal, socket, time
DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")
kept = []
def note(name):
    open(os.path.join(DATA, name), "a").write("x")
def loop():
    note("loops")
    while True:
        pass
def hang():
    note("hangs")
    while not os.path.exists(os.path.join(DATA, "go")):
        time.sleep(0.01)
def close():
    os.closerange(3, 64)
def fork():
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
def daemonise():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    os.wait()
def cling():
    """A daemon that has all of this process's descriptors, also that of this request."""
    if os.fork() == 0:
        os.setsid()
        while not os.path.exists(os.path.join(DATA, "go")):
            time.sleep(0.1)
        os._exit(0)
    open(os.path.join(DATA, "clings"), "w").write(str(os.getpid()))
    hang()
def signals():
    # Past Python, which lets only the main thread do so.
    for number in (1, 2, 10, 12, 15):
        ctypes.CDLL(None).signal(number, 1)
def session():
    ctypes.CDLL(None).setsid()
def execute():
    os.execv("/bin/sleep", ["sleep", "600"])
def leak():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            kept.append(socket.socket())
    except OSError:
        pass
def application(environ, start_response):
    what = environ["PATH_INFO"].strip("/")
    if what != "pid":
        globals()[what]()
    start_response("200 OK", [("X-Pid", str(os.getpid()))])
    return [what.encode()]
"#;

fn start(case: &Case, options: &str) -> Httpd {
    let httpd = case
        .httpd()
        .daemon(options)
        .source("/", "app.wsgi", SOURCE)
        .start();
    httpd.announce_traceback();
    httpd.announce("Thread 0x");
    httpd.announce("  File ");
    httpd.provoked(&[
        codes::DEATH,
        codes::FORCE,
        codes::LATE,
        codes::LIFE,
        codes::APPLICATION,
        codes::BACK_OFF,
    ]);
    httpd
}

fn pid(httpd: &Httpd) -> u32 {
    let reply = httpd.get("/pid");
    assert_eq!((reply.status, &reply.text()[..]), (200, "pid"));
    reply
        .header("x-pid")
        .and_then(|pid| pid.parse().ok())
        .expect("a pid")
}

/// F8
fn f08_a_loop_in_one_thread_leaves_the_others_alone(case: &Case) {
    case.needs_ours("it ends the process");
    let httpd = start(case, "threads=4 request-timeout=1 interrupt-timeout=20");
    let worker = pid(&httpd);
    let since = Instant::now();
    let mut looping = httpd.raw_get("/loop");
    until("the loop", SLOW, || httpd.data().join("loops").exists());
    // 2.4 s with four threads.
    let mut others = 0;
    while since.elapsed() < Duration::from_secs(2) {
        assert_eq!(pid(&httpd), worker);
        others += 1;
    }
    assert_eq!(looping.reply().head.status, 504);
    println!(
        "{others} other requests, and the loop was interrupted after {:?}",
        since.elapsed()
    );
    assert_eq!(pid(&httpd), worker, "the worker goes on");
}

/// F12, R54
fn f12_a_worker_that_stood_still_gives_nobody_a_late_answer(case: &Case) {
    case.needs_ours("its children wait for the worker alone");
    let httpd = start(case, "threads=3 socket-timeout=1");
    let worker = Process::read(pid(&httpd)).expect("a worker");
    let waiting: Vec<_> = (0..3).map(|_| httpd.raw_get("/hang")).collect();
    until("three requests", SLOW, || {
        std::fs::read(httpd.data().join("hangs")).is_ok_and(|text| text.len() == 3)
    });
    worker.signal(Signal::SIGSTOP);
    for mut raw in waiting {
        assert_eq!(raw.reply().head.status, 504);
    }
    std::fs::write(httpd.data().join("go"), "").expect("go");
    worker.signal(Signal::SIGCONT);
    // What it says now is for requests that are over.
    for _ in 0..50 {
        assert_eq!(pid(&httpd), worker.pid);
    }
}

/// F15
fn f15_what_an_application_does_to_its_process_costs_that_process_at_most(case: &Case) {
    case.needs_ours("its daemons hang, or serve no more");
    let httpd = start(
        case,
        "processes=2 threads=2 deadlock-timeout=4 shutdown-timeout=1",
    );
    // A daemon last: what it has got of its worker stays open as long as it lives.
    for what in ["session", "signals", "fork", "close", "execute", "daemonise"] {
        let mut raw = httpd.raw_get(&format!("/{what}"));
        if what != "execute" {
            let status = raw.reply().head.status;
            assert!(matches!(status, 200 | 500 | 502 | 504), "{what}: {status}");
        }
        // Answered by those that serve, and never by what the application has left behind. What becomes another program while that is asked
        // takes the request with it that its other thread is just in.
        let mut lost = 0;
        for _ in 0..case.rounds(30, 1000) {
            let reply = httpd.get("/pid");
            match reply.status {
                502 if what == "execute" => lost += 1,
                status => assert_eq!((status, &reply.text()[..]), (200, "pid"), "{what}"),
            }
        }
        assert!(lost <= 1, "{lost} requests lost");
        drop(raw);
    }
    // What closes its descriptors or becomes another program is replaced.
    until("two others in their place", SLOW, || {
        httpd.log_with(" is ready").len() >= 4
    });
    assert_eq!(httpd.get("/pid").status, 200);
    httpd.provoked(&[&["RW0625"]]);
}

/// F15: its request is over when it is, not at socket-timeout. The other worker keeps the control group, if there are any.
fn f15_a_daemon_that_keeps_what_its_worker_had_open_keeps_nobody_waiting(case: &Case) {
    case.needs_ours("its children wait for socket-timeout");
    let httpd = start(case, "processes=2 threads=2 socket-timeout=30");
    let mut raw = httpd.raw_get("/cling");
    until("the request to hang", SLOW, || {
        httpd.data().join("hangs").exists()
    });
    let worker = std::fs::read_to_string(httpd.data().join("clings")).expect("a file");
    let worker = Process::read(worker.parse().expect("a pid")).expect("a worker");
    worker.signal(Signal::SIGKILL);
    assert_eq!(raw.reply().head.status, 502);
    httpd.wait_log("was killed by signal 9");
    assert_ne!(pid(&httpd), worker.pid);
    std::fs::write(httpd.data().join("go"), "").expect("go");
}

/// F16
fn f16_a_worker_without_descriptors_left_makes_room_for_another(case: &Case) {
    case.needs_ours("it takes no further connection");
    let httpd = start(case, "processes=1 threads=2");
    let worker = Process::read(pid(&httpd)).expect("a worker");
    assert_eq!(httpd.get("/leak").status, 200);
    // Whoever comes by a new connection waits for the next worker, and is served. So many at once need new ones.
    until("another worker", SLOW, || {
        let waiting: Vec<_> = (0..8).map(|_| httpd.raw_get("/pid")).collect();
        for mut raw in waiting {
            assert_eq!(raw.reply().head.status, 200);
        }
        pid(&httpd) != worker.pid
    });
    httpd.provoked(&[&["RW0625"]]);
}

/// F23
fn f23_a_request_that_outlives_the_time_of_its_worker_is_told_and_alone(case: &Case) {
    case.needs_ours("it ends a changed script's process at once");
    let httpd = start(
        case,
        "processes=1 threads=3 graceful-timeout=1 shutdown-timeout=1",
    );
    let worker = pid(&httpd);
    let mut long = httpd.raw_get("/hang");
    until("the long request", SLOW, || httpd.data().join("hangs").exists());
    let since = Instant::now();
    httpd.rewrite_script("app.wsgi", &format!("{SOURCE}# newer\n"));
    until("the next worker", SLOW, || pid(&httpd) != worker);
    // Nobody else notices that the old one is ended.
    while Process::read(worker).is_some_and(|process| process.state != 'Z') {
        assert_ne!(pid(&httpd), worker);
        assert!(since.elapsed() < SLOW, "the old worker stays");
    }
    let status = long.reply().head.status;
    assert!([502, 504].contains(&status), "{status}");
    assert!(!httpd.log_with(&worker.to_string()).is_empty());
}
