//! Restarts and changed configurations, with and without traffic.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Load, Process, Reply, Signal, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        graceful_restart_serves_on,
        full_restart_serves_on,
        stop_leaves_nothing,
        stop_ends_requests_under_way_in_time,
        graceful_restart_finishes_requests_under_way,
        a_changed_configuration_is_in_force_after_a_graceful_restart,
        one_process_serves_by_itself,
    ]);
    topic.daemon(test![
        stop_leaves_no_process_to_init,
        stop_waits_for_workers_that_take_all_their_time,
        graceful_restart_under_load_loses_no_request,
        graceful_restart_keeps_workers_whose_settings_did_not_change,
        graceful_restart_replaces_workers_whose_settings_changed,
        a_group_that_is_gone_from_the_configuration_ends,
    ]);
}

const SLOW: Duration = Duration::from_secs(15);

fn pid(httpd: &Httpd) -> u64 {
    httpd.get("/").json()["pid"].as_u64().expect("pid")
}

fn is_ok(reply: &Reply) -> bool {
    reply.status == 200
}

fn graceful_restart_serves_on(case: &Case) {
    let httpd = case.httpd().app("state.wsgi").start();
    for _ in 0..3 {
        assert_eq!(httpd.get("/").status, 200);
        httpd.graceful();
    }
    assert_eq!(httpd.get("/").status, 200);
}

fn full_restart_serves_on(case: &Case) {
    let httpd = case.httpd().app("state.wsgi").start();
    for _ in 0..3 {
        assert_eq!(httpd.get("/").status, 200);
        httpd.restart();
    }
    assert_eq!(httpd.get("/").status, 200);
}

/// R70, N5, F37
fn stop_leaves_nothing(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("processes=3 threads=2")
        .app("state.wsgi")
        .start();
    assert_eq!(httpd.get("/").status, 200);
    httpd.stop(); // counts processes and sockets
    let run: Vec<_> = std::fs::read_dir(httpd.root().join("run"))
        .expect("run")
        .flatten()
        .map(|e| e.path())
        .collect();
    assert!(
        run.is_empty() || case.theirs(),
        "the runtime directory is empty again: {run:?}"
    );
}

/// Not every container has an init that reaps.
fn stop_leaves_no_process_to_init(case: &Case) {
    case.needs_ours("it has no such processes");
    let httpd = case.httpd().app("state.wsgi").start();
    assert_eq!(httpd.get("/").status, 200);
    let ours = [httpd.keeper(), httpd.manager()].map(|one| one.expect("keeper and manager").pid);
    let scribes = httpd.scribes();
    assert!(!scribes.is_empty());
    httpd.parent().expect("httpd").signal(Signal::SIGTERM);
    for scribe in scribes {
        until("who writes logs to end", SLOW, || {
            let now = Process::read(scribe.pid);
            assert!(
                now.as_ref().is_none_or(|now| ours.contains(&now.parent)),
                "{now:?}"
            );
            now.is_none()
        });
    }
    httpd.was_killed();
}

fn graceful_restart_finishes_requests_under_way(case: &Case) {
    if case.theirs() && !case.embedded() {
        case.skip("not for the original: it ends its daemons at a graceful restart");
    }
    let httpd = case.httpd().app("streams.wsgi").start();
    let mut raw = httpd.raw_get("/slow_compute");
    until("the application to run", SLOW, || {
        httpd.data().join("started").exists()
    });
    httpd.graceful();
    std::fs::write(httpd.data().join("go"), "").expect("go");
    let reply = raw.reply();
    assert_eq!((reply.head.status, reply.body.as_slice()), (200, &b"done"[..]));
}

fn a_changed_configuration_is_in_force_after_a_graceful_restart(case: &Case) {
    let httpd = case.httpd().app("hello.wsgi").start();
    assert_eq!(httpd.get("/").text(), "Hello World!\n");
    httpd.rewrite_conf(|text| format!("{text}\nWSGICallableObject other\n"));
    httpd.graceful();
    until("the new configuration", SLOW, || {
        httpd.get("/").text() == "the other callable\n"
    });
}

fn graceful_restart_under_load_loses_no_request(case: &Case) {
    case.needs_ours("its old children lose their daemons at a graceful restart");
    let httpd = case
        .httpd()
        .daemon("processes=2 threads=2")
        .app("state.wsgi")
        .start();
    let load = Load::start(&httpd, "/", 3, is_ok);
    for _ in 0..3 {
        load.more(50);
        httpd.graceful();
    }
    load.more(50);
    assert_eq!(load.stop(), Vec::<String>::new());
}

/// F35
fn graceful_restart_keeps_workers_whose_settings_did_not_change(case: &Case) {
    case.needs_ours("it replaces all daemons");
    let httpd = case.httpd().daemon("threads=2").app("state.wsgi").start();
    let before = pid(&httpd);
    for _ in 0..3 {
        httpd.graceful();
        assert_eq!(pid(&httpd), before);
    }
    httpd.restart();
    assert_eq!(pid(&httpd), before, "a full restart does so, too");
    assert!(
        httpd.get("/").json()["count"].as_u64() > Some(3),
        "the same interpreter"
    );
}

/// F35
fn graceful_restart_replaces_workers_whose_settings_changed(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("umask=0022 threads=2")
        .app("state.wsgi")
        .start();
    let before = pid(&httpd);
    httpd.rewrite_conf(|text| text.replace("umask=0022", "umask=0027"));
    httpd.graceful();
    until("a new worker", SLOW, || pid(&httpd) != before);
    until("the old worker to end", SLOW, || {
        Process::read(before as u32).is_none_or(|p| p.state == 'Z')
    });
}

/// F37
fn stop_ends_requests_under_way_in_time(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=2 shutdown-timeout=2")
        .app("streams.wsgi")
        .start();
    let _raw = httpd.raw_get("/slow_compute");
    until("the application to run", SLOW, || {
        httpd.data().join("started").exists()
    });
    let start = std::time::Instant::now();
    httpd.provoked(&[codes::DEATH, &["RW0454", "RW0612", "RW0622"]]);
    // httpd itself insists after two seconds when a child in embedded mode waits for its request.
    httpd.announce("AH0004");
    httpd.announce_traceback();
    httpd.stop();
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

/// F37: systemd kills whoever is left when httpd's parent has ended.
fn stop_waits_for_workers_that_take_all_their_time(case: &Case) {
    case.needs_ours("its daemons are httpd's own children");
    let source = "import atexit, time\natexit.register(time.sleep, 3600)\n\
        def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'ok']\n";
    let httpd = case
        .httpd()
        .daemon("threads=1 shutdown-timeout=6")
        .source("/", "app.wsgi", source)
        .start();
    assert_eq!(httpd.get("/").text(), "ok");
    httpd.provoked(&[codes::DEATH, &["RW0454", "RW0612", "RW0622"]]);
    httpd.announce_traceback();
    let parent = httpd.parent().expect("httpd");
    let mut ours = httpd.workers();
    ours.extend(httpd.manager());
    ours.extend(httpd.keeper());
    assert_eq!(ours.len(), 3);
    let is_gone = |p: &Process| Process::read(p.pid).is_none_or(|now| now.state == 'Z');
    parent.signal(Signal::SIGTERM);
    until("httpd to end", SLOW, || is_gone(&parent));
    assert!(ours.iter().all(is_gone), "{ours:?}");
}

fn a_group_that_is_gone_from_the_configuration_ends(case: &Case) {
    let httpd = case
        .httpd()
        .script("state.wsgi")
        .conf("WSGIDaemonProcess other threads=1")
        .conf("WSGIScriptAlias /other @SCRIPTS@/state.wsgi process-group=other")
        .conf("WSGIScriptAlias / @SCRIPTS@/state.wsgi")
        .start();
    let other = httpd.get("/other").json()["pid"].as_u64().expect("pid");
    let stays = pid(&httpd);
    httpd.rewrite_conf(|text| {
        let keep = |line: &&str| {
            !line.contains("process-group=other") && !line.starts_with("WSGIDaemonProcess other")
        };
        text.lines()
            .filter(keep)
            .map(|line| format!("{line}\n"))
            .collect()
    });
    httpd.graceful();
    until("its worker to end", SLOW, || {
        Process::read(other as u32).is_none_or(|p| p.state == 'Z')
    });
    assert!(
        case.theirs() || pid(&httpd) == stays,
        "the other group's worker stays"
    );
}

/// `httpd -X`, as one runs it below a debugger: the parent serves. Beside the httpd of this test, with its configuration.
fn one_process_serves_by_itself(case: &Case) {
    if case.theirs() && !case.embedded() {
        case.skip("not for the original: it leaves the socket of its daemon");
    }
    let httpd = case.httpd().app("state.wsgi").start();
    let root = httpd.root();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port();
    let conf = std::fs::read_to_string(root.join("httpd.conf")).expect("httpd.conf");
    let conf = conf
        .replace(&httpd.port().to_string(), &port.to_string())
        .replace("httpd.pid", "one.pid")
        .replace("error.log", "one.log");
    std::fs::write(root.join("one.conf"), conf).expect("one.conf");
    let parent = httpd.parent().expect("httpd").pid;
    let program = std::fs::read_link(format!("/proc/{parent}/exe")).expect("httpd's program");
    let mut one = std::process::Command::new(program)
        .arg("-X")
        .arg("-f")
        .arg(root.join("one.conf"))
        .spawn()
        .expect("httpd -X");
    let get = || {
        let url = format!("http://127.0.0.1:{port}/");
        let curl = std::process::Command::new("curl")
            .args(["-s", "--max-time", "9", "-w", "%{http_code}", &url])
            .output();
        String::from_utf8_lossy(&curl.expect("curl").stdout).into_owned()
    };
    let start = std::time::Instant::now();
    let mut answers = Vec::new();
    while answers.len() < 3 && start.elapsed() < SLOW {
        let answer = get();
        if answer != "000" {
            answers.push(answer);
        }
    }
    Process::read(one.id()).expect("httpd -X").signal(Signal::SIGTERM);
    one.wait().expect("httpd -X ends");
    assert_eq!(answers.len(), 3);
    assert!(
        answers.iter().all(|answer| answer.ends_with("200")),
        "{answers:?}"
    );
    let log = std::fs::read_to_string(root.join("one.log")).expect("one.log");
    let is_bad = |line: &&str| line.contains(":warn]") || line.contains(":error]");
    assert_eq!(log.lines().find(is_bad), None);
}
