//! The user's own log: what httpd's error log, which users cannot read, has of their applications.

use super::places::{ANN, Home, USERS, world};
use crate::codes;
use rwsgi_testkit::{Case, Load, Reply, Topic, test, until, with_small_disk};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        what_an_application_writes_and_its_tracebacks_are_in_its_users_log,
        f19_a_version_that_does_not_load_is_explained_to_its_user,
        what_goes_past_python_and_what_a_worker_dies_of_is_in_its_users_log,
        a_log_that_is_moved_away_is_made_anew,
        f41_r75_a_log_on_a_full_disk_keeps_nobody_waiting,
        r75_a_log_that_is_no_file_keeps_nobody_waiting,
    ]);
}

const SLOW: Duration = Duration::from_secs(30);

const TALKER: &str = r#"
import logging, os, sys
print("while it is loaded")
def application(environ, start_response):
    print("to standard output")
    print("to standard error", file=sys.stderr)
    print("to wsgi.errors", file=environ["wsgi.errors"])
    logging.getLogger("shop").error("by logging")
    if environ["PATH_INFO"] == "/raise":
        raise ValueError("as asked")
    start_response("200 OK", [])
    return [b"%d" % os.getpid()]
"#;

fn read(home: &Home, name: &str) -> String {
    std::fs::read_to_string(home.path().join("logs").join(name)).unwrap_or_default()
}

/// What an application has said, without when and by whom.
fn said(home: &Home) -> Vec<String> {
    let text = read(home, "wsgi.log");
    let lines = text
        .lines()
        .map(|line| line.splitn(3, "] ").last().unwrap_or_default());
    // The worker itself says that it is there.
    let others = lines.filter(|line| !line.starts_with("worker "));
    others.map(str::to_owned).collect()
}

/// F17, F19: the directory of the log is made, too.
fn what_an_application_writes_and_its_tracebacks_are_in_its_users_log(case: &Case) {
    let world = world(case, "");
    let (ann, bob) = (world.home(USERS[0]), world.home(USERS[1]));
    ann.file("app.wsgi", TALKER);
    bob.file("app.wsgi", TALKER);
    world.run(|httpd| {
        let pid = httpd.get("/~ann/").text();
        let spoken = [
            "to standard output",
            "to standard error",
            "to wsgi.errors",
            "by logging",
        ];
        let all: Vec<&str> = ["while it is loaded"].into_iter().chain(spoken).collect();
        assert_eq!(said(&ann), all);
        assert!(
            read(&ann, "wsgi.log")
                .lines()
                .all(|line| line.contains(&format!(" [pid {pid}] ")))
        );
        let status = std::fs::metadata(ann.path().join("logs/wsgi.log")).expect("the log");
        assert_eq!((status.uid(), status.mode() & 0o7777), (ANN, 0o640));
        assert_eq!(httpd.get("/~ann/raise").status, 500);
        let text = read(&ann, "wsgi.log");
        for words in [
            "Traceback (most recent call last)",
            "in application",
            "ValueError: as asked",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        // The administrator has it all, and nobody else.
        for words in all.iter().chain(&["ValueError: as asked"]) {
            httpd.wait_log(words);
        }
        assert_eq!(said(&bob), Vec::<String>::new());
        httpd.announce_traceback();
        httpd.provoked(&[codes::APPLICATION]);
    });
}

fn f19_a_version_that_does_not_load_is_explained_to_its_user(case: &Case) {
    let world = world(case, "processes=1");
    let home = world.home(USERS[0]);
    home.file("app.wsgi", TALKER);
    home.file("broken/app.wsgi", "import no_such_module\n");
    world.run(|httpd| {
        assert_eq!(httpd.get("/~ann/broken/").status, 500);
        until("the reason", SLOW, || {
            read(&home, "wsgi.log").contains("No module named 'no_such_module'")
        });
        assert_eq!(httpd.get("/~ann/").status, 200);
        home.file("app.wsgi", "this is no Python\n");
        assert_eq!(httpd.get("/~ann/").status, 200);
        httpd.wait_log("the old one goes on serving");
        until("the reason", SLOW, || {
            read(&home, "wsgi.log").contains("SyntaxError")
        });
        httpd.announce_traceback();
        httpd.provoked(&[codes::OLD_VERSION, codes::APPLICATION]);
    });
}

const RUDE: &str = r#"
import os
def application(environ, start_response):
    os.write(2, b"past Python\n")
    os.system("echo by a program; echo and its errors >&2")
    if environ["PATH_INFO"] == "/die":
        os.write(1, b"without an end of its line")
        os.kill(os.getpid(), 9)
    start_response("200 OK", [])
    return [b"%d" % os.getpid()]
"#;

/// F17: the manager has it, which is root: it is written by a process that is the user.
fn what_goes_past_python_and_what_a_worker_dies_of_is_in_its_users_log(case: &Case) {
    let world = world(case, "processes=1");
    let (ann, bob) = (world.home(USERS[0]), world.home(USERS[1]));
    ann.file("app.wsgi", RUDE);
    bob.file("app.wsgi", TALKER);
    world.run(|httpd| {
        let pid = httpd.get("/~ann/").text();
        assert_eq!(httpd.get("/~bob/").status, 200);
        until("its output", SLOW, || {
            read(&ann, "wsgi.log").contains("and its errors")
        });
        assert_eq!(httpd.get("/~ann/die").status, 502);
        until("its end", SLOW, || {
            read(&ann, "wsgi.log").contains(" was killed by signal 9")
        });
        let text = read(&ann, "wsgi.log");
        for words in [
            "past Python",
            "by a program",
            "and its errors",
            "without an end of its line",
        ] {
            assert!(
                text.contains(&format!(" [pid {pid}] {words}\n")),
                "{words}: {text}"
            );
            httpd.wait_log(words);
        }
        assert!(
            text.contains(&format!("RW0453: worker {pid} was killed by signal 9")),
            "{text}"
        );
        assert!(!read(&bob, "wsgi.log").contains(&pid));
        let status = std::fs::metadata(ann.path().join("logs/wsgi.log")).expect("the log");
        assert_eq!((status.uid(), status.mode() & 0o7777), (ANN, 0o640));
        httpd.announce_traceback();
        httpd.provoked(&[codes::DEATH]);
    });
}

fn a_log_that_is_moved_away_is_made_anew(case: &Case) {
    let world = world(case, "user-log=own.log");
    let home = world.home(USERS[0]);
    home.file("app.wsgi", TALKER);
    world.run(|httpd| {
        let log = home.path().join("own.log");
        for round in 0..2 {
            assert_eq!(httpd.get("/~ann/").status, 200);
            let text = std::fs::read_to_string(&log).expect("the log");
            assert_eq!(text.matches("by logging").count(), 1, "{text}");
            std::fs::rename(&log, log.with_extension(round.to_string())).expect("rename");
        }
        assert_eq!(httpd.workers().len(), 1);
        httpd.announce_traceback();
    });
}

/// Until there is room for no byte more.
fn fill(disk: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(disk.join("filler")).expect("a file");
    while file.write_all(&[b'x'; 4096]).is_ok() {}
    while file.write_all(b"x").is_ok() {}
}

/// F17, F41, R75: requests go on, and what was lost is counted when there is room.
fn f41_r75_a_log_on_a_full_disk_keeps_nobody_waiting(case: &Case) {
    case.needs_root();
    with_small_disk(1 << 20, 64, |disk| {
        let world = world(case, "processes=1");
        let home = world.home(USERS[0]);
        home.file("app.wsgi", TALKER);
        let logs = disk.join("logs");
        std::fs::create_dir(&logs).expect("mkdir");
        std::os::unix::fs::chown(&logs, Some(ANN), Some(ANN)).expect("chown");
        std::os::unix::fs::symlink(&logs, home.path().join("logs")).expect("symlink");
        world.run(|httpd| {
            let first = httpd.get("/~ann/").text();
            fill(disk);
            let load = Load::start(httpd, "/~ann/", 2, |reply: &Reply| reply.status == 200);
            load.more(100);
            assert_eq!(load.stop(), Vec::<String>::new());
            std::fs::remove_file(disk.join("filler")).expect("remove");
            assert_eq!(httpd.get("/~ann/").text(), first);
            let text = read(&home, "wsgi.log");
            assert!(text.contains(" lines were dropped: "), "{text}");
            assert!(text.ends_with("by logging\n"), "{text}");
            httpd.announce_traceback();
        });
    });
}

/// R31, R75
fn r75_a_log_that_is_no_file_keeps_nobody_waiting(case: &Case) {
    let world = world(case, "processes=1");
    let home = world.home(USERS[0]);
    home.file("app.wsgi", TALKER);
    let logs = home.path().join("logs");
    std::fs::create_dir(&logs).expect("mkdir");
    std::os::unix::fs::chown(&logs, Some(ANN), Some(ANN)).expect("chown");
    let log = logs.join("wsgi.log");
    std::fs::write(home.path().join("precious"), "as it was").expect("write");
    std::os::unix::fs::symlink("../precious", &log).expect("symlink");
    world.run(|httpd| {
        assert_eq!(httpd.get("/~ann/").status, 200);
        assert_eq!(
            std::fs::read_to_string(home.path().join("precious")).expect("read"),
            "as it was"
        );
        std::fs::remove_file(&log).expect("remove");
        let made = std::process::Command::new("mkfifo")
            .args(["-m", "666"])
            .arg(&log)
            .status();
        assert!(made.is_ok_and(|status| status.success()));
        // Nobody reads it, and then somebody does who takes nothing.
        assert_eq!(httpd.get("/~ann/").status, 200);
        let _reader = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&log)
            .expect("open");
        for _ in 0..20 {
            assert_eq!(httpd.get("/~ann/").status, 200);
        }
        httpd.announce_traceback();
    });
}
