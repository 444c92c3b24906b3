//! Bad neighbours: who floods the log, keeps Python's lock, starts threads or crashes, and a site that must not notice. N3

use super::beside_control;
use crate::codes;
use rwsgi_testkit::witness::{Kind, three};
use rwsgi_testkit::{Builder, Case, Httpd, Signal, Topic, Witness, test, until};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        f17_a_flood_of_output_is_cut_and_counted,
        f17_a_log_that_nobody_reads_loses_lines_and_no_request,
        f09_a_lock_that_is_kept_harms_its_site_alone,
        f18_a_flood_of_threads_harms_its_site_alone,
        f06_a_crash_loop_is_answered_without_starting_again_and_again,
    ]);
}

const SLOW: Duration = Duration::from_secs(60);

fn noisy(case: &Case, options: &str) -> Builder {
    case.needs_root();
    case.needs_ours("it has neither limits on output nor pauses");
    beside_control(case, "threads=1")
        .script("noise.wsgi")
        .conf(&format!(
            "WSGIDaemonProcess noise user=games group=games threads=2 {options}"
        ))
        .conf("WSGIScriptAlias /noise @SCRIPTS@/noise.wsgi process-group=noise application-group=%{GLOBAL}")
}

/// The control site loses nothing while `noise` is made, and is hardly slower than without.
fn unharmed(case: &Case, httpd: &Httpd, noise: impl FnOnce()) {
    let clients = three("/control");
    let witness = Witness::start(httpd, &clients);
    witness.work(Duration::from_secs(case.rounds(1, 10) as u64));
    let before = witness.stop();
    before.lossless();
    let witness = Witness::start(httpd, &clients);
    noise();
    witness.more(20);
    let meanwhile = witness.stop();
    meanwhile.lossless();
    let idle = before.p99("/control", Kind::Run);
    let p99 = meanwhile.p99("/control", Kind::Run);
    println!("control site: p99 {idle:?} alone, {p99:?} with the noise");
    // In the ordinary suite, other tests are at work as well.
    let limit = Duration::from_millis(case.rounds(1000, 50) as u64);
    assert!(
        p99 < limit.max(2 * idle),
        "{idle:?} alone, {p99:?} with the noise"
    );
}

/// What a site may write to the log in so many seconds: 1,000 lines each, and 5,000 once, of 4 KiB.
fn bound(seconds: u64) -> u64 {
    (5_000 + 1_000 * seconds) * 4_096
}

/// N3
fn f17_a_flood_of_output_is_cut_and_counted(case: &Case) {
    // It writes for so long before it answers.
    let httpd = noisy(case, "socket-timeout=300").start();
    let seconds = case.rounds(2, 30) as u64;
    let since = Instant::now();
    let manager = httpd.manager().expect("a manager");
    let memory = manager.anonymous_kib();
    unharmed(case, &httpd, || {
        for kind in ["lines", "long", "binary"] {
            let written: u64 = httpd
                .get(&format!("/noise/log/{kind}/{seconds}"))
                .text()
                .parse()
                .expect("bytes");
            println!("{kind}: {} MiB/s", (written >> 20) / seconds);
        }
    });
    httpd.wait_log("RW0409");
    let size = std::fs::metadata(httpd.root().join("error.log"))
        .expect("error.log")
        .len();
    let passed = since.elapsed().as_secs() + 1;
    assert!(size < bound(passed), "{size} bytes in {passed} s");
    let now = manager.anonymous_kib();
    assert!(now < memory + 8192, "the manager: {memory} KiB, then {now} KiB");
    httpd.announce_traceback();
}

/// R62, R75, F48
fn f17_a_log_that_nobody_reads_loses_lines_and_no_request(case: &Case) {
    let httpd = noisy(case, "socket-timeout=300")
        .log_level(&format!("warn core:notice mpm_{}:notice", rwsgi_testkit::mpm()))
        .conf("ErrorLog \"|$exec cat >>@ROOT@/error.log\"")
        .start();
    assert_eq!(httpd.get("/noise/pid").status, 200);
    let reader = httpd
        .processes()
        .into_iter()
        .find(|process| process.name == "cat");
    let reader = reader.expect("the reader of the log");
    reader.signal(Signal::SIGSTOP);
    let seconds = case.rounds(3, 30);
    unharmed(case, &httpd, || {
        assert_eq!(httpd.get(&format!("/noise/log/lines/{seconds}")).status, 200);
        // A worker that dies has something to say, too, and is replaced all the same.
        let worker: u32 = httpd.get("/noise/pid").text().parse().expect("a pid");
        let worker = rwsgi_testkit::Process::read(worker).expect("a worker");
        worker.signal(Signal::SIGKILL);
        until("another worker", SLOW, || {
            let reply = httpd.get("/noise/pid");
            reply.status == 200 && reply.text() != worker.pid.to_string()
        });
    });
    reader.signal(Signal::SIGCONT);
    until("the rest of the log", SLOW, || {
        !httpd.log_with("a line of a flood").is_empty()
    });
    httpd.announce_traceback();
    httpd.provoked(&[codes::DEATH, codes::DROPPED]);
}

/// N3
fn f09_a_lock_that_is_kept_harms_its_site_alone(case: &Case) {
    let httpd = noisy(case, "processes=1 deadlock-timeout=2 shutdown-timeout=1").start();
    let before = httpd.get("/noise/pid").text();
    unharmed(case, &httpd, || {
        let since = Instant::now();
        let status = httpd.get("/noise/lock/600").status;
        assert!([502, 504].contains(&status), "{status}");
        println!("seen and ended after {:?}", since.elapsed());
        until("another worker", SLOW, || {
            let reply = httpd.get("/noise/pid");
            reply.status == 200 && reply.text() != before
        });
    });
    httpd.announce_traceback();
    httpd.announce("Thread 0x");
    httpd.announce("  File ");
    httpd.provoked(&[codes::DEATH, codes::FORCE, codes::LIFE, codes::LATE]);
}

/// N3
fn f18_a_flood_of_threads_harms_its_site_alone(case: &Case) {
    let httpd = noisy(case, "").start();
    let wanted = case.rounds(500, 5000);
    unharmed(case, &httpd, || {
        let started = httpd.get(&format!("/noise/threads/{wanted}")).text();
        println!("{started} threads");
        assert_eq!(httpd.get("/noise/pid").status, 200);
    });
    httpd.announce_traceback();
    httpd.provoked(&[codes::DEATH, codes::FORCE]);
}

/// R63
fn f06_a_crash_loop_is_answered_without_starting_again_and_again(case: &Case) {
    let crash = "import os\nopen(os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + '/data/starts', 'a').write('x')\nos._exit(1)\n";
    let httpd = noisy(case, "")
        .file("scripts/crash.wsgi", crash)
        .conf("WSGIDaemonProcess crash user=games group=games threads=2")
        .conf("WSGIScriptAlias /crash @SCRIPTS@/crash.wsgi process-group=crash")
        .start();
    let starts = || std::fs::read(httpd.data().join("starts")).map_or(0, |text| text.len());
    let (mut held_back, mut plain, mut seconds) = (Vec::new(), Vec::new(), 0);
    unharmed(case, &httpd, || {
        let since = Instant::now();
        let length = Duration::from_secs(case.rounds(5, 60) as u64);
        while since.elapsed() < length {
            let one = Instant::now();
            let reply = httpd.get("/crash");
            assert!([500, 502, 503].contains(&reply.status), "{}", reply.status);
            if reply.header("retry-after").is_some() {
                held_back.push(one.elapsed());
            }
            let one = Instant::now();
            assert_eq!(httpd.get("/nothing").status, 404);
            plain.push(one.elapsed());
            std::thread::sleep(Duration::from_millis(10));
        }
        seconds = since.elapsed().as_secs();
    });
    held_back.sort_unstable();
    plain.sort_unstable();
    assert!(
        !held_back.is_empty(),
        "{} starts in {seconds} s, and nobody was told to wait",
        starts()
    );
    let (median, plain) = (held_back[held_back.len() / 2], plain[plain.len() / 2]);
    println!(
        "{} starts in {seconds} s, {} requests held back, answered after {median:?}, httpd's own answers after {plain:?}",
        starts(),
        held_back.len()
    );
    let most = case.rounds(5, 10);
    assert!(starts() <= most, "{} starts in {seconds} s", starts());
    assert!(
        median < Duration::from_millis(case.rounds(1000, 5) as u64).max(2 * plain),
        "{median:?}, httpd's own answers {plain:?}"
    );
    until("a pause that does not end by itself", SLOW, || {
        let seconds = httpd
            .get("/crash")
            .header("retry-after")
            .and_then(|text| text.parse::<u32>().ok());
        seconds.is_some_and(|seconds| seconds >= 3)
    });
    httpd.rewrite_script(
        "crash.wsgi",
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'mended']\n",
    );
    let since = Instant::now();
    until("the mended site", Duration::from_secs(90), || {
        httpd.get("/crash").status == 200
    });
    println!("served {:?} after it was mended", since.elapsed());
    let line = httpd.wait_log("is tried at once: the script of which its workers died has changed");
    assert!(line.text.contains("process group 'crash'"), "{}", line.text);
    let told = httpd.log_with("RW0455").len();
    assert_eq!(told, 1, "the pause is told when it begins");
    httpd.announce_traceback();
    httpd.provoked(&[codes::DEATH, codes::BACK_OFF, codes::APPLICATION]);
}
