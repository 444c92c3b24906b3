//! Limits on all processes of an application, or of a user, together: kept by control groups.

use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Process, Topic, groups_below, test, until};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r64_an_application_beyond_its_memory_is_killed_as_a_whole,
        r64_a_user_beyond_its_memory_loses_the_application_that_took_it,
        r64_processes_and_threads_of_an_application_are_limited,
        r64_processes_and_threads_of_a_user_are_limited,
        r64_processor_time_of_an_application_is_limited,
        r64_processor_time_of_a_user_is_limited,
        r64_processor_time_of_a_user_is_limited_for_workers_that_are_just_starting,
        changed_limits_hold_at_once_and_replace_no_worker,
        limits_hold_again_when_a_user_comes_back,
        limits_that_cannot_be_kept_are_told_of_once,
    ]);
}

const SLOW: Duration = Duration::from_secs(30);

const APP: &str = r#"
import os, signal, threading, time
from urllib.parse import parse_qs
kept = []
def application(environ, start_response):
    how, answer = environ["PATH_INFO"].strip("/"), str(os.getpid())
    number = int(parse_qs(environ["QUERY_STRING"]).get("n", ["1"])[0])
    if how == "eat":
        kept.append(bytearray(os.urandom(1 << 20) * number))
    elif how == "eat-late":
        start_response("200 OK", [])
        def body():
            yield b"begun"
            kept.append(bytearray(os.urandom(1 << 20) * number))
            yield b"ended"
        return body()
    elif how == "fork":
        children = []
        try:
            for _ in range(number):
                child = os.fork()
                if not child:
                    time.sleep(600)
                    os._exit(0)
                children.append(child)
        except OSError:
            pass
        answer = str(len(children))
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    elif how == "compute":
        begin, end = time.monotonic(), time.process_time() + number / 1000
        while time.process_time() < end:
            pass
        answer = str(int((time.monotonic() - begin) * 1000))
    start_response("200 OK", [])
    return [answer.encode()]
"#;

const WHY: &str = "it has no such options";

/// Two groups of one user, `/one` and `/two`.
fn sites(case: &Case, one: &str, two: &str) -> Builder {
    case.needs_root();
    case.needs_ours(WHY);
    let group = |name: &str, options: &str| {
        format!(
            "WSGIDaemonProcess {name} user=games group=games threads=3 {options}\n\
             WSGIScriptAlias /{name} @SCRIPTS@/app.wsgi process-group={name} application-group=a\n"
        )
    };
    case.httpd()
        .bare()
        .file("scripts/app.wsgi", APP)
        .conf(&group("one", one))
        .conf(&group("two", two))
}

fn start(case: &Case, one: &str, two: &str) -> Httpd {
    let httpd = sites(case, one, two).start();
    if !httpd.log_with("RW0501").is_empty() {
        httpd.announce("RW0501");
        case.skip("no control groups with all controllers can be made here");
    }
    httpd
}

fn text(httpd: &Httpd, path: &str) -> String {
    let reply = httpd.get(path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.text()
}

/// F4
fn r64_an_application_beyond_its_memory_is_killed_as_a_whole(case: &Case) {
    let httpd = start(case, "processes=2 application-memory-limit=67108864", "");
    let neighbour = text(&httpd, "/two");
    text(&httpd, "/one");
    until("both workers", SLOW, || httpd.log_with(" is ready").len() == 3);
    let before: Vec<u32> = httpd.workers().iter().map(|w| w.pid).collect();
    assert!(text(&httpd, "/one/eat?n=2").parse::<u32>().is_ok());
    assert_eq!(httpd.get("/one/eat?n=200").status, 502);
    httpd.wait_log("was killed, memory limit of the application (64 MiB)");
    until("an answer", SLOW, || httpd.get("/one").status == 200);
    let after = httpd.workers();
    let kept: Vec<u32> = after
        .iter()
        .map(|w| w.pid)
        .filter(|pid| before.contains(pid))
        .collect();
    assert_eq!(
        kept,
        [neighbour.parse::<u32>().expect("pid")],
        "both workers of the application, and no other"
    );
    // What has begun breaks off visibly.
    let reply = httpd.raw_get("/one/eat-late?n=200").reply();
    assert!(!reply.complete, "{:?}", reply.body);
    assert_eq!(text(&httpd, "/two"), neighbour);
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF, codes::LIMIT, codes::LATE]);
}

/// F4
fn r64_a_user_beyond_its_memory_loses_the_application_that_took_it(case: &Case) {
    let httpd = start(case, "user-memory-limit=100663296", "");
    text(&httpd, "/two");
    text(&httpd, "/one");
    assert_eq!(httpd.get("/one/eat?n=200").status, 502);
    httpd.wait_log("was killed, memory limit of the user (96 MiB)");
    until("answers", SLOW, || {
        httpd.get("/one").status == 200 && httpd.get("/two").status == 200
    });
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF, codes::LIMIT, codes::LATE]);
}

/// F18
fn r64_processes_and_threads_of_an_application_are_limited(case: &Case) {
    let httpd = start(case, "application-processes-limit=30", "");
    let count: u32 = text(&httpd, "/one/fork?n=100").parse().expect("a number");
    assert!((10..30).contains(&count), "{count}");
    assert_eq!(text(&httpd, "/two/fork?n=100"), "100");
    let line = httpd.wait_log("RW0503").text;
    assert!(
        line.contains("process group 'one'") && line.contains("the limit is 30"),
        "{line}"
    );
    httpd.provoked(&[codes::LIMIT]);
}

/// F18, F45
fn r64_processes_and_threads_of_a_user_are_limited(case: &Case) {
    let httpd = start(case, "user-processes-limit=60", "");
    text(&httpd, "/one");
    let count: u32 = text(&httpd, "/two/fork?n=100").parse().expect("a number");
    assert!((20..60).contains(&count), "{count}");
    assert!(httpd.wait_log("RW0503").text.contains("the limit is 60"));
    httpd.provoked(&[codes::LIMIT]);
}

fn r64_processor_time_of_an_application_is_limited(case: &Case) {
    let httpd = start(case, "application-cpu-limit=5", "");
    let took: u64 = text(&httpd, "/one/compute?n=150").parse().expect("milliseconds");
    assert!(took >= 2000, "{took} ms for 0.15 s of processor time");
    // On a busy machine it has to wait for others, too, which is not for the limit; so that is below what it would get there.
    until("it to be told", SLOW, || {
        text(&httpd, "/one/compute?n=75");
        !httpd.log_with("RW0504").is_empty()
    });
    let line = httpd.wait_log("RW0504").text;
    assert!(
        line.contains("process group 'one'") && line.contains("5 % of one processor"),
        "{line}"
    );
    httpd.provoked(&[codes::LIMIT]);
}

fn r64_processor_time_of_a_user_is_limited(case: &Case) {
    let httpd = start(case, "user-cpu-limit=20 application-cpu-limit=50", "");
    text(&httpd, "/one");
    let took: u64 = text(&httpd, "/two/compute?n=600").parse().expect("milliseconds");
    assert!(took >= 2000, "{took} ms for 0.6 s of processor time");
    httpd.provoked(&[codes::LIMIT]);
}

fn r64_processor_time_of_a_user_is_limited_for_workers_that_are_just_starting(case: &Case) {
    let is_limited = |worker: &Process| {
        let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", worker.pid)).unwrap_or_default();
        let of_time = groups
            .lines()
            .find(|l| l.contains(":cpu:") || l.starts_with("0::"));
        of_time.is_some_and(|l| l.ends_with("-one") || l.ends_with("-two"))
    };
    // Which of the two starts first is by chance, and it matters.
    for _ in 0..8 {
        let httpd = start(case, "user-cpu-limit=20", "");
        text(&httpd, "/one");
        text(&httpd, "/two");
        until("every worker to be limited", SLOW, || {
            httpd.workers().iter().all(is_limited)
        });
        // A slow machine needs more than that to start a Python.
        httpd.provoked(&[codes::LIMIT]);
    }
}

/// A file of the only application's group, in whichever hierarchy has it.
fn setting(httpd: &Httpd, group: &str, files: [&str; 2]) -> String {
    let is_its = |path: &PathBuf| path.to_string_lossy().ends_with(group);
    let trees = httpd.control_groups().iter();
    let users = trees.flat_map(|tree: &PathBuf| groups_below(tree));
    let groups = users.flat_map(|user| groups_below(&user)).filter(is_its);
    let read = |group: &Path| {
        files
            .iter()
            .find_map(|file| std::fs::read_to_string(group.join(file)).ok())
    };
    groups
        .into_iter()
        .find_map(|group| read(&group))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// R65
fn changed_limits_hold_at_once_and_replace_no_worker(case: &Case) {
    let httpd = start(case, "", "");
    let pid = text(&httpd, "/one");
    assert_eq!(text(&httpd, "/one/fork?n=50"), "50");
    let limits = "application-memory-limit=134217728 application-processes-limit=40 application-cpu-limit=50";
    httpd.rewrite_conf(|conf| conf.replacen("threads=3 ", &format!("threads=3 {limits} "), 1));
    httpd.graceful();
    assert_eq!(text(&httpd, "/one"), pid);
    assert_eq!(
        setting(&httpd, "-one", ["memory.limit_in_bytes", "memory.max"]),
        "134217728"
    );
    assert_eq!(setting(&httpd, "-one", ["pids.max", "pids.max"]), "40");
    assert!(setting(&httpd, "-one", ["cpu.cfs_quota_us", "cpu.max"]).starts_with("250000"));
    let count: u32 = text(&httpd, "/one/fork?n=50").parse().expect("a number");
    assert!(count < 40, "{count}");
    httpd.rewrite_conf(|conf| conf.replace(limits, ""));
    httpd.graceful();
    assert_eq!(text(&httpd, "/one/fork?n=50"), "50");
    assert_eq!(setting(&httpd, "-one", ["pids.max", "pids.max"]), "max");
    let cpu = setting(&httpd, "-one", ["cpu.cfs_quota_us", "cpu.max"]);
    assert!(cpu == "-1" || cpu.starts_with("max"), "{cpu}");
    assert_eq!(text(&httpd, "/one"), pid);
    httpd.provoked(&[codes::LIMIT]);
}

/// R64: the group of a user without applications is removed, and made anew for the next.
fn limits_hold_again_when_a_user_comes_back(case: &Case) {
    let on_demand = "min-processes=0 idle-timeout=1";
    let httpd = start(case, &format!("user-processes-limit=60 {on_demand}"), on_demand);
    let users = || {
        httpd
            .control_groups()
            .iter()
            .flat_map(|tree| groups_below(tree))
            .collect::<Vec<_>>()
    };
    text(&httpd, "/one");
    for _ in 0..2 {
        until("the user to be gone", SLOW, || users().is_empty());
        text(&httpd, "/one");
        let limits: Vec<_> = users()
            .iter()
            .filter_map(|user| std::fs::read_to_string(user.join("pids.max")).ok())
            .collect();
        assert_eq!(limits, ["60\n"]);
    }
}

/// R65
fn limits_that_cannot_be_kept_are_told_of_once(case: &Case) {
    let script = "umount -l -R /sys/fs/cgroup && exec \"$@\"";
    let httpd = sites(case, "application-memory-limit=67108864", "user-cpu-limit=50")
        .launched_by(&["unshare", "-m", "sh", "-c", script, "sh"])
        .start();
    assert!(text(&httpd, "/one/eat?n=100").parse::<u32>().is_ok());
    let line = httpd.wait_log("RW0501").text;
    assert!(line.contains("cannot be kept: none are mounted"), "{line}");
    httpd.graceful();
    text(&httpd, "/two");
    assert_eq!(httpd.log_with("RW0501").len(), 1);
}
