//! A request is executed at most once, whatever happens to workers: the application keeps a ledger.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Signal, Topic, test};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        nothing_runs_twice_while_workers_are_killed,
        nothing_runs_twice_while_applications_kill_their_worker,
        nothing_runs_twice_over_restarts_and_new_scripts,
    ]);
}

/// How often the application ran each request.
fn ledger(httpd: &Httpd) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(httpd.data().join("ledger")).unwrap_or_default();
    let mut runs = BTreeMap::new();
    for number in text.lines() {
        *runs.entry(number.to_owned()).or_insert(0) += 1;
    }
    runs
}

/// Three clients send numbered requests (every third a POST, some to `/die`) while `disturb` works; then the books are compared.
fn audit(httpd: &Httpd, deaths: usize, disturb: impl Fn(&dyn Fn(usize))) {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let answered = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let path = if deaths > 0 && number % deaths == deaths - 1 {
                        "die"
                    } else {
                        "run"
                    };
                    let method = if number % 3 == 0 { "POST" } else { "GET" };
                    let mut request = httpd.request(method, &format!("/{path}?{number}"));
                    if method == "POST" {
                        request = request.body("x".repeat(number % 5000));
                    }
                    if let Ok(reply) = request.try_send() {
                        if reply.status == 200 {
                            assert_eq!(reply.text(), number.to_string(), "an answer for another request");
                            answered.lock().expect("answered").push(number.to_string());
                        }
                    }
                }
            });
        }
        disturb(&|count| {
            let goal = next.load(Ordering::Relaxed) + count;
            rwsgi_testkit::until("more requests", std::time::Duration::from_secs(60), || {
                next.load(Ordering::Relaxed) >= goal
            });
        });
        stop.store(true, Ordering::Relaxed);
    });
    let runs = ledger(httpd);
    let twice: Vec<_> = runs.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "run more than once: {twice:?}");
    let answered = answered.into_inner().expect("answered");
    assert!(
        answered.iter().all(|number| runs.contains_key(number)),
        "answered but never run"
    );
    assert!(answered.len() > 50, "only {} answers", answered.len());
}

fn finish(httpd: &Httpd) {
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF]);
}

fn nothing_runs_twice_while_workers_are_killed(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("processes=2 threads=2")
        .app("ledger.wsgi")
        .start();
    audit(&httpd, 0, |more| {
        for _ in 0..6 {
            more(30);
            if let Some(worker) = httpd.workers().first() {
                worker.signal(Signal::SIGKILL);
            }
        }
        more(60);
    });
    finish(&httpd);
}

fn nothing_runs_twice_while_applications_kill_their_worker(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("processes=2 threads=2")
        .app("ledger.wsgi")
        .start();
    audit(&httpd, 29, |more| more(180));
    finish(&httpd);
}

fn nothing_runs_twice_over_restarts_and_new_scripts(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("processes=2 threads=2")
        .app("ledger.wsgi")
        .start();
    let script = std::fs::read_to_string(httpd.root().join("scripts/ledger.wsgi")).expect("script");
    audit(&httpd, 0, |more| {
        for round in 0..3 {
            more(30);
            httpd.rewrite_script("ledger.wsgi", &format!("{script}# {round}\n"));
            more(30);
            httpd.graceful();
        }
        more(60);
    });
    finish(&httpd);
}
