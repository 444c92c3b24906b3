//! File systems that hang: whoever touches one sleeps in the kernel, and no signal ends that. Root only.

use crate::codes;
use crate::crash::next_manager;
use crate::ctl;
use crate::userdirs::places::{Home, USERS, world};
use rwsgi_testkit::{Case, Httpd, Load, Process, Signal, Topic, test, until, with_hanging_disk};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        f11_a_worker_that_no_signal_ends_keeps_its_place_and_another_one_serves,
        f11_workers_that_no_signal_ends_are_not_started_without_end,
        r62_a_user_whose_home_hangs_is_cut_off_and_others_are_not,
        r75_logs_that_hang_keep_nobody_waiting,
    ]);
}

const SLOW: Duration = Duration::from_secs(40);

/// Says who it is; `/touch` looks at a file of the disk.
const APP: &str = r#"
import os
def application(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/touch":
        return [open(environ["touched"], "rb").read()]
    return [b"%d" % os.getpid()]
"#;

/// Loads only when it can look at a file of the disk.
const LOADS: &str = r#"
import os
open("@DISK@/file").read()
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"%d" % os.getpid()]
"#;

/// A directory for the disk, with a file in it. It is beside the server root, through which the harness walks.
struct Place(PathBuf);

impl Place {
    fn make(name: &str) -> Place {
        let place = std::env::temp_dir().join(format!("rwsgi-disk-{}-{name}", std::process::id()));
        std::fs::create_dir(&place).expect("mkdir");
        std::fs::set_permissions(&place, Permissions::from_mode(0o755)).expect("chmod");
        std::fs::write(place.join("file"), "of the disk").expect("write");
        Place(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The control site answers within a second, as long as this lives.
fn control(httpd: &Httpd) -> Load {
    Load::start(httpd, "/control", 1, |reply| reply.status == 200)
}

/// F11, R62, N3
fn f11_a_worker_that_no_signal_ends_keeps_its_place_and_another_one_serves(case: &Case) {
    case.needs_root();
    case.needs_ours("its daemons stay until they are dead");
    let builder = case.httpd();
    let place = Place::make("kept");
    with_hanging_disk(&place.0, |disk| {
        let httpd = builder
            .bare()
            .file("scripts/app.wsgi", APP)
            .file("scripts/control.wsgi", APP)
            .conf("WSGIDaemonProcess site processes=1 threads=3 graceful-timeout=1 shutdown-timeout=1 socket-timeout=10")
            .conf("WSGIDaemonProcess control processes=1 threads=3")
            .conf(&format!("SetEnv touched {}/file", place.0.display()))
            .conf("WSGIScriptAlias /control @SCRIPTS@/control.wsgi process-group=control application-group=%{GLOBAL}")
            .conf("WSGIScriptAlias /site @SCRIPTS@/app.wsgi process-group=site application-group=%{GLOBAL}")
            .start();
        assert_eq!(httpd.get("/site/touch").text(), "of the disk");
        let first: u32 = httpd.get("/site").text().parse().expect("pid");
        let control = control(&httpd);
        disk.hang();
        std::thread::scope(|scope| {
            let asleep = scope.spawn(|| httpd.get("/site/touch"));
            until("a thread to sleep on the disk", SLOW, || disk.waiting() > 0);
            // It is to make room for another, and cannot.
            httpd.rewrite_script("app.wsgi", &format!("{APP}\n# anew\n"));
            until("another worker to serve", SLOW, || {
                let reply = httpd.get("/site");
                reply.status == 200 && reply.text() != first.to_string()
            });
            let line = httpd.wait_log("RW0471");
            assert!(
                line.text.contains(&format!("worker {first} of ")),
                "{}",
                line.text
            );
            assert!(Process::read(first).is_some(), "it has ended after all");
            // Others serve, also with another manager and configuration.
            next_manager(&httpd);
            httpd.graceful();
            assert_eq!(httpd.get("/site").status, 200);
            let listed = ctl::shown(&httpd, &["list"]);
            assert!(listed.contains("control"), "{listed}");
            assert!(Process::read(first).is_some(), "it has ended after all");
            // Its request ends in time; what it was told late reaches nobody.
            assert_eq!(asleep.join().expect("an answer").status, 504);
        });
        disk.go_on();
        until("it to end", SLOW, || Process::read(first).is_none());
        assert_eq!(control.stop(), Vec::<String>::new());
        httpd.announce("Thread 0x");
        httpd.announce("  File \"");
        httpd.provoked(&[
            codes::MANAGER,
            codes::LATE,
            codes::DEATH,
            codes::FORCE,
            codes::UNDYING,
        ]);
        httpd.stop();
    });
}

/// F11, R62: each of them hangs as it starts.
fn f11_workers_that_no_signal_ends_are_not_started_without_end(case: &Case) {
    case.needs_root();
    case.needs_ours("its daemons stay until they are dead");
    let builder = case.httpd();
    let place = Place::make("bounded");
    with_hanging_disk(&place.0, |disk| {
        let httpd = builder
            .bare()
            .file("scripts/app.wsgi", LOADS.replace("@DISK@", &place.0.to_string_lossy()))
            .file("scripts/control.wsgi", APP)
            .conf("WSGIDaemonProcess site processes=2 min-processes=0 threads=3 startup-timeout=1 queue-timeout=5")
            .conf("WSGIDaemonProcess control processes=1 threads=3")
            .conf("WSGIScriptAlias /control @SCRIPTS@/control.wsgi process-group=control application-group=%{GLOBAL}")
            .conf("WSGIScriptAlias /site @SCRIPTS@/app.wsgi process-group=site application-group=%{GLOBAL}")
            .start();
        let control = control(&httpd);
        disk.hang();
        until("as many to hang as there may be", Duration::from_secs(60), || {
            let reply = httpd.get("/site");
            assert!([503, 504].contains(&reply.status), "{}", reply.status);
            httpd.log_with("RW0471").len() == 2
        });
        let hanging = disk.waiting();
        for _ in 0..5 {
            let begin = Instant::now();
            let reply = httpd.get("/site");
            assert_eq!(reply.status, 503, "{}", reply.text());
            assert!(reply.header("retry-after").is_some());
            assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
        }
        assert_eq!(disk.waiting(), hanging, "one more was started");
        httpd.graceful();
        assert_eq!(control.stop(), Vec::<String>::new());
        httpd.provoked(&[
            codes::LATE,
            codes::DEATH,
            codes::BACK_OFF,
            codes::FORCE,
            codes::UNDYING,
            &["RW0457"],
        ]);
        disk.go_on();
        until("the site to serve", SLOW, || httpd.get("/site").status == 200);
        httpd.stop();
    });
}

/// R59, R62: httpd itself walks to what it serves, so a thread of it sleeps for each request; it sleeps for so many of a user and no more.
fn r62_a_user_whose_home_hangs_is_cut_off_and_others_are_not(case: &Case) {
    let world = world(case, "user-request-limit=2");
    for user in USERS {
        world.home(user).app("app.wsgi", "hello.wsgi");
        // No script is loaded from FUSE, behind which anybody may be; a file is served.
        world.home(user).open_file("public/file.txt", "of the user");
    }
    let home = world.root().join("home").join("ann");
    with_hanging_disk(&home, |disk| {
        world.run(|httpd| {
            disk.hang();
            let bob = Load::start(httpd, "/~bob/", 1, |reply| reply.status == 200);
            std::thread::scope(|scope| {
                let asleep = [(); 2].map(|()| scope.spawn(|| httpd.get("/~ann/file.txt")));
                until("two to sleep", SLOW, || disk.waiting() >= 2);
                for _ in 0..10 {
                    let reply = httpd.get("/~ann/file.txt");
                    assert_eq!(reply.status, 503, "{}", reply.text());
                    assert!(reply.header("retry-after").is_some());
                }
                assert_eq!(disk.waiting(), 2);
                bob.more(20);
                // Another one of bob's, for which a worker has to be started.
                Home::of(httpd, USERS[1]).app("second/app.wsgi", "hello.wsgi");
                assert_eq!(httpd.get("/~bob/second/").status, 200);
                disk.go_on();
                for reply in asleep {
                    assert_eq!(reply.join().expect("an answer").status, 200);
                }
            });
            until("ann to be served", SLOW, || {
                httpd.get("/~ann/file.txt").status == 200
            });
            assert_eq!(bob.stop(), Vec::<String>::new());
            httpd.provoked(&[codes::HANGS]);
            disk.abort();
        });
    });
}

/// Writes to the log of its process.
const NOISY: &str = r#"
import os, sys
def application(environ, start_response):
    print("a line of", environ["REQUEST_URI"], file=sys.__stderr__, flush=True)
    start_response("200 OK", [])
    return [b"%d" % os.getpid()]
"#;

/// R75, R62, F48: nothing is asked here of which a child of httpd writes a line, for it would wait.
fn r75_logs_that_hang_keep_nobody_waiting(case: &Case) {
    case.needs_root();
    case.needs_ours("its daemons write themselves");
    let builder = case.httpd();
    let place = Place::make("logs");
    with_hanging_disk(&place.0, |disk| {
        let httpd = builder
            .bare()
            .file("scripts/app.wsgi", NOISY)
            .conf(&format!("WSGIAuditLog {}/audit.log", place.0.display()))
            .conf(&format!(
                "<VirtualHost 127.0.0.1:@PORT@>\nErrorLog {}/error.log\n\
                 WSGIDaemonProcess warm processes=1 threads=3\nWSGIDaemonProcess cold min-processes=0 threads=3\n\
                 WSGIScriptAlias /cold @SCRIPTS@/app.wsgi process-group=cold application-group=%{{GLOBAL}}\n\
                 WSGIScriptAlias / @SCRIPTS@/app.wsgi process-group=warm application-group=%{{GLOBAL}}\n</VirtualHost>",
                place.0.display()
            ))
            .start();
        let log = |name: &str| std::fs::read_to_string(disk.behind().join(name)).unwrap_or_default();
        let first: u32 = httpd.get("/").text().parse().expect("pid");
        until("a line", SLOW, || log("error.log").contains("a line of /"));
        // Who could be kept waiting has none of the files open.
        for process in [httpd.keeper(), httpd.manager()].into_iter().flatten() {
            let targets = process.descriptor_targets();
            assert!(targets.iter().all(|(_, to)| !to.ends_with(".log")), "{targets:?}");
        }
        assert!(!httpd.scribes().is_empty());

        disk.hang();
        let load = Load::start(&httpd, "/", 2, |reply| reply.status == 200);
        until("somebody to sleep on the logs", SLOW, || disk.waiting() > 0);
        load.more(100);
        assert_eq!(httpd.get("/cold/x").status, 200);
        let listed = ctl::shown(&httpd, &["list"]);
        assert!(listed.contains("cold"), "{listed}");
        next_manager(&httpd);
        load.more(50);
        assert_eq!(load.stop(), Vec::<String>::new());
        Process::read(first).expect("the worker").signal(Signal::SIGKILL);
        until("another worker", SLOW, || {
            let reply = httpd.get("/");
            reply.status == 200 && reply.text() != first.to_string()
        });

        disk.go_on();
        until("the logs to go on", SLOW, || {
            log("error.log").contains("a line of /cold/x") && log("audit.log").contains("\"adopt\"")
        });
        httpd.provoked(&[codes::MANAGER, codes::DEATH, codes::DROPPED]);
        httpd.stop();
    });
}
