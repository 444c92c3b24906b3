//! New versions of a script while requests run: whole, broken, half-written, again and again.

use super::{beside_control, everybody, ledger};
use crate::codes;
use rwsgi_testkit::{Case, Httpd, Process, Signal, Topic, Witness, test, until};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        f22_new_versions_under_load_lose_no_request,
        f19_broken_versions_under_load_lose_no_request,
        f19_a_worker_that_dies_while_the_new_version_is_broken_loses_no_request,
        f20_half_written_scripts_lose_no_request,
        f21_a_storm_of_changes_loses_no_request,
    ]);
}

const SLOW: Duration = Duration::from_secs(30);

fn start(case: &Case, processes: usize) -> (Httpd, Witness) {
    case.needs_ours("it ends its daemons first");
    let httpd = beside_control(case, &format!("processes={processes} threads=5")).start();
    let witness = Witness::start(&httpd, &everybody(case.rounds(1, 3) as u32));
    // Not every worker has loaded the script by then, but one has.
    assert_eq!(httpd.get("/site/run?0-1").status, 200);
    witness.more(1);
    (httpd, witness)
}

/// Writes a version that says so, and waits until it serves; answers how long that took.
fn deploy(httpd: &Httpd, version: &str) -> Duration {
    httpd.rewrite_script("ledger.wsgi", &versioned(version));
    until_served(httpd, version)
}

fn versioned(version: &str) -> String {
    let header = format!("(\"X-Version\", \"{version}\"), (\"X-Pid\"");
    ledger().replace("(\"X-Pid\"", &header)
}

fn until_served(httpd: &Httpd, version: &str) -> Duration {
    let since = Instant::now();
    until(&format!("version {version}"), SLOW, || {
        let reply = httpd.get("/site/run?0-1");
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.header("x-version") == Some(version)
    });
    since.elapsed()
}

fn finish(httpd: &Httpd, witness: Witness, processes: usize) {
    witness.more(20);
    let books = witness.stop();
    books.lossless();
    assert_eq!(books.pids("/control").len(), 1, "the other site keeps its worker");
    until("the old workers to be gone", SLOW, || {
        httpd.workers().len() == 1 + processes
    });
}

fn f22_new_versions_under_load_lose_no_request(case: &Case) {
    let (httpd, witness) = start(case, 2);
    case.may_take(Duration::from_secs(900));
    let mut slowest = Duration::ZERO;
    for round in 0..case.rounds(3, 100) {
        slowest = slowest.max(deploy(&httpd, &format!("v{round}")));
        witness.more(20);
        // Two that serve, two that drain, and those that are to take over.
        let workers = httpd.workers().len();
        assert!(workers <= 1 + 3 * 2 + 2, "{workers} workers");
    }
    println!("a new version served after {slowest:?} at most");
    finish(&httpd, witness, 2);
}

fn f19_broken_versions_under_load_lose_no_request(case: &Case) {
    let (httpd, witness) = start(case, 2);
    let broken = [
        "def application(:\n",
        "import a_module_that_is_not_there\n",
        "raise ValueError('half uploaded')\n",
        "no_application = 1\n",
        "import os\nos._exit(5)\n",
        "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
    ];
    for (round, source) in broken.iter().cycle().take(case.rounds(7, 60)).enumerate() {
        httpd.rewrite_script("ledger.wsgi", source);
        witness.more(if round < 7 { 60 } else { 200 });
        if round % 3 == 2 {
            // Mended: within two seconds, on a machine that does nothing else.
            let took = deploy(&httpd, &format!("v{round}"));
            assert!(took < Duration::from_secs(20), "{took:?}");
        }
    }
    httpd.wait_log("the old one goes on serving");
    httpd.announce_traceback();
    httpd.provoked(&[
        codes::APPLICATION,
        codes::OLD_VERSION,
        codes::DEATH,
        codes::BACK_OFF,
        // A worker may be so slow to start that it loads the first broken version in advance.
        &["RW0623"],
    ]);
    finish(&httpd, witness, 2);
}

/// Writes over the script in place, a few bytes at a time, up to `end`.
fn write_slowly(httpd: &Httpd, content: &str, end: usize) {
    let path = httpd.root().join("scripts/ledger.wsgi");
    let mut file = std::fs::File::create(path).expect("truncate");
    for bytes in content.as_bytes()[..end].chunks(16) {
        file.write_all(bytes).expect("write");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn f20_half_written_scripts_lose_no_request(case: &Case) {
    let (httpd, witness) = start(case, 1);
    for round in 0..case.rounds(2, 15) {
        let content = versioned(&format!("v{round}"));
        // A writer that dies half-way: what is there does not compile, or has no application.
        write_slowly(&httpd, &content, content.len() / (2 + round % 3));
        witness.more(30);
        write_slowly(&httpd, &content, content.len());
        until_served(&httpd, &format!("v{round}"));
        witness.more(10);
    }
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION, codes::OLD_VERSION]);
    finish(&httpd, witness, 1);
}

fn f21_a_storm_of_changes_loses_no_request(case: &Case) {
    let (httpd, witness) = start(case, 2);
    let path = httpd.root().join("scripts/ledger.wsgi");
    let length = Duration::from_secs(case.rounds(4, 60) as u64);
    let starts = || httpd.log_with(" starts for process group 'site'").len();
    let before = starts();
    let since = Instant::now();
    while since.elapsed() < length {
        let file = std::fs::File::options().write(true).open(&path).expect("open");
        file.set_modified(std::time::SystemTime::now()).expect("utimes");
        std::thread::sleep(Duration::from_millis(20));
    }
    deploy(&httpd, "last");
    let (started, seconds) = (starts() - before, since.elapsed().as_secs() as usize);
    println!("{started} workers started in {seconds} s of changes");
    assert!(started <= 2 * (seconds + 2), "{started} in {seconds} s");
    finish(&httpd, witness, 2);
}

fn f19_a_worker_that_dies_while_the_new_version_is_broken_loses_no_request(case: &Case) {
    let (httpd, witness) = start(case, 2);
    // With the only one that has loaded the script the old version would die.
    let mut pids = BTreeSet::new();
    until("each worker to have loaded the script", SLOW, || {
        pids.insert(httpd.get("/site/run?0-1").header("x-pid").map(str::to_owned));
        pids.len() == 2
    });
    let site = httpd
        .get("/site/run?0-1")
        .header("x-pid")
        .and_then(|pid| pid.parse().ok());
    httpd.rewrite_script("ledger.wsgi", "import a_module_that_is_not_there\n");
    httpd.wait_log("the old one goes on serving");
    httpd.announce_traceback();
    httpd.provoked(&[
        codes::APPLICATION,
        codes::OLD_VERSION,
        codes::DEATH,
        codes::BACK_OFF,
    ]);
    Process::read(site.expect("a pid"))
        .expect("a worker")
        .signal(Signal::SIGTERM);
    witness.more(200);
    witness.stop().lossless();
}
