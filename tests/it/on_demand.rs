//! Groups that have as many workers as requests need: none until somebody asks, more when requests wait, fewer when nobody does.
//! All of it is ours: the original's daemons start with httpd and stay.

use crate::codes;
use rwsgi_testkit::{
    Builder, Case, Httpd, Load, Process, Raw, Reply, Topic, test, until, with_file_replaced,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        a_group_that_nobody_asks_for_costs_nothing,
        ten_thousand_groups_cost_next_to_nothing,
        first_requests_at_once_start_one_worker,
        requests_that_wait_start_more_workers,
        idle_workers_end_down_to_the_minimum,
        a_request_under_way_keeps_its_worker,
        requests_that_ignore_activity_do_not_keep_a_worker,
        no_request_is_lost_when_idle_workers_end,
        workers_that_come_and_go_under_load_lose_no_request,
        graceful_restarts_under_load_lose_no_request,
        children_keep_no_connections_to_workers_that_have_ended,
        f25_a_worker_that_comes_after_its_client_has_gone_waits_for_another,
        a_worker_that_dies_is_replaced,
        a_group_that_cannot_start_is_tried_only_when_asked_for,
        a_graceful_restart_keeps_what_is_idle_idle,
        a_changed_idle_timeout_replaces_no_worker,
        f42_idle_workers_make_room_when_the_machine_has_little_memory,
    ]);
}

const SLOW: Duration = Duration::from_secs(25);

fn ours(case: &Case, options: &str) -> Builder {
    case.needs_ours("its daemons start with httpd and stay");
    case.httpd().daemon(options).app("life.wsgi")
}

fn pid(httpd: &Httpd, path: &str) -> u32 {
    let reply = httpd.get(path);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().parse().expect("pid")
}

fn is_gone(pid: u32) -> bool {
    Process::read(pid).is_none_or(|p| p.state == 'Z')
}

fn pass_time(length: Duration) {
    let since = Instant::now();
    until("a while", SLOW, || since.elapsed() > length);
}

/// F25: what nobody waits for any more starts no startup-timeout.
fn f25_a_worker_that_comes_after_its_client_has_gone_waits_for_another(case: &Case) {
    case.needs_ours("its workers do not come when they are asked for");
    let group = |n| {
        format!(
            "WSGIDaemonProcess g{n} min-processes=0 queue-timeout=1 startup-timeout=3\n\
             WSGIScriptAlias /g{n} @SCRIPTS@/life.wsgi process-group=g{n}\n"
        )
    };
    let httpd = case
        .httpd()
        .bare()
        .script("life.wsgi")
        .conf("WSGIMaxWorkers 1")
        .conf(&(0..2).map(group).collect::<String>())
        .start();
    let mut busy = httpd.raw_get("/g0/wait");
    until("the application to run", SLOW, || {
        httpd.data().join("started").exists()
    });
    let before = httpd.workers()[0].pid;
    assert_eq!(httpd.get("/g1/pid").status, 503);
    httpd.wait_log("RW0330");
    std::fs::write(httpd.data().join("go"), "").expect("go");
    assert_eq!(busy.reply().head.status, 200);
    let mut worker = before;
    until("a worker of the other group", SLOW, || {
        worker = httpd.workers().first().map_or(before, |w| w.pid);
        worker != before
    });
    pass_time(Duration::from_secs(4));
    assert_eq!(pid(&httpd, "/g1/pid"), worker);
}

/// How many workers have been started so far.
fn starts(httpd: &Httpd) -> usize {
    httpd.log_with(" starts for process group ").len()
}

/// Starts `count` requests, of which `running` are under way when this returns.
fn occupy(httpd: &Httpd, count: usize, running: usize) -> Vec<Raw> {
    let raws = (0..count).map(|_| httpd.raw_get("/wait")).collect();
    let begun = || std::fs::read(httpd.data().join("started")).map_or(0, |text| text.len());
    until("the requests to run", SLOW, || begun() >= running);
    raws
}

fn release(httpd: &Httpd, raws: Vec<Raw>) {
    std::fs::write(httpd.data().join("go"), "").expect("go");
    for mut raw in raws {
        let reply = raw.reply();
        assert_eq!((reply.head.status, reply.body.as_slice()), (200, &b"done"[..]));
    }
}

fn until_workers(httpd: &Httpd, count: usize) {
    until(&format!("{count} workers"), SLOW, || {
        httpd.workers().len() == count
    });
}

fn a_group_that_nobody_asks_for_costs_nothing(case: &Case) {
    case.needs_ours("its daemons start with httpd");
    // Both groups at the alias, and an import: elsewhere that means a worker at start.
    let httpd = case
        .httpd()
        .bare()
        .script("life.wsgi")
        .conf("WSGIDaemonProcess a min-processes=0 processes=2\nWSGIDaemonProcess b processes=1 min-processes=1")
        .conf("WSGIScriptAlias /a @SCRIPTS@/life.wsgi process-group=a application-group=%{GLOBAL}")
        .conf("WSGIImportScript @SCRIPTS@/life.wsgi process-group=a application-group=%{GLOBAL}")
        .conf("WSGIScriptAlias /b @SCRIPTS@/life.wsgi process-group=b application-group=%{GLOBAL}")
        .start();
    until_workers(&httpd, 1);
    let sockets = || httpd.pool_sockets().len();
    assert_eq!(sockets(), 1, "that of b");
    assert_eq!(httpd.get("/a").status, 200);
    assert_eq!((httpd.workers().len(), sockets()), (2, 2));
    assert_eq!(starts(&httpd), 2);
}

/// R67, F40
fn ten_thousand_groups_cost_next_to_nothing(case: &Case) {
    case.needs_ours("it starts them all");
    let group = |n| {
        format!(
            "WSGIDaemonProcess g{n} min-processes=0 display-name=%{{GROUP}}\n\
             WSGIScriptAlias /g{n} @SCRIPTS@/life.wsgi process-group=g{n}\n"
        )
    };
    let httpd = case
        .httpd()
        .bare()
        .script("life.wsgi")
        .conf(&(0..10_000).map(group).collect::<String>())
        .start();
    let manager = || httpd.manager().expect("a manager");
    let before = manager().descriptors();
    assert_eq!(httpd.get("/g7777/pid").status, 200);
    assert_eq!((httpd.workers().len(), httpd.pool_sockets().len()), (1, 1));
    for _ in 0..3 {
        httpd.graceful();
    }
    assert_eq!(httpd.workers().len(), 1);
    let (peak, descriptors) = (manager().peak_kib(), manager().descriptors());
    assert!(peak < 48 << 10, "the manager needed {peak} KiB");
    // A socket, and three for the worker.
    assert!(
        descriptors <= before + 5,
        "{before} descriptors, then {descriptors}"
    );
}

/// R60, F56: they cause one start.
fn first_requests_at_once_start_one_worker(case: &Case) {
    let httpd = ours(case, "min-processes=0 processes=4 threads=20").start();
    let raws: Vec<Raw> = (0..7).map(|_| httpd.raw_get("/pid")).collect();
    let pids: Vec<Vec<u8>> = raws.into_iter().map(|mut raw| raw.reply().body).collect();
    assert!(
        pids.iter().all(|pid| !pid.is_empty() && *pid == pids[0]),
        "{pids:?}"
    );
    assert_eq!(starts(&httpd), 1);
}

/// F10
fn requests_that_wait_start_more_workers(case: &Case) {
    let httpd = ours(case, "min-processes=0 processes=3 threads=1").start();
    let raws = occupy(&httpd, 5, 3);
    assert_eq!((httpd.workers().len(), starts(&httpd)), (3, 3));
    // There are no more, however long the others wait.
    pass_time(Duration::from_millis(1500));
    assert_eq!((httpd.workers().len(), starts(&httpd)), (3, 3));
    release(&httpd, raws);
}

fn idle_workers_end_down_to_the_minimum(case: &Case) {
    let httpd = ours(case, "min-processes=1 processes=3 threads=1 idle-timeout=1").start();
    let raws = occupy(&httpd, 3, 3);
    release(&httpd, raws);
    until_workers(&httpd, 1);
    pass_time(Duration::from_millis(2500));
    assert_eq!(httpd.workers().len(), 1, "the minimum stays");
    let left = httpd.workers()[0].pid;
    assert_eq!(pid(&httpd, "/pid"), left);
    httpd.wait_log("leaves: no request came for idle-timeout");

    let httpd = ours(case, "min-processes=0 idle-timeout=1").start();
    for _ in 0..2 {
        let worker = pid(&httpd, "/pid");
        until("the worker to end", SLOW, || is_gone(worker));
        until_workers(&httpd, 0);
    }
    assert_eq!(starts(&httpd), 2);
}

fn a_request_under_way_keeps_its_worker(case: &Case) {
    let httpd = ours(case, "min-processes=0 threads=2 idle-timeout=1").start();
    let raws = occupy(&httpd, 1, 1);
    let worker = httpd.workers()[0].pid;
    pass_time(Duration::from_millis(2500));
    assert!(!is_gone(worker));
    release(&httpd, raws);
    until("the worker to end", SLOW, || is_gone(worker));
}

fn requests_that_ignore_activity_do_not_keep_a_worker(case: &Case) {
    let httpd = ours(case, "min-processes=0 idle-timeout=1")
        .conf("<Location /pid>\nWSGIIgnoreActivity On\n</Location>")
        .start();
    let first = pid(&httpd, "/pid");
    until("a worker that is asked all the time to end", SLOW, || {
        pid(&httpd, "/pid") != first
    });
}

/// F7: Clients come back at just the time when the worker ends.
fn no_request_is_lost_when_idle_workers_end(case: &Case) {
    case.needs_ours("its daemons stay");
    let httpd = case
        .httpd()
        .daemon("min-processes=0 processes=2 threads=2 idle-timeout=1")
        .app("numbers.wsgi")
        .start();
    let replies: Mutex<Vec<(String, u16)>> = Mutex::default();
    std::thread::scope(|scope| {
        for client in 0..3 {
            let (httpd, replies) = (&httpd, &replies);
            scope.spawn(move || {
                for round in 0..8 {
                    let number = format!("{client}-{round}");
                    let reply = httpd.get(&format!("/run?{number}"));
                    assert!(reply.status != 200 || reply.text() == number);
                    replies.lock().expect("replies").push((number, reply.status));
                    // About as long as it takes for a worker to be told to end.
                    pass_time(Duration::from_millis(1000 + 30 * round));
                }
            });
        }
    });
    let replies = replies.into_inner().expect("replies");
    let lost: Vec<_> = replies.iter().filter(|(_, status)| *status != 200).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let mut runs: BTreeMap<String, usize> = BTreeMap::new();
    for number in std::fs::read_to_string(httpd.data().join("ledger"))
        .expect("ledger")
        .lines()
    {
        *runs.entry(number.to_owned()).or_insert(0) += 1;
    }
    assert_eq!(runs.len(), replies.len());
    assert!(runs.values().all(|times| *times == 1), "{runs:?}");
    assert!(starts(&httpd) > 2, "workers ended in between");
}

fn is_ok(reply: &Reply) -> bool {
    reply.status == 200
}

fn workers_that_come_and_go_under_load_lose_no_request(case: &Case) {
    let httpd = ours(
        case,
        "min-processes=0 processes=3 threads=1 idle-timeout=1 maximum-requests=7",
    )
    .start();
    for _ in 0..2 {
        let load = Load::start(&httpd, "/compute?milliseconds=5", 4, is_ok);
        load.more(100);
        assert_eq!(load.stop(), Vec::<String>::new());
        until_workers(&httpd, 0);
    }
}

/// F35
fn graceful_restarts_under_load_lose_no_request(case: &Case) {
    let httpd = ours(case, "min-processes=0 processes=3 threads=1 idle-timeout=1").start();
    let load = Load::start(&httpd, "/compute?milliseconds=5", 3, is_ok);
    for round in 0..3 {
        load.more(30);
        // Once the same, once with other workers.
        httpd.rewrite_conf(|text| match round {
            1 => text.replace("threads=1", "threads=2"),
            _ => text,
        });
        httpd.graceful();
    }
    load.more(30);
    assert_eq!(load.stop(), Vec::<String>::new());
    until_workers(&httpd, 0);
}

fn children_keep_no_connections_to_workers_that_have_ended(case: &Case) {
    case.needs_ours("its connections end with each request");
    let group = |n| {
        format!(
            "WSGIDaemonProcess g{n} min-processes=0\n\
             WSGIScriptAlias /g{n} @SCRIPTS@/life.wsgi process-group=g{n}\n"
        )
    };
    let httpd = case
        .httpd()
        .bare()
        .children(1)
        .script("life.wsgi")
        .conf("WSGIMaxWorkers 1")
        .conf(&(0..12).map(group).collect::<String>())
        .start();
    for n in 0..12 {
        assert_eq!(httpd.get(&format!("/g{n}/pid")).status, 200);
    }
    let sockets = |child: &Process| {
        let all = child.descriptor_targets();
        all.iter().filter(|(_, to)| to.starts_with("socket:")).count()
    };
    let most = httpd.children().iter().map(sockets).max();
    assert!(most < Some(10), "{most:?} sockets in a child, after 12 workers");
}

fn a_worker_that_dies_is_replaced(case: &Case) {
    let httpd = ours(case, "min-processes=0 processes=2").start();
    let first = pid(&httpd, "/pid");
    Process::read(first)
        .expect("worker")
        .signal(rwsgi_testkit::Signal::SIGKILL);
    until("its successor", SLOW, || {
        httpd.workers().first().is_some_and(|worker| worker.pid != first)
    });
    assert_ne!(pid(&httpd, "/pid"), first);
    httpd.provoked(&[codes::DEATH]);
}

fn a_group_that_cannot_start_is_tried_only_when_asked_for(case: &Case) {
    case.needs_ours("its daemons start with httpd");
    let httpd = case
        .httpd()
        .bare()
        .script("life.wsgi")
        .file("venv/pyvenv.cfg", "home = /usr/bin\n")
        .file("venv/bin/python3", "#!/bin/sh\nexit 5\n")
        .conf("WSGIDaemonProcess site min-processes=0 python-home=@ROOT@/venv")
        .conf("WSGIProcessGroup site\nWSGIScriptAlias / @SCRIPTS@/life.wsgi")
        .start();
    let program = httpd.root().join("venv/bin/python3");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(program, mode).expect("chmod");
    let refused = |reply: &Reply| reply.status == 503 && reply.header("retry-after").is_some();
    assert!(refused(&httpd.get("/pid")));
    // While it is held back the answer is at hand: a child waits for the manager's for four seconds.
    let since = Instant::now();
    assert!(refused(&httpd.get("/pid")));
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    let tried = starts(&httpd);
    pass_time(Duration::from_millis(3500));
    assert!(starts(&httpd) <= tried + 1, "nobody has asked since");
    httpd.provoked(&[codes::BACK_OFF]);
}

fn a_graceful_restart_keeps_what_is_idle_idle(case: &Case) {
    let httpd = ours(case, "min-processes=0 processes=2 idle-timeout=60")
        .conf("WSGIDaemonProcess other min-processes=0\nWSGIScriptAlias /other @SCRIPTS@/life.wsgi process-group=other")
        .start();
    httpd.graceful();
    assert_eq!(httpd.workers().len(), 0, "nobody has asked");
    let worker = pid(&httpd, "/pid");
    for _ in 0..2 {
        httpd.graceful();
        assert_eq!(pid(&httpd, "/pid"), worker);
    }
    assert_eq!(starts(&httpd), 1);
}

fn a_changed_idle_timeout_replaces_no_worker(case: &Case) {
    let httpd = ours(case, "min-processes=0 processes=2 idle-timeout=60").start();
    let worker = pid(&httpd, "/pid");
    httpd.rewrite_conf(|text| text.replace("idle-timeout=60", "idle-timeout=1"));
    httpd.graceful();
    until("the worker to end", SLOW, || is_gone(worker));
    httpd.wait_log("leaves: no request came for idle-timeout");
    assert_eq!(starts(&httpd), 1);
}

/// F42: for who is wanted, and nobody is turned away when nobody is idle.
fn f42_idle_workers_make_room_when_the_machine_has_little_memory(case: &Case) {
    case.needs_ours("its daemons start with httpd and stay");
    case.needs_root();
    const SCARCE: &str =
        "MemTotal:       4000000 kB\nMemFree:          10000 kB\nMemAvailable:    150000 kB\n";
    with_file_replaced(Path::new("/proc/meminfo"), SCARCE, || {
        let group = |n| {
            format!(
                "WSGIDaemonProcess g{n} min-processes=0 threads=1\n\
                 WSGIScriptAlias /g{n} @SCRIPTS@/life.wsgi process-group=g{n}\n"
            )
        };
        let httpd = case
            .httpd()
            .bare()
            .script("life.wsgi")
            .log_level("info rwsgi:debug")
            .conf(&(0..3).map(group).collect::<String>())
            .start();
        let first = pid(&httpd, "/g0/pid");
        until("it to be idle", SLOW, || {
            !httpd.log_with(&format!("worker {first} is idle")).is_empty()
        });
        let mut busy = httpd.raw_get("/g1/wait");
        until("the idle one to make room", SLOW, || is_gone(first));
        httpd.wait_log("leaves: it was idle, and another application needs a worker");
        until("the request to run", SLOW, || {
            httpd.data().join("started").exists()
        });
        let third = pid(&httpd, "/g2/pid");
        assert_eq!(httpd.workers().len(), 2, "worker {third} beside the busy one");
        std::fs::write(httpd.data().join("go"), "").expect("go");
        assert_eq!(busy.reply().head.status, 200);
    });
}
