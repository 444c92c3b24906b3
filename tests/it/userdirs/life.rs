//! The life of users' workers: none until somebody asks, none when nobody does, the same over a graceful restart.

use super::places::{Home, USERS, world};
use crate::codes;
use rwsgi_testkit::{Case, Httpd, Process, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        workers_start_when_asked_for_and_end_when_idle,
        a_graceful_restart_keeps_the_workers,
        a_changed_script_renews_the_application,
        a_user_has_no_more_workers_than_allowed,
        a_touched_restart_txt_renews_the_application,
        r63_a_touched_restart_txt_ends_the_pause_after_crashes,
    ]);
}

const SLOW: Duration = Duration::from_secs(30);

fn pid_script(version: &str) -> String {
    format!(
        "import os, time\nversion = {version:?}\ndef application(environ, start_response):\n    \
         time.sleep(float(environ['QUERY_STRING'] or 0))\n    start_response('200 OK', [])\n    \
         return [b'%d %s' % (os.getpid(), version.encode())]\n"
    )
}

fn answer(httpd: &Httpd, url: &str) -> (u32, String) {
    let reply = httpd.get(url);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    let (pid, version) = text.split_once(' ').expect("two words");
    (pid.parse().expect("a pid"), version.to_owned())
}

fn is_gone(pid: u32) -> bool {
    Process::read(pid).is_none_or(|process| process.state == 'Z')
}

fn workers_start_when_asked_for_and_end_when_idle(case: &Case) {
    let world = world(case, "idle-timeout=1");
    for user in USERS {
        world.home(user).file("app.wsgi", pid_script("one"));
    }
    world.run(|httpd| {
        assert!(httpd.workers().is_empty());
        let (pid, _) = answer(httpd, "/~ann/");
        assert_eq!(httpd.workers().len(), 1, "bob was not asked for");
        until("the idle worker to end", SLOW, || is_gone(pid));
        until("no workers", SLOW, || httpd.workers().is_empty());
        let (again, _) = answer(httpd, "/~ann/");
        assert_ne!(pid, again);
    });
}

fn a_graceful_restart_keeps_the_workers(case: &Case) {
    let world = world(case, "");
    for user in USERS {
        world.home(user).file("app.wsgi", pid_script("one"));
    }
    world.run(|httpd| {
        let before = [answer(httpd, "/~ann/"), answer(httpd, "/~bob/")];
        httpd.graceful();
        for _ in 0..10 {
            assert_eq!([answer(httpd, "/~ann/"), answer(httpd, "/~bob/")], before);
        }
        // A changed base does not keep them.
        httpd.rewrite_conf(|text| {
            text.replace("WSGIUserProcess", "Define X\nWSGIUserProcess")
                .replace("python-home", "threads=2 python-home")
        });
        httpd.graceful();
        until("a new worker", SLOW, || answer(httpd, "/~ann/").0 != before[0].0);
    });
}

/// R63, F6
fn r63_a_touched_restart_txt_ends_the_pause_after_crashes(case: &Case) {
    let world = world(case, "processes=1");
    let home = world.home(USERS[0]);
    home.file("passenger_wsgi.py", "from code_of_it import application\n")
        .file("code_of_it.py", "import os\nos._exit(3)\n");
    world.run(|httpd| {
        until("a pause that does not end by itself", SLOW, || {
            let reply = httpd.get("/~ann/");
            assert!([502, 503].contains(&reply.status), "{}", reply.status);
            let seconds = reply
                .header("retry-after")
                .and_then(|text| text.parse::<u32>().ok());
            seconds.is_some_and(|seconds| seconds >= 3)
        });
        home.file("code_of_it.py", pid_script("mended it is"))
            .file("tmp/restart.txt", "");
        until("the mended version", SLOW, || httpd.get("/~ann/").status == 200);
        httpd.wait_log("is tried at once: the script of which its workers died has changed");
        httpd.provoked(&[codes::DEATH, codes::BACK_OFF]);
    });
}

fn a_touched_restart_txt_renews_the_application(case: &Case) {
    let world = world(case, "processes=1");
    let home = world.home(USERS[0]);
    home.file("passenger_wsgi.py", "from code_of_it import application\n")
        .file("code_of_it.py", pid_script("one"));
    // Versions of different lengths: Python takes a file that was written within the same second for the one that it has compiled before.
    world.run(|httpd| {
        let stays = |version: &str| {
            let first = answer(httpd, "/~ann/");
            assert_eq!(first.1, version);
            for _ in 0..5 {
                assert_eq!(answer(httpd, "/~ann/"), first);
            }
        };
        stays("one");
        home.file("code_of_it.py", pid_script("the second"));
        stays("one");
        home.file("tmp/restart.txt", "");
        until("the new version", SLOW, || {
            answer(httpd, "/~ann/").1 == "the second"
        });
        stays("the second");
        home.file("code_of_it.py", pid_script("number three"));
        stays("the second");
        touch(&home, "tmp/restart.txt");
        // Whoever asks meanwhile sees no error.
        std::thread::scope(|scope| {
            scope.spawn(|| answer(httpd, "/~ann/?1"));
            until("the newer version", SLOW, || {
                answer(httpd, "/~ann/").1 == "number three"
            });
        });
        stays("number three");
    });
}

fn touch(home: &Home, name: &str) {
    let path = home.base().join(name);
    let file = std::fs::File::options().write(true).open(path).expect("open");
    file.set_modified(std::time::SystemTime::now()).expect("a time");
}

fn a_changed_script_renews_the_application(case: &Case) {
    let world = world(case, "");
    let home = world.home(USERS[0]);
    home.file("app.wsgi", pid_script("one"));
    world.run(|httpd| {
        assert_eq!(answer(httpd, "/~ann/").1, "one");
        home.file("app.wsgi", pid_script("two"));
        until("the new version", SLOW, || answer(httpd, "/~ann/").1 == "two");
    });
}

// R64, C25
fn a_user_has_no_more_workers_than_allowed(case: &Case) {
    let world = world(
        case,
        "user-processes=2 processes=3 threads=1 queue-timeout=20 user-request-limit=0",
    );
    let home = world.home(USERS[0]);
    for name in ["a", "b", "c"] {
        home.file(&format!("{name}/app.wsgi"), pid_script(name));
    }
    world.home(USERS[1]).file("app.wsgi", pid_script("bob"));
    world.run(|httpd| {
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "a", "b", "c"] {
                scope.spawn(move || answer(httpd, &format!("/~ann/{name}/?1")));
            }
            until("somebody of ann to run", SLOW, || !httpd.workers().is_empty());
            for _ in 0..10 {
                assert!(httpd.workers().len() <= 3);
                assert_eq!(answer(httpd, "/~bob/").1, "bob");
            }
        });
    });
}
