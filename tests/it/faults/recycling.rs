//! Workers that leave by themselves just when a request arrives.

use super::beside_control;
use rwsgi_testkit::witness::{Kind, three};
use rwsgi_testkit::{Case, Client, Topic, Witness, test};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        f07_workers_that_leave_after_few_requests_lose_none,
        f07_workers_that_leave_when_idle_lose_no_request,
    ]);
}

fn f07_workers_that_leave_after_few_requests_lose_none(case: &Case) {
    case.needs_ours("it turns requests away while it starts");
    for most in [1, 2, 3, 5, 10] {
        let options = format!("processes=2 threads=2 maximum-requests={most}");
        let httpd = beside_control(case, &options).start();
        let clients = [three("/site"), vec![Client::new("/site", Kind::Upload)]].concat();
        let witness = Witness::start(&httpd, &clients);
        let goal = case.rounds(10 * most, 300 * most);
        while witness.answered() < goal {
            witness.more(1);
        }
        let books = witness.stop();
        books.lossless();
        let workers = books.pids("/site").len();
        assert!(workers >= books.answered() / most / 4, "{workers} workers");
        println!(
            "maximum-requests={most}: {} requests, {workers} workers",
            books.answered()
        );
    }
}

fn f07_workers_that_leave_when_idle_lose_no_request(case: &Case) {
    case.needs_ours("its daemons stay");
    let httpd = beside_control(case, "processes=2 threads=2 min-processes=0 idle-timeout=1").start();
    // They come back just when the worker has been idle for about a second.
    let client = |milliseconds| Client::new("/site", Kind::Run).resting(Duration::from_millis(milliseconds));
    let rounds = case.rounds(1, 40);
    for round in 0..rounds {
        let witness = Witness::start(&httpd, &[client(1000 + 3 * round as u64), client(2010)]);
        witness.more(6);
        witness.stop().lossless();
    }
    let left = httpd.log_with("idle-timeout").len();
    println!("{left} workers left");
}
