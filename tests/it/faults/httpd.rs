//! httpd itself: restarts, recycled children, killed children.

use super::{beside_control, everybody};
use crate::codes;
use rwsgi_testkit::witness::{End, Kind};
use rwsgi_testkit::{Books, Case, Client, Httpd, Process, Raw, Signal, Topic, Witness, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        f35_graceful_restarts_lose_no_request_and_no_worker,
        f36_full_restarts_keep_workers,
        f33_killed_children_leave_nothing_behind,
        f34_recycled_children_lose_no_request,
        f43_a_child_without_descriptors_fails_the_request_and_goes_on,
    ]);
}

const SLOW: Duration = Duration::from_secs(30);

fn keeps_workers(books: &Books, of_the_site: usize) {
    assert_eq!(
        books.pids("/site").len(),
        of_the_site,
        "{:?}",
        books.pids("/site")
    );
    assert_eq!(books.pids("/control").len(), 1);
}

fn f35_graceful_restarts_lose_no_request_and_no_worker(case: &Case) {
    case.needs_ours("it ends its daemons at a graceful restart");
    case.may_take(Duration::from_secs(600));
    let httpd = beside_control(case, "processes=2 threads=5").children(4).start();
    let witness = Witness::start(&httpd, &everybody(case.rounds(1, 3) as u32));
    witness.more(60);
    for _ in 0..case.rounds(3, 100) {
        httpd.graceful();
        witness.work(Duration::from_millis(case.rounds(500, 2000) as u64));
    }
    let books = witness.stop();
    books.lossless();
    keeps_workers(&books, 2);
    println!("{} requests", books.answered());
}

fn f36_full_restarts_keep_workers(case: &Case) {
    case.needs_ours("it ends its daemons at a restart");
    let httpd = beside_control(case, "processes=1 threads=5").start();
    let witness = Witness::start(&httpd, &everybody(1));
    witness.more(60);
    let rounds = case.rounds(3, 30);
    for _ in 0..rounds {
        httpd.restart();
        witness.work(Duration::from_millis(500));
    }
    let books = witness.stop();
    books.balance();
    keeps_workers(&books, 1);
    // httpd ends what its children are at: seen by the clients, and no more than there were.
    let cut = |end: &End| *end == End::Cut;
    let failures = books.failures();
    assert!(failures.iter().all(|visit| cut(&visit.end)), "{failures:#?}");
    assert!(
        failures.len() <= rounds * everybody(1).len(),
        "{}",
        failures.len()
    );
    // Uploads that httpd did not finish.
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
    httpd.announce("AH0004");
}

/// All threads of the site's only worker can still be used at the same time.
fn full_concurrency_works(httpd: &Httpd) {
    let clients = vec![Client::new("/site", Kind::Slow(3)); 5];
    // A busy machine may be late at one time; a thread that is gone is missing each time.
    let slowest = [(); 3].map(|()| {
        let witness = Witness::start(httpd, &clients);
        witness.more(5);
        let books = witness.stop();
        books.lossless();
        books.visits().iter().map(|visit| visit.took).max()
    });
    assert!(
        slowest.iter().min() < Some(&Some(Duration::from_millis(5700))),
        "{slowest:?}"
    );
}

fn f33_killed_children_leave_nothing_behind(case: &Case) {
    case.needs_ours("its daemons end when nobody reads");
    let httpd = beside_control(case, "processes=1 threads=5").start();
    let worker = httpd.get("/site/run?0-1").header("x-pid").map(str::to_owned);
    let clients = everybody(1);
    let witness = Witness::start(&httpd, &clients);
    let kills = case.rounds(4, 100);
    for round in 0..kills {
        witness.more(20);
        let children = httpd.children();
        if let Some(child) = children.get(round % children.len().max(1)) {
            child.signal(Signal::SIGKILL);
        }
    }
    witness.more(20);
    let books = witness.stop();
    books.balance();
    let failures = books.failures();
    assert!(
        failures.iter().all(|visit| visit.end == End::Cut),
        "{failures:#?}"
    );
    assert!(failures.len() <= kills * clients.len(), "{}", failures.len());
    println!("{kills} children killed, {} requests cut", failures.len());
    until("the children to be replaced", SLOW, || {
        !httpd.children().is_empty()
    });
    full_concurrency_works(&httpd);
    let now = httpd.get("/site/run?0-1").header("x-pid").map(str::to_owned);
    assert_eq!(now, worker, "the worker stays");
    httpd.announce("AH00052");
    // Uploads that httpd did not finish.
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

fn f34_recycled_children_lose_no_request(case: &Case) {
    case.may_take(Duration::from_secs(900));
    let httpd = beside_control(case, "processes=2 threads=5")
        .conf("MaxConnectionsPerChild 50")
        // httpd replaces those that it misses once a second, so there are many.
        .children(16)
        .conf(match rwsgi_testkit::mpm().as_str() {
            "prefork" => "MaxRequestWorkers 16\nMinSpareServers 12",
            _ => "MinSpareThreads 100\nMaxSpareThreads 128",
        })
        .start();
    let witness = Witness::start(&httpd, &everybody(1));
    let goal = case.rounds(600, 100_000);
    while witness.answered() < goal {
        witness.more(100);
    }
    let books = witness.stop();
    books.lossless();
    keeps_workers(&books, 2);
    // httpd's event and prefork MPM, when children leave faster than it has places.
    httpd.announce("AH03490");
    httpd.announce("AH00161");
    assert!(
        httpd.children().iter().all(|child| child.descriptors() < 200),
        "descriptors"
    );
}

/// Answers a file.
const FILE_APP: &str = "import os\ndef application(environ, start_response):\n    \
    start_response('200 OK', [('Content-Length', str(os.path.getsize(__file__)))])\n    \
    return environ['wsgi.file_wrapper'](open(__file__, 'rb'))\n";

/// Sets the limit on descriptors of a process so that `more` can be opened.
fn leave_descriptors(child: &Process, more: usize) {
    let open: Vec<u32> = child
        .descriptor_targets()
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    let free = (0..)
        .filter(|number| !open.contains(number))
        .nth(more)
        .expect("a number");
    set_descriptors(child, &free.to_string());
}

/// As its own user, for which no privilege is needed.
fn set_descriptors(child: &Process, limit: &str) {
    let id = |name: &str| {
        let ids = child.status(name).expect("ids");
        ids.split_whitespace().next().expect("an id").to_owned()
    };
    let mut prlimit = std::process::Command::new("setpriv");
    prlimit.args([format!("--reuid={}", id("Uid")), format!("--regid={}", id("Gid"))]);
    prlimit.args(["--keep-groups", "prlimit", "--pid", &child.pid.to_string()]);
    prlimit.arg(format!("--nofile={limit}:"));
    assert!(prlimit.status().expect("prlimit").success());
}

/// F43: on a connection that it has accepted already, for httpd ends a child that cannot accept. Each thing that a first request opens is the one
/// that cannot be had.
fn f43_a_child_without_descriptors_fails_the_request_and_goes_on(case: &Case) {
    case.needs_ours("its requests open other things");
    const EACH: usize = 6;
    let group = |n| {
        format!(
            "WSGIDaemonProcess g{n} min-processes=0 threads=1\n\
             WSGIScriptAlias /g{n} @SCRIPTS@/app.wsgi process-group=g{n} application-group=a\n"
        )
    };
    let httpd = case
        .httpd()
        .bare()
        .file("scripts/app.wsgi", FILE_APP)
        .conf("KeepAlive On\nKeepAliveTimeout 120\nMaxKeepAliveRequests 0")
        .conf(&(0..=EACH).map(group).collect::<String>())
        .start();
    httpd.announce("RW03");
    httpd.announce("Too many open files");
    let whole = (200, FILE_APP.len());
    let ask = |raw: &mut Raw, path: &str| {
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        raw.try_head().map(|head| {
            let reply = raw.body(head);
            (reply.head.status, reply.body.len())
        })
    };
    assert_eq!(ask(&mut httpd.raw(), "/g0"), Some(whole));
    let children = httpd.children();
    let mut failed = 0;
    for more in 0..EACH {
        let path = format!("/g{}", more + 1);
        let mut raw = httpd.raw();
        assert_eq!(ask(&mut raw, "/g0"), Some(whole));
        children.iter().for_each(|child| leave_descriptors(child, more));
        let found = ask(&mut raw, &path);
        println!("{more} more descriptors: {found:?}");
        // Where httpd itself cannot open a thing (`.htaccess`) it is 403.
        let is_refused = found.is_some_and(|(status, _)| (400..600).contains(&status));
        let is_cut = found.is_some_and(|(status, bytes)| status == 200 && bytes < whole.1) && raw.is_closed();
        let is_failure = is_refused || is_cut;
        assert!(is_failure || found == Some(whole), "{more}: {found:?}");
        failed += usize::from(is_failure);
        children.iter().for_each(|child| set_descriptors(child, "1024"));
        assert_eq!(
            ask(&mut httpd.raw(), &path),
            Some(whole),
            "{more}: when there are some again"
        );
    }
    assert!(failed > 0, "nothing was missing");
    // Nobody but the want of descriptors is to blame.
    httpd.wait_log("is lost here");
    assert!(httpd.log_with("RW0306").is_empty());
    let pids = |children: &[Process]| children.iter().map(|child| child.pid).collect::<Vec<_>>();
    assert_eq!(pids(&httpd.children()), pids(&children), "a child has ended");
}
