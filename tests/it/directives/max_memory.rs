//! `WSGIMaxMemory`: a ceiling for the memory of all workers, under which the worker that was idle for longest makes room.

use super::{accepts, misplaced, refuses};
use crate::codes;
use rwsgi_testkit::{Case, Httpd, Process, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        max_memory_is_a_number_of_bytes,
        max_memory_is_for_the_whole_server
    ]);
    topic.daemon(test![r64_idle_workers_make_room_when_memory_is_short]);
}

const SLOW: Duration = Duration::from_secs(40);
const WHY: &str = "it has no such directive";

fn max_memory_is_a_number_of_bytes(case: &Case) {
    case.needs_ours(WHY);
    refuses(
        case,
        &[
            ("WSGIMaxMemory", &["one argument"]),
            ("WSGIMaxMemory 512M", &["'512M'", "digits only"]),
            ("WSGIMaxMemory 512", &["'512'", "at least 67108864"]),
        ],
    );
    accepts(case, &["WSGIMaxMemory 0", "WSGIMaxMemory 67108864"]);
}

fn max_memory_is_for_the_whole_server(case: &Case) {
    case.needs_ours(WHY);
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIMaxMemory 67108864\n</VirtualHost>"],
    );
}

const APP: &str = "import os\nkept = bytearray(os.urandom(1 << 20) * 40)\ndef application(environ, start_response):\n    \
    start_response('200 OK', [])\n    return [str(os.getpid()).encode()]\n";

fn pid(httpd: &Httpd, group: usize) -> u32 {
    let reply = httpd.get(&format!("/g{group}"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().parse().expect("pid")
}

/// F42: Each application needs 40 MiB and Python; three have no place in 130 MiB.
fn r64_idle_workers_make_room_when_memory_is_short(case: &Case) {
    case.needs_ours(WHY);
    let one = |n| {
        format!(
            "WSGIDaemonProcess g{n} min-processes=0 threads=2\n\
             WSGIScriptAlias /g{n} @SCRIPTS@/app.wsgi process-group=g{n} application-group=a\n"
        )
    };
    let httpd = case
        .httpd()
        .bare()
        .file("scripts/app.wsgi", APP)
        .log_level("info rwsgi:debug")
        .conf("WSGIMaxMemory 136314880")
        .conf(&(0..3).map(one).collect::<String>())
        .start();
    let until_idle = |pid: u32| {
        until("the worker to be idle", SLOW, || {
            !httpd.log_with(&format!("worker {pid} is idle")).is_empty()
        });
    };
    let first = pid(&httpd, 0);
    until_idle(first);
    let second = pid(&httpd, 1);
    until_idle(second);
    let third = pid(&httpd, 2);
    let is_gone = |pid| Process::read(pid).is_none_or(|p| p.state == 'Z');
    assert!(is_gone(first) && !is_gone(second) && !is_gone(third));
    httpd.wait_log("leaves: it was idle, and another application needs a worker");
    httpd.provoked(&[codes::CROWDED]);
}
