//! When workers are replaced, and that nobody waits for the wrong one: ages, idleness, signals, Python's lock.

use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Load, Process, Reply, Signal, Topic, test, until, until_some};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        restart_interval_replaces_a_worker,
        workers_that_are_replaced_under_load_lose_no_request,
        inactivity_timeout_replaces_a_worker_that_was_used,
        requests_keep_a_worker_from_being_inactive,
        requests_that_ignore_activity_do_not,
        startup_timeout_replaces_a_worker_that_does_not_load_its_script,
        a_script_that_loads_ends_the_startup_timeout,
        f25_who_waits_for_a_long_start_is_told_when_to_come_again,
        f25_who_waits_for_the_first_load_is_told_when_to_come_again,
        deadlock_timeout_replaces_a_worker_whose_lock_is_kept,
        f09_while_pythons_lock_is_kept_requests_go_to_another_worker,
        a_stopped_worker_is_replaced,
        sigusr1_ends_an_idle_worker,
        sigusr1_waits_for_requests_under_way,
        eviction_timeout_limits_that,
        sigint_ends_a_worker_as_sigterm_does,
        sighup_and_sigusr2_do_not_end_a_worker,
        limits_hold_each_by_itself,
    ]);
}

const SLOW: Duration = Duration::from_secs(25);

fn life(case: &Case, options: &str) -> Builder {
    case.httpd().daemon(options).app("life.wsgi")
}

fn pid(httpd: &Httpd) -> u32 {
    let reply = httpd.get("/pid");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().parse().expect("pid")
}

fn signal(pid: u32, signal: Signal) {
    Process::read(pid).expect("worker").signal(signal);
}

fn is_gone(pid: u32) -> bool {
    Process::read(pid).is_none_or(|p| p.state == 'Z')
}

/// The process ends, and another one answers.
fn replaced(httpd: &Httpd, old: u32) {
    until("the worker to end", SLOW, || is_gone(old));
    until("another worker to answer", SLOW, || {
        let reply = httpd.get("/pid");
        reply.status == 200 && reply.text() != old.to_string()
    });
}

/// Starts a request that lasts until `release`.
fn occupy(httpd: &Httpd) -> rwsgi_testkit::Raw {
    let raw = httpd.raw_get("/wait");
    until("the application to run", SLOW, || {
        httpd.data().join("started").exists()
    });
    raw
}

fn release(httpd: &Httpd) {
    std::fs::write(httpd.data().join("go"), "").expect("go");
}

fn pass_time(length: Duration) {
    let since = Instant::now();
    until("a while", SLOW, || since.elapsed() > length);
}

fn restart_interval_replaces_a_worker(case: &Case) {
    let httpd = life(case, "threads=2 restart-interval=1").start();
    replaced(&httpd, pid(&httpd));
}

fn is_ok(reply: &Reply) -> bool {
    reply.status == 200
}

fn workers_that_are_replaced_under_load_lose_no_request(case: &Case) {
    case.needs_ours("what its daemons have accepted when they end is lost now and then");
    for options in [
        "processes=1 threads=2 maximum-requests=5",
        "processes=2 threads=2 restart-interval=1",
        "processes=2 threads=2 cpu-time-limit=1",
    ] {
        let httpd = life(case, options).start();
        let first = pid(&httpd);
        let load = Load::start(&httpd, "/compute?milliseconds=5", 3, is_ok);
        load.more(100);
        until("the first worker to be replaced", SLOW, || is_gone(first));
        load.more(50);
        assert_eq!(load.stop(), Vec::<String>::new(), "{options}");
    }
}

fn inactivity_timeout_replaces_a_worker_that_was_used(case: &Case) {
    let httpd = life(case, "threads=2 inactivity-timeout=1").start();
    let used = pid(&httpd);
    until("the worker to end", SLOW, || is_gone(used));
    let fresh = || httpd.workers().first().map(|worker| worker.pid);
    // Looked at once: while it becomes a Python it is none for a moment.
    let mut successor = None;
    until("its successor", SLOW, || {
        successor = fresh();
        successor.is_some_and(|pid| pid != used)
    });
    // That one has had no request, and stays.
    pass_time(Duration::from_millis(2500));
    assert_eq!(fresh(), successor);
}

fn requests_keep_a_worker_from_being_inactive(case: &Case) {
    let httpd = life(case, "threads=2 inactivity-timeout=4").start();
    let first = pid(&httpd);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(6) {
        assert_eq!(pid(&httpd), first);
    }
    // One that lasts longer than the limit is activity as well.
    let mut raw = occupy(&httpd);
    pass_time(Duration::from_secs(5));
    release(&httpd);
    assert_eq!(raw.reply().body, b"done");
}

fn requests_that_ignore_activity_do_not(case: &Case) {
    let httpd = life(case, "threads=2 inactivity-timeout=1")
        .conf("<Location /pid>\nWSGIIgnoreActivity On\n</Location>")
        .start();
    assert_eq!(httpd.get("/limits").status, 200);
    let first = pid(&httpd);
    until("a worker that is asked all the time to be replaced", SLOW, || {
        let reply = httpd.get("/pid");
        reply.status == 200 && reply.text() != first.to_string()
    });
}

/// A script whose loading takes until `go` is there.
const SLOW_TO_LOAD: &str = "import os, time\n\
    data = __file__.replace('scripts/app.wsgi', 'data/')\n\
    open(data + 'started', 'w').close()\n\
    while not os.path.exists(data + 'go'):\n    time.sleep(0.01)\n\
    def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'%d' % os.getpid()]\n";

/// F25
fn startup_timeout_replaces_a_worker_that_does_not_load_its_script(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=2 startup-timeout=1 shutdown-timeout=1")
        .source("/", "app.wsgi", SLOW_TO_LOAD)
        .start();
    let reply = httpd.get("/");
    // The original ends the process: its client sees the worker die.
    assert_eq!(reply.status, if case.theirs() { 502 } else { 503 });
    if !case.theirs() {
        assert_eq!(reply.header("retry-after"), Some("5"));
        httpd.wait_log("RW0701");
        httpd.wait_log("in <module>");
        httpd.announce_traceback();
    }
    release(&httpd);
    until("the next worker to load it", SLOW, || {
        httpd.get("/").status == 200
    });
    httpd.provoked(&[codes::LIFE, codes::FORCE]);
}

/// F25
fn a_script_that_loads_ends_the_startup_timeout(case: &Case) {
    let httpd = life(case, "threads=2 startup-timeout=2").start();
    let first = pid(&httpd);
    pass_time(Duration::from_secs(4));
    assert_eq!(pid(&httpd), first);
}

/// Asks once, and is turned away after its `queue-timeout` of a second.
fn is_to_come_again(httpd: &Httpd) {
    let since = Instant::now();
    let reply = httpd.get("/");
    assert_eq!(reply.status, 503, "{}", reply.text());
    let seconds = reply.header("retry-after").and_then(|text| text.parse().ok());
    assert!(
        seconds.is_some_and(|seconds: u32| (2..40).contains(&seconds)),
        "{seconds:?}"
    );
    let took = since.elapsed();
    assert!(
        took >= Duration::from_millis(800) && took < Duration::from_secs(9),
        "{took:?}"
    );
}

/// F25
fn f25_who_waits_for_a_long_start_is_told_when_to_come_again(case: &Case) {
    case.needs_ours("its requests wait in the daemon, which cannot say anything");
    let httpd = case
        .httpd()
        .daemon("threads=2 queue-timeout=1")
        .source("/", "app.wsgi", SLOW_TO_LOAD)
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .conf("WSGIImportScript @SCRIPTS@/app.wsgi process-group=site application-group=%{GLOBAL}")
        .start();
    until("the start", SLOW, || httpd.data().join("started").exists());
    let starting: Vec<u32> = httpd.workers().iter().map(|worker| worker.pid).collect();
    for _ in 0..2 {
        is_to_come_again(&httpd);
    }
    httpd.wait_log("RW0330");
    // The start has gone on.
    release(&httpd);
    until("it to serve", SLOW, || httpd.get("/").status == 200);
    assert_eq!(starting, [pid_of(&httpd)]);
}

/// F25
fn f25_who_waits_for_the_first_load_is_told_when_to_come_again(case: &Case) {
    case.needs_ours("its requests wait in the daemon, which cannot say anything");
    let httpd = case
        .httpd()
        .daemon("threads=1 queue-timeout=1")
        .source("/", "app.wsgi", SLOW_TO_LOAD)
        .start();
    let mut first = httpd.raw_get("/");
    until("the load", SLOW, || httpd.data().join("started").exists());
    is_to_come_again(&httpd);
    httpd.wait_log("RW0330");
    // The request that has begun it is the worker's, and is served.
    release(&httpd);
    assert_eq!(first.reply().head.status, 200);
    until("it to serve", SLOW, || httpd.get("/").status == 200);
}

fn pid_of(httpd: &Httpd) -> u32 {
    httpd.get("/").text().parse().expect("pid")
}

/// F9
fn deadlock_timeout_replaces_a_worker_whose_lock_is_kept(case: &Case) {
    let httpd = life(case, "threads=3 deadlock-timeout=1 shutdown-timeout=1").start();
    let first = pid(&httpd);
    let reply = httpd.get("/keep_the_lock");
    assert_eq!(reply.status, if case.theirs() { 502 } else { 504 });
    replaced(&httpd, first);
    if !case.theirs() {
        httpd.wait_log("RW0700");
        // The stack of the thread that keeps it, though nothing could take it.
        httpd.wait_log("in keep_the_lock");
        httpd.announce_traceback();
    }
    httpd.provoked(&[codes::LIFE, codes::FORCE]);
}

/// F9: a worker sees it after a tenth of deadlock-timeout, and takes part again when it is over.
fn f09_while_pythons_lock_is_kept_requests_go_to_another_worker(case: &Case) {
    case.needs_ours("it takes what comes");
    let httpd = life(case, "processes=2 threads=2 deadlock-timeout=10").start();
    let mut keeper = httpd.raw_get("/keep_the_lock?seconds=8");
    let line = until_some("it to be seen", SLOW, || {
        httpd
            .log_with(" takes no new requests: nothing could take Python's lock")
            .pop()
    });
    let raws: Vec<_> = (0..8).map(|_| httpd.raw_get("/pid")).collect();
    for mut raw in raws {
        let reply = raw.reply();
        assert_eq!(reply.head.status, 200);
        let pid = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(
            !line.text.contains(&format!("worker {pid} takes")),
            "{}",
            line.text
        );
    }
    assert!(httpd.log_with(" takes requests again").is_empty());
    assert_eq!(keeper.reply().head.status, 200);
    until("it to take part again", SLOW, || {
        !httpd.log_with(" takes requests again").is_empty()
    });
}

/// F12
fn a_stopped_worker_is_replaced(case: &Case) {
    case.needs_ours("it has nobody outside of the process who would see that");
    let httpd = life(case, "threads=2 deadlock-timeout=1").start();
    let first = pid(&httpd);
    signal(first, Signal::SIGSTOP);
    until("the worker to stand still", SLOW, || {
        Process::read(first).is_none_or(|worker| worker.stands_still())
    });
    let reply = httpd.get("/pid");
    // The request had not begun when the worker was killed: its successor answers.
    assert_eq!(reply.status, 200);
    assert_ne!(reply.text(), first.to_string());
    httpd.wait_log("no sign of life");
    httpd.provoked(&[codes::DEATH]);
}

fn sigusr1_ends_an_idle_worker(case: &Case) {
    let httpd = life(case, "threads=2").start();
    let first = pid(&httpd);
    signal(first, Signal::SIGUSR1);
    replaced(&httpd, first);
}

fn sigusr1_waits_for_requests_under_way(case: &Case) {
    let httpd = life(case, "threads=2 graceful-timeout=20").start();
    let first = pid(&httpd);
    let mut raw = occupy(&httpd);
    signal(first, Signal::SIGUSR1);
    if !case.theirs() {
        // The original goes on accepting, and so would never be idle under load.
        until("its successor to answer", SLOW, || pid(&httpd) != first);
    }
    assert!(!is_gone(first));
    release(&httpd);
    assert_eq!(raw.reply().body, b"done");
    replaced(&httpd, first);
}

/// F11, F23
fn eviction_timeout_limits_that(case: &Case) {
    let httpd = life(
        case,
        "threads=2 graceful-timeout=60 eviction-timeout=1 shutdown-timeout=1",
    )
    .start();
    let first = pid(&httpd);
    let mut raw = occupy(&httpd);
    signal(first, Signal::SIGUSR1);
    until("the worker to end", SLOW, || is_gone(first));
    let status = raw.try_head().map(|head| head.status);
    assert_eq!(status, Some(502));
    httpd.announce_traceback();
    httpd.provoked(&[codes::DEATH, codes::FORCE]);
}

fn sigint_ends_a_worker_as_sigterm_does(case: &Case) {
    for signalled in [Signal::SIGINT, Signal::SIGTERM] {
        let httpd = life(case, "threads=2").start();
        let first = pid(&httpd);
        signal(first, signalled);
        replaced(&httpd, first);
    }
}

fn sighup_and_sigusr2_do_not_end_a_worker(case: &Case) {
    let httpd = life(case, "threads=2").start();
    let first = pid(&httpd);
    for signalled in [Signal::SIGHUP, Signal::SIGUSR2] {
        signal(first, signalled);
        pass_time(Duration::from_millis(300));
        assert_eq!(pid(&httpd), first);
    }
}

/// R68
fn limits_hold_each_by_itself(case: &Case) {
    case.needs_ours("with deadlock-timeout=0 and without inactivity-timeout it enforces none of them");
    let httpd = life(case, "threads=2 deadlock-timeout=0 restart-interval=1").start();
    replaced(&httpd, pid(&httpd));
    let httpd = life(
        case,
        "threads=1 deadlock-timeout=0 request-timeout=1 shutdown-timeout=1",
    )
    .start();
    assert_eq!(httpd.get("/wait").status, 504);
    httpd.announce_traceback();
    httpd.provoked(&[codes::FORCE]);
}
