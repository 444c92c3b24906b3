//! Workers that leave by themselves just when a request arrives.

use super::beside_control;
use rwsgi_testkit::witness::{Kind, three};
use rwsgi_testkit::{Case, Client, Topic, Witness, test};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        f07_workers_that_leave_after_few_requests_lose_none,
        f07_workers_that_leave_when_idle_lose_no_request,
        f57_starts_and_ends_leave_nothing_in_the_manager,
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

/// F57, R67: what a worker leaves in the manager when it has ended, and what the manager grows by in the long run.
fn f57_starts_and_ends_leave_nothing_in_the_manager(case: &Case) {
    case.needs_ours("it has no manager");
    let length = Duration::from_secs(case.rounds(4, 240) as u64);
    case.may_take(length * 2 + Duration::from_secs(120));
    let httpd = beside_control(
        case,
        "processes=4 threads=1 maximum-requests=1 min-processes=0 idle-timeout=60",
    )
    .start();
    let clients = [three("/site"), three("/site")].concat();
    let witness = Witness::start(&httpd, &clients);
    let since = Instant::now();
    let mut sizes = Vec::new();
    while since.elapsed() < length {
        witness.work(length / 40);
        sizes.push(httpd.manager().expect("a manager").anonymous_kib());
    }
    let books = witness.stop();
    books.lossless();
    let workers = books.pids("/site").len();
    // What is remembered of deaths is there after a minute.
    let most = |sizes: &[u64]| sizes.iter().max().copied().unwrap_or_default();
    let (early, late) = (
        most(&sizes[..sizes.len() / 2]),
        most(&sizes[sizes.len() * 3 / 4..]),
    );
    println!(
        "{workers} workers: the manager has {early} KiB in the first half, {late} KiB in the last quarter"
    );
    assert!(workers > case.rounds(5, 400), "{workers} workers");
    // The table of a minute's deaths doubles when more workers end in a minute than before, on a machine that has become less busy.
    let growth = case.rounds(512, 256) as u64;
    assert!(
        late < early + growth,
        "{workers} workers: {early} KiB, then {late} KiB: {sizes:?}"
    );
}
