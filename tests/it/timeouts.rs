//! The time limits that protect a request, one by one.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Process, Signal, Topic, test, until};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        a_request_that_waits_too_long_is_a_504_and_never_run,
        a_full_queue_is_a_503,
        f44_a_full_queue_is_a_503_at_once_without_connect_timeout,
        a_silent_application_is_a_504,
        an_application_that_falls_silent_looks_truncated,
        httpds_timeout_counts_without_a_socket_timeout,
        a_request_that_takes_too_long_costs_the_worker,
        a_slow_request_within_its_limits_is_left_alone,
        a_request_that_takes_too_long_is_interrupted,
        an_interrupted_request_may_clean_up_and_answer,
        a_request_that_cannot_be_interrupted_costs_the_worker,
        the_limit_on_a_request_grows_with_the_threads,
        a_worker_that_will_not_end_is_killed,
        requests_under_way_get_the_graceful_timeout,
    ]);
}

const SLOW: Duration = Duration::from_secs(20);

fn httpd(case: &Case, options: &str) -> Httpd {
    case.httpd().daemon(options).app("streams.wsgi").start()
}

fn finish(httpd: &Httpd) {
    // A worker that is ended by force shows the stacks of its threads.
    httpd.announce_traceback();
    httpd.provoked(&[codes::LATE, codes::FORCE]);
}

/// Occupies the only thread until `go` is there.
fn occupy(httpd: &Httpd) -> rwsgi_testkit::Raw {
    httpd.get("/pid");
    let raw = httpd.raw_get("/slow_compute");
    until("the application to run", SLOW, || {
        httpd.data().join("started").exists()
    });
    raw
}

fn release(httpd: &Httpd) {
    std::fs::write(httpd.data().join("go"), "").expect("go");
}

fn started(httpd: &Httpd) -> usize {
    std::fs::read(httpd.data().join("started")).map_or(0, |text| text.len())
}

/// A status within a time: a limit of `limit` seconds must be felt after it and well before the next one.
fn answers_within(httpd: &Httpd, path: &str, status: u16, limit: Duration) {
    let start = Instant::now();
    let got = httpd.get(path).status;
    let took = start.elapsed();
    assert_eq!(got, status, "after {took:?}");
    assert!(
        took >= limit.mul_f32(0.8) && took < limit + Duration::from_secs(20),
        "took {took:?}"
    );
}

/// R59, F10
fn a_request_that_waits_too_long_is_a_504_and_never_run(case: &Case) {
    let httpd = httpd(case, "processes=1 threads=1 queue-timeout=1");
    let mut first = occupy(&httpd);
    if case.theirs() {
        // It notices when the request reaches the daemon, that is when the thread is free.
        let mut second = httpd.raw_get("/slow_compute");
        until("more than a second", SLOW, || {
            httpd.data().metadata().is_ok_and(|m| {
                m.modified()
                    .is_ok_and(|t| t.elapsed().is_ok_and(|t| t > Duration::from_millis(1500)))
            })
        });
        release(&httpd);
        assert_eq!(second.head().status, 504);
    } else {
        answers_within(&httpd, "/slow_compute", 504, Duration::from_secs(1));
        release(&httpd);
    }
    assert_eq!(first.reply().body, b"done");
    assert_eq!(started(&httpd), 1, "the application has not seen it");
    assert_eq!(httpd.get("/pid").status, 200);
    finish(&httpd);
}

/// R59, F10, F44
fn a_full_queue_is_a_503(case: &Case) {
    let httpd = httpd(case, "processes=1 threads=1 listen-backlog=1 connect-timeout=1");
    let mut first = occupy(&httpd);
    // Fill the backlog (the kernel adds one), then more.
    let waiting: Vec<_> = (0..8).map(|_| httpd.raw_get("/pid")).collect();
    until("a request to be turned away", SLOW, || {
        httpd.access_log().contains(" 503 ")
    });
    release(&httpd);
    assert_eq!(first.reply().body, b"done");
    let statuses: Vec<u16> = waiting
        .into_iter()
        .map(|mut raw| raw.reply().head.status)
        .collect();
    assert!(
        statuses.iter().all(|status| matches!(status, 200 | 503)),
        "{statuses:?}"
    );
    assert!(statuses.contains(&503) && statuses.contains(&200), "{statuses:?}");
    finish(&httpd);
}

/// F44
fn f44_a_full_queue_is_a_503_at_once_without_connect_timeout(case: &Case) {
    case.needs_ours("it tries for a second at least");
    let httpd = httpd(case, "processes=1 threads=1 listen-backlog=1 connect-timeout=0");
    let mut first = occupy(&httpd);
    let waiting: Vec<_> = (0..4).map(|_| httpd.raw_get("/pid")).collect();
    let since = Instant::now();
    // There is room for some of them; those that come after are turned away.
    until("a request to be turned away", SLOW, || {
        httpd.access_log().contains(" 503 ")
    });
    let reply = httpd.get("/pid");
    assert_eq!(reply.status, 503);
    assert!(reply.header("retry-after").is_some());
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    release(&httpd);
    assert_eq!(first.reply().body, b"done");
    for mut raw in waiting {
        let status = raw.reply().head.status;
        assert!(matches!(status, 200 | 503), "{status}");
    }
    assert_eq!(httpd.get("/pid").status, 200);
    finish(&httpd);
}

fn a_silent_application_is_a_504(case: &Case) {
    let httpd = httpd(case, "threads=2 socket-timeout=1");
    answers_within(&httpd, "/slow_compute", 504, Duration::from_secs(1));
    release(&httpd);
    assert_eq!(httpd.get("/pid").status, 200);
    finish(&httpd);
}

fn an_application_that_falls_silent_looks_truncated(case: &Case) {
    let httpd = httpd(case, "threads=2 socket-timeout=1");
    let reply = httpd.raw_get("/die?bytes=10&how=nothing&wait").reply();
    assert_eq!((reply.head.status, reply.body.len()), (200, 10));
    // The original's answer ends as if it were whole.
    assert_eq!(reply.complete, case.theirs());
    release(&httpd);
    finish(&httpd);
}

fn httpds_timeout_counts_without_a_socket_timeout(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=2")
        .app("streams.wsgi")
        .conf("Timeout 1")
        .start();
    answers_within(&httpd, "/slow_compute", 504, Duration::from_secs(1));
    release(&httpd);
    finish(&httpd);
}

fn a_request_that_takes_too_long_costs_the_worker(case: &Case) {
    let httpd = httpd(case, "processes=1 threads=1 request-timeout=1 shutdown-timeout=1");
    let before = httpd.get("/pid").text();
    let start = Instant::now();
    let status = httpd.get("/slow_compute").status;
    // The original ends the process: its client sees the worker die.
    assert_eq!(
        status,
        if case.theirs() { 502 } else { 504 },
        "after {:?}",
        start.elapsed()
    );
    assert!(start.elapsed() < SLOW, "{:?}", start.elapsed());
    until("another worker", SLOW, || {
        let reply = httpd.get("/pid");
        reply.status == 200 && reply.text() != before
    });
    if !case.theirs() {
        httpd.wait_log("request-timeout");
        httpd.announce_traceback();
    }
    finish(&httpd);
}

const INTERRUPTED: &str = "request-timeout=1 interrupt-timeout=25";

/// F8
fn a_request_that_takes_too_long_is_interrupted(case: &Case) {
    let httpd = case
        .httpd()
        .daemon(&format!("threads=1 {INTERRUPTED}"))
        .app("life.wsgi")
        .start();
    let worker = httpd.get("/pid").text();
    for _ in 0..2 {
        let start = Instant::now();
        let reply = httpd.get("/wait");
        assert_eq!((reply.status, reply.body.len()), (504, 0), "{}", reply.text());
        assert!(start.elapsed() < SLOW, "{:?}", start.elapsed());
    }
    assert_eq!(
        httpd.get("/pid").text(),
        worker,
        "the worker goes on, and the next request is left alone"
    );
}

fn an_interrupted_request_may_clean_up_and_answer(case: &Case) {
    let polite = "import time\nimport mod_wsgi\n\
        def application(environ, start_response):\n    \
        try:\n        while True:\n            time.sleep(0.01)\n    \
        except mod_wsgi.RequestTimeout:\n        \
        start_response('503 Service Unavailable', [])\n        return [b'too much work']\n";
    let httpd = case
        .httpd()
        .daemon(&format!("threads=1 {INTERRUPTED}"))
        .source("/", "app.wsgi", polite)
        .start();
    let reply = httpd.get("/");
    assert_eq!((reply.status, reply.text().as_str()), (503, "too much work"));
}

/// F8
fn a_request_that_cannot_be_interrupted_costs_the_worker(case: &Case) {
    // It is in a call that lasts longer; Python code runs again only afterwards.
    let deaf = "import os, time\ndef application(environ, start_response):\n    \
        if environ['PATH_INFO'] == '/deaf':\n        time.sleep(600)\n    \
        start_response('200 OK', [])\n    return [b'%d' % os.getpid()]\n";
    let options = "threads=1 request-timeout=1 interrupt-timeout=1 shutdown-timeout=1";
    let httpd = case.httpd().daemon(options).source("/", "app.wsgi", deaf).start();
    let before = httpd.get("/").text();
    assert_eq!(httpd.get("/deaf").status, if case.theirs() { 502 } else { 504 });
    until("another worker", SLOW, || {
        let reply = httpd.get("/");
        reply.status == 200 && reply.text() != before
    });
    finish(&httpd);
}

fn the_limit_on_a_request_grows_with_the_threads(case: &Case) {
    // 1 s with one thread, 3.3 s with ten.
    let httpd = case
        .httpd()
        .daemon(&format!("threads=10 {INTERRUPTED}"))
        .app("life.wsgi")
        .start();
    assert_eq!(httpd.get("/pid").status, 200);
    let start = Instant::now();
    assert_eq!(httpd.get("/wait").status, 504);
    assert!(start.elapsed() > Duration::from_secs(3), "{:?}", start.elapsed());
}

fn a_slow_request_within_its_limits_is_left_alone(case: &Case) {
    let httpd = httpd(
        case,
        "threads=1 request-timeout=20 queue-timeout=5 socket-timeout=20",
    );
    let mut raw = occupy(&httpd);
    let since = Instant::now();
    until("a while", SLOW, || since.elapsed() > Duration::from_secs(2));
    release(&httpd);
    assert_eq!(raw.reply().body, b"done");
}

/// F11
fn a_worker_that_will_not_end_is_killed(case: &Case) {
    let stubborn = "import os, signal, time\n\
        def application(environ, start_response):\n    start_response('200 OK', [])\n    \
        if environ['PATH_INFO'] == '/hang':\n        \
        open(__file__.replace('scripts/app.wsgi', 'data/started'), 'w').close()\n        \
        while True:\n            time.sleep(1)\n    return [b'%d' % os.getpid()]\n";
    let httpd = case
        .httpd()
        .daemon("threads=2 shutdown-timeout=1 graceful-timeout=1")
        .source("/", "app.wsgi", stubborn)
        .start();
    let worker: u32 = httpd.get("/").text().parse().expect("pid");
    let _raw = httpd.raw_get("/hang");
    until("the application to hang", SLOW, || {
        httpd.data().join("started").exists()
    });
    Process::read(worker).expect("worker").signal(Signal::SIGTERM);
    until("the worker to be ended", Duration::from_secs(8), || {
        Process::read(worker).is_none_or(|p| p.state == 'Z')
    });
    until("answers again", SLOW, || httpd.get("/").status == 200);
    finish(&httpd);
}

/// F23
fn requests_under_way_get_the_graceful_timeout(case: &Case) {
    case.needs_ours("touching a script stops its process at once, bounded by shutdown-timeout");
    let saying = |what: &str| {
        format!(
            "import os, time\ndef application(environ, start_response):\n    \
             go = __file__.replace('scripts/app.wsgi', 'data/go')\n    start_response('200 OK', [])\n    \
             if environ['PATH_INFO'] == '/slow':\n        \
             open(__file__.replace('scripts/app.wsgi', 'data/started'), 'w').close()\n        \
             while not os.path.exists(go):\n            time.sleep(0.01)\n    return [b'{what}']\n"
        )
    };
    let httpd = case
        .httpd()
        .daemon("threads=2 graceful-timeout=15")
        .source("/", "app.wsgi", &saying("old"))
        .start();
    let mut raw = httpd.raw_get("/slow");
    until("the application to run", SLOW, || {
        httpd.data().join("started").exists()
    });
    httpd.rewrite_script("app.wsgi", &saying("new"));
    until("the new version", SLOW, || httpd.get("/").text() == "new");
    release(&httpd);
    assert_eq!(
        raw.reply().body,
        b"old",
        "it was finished by the version that began it"
    );
}
