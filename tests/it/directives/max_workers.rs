//! `WSGIMaxWorkers`: a ceiling for all groups together, under which the worker that was idle for longest makes room.

use super::{accepts, misplaced, refuses};
use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Process, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        max_workers_is_a_number,
        max_workers_is_for_the_whole_server,
        max_workers_leaves_room_for_every_group,
    ]);
    topic.daemon(test![
        the_worker_that_was_idle_for_longest_makes_room,
        a_busy_worker_does_not_and_clients_are_told_when_to_come_back,
        a_request_waits_for_a_worker_that_becomes_idle,
        many_first_requests_at_once_are_all_answered,
        a_worker_and_its_successor_count_as_one,
        a_group_of_fixed_size_is_complete_when_there_is_room,
        a_changed_group_finds_room_for_its_new_workers,
    ]);
}

const SLOW: Duration = Duration::from_secs(40);
const WHY: &str = "it has no such directive";

fn max_workers_is_a_number(case: &Case) {
    case.needs_ours(WHY);
    refuses(
        case,
        &[
            ("WSGIMaxWorkers", &["one argument"]),
            ("WSGIMaxWorkers many", &["'many'", "digits only"]),
            ("WSGIMaxWorkers -1", &["'-1'"]),
        ],
    );
    accepts(case, &["WSGIMaxWorkers 0"]);
}

fn max_workers_is_for_the_whole_server(case: &Case) {
    case.needs_ours(WHY);
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIMaxWorkers 5\n</VirtualHost>"],
    );
}

fn max_workers_leaves_room_for_every_group(case: &Case) {
    case.needs_ours(WHY);
    refuses(
        case,
        &[
            (
                "WSGIMaxWorkers 2\nWSGIDaemonProcess g processes=3",
                &["WSGIMaxWorkers 2", "3 workers", "min-processes"],
            ),
            (
                "WSGIMaxWorkers 1\nWSGIDaemonProcess g processes=3 min-processes=2",
                &["WSGIMaxWorkers 1", "2 workers"],
            ),
        ],
    );
    accepts(
        case,
        &[
            "WSGIMaxWorkers 1",
            "WSGIDaemonProcess g processes=3 min-processes=0",
        ],
    );
}

/// Groups `g0` and on, each with an application at `/g0` and on.
fn groups(case: &Case, count: usize, most: usize, options: &str) -> Builder {
    case.needs_ours(WHY);
    let one = |n| {
        format!(
            "WSGIDaemonProcess g{n} {options}\n\
             WSGIScriptAlias /g{n} @SCRIPTS@/life.wsgi process-group=g{n}\n"
        )
    };
    case.httpd()
        .bare()
        .script("life.wsgi")
        .conf(&format!("WSGIMaxWorkers {most}"))
        .conf(&(0..count).map(one).collect::<String>())
}

fn pid(httpd: &Httpd, group: usize) -> u32 {
    let reply = httpd.get(&format!("/g{group}/pid"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().parse().expect("pid")
}

fn is_gone(pid: u32) -> bool {
    Process::read(pid).is_none_or(|p| p.state == 'Z')
}

/// The manager has heard so often that the worker is idle.
fn until_idle(httpd: &Httpd, pid: u32, times: usize) {
    until("the worker to be idle", SLOW, || {
        httpd.log_with(&format!("worker {pid} is idle")).len() == times
    });
}

fn the_worker_that_was_idle_for_longest_makes_room(case: &Case) {
    let httpd = groups(case, 3, 2, "min-processes=0")
        .log_level("info rwsgi:debug")
        .start();
    let (first, second) = (pid(&httpd, 0), pid(&httpd, 1));
    until_idle(&httpd, first, 1);
    until_idle(&httpd, second, 1);
    assert_eq!(pid(&httpd, 0), first, "used last");
    until_idle(&httpd, first, 2);
    let third = pid(&httpd, 2);
    assert!(is_gone(second) && !is_gone(first) && !is_gone(third));
    httpd.wait_log("leaves: it was idle, and another application needs a worker");
    assert_eq!(httpd.workers().len(), 2);
    until_idle(&httpd, third, 1);
    // And back.
    assert_ne!(pid(&httpd, 1), second);
    assert!(is_gone(first));
    assert_eq!(pid(&httpd, 2), third);
}

fn a_busy_worker_does_not_and_clients_are_told_when_to_come_back(case: &Case) {
    let httpd = groups(case, 2, 1, "min-processes=0 startup-timeout=1").start();
    assert_eq!(httpd.get("/g0/pid").status, 200);
    let mut raw = httpd.raw_get("/g0/wait");
    until("the application to run", SLOW, || {
        httpd.data().join("started").exists()
    });
    let reply = httpd.get("/g1/pid");
    assert_eq!(reply.status, 503);
    assert!(reply.header("retry-after").is_some_and(|seconds| seconds == "5"));
    for code in codes::CROWDED {
        let line = httpd.wait_log(code);
        assert!(line.text.contains("as WSGIMaxWorkers allows"), "{}", line.text);
    }
    std::fs::write(httpd.data().join("go"), "").expect("go");
    assert_eq!(raw.reply().head.status, 200);
    until("a worker", SLOW, || httpd.get("/g1/pid").status == 200);
    httpd.provoked(&[codes::CROWDED]);
}

fn a_request_waits_for_a_worker_that_becomes_idle(case: &Case) {
    let httpd = groups(case, 2, 1, "min-processes=0").start();
    let mut busy = httpd.raw_get("/g0/wait");
    until("the application to run", SLOW, || {
        httpd.data().join("started").exists()
    });
    let mut waiting = httpd.raw_get("/g1/pid");
    std::fs::write(httpd.data().join("go"), "").expect("go");
    assert_eq!(busy.reply().head.status, 200);
    assert_eq!(waiting.reply().head.status, 200);
}

/// R60, F55: the machine has no more to carry than there may be.
fn many_first_requests_at_once_are_all_answered(case: &Case) {
    let httpd = groups(case, 24, 4, "min-processes=0 threads=2")
        .children(4)
        .start();
    // It has fewer processes than there are clients under prefork.
    httpd.announce("server reached MaxRequestWorkers");
    let most = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (httpd, most) = (&httpd, &most);
        let clients: Vec<_> = (0..24)
            .map(|group| scope.spawn(move || httpd.get(&format!("/g{group}/pid")).status))
            .collect();
        until("all to be answered", SLOW, || {
            most.fetch_max(httpd.workers().len(), std::sync::atomic::Ordering::Relaxed);
            clients.iter().all(std::thread::ScopedJoinHandle::is_finished)
        });
        for client in clients {
            assert_eq!(client.join().expect("client"), 200);
        }
    });
    assert!(most.into_inner() <= 4);
}

fn a_worker_and_its_successor_count_as_one(case: &Case) {
    let httpd = groups(case, 1, 1, "min-processes=0 maximum-requests=1").start();
    for _ in 0..5 {
        pid(&httpd, 0);
    }
    let before = pid(&httpd, 0);
    let path = httpd.root().join("scripts/life.wsgi");
    let text = std::fs::read_to_string(path).expect("script");
    httpd.rewrite_script("life.wsgi", &format!("{text}\n# newer\n"));
    assert_ne!(pid(&httpd, 0), before);
}

fn a_group_of_fixed_size_is_complete_when_there_is_room(case: &Case) {
    let httpd = groups(case, 1, 2, "min-processes=0")
        .conf("WSGIDaemonProcess fixed processes=2")
        .conf("WSGIScriptAlias /fixed @SCRIPTS@/life.wsgi process-group=fixed")
        .start();
    let other = pid(&httpd, 0);
    let mut busy = httpd.raw_get("/g0/wait");
    until("the application to run", SLOW, || {
        httpd.data().join("started").exists()
    });
    assert_eq!(httpd.get("/fixed/pid").status, 200);
    assert_eq!(httpd.workers().len(), 2);
    std::fs::write(httpd.data().join("go"), "").expect("go");
    assert_eq!(busy.reply().head.status, 200);
    until("both workers of the group", SLOW, || {
        is_gone(other) && httpd.workers().len() == 2
    });
    // They stay, so there is no room for others.
    let before: Vec<u32> = httpd.workers().iter().map(|worker| worker.pid).collect();
    assert_eq!(httpd.get("/fixed/pid").status, 200);
    assert!(before.iter().all(|pid| !is_gone(*pid)));
}

fn a_changed_group_finds_room_for_its_new_workers(case: &Case) {
    let httpd = groups(case, 1, 1, "processes=1 umask=0022").start();
    let before = pid(&httpd, 0);
    httpd.rewrite_conf(|text| text.replace("umask=0022", "umask=0027"));
    httpd.graceful();
    until("a new worker", SLOW, || pid(&httpd, 0) != before);
    until("the old one to end", SLOW, || is_gone(before));
}
