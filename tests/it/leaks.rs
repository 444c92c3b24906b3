//! Descriptors, processes and memory after traffic of every kind: what the checks after each test cannot see from outside.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Process, Topic, test, until};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        descriptors_do_not_grow_with_traffic,
        memory_does_not_grow_with_traffic
    ]);
    topic.daemon(test![restarts_leave_no_descriptors_behind]);
}

fn httpd(case: &Case) -> Httpd {
    case.httpd()
        .children(1)
        .daemon("processes=1 threads=4")
        .alias("/hello", "hello.wsgi")
        .alias("/response", "response.wsgi")
        .alias("/errors", "errors.wsgi")
        .alias("/streams", "streams.wsgi")
        .alias("/input", "input.wsgi")
        .conf("WSGIApplicationGroup one")
        .start()
}

/// One round of everything that might forget to give something back.
fn traffic(httpd: &Httpd) {
    for path in [
        "/hello",
        "/response/generator",
        "/response/written",
        "/response/file",
        "/response/file_like",
        "/response/status_304",
        "/response/too_short",
        "/errors/list_of_str",
        "/errors/raises",
        "/errors/raises_in_iteration",
        "/streams/down?bytes=300000",
    ] {
        let _ = httpd.request("GET", path).try_send();
    }
    httpd.post("/streams/up", vec![b'x'; 200_000]);
    httpd.post("/hello", vec![b'x'; 200_000]);
    // A client that goes away in the middle.
    let mut raw = httpd.raw_get("/streams/count_pieces");
    raw.until(b"\x00\x01\x02");
    drop(raw);
}

fn finish(httpd: &Httpd) {
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION, codes::LENGTH]);
}

fn descriptors(processes: &[Process]) -> Vec<usize> {
    processes.iter().map(Process::descriptors).collect()
}

/// Their numbers of descriptors when these change no more: connections of vanished clients take a moment to close, and so do processes of before a restart.
fn settled(processes: &[Process]) -> Vec<usize> {
    let mut last = descriptors(processes);
    let mut since = Instant::now();
    until("descriptors to settle", Duration::from_secs(15), || {
        let now = descriptors(processes);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() >= Duration::from_millis(200)
    });
    last
}

/// Waits until there are at most so many more than `before`.
fn come_back(processes: &[Process], before: &[usize], more: usize) {
    let what = format!("at most {more} descriptors more than {before:?}");
    until(&what, Duration::from_secs(15), || {
        let now = descriptors(processes);
        now.iter().zip(before).all(|(now, then)| *now <= then + more)
    });
}

fn serving(case: &Case, httpd: &Httpd) -> Vec<Process> {
    let mut all = httpd.children();
    if !case.embedded() {
        all.extend(httpd.workers());
    }
    all.extend(httpd.manager());
    all
}

fn descriptors_do_not_grow_with_traffic(case: &Case) {
    let httpd = httpd(case);
    // Lazy things first: interpreters, connections, worker threads.
    for _ in 0..3 {
        traffic(&httpd);
    }
    let processes = serving(case, &httpd);
    let before = settled(&processes);
    for _ in 0..20 {
        traffic(&httpd);
    }
    // A few idle connections between child and worker may come and go.
    come_back(&processes, &before, 4);
    finish(&httpd);
}

fn resident_kib(process: &Process) -> u64 {
    let text = process.status("VmRSS").unwrap_or_default();
    text.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// F57
fn memory_does_not_grow_with_traffic(case: &Case) {
    let httpd = httpd(case);
    for _ in 0..3 {
        traffic(&httpd);
    }
    let many = |count: usize| {
        for _ in 0..count {
            assert_eq!(httpd.get("/hello").status, 200);
            httpd.get("/errors/fine");
        }
    };
    many(300);
    let processes = serving(case, &httpd);
    let before: Vec<u64> = processes.iter().map(resident_kib).collect();
    many(1000);
    for (process, then) in processes.iter().zip(before) {
        let grown = resident_kib(process).saturating_sub(then);
        // Allocators settle for a while in each thread; a kilobyte and a bit of every request would show.
        assert!(grown < 2500, "{process:?} grew by {grown} KiB in 2000 requests");
    }
    finish(&httpd);
}

/// N5
fn restarts_leave_no_descriptors_behind(case: &Case) {
    let httpd = httpd(case);
    let restart_and_ask = || {
        httpd.graceful();
        if case.theirs() {
            // Its daemons lose what they have taken when they end.
            until("a request to be served", Duration::from_secs(15), || {
                httpd.get("/hello").status == 200
            });
        } else {
            assert_eq!(httpd.get("/hello").status, 200);
        }
    };
    for _ in 0..2 {
        restart_and_ask();
    }
    let mut processes: Vec<Process> = httpd.parent().into_iter().collect();
    processes.extend(httpd.manager());
    let before = settled(&processes);
    for _ in 0..4 {
        restart_and_ask();
    }
    come_back(&processes, &before, 1);
    finish(&httpd);
}
