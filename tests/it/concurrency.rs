//! Many requests at once: nobody waits for a busy worker while another is idle, nobody gets another's answer.

use rwsgi_testkit::{Case, Httpd, Raw, Topic, test, until};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.both(test![answers_are_never_mixed_up, threads_serve_at_the_same_time]);
    topic.daemon(test![
        a_request_never_waits_behind_a_busy_worker,
        an_idle_connection_of_one_child_does_not_block_another,
        more_requests_than_threads_wait_their_turn,
        keep_alive_clients_do_not_hold_workers,
        slow_clients_do_not_hold_workers,
        a_request_wakes_one_thread_of_its_worker_once,
    ]);
}

/// An application that waits for `data/go` at `/wait`, and otherwise says which process answers.
const WAITING: &str = "import os, time\n\
    DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')\n\
    def application(environ, start_response):\n    \
    start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
    if environ['PATH_INFO'] == '/wait':\n        \
    with open(os.path.join(DATA, 'waiting'), 'a') as note:\n            note.write('x')\n        \
    while not os.path.exists(os.path.join(DATA, 'go')):\n            time.sleep(0.005)\n    \
    return [b'%d' % os.getpid()]\n";

/// Less than anything here lasts that somebody would have to wait for: httpd's timeouts.
const SLOW: Duration = Duration::from_secs(20);

fn httpd(case: &Case, options: &str) -> Httpd {
    case.httpd()
        .daemon(options)
        .source("/", "waiting.wsgi", WAITING)
        .conf("KeepAliveTimeout 60")
        .start()
}

fn waiting(httpd: &Httpd) -> usize {
    std::fs::read(httpd.data().join("waiting")).map_or(0, |text| text.len())
}

fn wait_in_application(httpd: &Httpd, count: usize) -> Vec<Raw> {
    let before = waiting(httpd);
    let all = (0..count).map(|_| httpd.raw_get("/wait")).collect();
    until(
        "the requests to be in the application",
        Duration::from_secs(15),
        || waiting(httpd) == before + count,
    );
    all
}

fn release(httpd: &Httpd, waiting: Vec<Raw>) {
    std::fs::write(httpd.data().join("go"), "").expect("go");
    for mut raw in waiting {
        assert_eq!(raw.reply().head.status, 200);
    }
}

/// R54.
fn answers_are_never_mixed_up(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("processes=2 threads=3")
        .app("input.wsgi")
        .start();
    std::thread::scope(|scope| {
        for client in 0..6 {
            let httpd = &httpd;
            scope.spawn(move || {
                for round in 0..40 {
                    let body = format!("client {client} round {round} {}", "z".repeat(round * 1000));
                    let reply = httpd.post("/steps?read:", body.clone());
                    assert_eq!(reply.json()["seen"][0], body);
                }
            });
        }
    });
}

fn threads_serve_at_the_same_time(case: &Case) {
    case.needs_threads();
    let httpd = case
        .httpd()
        .daemon("threads=3")
        .source("/", "waiting.wsgi", WAITING)
        .children(1)
        .start();
    let all = wait_in_application(&httpd, 3);
    release(&httpd, all);
}

fn a_request_never_waits_behind_a_busy_worker(case: &Case) {
    let httpd = httpd(case, "processes=3 threads=1");
    // Connections to each worker exist and are idle.
    for _ in 0..30 {
        httpd.get("/");
    }
    for busy in 1..=2 {
        let held = wait_in_application(&httpd, busy);
        let start = Instant::now();
        for _ in 0..30 {
            assert_eq!(httpd.get("/").status, 200);
        }
        assert!(
            start.elapsed() < SLOW,
            "{busy} of 3 busy: {:?} for 30 requests",
            start.elapsed()
        );
        release(&httpd, held);
        std::fs::remove_file(httpd.data().join("go")).expect("stop");
    }
}

fn an_idle_connection_of_one_child_does_not_block_another(case: &Case) {
    // One worker thread, several children: the connection that one child keeps must give way to the next child's request.
    let httpd = httpd(case, "processes=1 threads=1");
    let start = Instant::now();
    for _ in 0..60 {
        assert_eq!(httpd.get("/").status, 200);
    }
    assert!(start.elapsed() < SLOW, "{:?} for 60 requests", start.elapsed());
    let children: std::collections::BTreeSet<String> = (0..40)
        .map(|_| httpd.raw_get("/").reply().head.status.to_string())
        .collect();
    assert_eq!(children.len(), 1);
}

fn more_requests_than_threads_wait_their_turn(case: &Case) {
    let httpd = httpd(case, "processes=1 threads=2");
    let held = wait_in_application(&httpd, 2);
    let queued: Vec<Raw> = (0..4).map(|_| httpd.raw_get("/")).collect();
    release(&httpd, held);
    for mut raw in queued {
        assert_eq!(raw.reply().head.status, 200);
    }
}

/// R58
fn keep_alive_clients_do_not_hold_workers(case: &Case) {
    case.needs_threads();
    let httpd = httpd(case, "processes=1 threads=1");
    let mut idle: Vec<Raw> = (0..5).map(|_| httpd.raw()).collect();
    for raw in &mut idle {
        raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(raw.reply().head.status, 200);
    }
    let start = Instant::now();
    assert_eq!(httpd.get("/").status, 200);
    assert!(start.elapsed() < SLOW, "{:?}", start.elapsed());
}

/// R58
fn slow_clients_do_not_hold_workers(case: &Case) {
    case.needs_threads();
    let httpd = httpd(case, "processes=1 threads=1");
    // Half a request each: nothing of it is the worker's business yet.
    let slow: Vec<Raw> = (0..5)
        .map(|_| {
            let mut raw = httpd.raw();
            raw.send("GET / HTTP/1.1\r\nHost: h\r\n");
            raw
        })
        .collect();
    assert_eq!(httpd.get("/").status, 200);
    for mut raw in slow {
        raw.send("Connection: close\r\n\r\n");
        assert_eq!(raw.reply().head.status, 200);
    }
}

/// How often the serving threads of a worker have waited for something.
fn waits_of_serving_threads(pid: &str) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let waits = threads.map(|thread| {
        let path = thread.expect("a thread").path();
        let name = std::fs::read_to_string(path.join("comm")).expect("its name");
        let serves = name
            .trim()
            .strip_prefix("rwsgi-")
            .is_some_and(|n| n.parse::<u32>().is_ok());
        if !serves {
            return 0;
        }
        let status = std::fs::read_to_string(path.join("status")).expect("its status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|number| number.trim().parse().ok())
            .expect("a number")
    });
    waits.sum()
}

/// A thread that waits in `recv` would be woken by httpd's reading of its last answer, too.
fn a_request_wakes_one_thread_of_its_worker_once(case: &Case) {
    case.needs_ours("it has a connection for each request");
    let httpd = case
        .httpd()
        .daemon("processes=1 threads=3")
        .source("/", "waiting.wsgi", WAITING)
        .children(1)
        .start();
    let pid = httpd.get("/").text();
    let before = waits_of_serving_threads(&pid);
    assert!(before > 0);
    (0..200).for_each(|_| assert_eq!(httpd.get("/").text(), pid));
    let waits = waits_of_serving_threads(&pid) - before;
    assert!(waits < 300, "{waits} times for 200 requests");
}
