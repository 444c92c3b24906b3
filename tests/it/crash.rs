//! Killed processes: a worker, the manager, httpd's parent; and workers that cannot even start.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Process, Signal, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        a_killed_worker_is_replaced,
        a_worker_that_cannot_load_backs_off,
        a_killed_manager_is_replaced,
        a_killed_parent_takes_workers_and_manager_along,
        a_terminated_worker_finishes_its_request,
    ]);
}

const SLOW: Duration = Duration::from_secs(15);

fn pid(httpd: &Httpd) -> u64 {
    httpd.get("/").json()["pid"].as_u64().expect("pid")
}

fn a_killed_worker_is_replaced(case: &Case) {
    let httpd = case.httpd().daemon("threads=2").app("state.wsgi").start();
    for _ in 0..3 {
        let before = pid(&httpd);
        signal(before, Signal::SIGKILL);
        until("the worker to be gone", SLOW, || {
            Process::read(before as u32).is_none_or(|p| p.state == 'Z')
        });
        // It was idle: nobody's request is lost.
        let reply = httpd.get("/");
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_ne!(reply.json()["pid"].as_u64(), Some(before));
    }
    httpd.provoked(&[codes::DEATH]);
}

/// R63
fn a_worker_that_cannot_load_backs_off(case: &Case) {
    case.needs_ours("it starts again without a pause");
    let source =
        "import os\nopen(__file__.replace('scripts/app.wsgi', 'data/starts'), 'a').write('x')\nos._exit(5)\n";
    let httpd = case
        .httpd()
        .daemon("threads=2")
        .source("/", "app.wsgi", source)
        .start();
    let status = httpd.get("/").status;
    assert!(matches!(status, 500 | 502 | 503), "{status}");
    let again = httpd.get("/").status;
    assert!(matches!(again, 500 | 502 | 503), "{again}");
    httpd.wait_log("status 5");
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF]);
    let starts = || std::fs::read(httpd.data().join("starts")).map_or(0, |text| text.len());
    assert!(starts() < 6, "{} starts for two requests", starts());
}

fn a_killed_manager_is_replaced(case: &Case) {
    case.needs_ours("it has no manager");
    let httpd = case.httpd().daemon("threads=2").app("state.wsgi").start();
    assert_eq!(httpd.get("/").status, 200);
    let manager = httpd.manager().expect("a manager");
    signal(u64::from(manager.pid), Signal::SIGKILL);
    until("another manager", SLOW, || {
        httpd.manager().is_some_and(|now| now.pid != manager.pid)
    });
    until("answers again", SLOW, || httpd.get("/").status == 200);
    until("one set of workers", SLOW, || httpd.workers().len() == 1);
    httpd.provoked(&[codes::MANAGER, codes::DEATH]);
}

/// R4, R70
fn a_killed_parent_takes_workers_and_manager_along(case: &Case) {
    case.needs_ours("its daemons stay");
    let httpd = case.httpd().daemon("processes=2").app("state.wsgi").start();
    assert_eq!(httpd.get("/").status, 200);
    let mut ours = httpd.workers();
    ours.extend(httpd.manager());
    assert_eq!(ours.len(), 3);
    let children = httpd.children();
    signal(u64::from(httpd.parent().expect("parent").pid), Signal::SIGKILL);
    until("manager and workers to end", SLOW, || {
        ours.iter()
            .all(|p| Process::read(p.pid).is_none_or(|now| now.state == 'Z'))
    });
    // httpd's own children outlive their parent and hold the port: httpd's behaviour, not ours.
    for child in children {
        signal(u64::from(child.pid), Signal::SIGKILL);
    }
    httpd.was_killed();
}

fn a_terminated_worker_finishes_its_request(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=2 shutdown-timeout=20")
        .app("streams.wsgi")
        .start();
    let worker: u64 = httpd.get("/pid").text().parse().expect("pid");
    let mut raw = httpd.raw_get("/slow_compute");
    until("the application to run", SLOW, || {
        httpd.data().join("started").exists()
    });
    signal(worker, Signal::SIGTERM);
    std::fs::write(httpd.data().join("go"), "").expect("go");
    let reply = raw.reply();
    assert_eq!((reply.head.status, reply.body.as_slice()), (200, &b"done"[..]));
    until("the old worker to end", SLOW, || {
        Process::read(worker as u32).is_none_or(|p| p.state == 'Z')
    });
}

fn signal(pid: u64, signal: Signal) {
    Process::read(pid as u32).expect("a process").signal(signal);
}
