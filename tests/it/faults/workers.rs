//! Workers that die: the request that one was executing is lost, and says so; nothing else is.

use super::beside_control;
use crate::codes;
use rwsgi_testkit::witness::{Kind, three};
use rwsgi_testkit::{Case, Client, Httpd, Signal, Topic, Witness, test, until};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        f01_a_killed_worker_loses_the_request_it_was_executing,
        f02_no_answer_that_was_cut_looks_whole,
        f03_every_way_to_end_a_process_is_seen,
    ]);
}

fn f01_a_killed_worker_loses_the_request_it_was_executing(case: &Case) {
    case.needs_ours("its streams look whole when they are cut");
    case.may_take(Duration::from_secs(600));
    let httpd = beside_control(case, "processes=3 threads=1").start();
    let control = Client::new("/control", Kind::Run).resting(Duration::from_millis(10));
    let witness = Witness::start(&httpd, &[three("/site"), vec![control]].concat());
    witness.more(30);
    let control = httpd.get("/control/run?0-1").header("x-pid").map(str::to_owned);
    let kills = case.rounds(5, 100);
    let signals = [Signal::SIGKILL, Signal::SIGSEGV, Signal::SIGABRT, Signal::SIGBUS];
    for round in 0..kills {
        // Not so often that the pool rests.
        witness.work(Duration::from_millis(2100));
        let workers = httpd.workers();
        let mut of_the_site = workers
            .iter()
            .filter(|worker| Some(worker.pid.to_string()) != control);
        if let Some(worker) = of_the_site.nth(round % 3) {
            worker.signal(signals[round % signals.len()]);
        }
    }
    witness.more(30);
    let books = witness.stop();
    books.lost_at_most(kills);
    assert!(books.failures().iter().all(|visit| visit.site == "/site"));
    println!(
        "{kills} workers killed, {} requests lost of {}",
        books.failures().len(),
        books.visits().len()
    );
    httpd.provoked(&[codes::DEATH]);
}

/// How an answer may come to its client.
#[derive(Clone, Copy, Debug)]
enum Way {
    Chunked,
    Length,
    Http2,
}

/// Sends one request whose worker is killed after so many bytes; whether the client could tell.
fn is_seen(httpd: &Httpd, pool: usize, bytes: usize, way: Way) -> bool {
    let path = format!("/p{pool}/die?bytes={bytes}&how=kill");
    match way {
        Way::Chunked | Way::Length => {
            let length = if matches!(way, Way::Length) { "&length" } else { "" };
            let reply = httpd.raw_get(&format!("{path}{length}")).reply();
            reply.head.status >= 500 || !reply.complete
        }
        Way::Http2 => {
            let curl = httpd.curl(&path).http2().run();
            curl.status >= 500 || curl.exit != 0
        }
    }
}

/// N1
fn f02_no_answer_that_was_cut_looks_whole(case: &Case) {
    case.needs_ours("it hides the death of a daemon from clients that were not told a length");
    let kills = match std::env::var("KILLS") {
        Ok(count) => count.parse().expect("KILLS is a number"),
        Err(_) => case.rounds(60, 6000),
    };
    case.may_take(Duration::from_secs(120 + kills as u64));
    // Each mount has a pool of its own, so that none dies so often that it rests for long.
    let pools = 24;
    let aliases: String = (0..pools)
        .map(|n| format!("WSGIScriptAlias /p{n} @SCRIPTS@/streams.wsgi\n"))
        .collect();
    let httpd = case
        .httpd()
        .http2()
        .daemon("processes=1 threads=1 min-processes=0 queue-timeout=60")
        .script("streams.wsgi")
        .conf(&aliases)
        .start();
    let http2 = rwsgi_testkit::mpm() != "prefork";
    let sizes = [1, 1000, 8192, 65_536, 65_537, 300_000];
    let (next, whole) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= kills {
                        return;
                    }
                    let ways = [Way::Chunked, Way::Length, Way::Http2];
                    let way = ways[number % if http2 { 3 } else { 2 }];
                    let bytes = sizes[number / 3 % sizes.len()];
                    if !is_seen(&httpd, number % pools, bytes, way) {
                        whole.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    println!("{kills} answers cut in {:?}", begin.elapsed());
    assert_eq!(whole.into_inner(), 0, "answers that were cut and look whole");
    let deaths = httpd.log_with("SIGKILL").len();
    assert!(deaths >= kills / 2, "only {deaths} deaths");
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF]);
}

const ENDS: &str = r#"
import os, signal, sys, threading
def application(environ, start_response):
    how = environ["PATH_INFO"][1:]
    if how == "exit":
        os._exit(0)
    if how == "sys_exit":
        sys.exit(1)
    if how == "abort":
        os.abort()
    if how == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
        signal.pause()
    if how == "thread":
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    if how == "recursion":
        def deep():
            return deep()
        deep()
    start_response("200 OK", [])
    return [b"%d" % os.getpid()]
"#;

fn f03_every_way_to_end_a_process_is_seen(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=2")
        .source("/", "ends.wsgi", ENDS)
        .start();
    let pid = httpd.get("/pid").text();
    // Exceptions of a request, or of a thread: the process stays.
    for (how, status) in [("sys_exit", 500), ("recursion", 500), ("thread", 200)] {
        assert_eq!(httpd.get(&format!("/{how}")).status, status, "{how}");
        assert_eq!(httpd.get("/pid").text(), pid, "{how}");
    }
    for how in ["exit", "abort", "segv"] {
        assert_eq!(httpd.get(&format!("/{how}")).status, 502, "{how}");
        let since = Instant::now();
        until("the next answer", Duration::from_secs(20), || {
            httpd.get("/pid").status == 200
        });
        println!("{how}: served again after {:?}", since.elapsed());
    }
    assert_ne!(httpd.get("/pid").text(), pid);
    httpd.announce_traceback();
    httpd.announce("Fatal Python error");
    httpd.provoked(&[codes::DEATH, codes::APPLICATION]);
}
