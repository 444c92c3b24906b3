//! `preload=On` below a base: the template of an application is its user's, and is there as long as a worker is.

use super::places::{ANN, BOB, USERS, world};
use crate::codes;
use crate::preload::{forked, templates};
use rwsgi_testkit::{Case, Httpd, Load, Process, Reply, Topic, Value, test, until};
use std::collections::BTreeSet;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r09_the_template_of_an_application_is_its_users,
        c25_a_template_ends_with_its_last_worker_and_counts_until_it_has_one,
        a_touched_restart_txt_makes_a_new_template,
    ]);
}

const SLOW: Duration = Duration::from_secs(30);

/// Who imported it, and who answers.
const SCRIPT: &str = "import json, os, time\nimported_by, version = os.getpid(), 1\n\
    def application(environ, start_response):\n    time.sleep(float(environ['QUERY_STRING'] or 0))\n    \
    start_response('200 OK', [])\n    \
    it = dict(pid=os.getpid(), imported_by=imported_by, version=version, uid=os.getuid(), cwd=os.getcwd())\n    \
    return [json.dumps(it).encode()]\n";

fn about(httpd: &Httpd, url: &str) -> Value {
    let reply = httpd.get(url);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn is_gone(pid: u32) -> bool {
    Process::read(pid).is_none_or(|process| process.state == 'Z')
}

/// R9, C17: whose the script is, is looked at before the template loads it.
fn r09_the_template_of_an_application_is_its_users(case: &Case) {
    let world = world(case, "preload=On");
    let home = world.home(USERS[0]);
    home.file("app.wsgi", SCRIPT);
    home.open_file("alien/app.wsgi", SCRIPT)
        .give("alien/app.wsgi", BOB);
    world.run(|httpd| {
        let it = about(httpd, "/~ann/");
        let template = templates(httpd)[0];
        assert_eq!(it["imported_by"], i64::from(template));
        assert_ne!(it["pid"], it["imported_by"]);
        assert_eq!(it["uid"], i64::from(ANN));
        assert_eq!(it["cwd"].as_str(), home.base().to_str());
        let uids = Process::read(template).expect("a template").status("Uid");
        assert_eq!(uids, Some(format!("{ANN}\t{ANN}\t{ANN}\t{ANN}")));
        assert_eq!(httpd.get("/~ann/alien/").status, 503);
        httpd.wait_log("RW0493");
        httpd.announce("RW03");
        assert_eq!((templates(httpd).len(), forked(httpd).len()), (2, 1));
    });
}

fn c25_a_template_ends_with_its_last_worker_and_counts_until_it_has_one(case: &Case) {
    let options = "preload=On user-processes=1 processes=3 threads=1 idle-timeout=0 queue-timeout=20 user-request-limit=0";
    let world = world(case, options);
    let home = world.home(USERS[0]);
    for name in ["a", "b", "c"] {
        home.file(&format!("{name}/app.wsgi"), SCRIPT);
    }
    world.run(|httpd| {
        let first = about(httpd, "/~ann/a/");
        assert_eq!(first["imported_by"], i64::from(templates(httpd)[0]));
        let second = about(httpd, "/~ann/b/");
        assert_ne!(second["imported_by"], first["imported_by"]);
        // No worker ends for being idle here: it has made room, and its template has nothing to fork for.
        until("the end of the first template", SLOW, || {
            is_gone(templates(httpd)[0])
        });
        assert!(!is_gone(templates(httpd)[1]));
        // All at once: one worker at a time, and never more than one template that waits for its turn beside its own.
        std::thread::scope(|scope| {
            let asked: Vec<_> = ["a", "b", "c", "a", "b", "c"]
                .map(|name| scope.spawn(move || about(httpd, &format!("/~ann/{name}/?0.2"))))
                .into();
            while asked.iter().any(|one| !one.is_finished()) {
                let living: BTreeSet<u32> = httpd.workers().iter().map(|worker| worker.pid).collect();
                let workers = forked(httpd).into_iter().filter(|pid| living.contains(pid));
                // One may be on its way out when the next one is forked.
                assert!(workers.count() <= 2, "{living:?}");
            }
        });
        until("one worker and its template", SLOW, || httpd.workers().len() == 2);
    });
}

fn a_touched_restart_txt_makes_a_new_template(case: &Case) {
    let world = world(case, "preload=On processes=1 user-processes=1");
    let home = world.home(USERS[0]);
    home.file("app.wsgi", SCRIPT);
    world.run(|httpd| {
        let old = about(httpd, "/~ann/");
        let load = Load::start(httpd, "/~ann/", 2, |reply: &Reply| reply.status == 200);
        load.more(10);
        home.file("tmp/restart.txt", "");
        until("another worker", SLOW, || {
            about(httpd, "/~ann/")["imported_by"] != old["imported_by"]
        });
        load.more(10);
        assert_eq!(load.stop(), Vec::<String>::new());
        let new = about(httpd, "/~ann/");
        assert_eq!(templates(httpd).len(), 2);
        assert_eq!(new["imported_by"], i64::from(templates(httpd)[1]));
        until("the end of the old ones", SLOW, || httpd.workers().len() == 2);
        // A version that does not load leaves the old one, and its template.
        home.file("app.wsgi", "raise ValueError('no such luck')\n");
        assert_eq!(about(httpd, "/~ann/")["imported_by"], new["imported_by"]);
        httpd.wait_log("the old one goes on serving");
        assert_eq!(about(httpd, "/~ann/")["imported_by"], new["imported_by"]);
        assert!(!is_gone(templates(httpd)[1]));
        httpd.announce_traceback();
        httpd.provoked(&[codes::OLD_VERSION]);
    });
}
