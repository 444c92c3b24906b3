//! httpd itself: restarts, recycled children, killed children.

use super::{beside_control, everybody};
use crate::codes;
use rwsgi_testkit::witness::{End, Kind};
use rwsgi_testkit::{Books, Case, Client, Httpd, Signal, Topic, Witness, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        f35_graceful_restarts_lose_no_request_and_no_worker,
        f36_full_restarts_keep_workers,
        f33_killed_children_leave_nothing_behind,
        f34_recycled_children_lose_no_request,
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
