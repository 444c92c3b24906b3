//! A request is executed at most once, whatever happens to workers: the application keeps a ledger. Where nothing may be lost either,
//! see `faults`.

use crate::codes;
use rwsgi_testkit::witness::Kind;
use rwsgi_testkit::{Case, Client, Httpd, Signal, Topic, Witness, test};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        nothing_runs_twice_while_workers_are_killed,
        nothing_runs_twice_while_applications_kill_their_worker,
        nothing_runs_twice_over_restarts_and_new_scripts,
    ]);
}

fn start(case: &Case, more: &[Client]) -> (Httpd, Witness) {
    let httpd = case
        .httpd()
        .daemon("processes=2 threads=2")
        .app("ledger.wsgi")
        .start();
    let kinds = [Kind::Run, Kind::Echo, Kind::Run].map(|kind| Client::new("", kind));
    let witness = Witness::start(&httpd, &[&kinds[..], more].concat());
    (httpd, witness)
}

fn finish(httpd: &Httpd, witness: Witness) {
    witness.more(60);
    let books = witness.stop();
    books.balance();
    assert!(books.answered() > 50, "only {} answers", books.answered());
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF, codes::OLD_VERSION]);
}

/// F1, N2
fn nothing_runs_twice_while_workers_are_killed(case: &Case) {
    let (httpd, witness) = start(case, &[]);
    for _ in 0..6 {
        witness.more(30);
        if let Some(worker) = httpd.workers().first() {
            worker.signal(Signal::SIGKILL);
        }
    }
    finish(&httpd, witness);
}

/// N2
fn nothing_runs_twice_while_applications_kill_their_worker(case: &Case) {
    let killer = Client::new("", Kind::Die).resting(std::time::Duration::from_millis(100));
    let (httpd, witness) = start(case, &[killer]);
    witness.more(180);
    finish(&httpd, witness);
}

/// N2
fn nothing_runs_twice_over_restarts_and_new_scripts(case: &Case) {
    let (httpd, witness) = start(case, &[]);
    let script = std::fs::read_to_string(httpd.root().join("scripts/ledger.wsgi")).expect("script");
    for round in 0..3 {
        witness.more(30);
        httpd.rewrite_script("ledger.wsgi", &format!("{script}# {round}\n"));
        witness.more(30);
        httpd.graceful();
    }
    finish(&httpd, witness);
}
