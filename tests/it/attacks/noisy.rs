//! Sites that want everything, one by one and all at once, with limits, and another that must not notice.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Topic, test};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r64_a_fork_bomb_is_not_noticed_by_a_neighbour,
        r64_a_memory_hog_is_not_noticed_by_a_neighbour,
        r64_a_processor_hog_is_not_noticed_by_a_neighbour,
        r64_a_descriptor_hog_is_not_noticed_by_a_neighbour,
        r64_a_log_flood_is_not_noticed_by_a_neighbour,
        r64_who_keeps_pythons_lock_is_not_noticed_by_a_neighbour,
        r64_a_crash_loop_is_not_noticed_by_a_neighbour,
        r64_all_hogs_at_once_are_not_noticed_by_a_neighbour,
    ]);
}

const LIMITS: &str = "application-memory-limit=134217728 application-processes-limit=40 shutdown-timeout=1";

const NOISE: &str = r#"
import ctypes, logging, os, re, signal, socket
LINE = "a line of a flood, of which there are many"
def bomb(environ):
    while True:
        try:
            os.fork()
        except OSError:
            pass
def hog(environ):
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1 << 16) * 64))
def compute(environ):
    while True:
        pass
def descriptors(environ):
    kept = []
    while True:
        try:
            kept.append(socket.socketpair())
        except OSError:
            pass
def errors(environ):
    lines = (LINE + " of a request\n") * 100
    while True:
        environ["wsgi.errors"].write(lines)
def output(environ):
    lines = (LINE + " of the process\n").encode() * 100
    while True:
        os.write(1, lines)
        os.write(2, lines)
def messages(environ):
    while True:
        logging.error("%s by logging", LINE)
def lock(environ):
    asleep = ctypes.PyDLL(None).usleep
    while True:
        asleep(900000)
def search(environ):
    re.match("(a+)+$", "a" * 64 + "b")
def add(environ):
    sum(range(1 << 60))
def crash(environ):
    os.kill(os.getpid(), signal.SIGSEGV)
def application(environ, start_response):
    globals()[environ["PATH_INFO"].strip("/")](environ)
"#;

const CRASH: &str = "import os\nos.abort()\n";

/// What ends by itself, and is asked for again and again.
const SHORT: [&str; 2] = ["crash", "import"];

/// Each site has one for itself, as long as there are enough.
const USERS: [&str; 4] = ["games", "bin", "mail", "lp"];

const WELL: &str =
    "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'well']\n";

/// Nobody waits longer than this by itself on a machine on which other tests run, too.
const NOTHING: Duration = Duration::from_millis(50);

/// The time that so many of 100 requests take at most.
#[derive(Clone, Copy, Debug)]
struct Waited {
    /// To the neighbour.
    site: Duration,
    /// To httpd alone, for a file: what the machine keeps everybody waiting, whoever answers. A wake-up on a processor that somebody computes on
    /// may wait for the kernel's tick (4 ms with 250 Hz), whatever that somebody's weight is.
    file: Duration,
}

/// A client is on another machine: from now on this thread waits for no processor, so that what is measured is how long the server takes. Where that
/// is not allowed the file waits as long as the site.
fn stand_aside() {
    let own = std::fs::read_link("/proc/thread-self").expect("the number of this thread");
    let number = own.file_name().and_then(|name| name.to_str()).expect("a number");
    let _ = std::process::Command::new("chrt")
        .args(["--fifo", "--pid", "1", number])
        .stderr(std::process::Stdio::null())
        .status();
}

/// By turns.
fn at_most(httpd: &Httpd, of_100: usize, length: Duration) -> Waited {
    let measured = std::thread::scope(|scope| {
        let client = || {
            stand_aside();
            measure(httpd, of_100, length)
        };
        scope.spawn(client).join()
    });
    measured.unwrap_or_else(|why| std::panic::resume_unwind(why))
}

fn measure(httpd: &Httpd, of_100: usize, length: Duration) -> Waited {
    let (begin, mut site, mut file) = (Instant::now(), Vec::new(), Vec::new());
    while begin.elapsed() < length || site.len() < 100 {
        for (path, answer, times) in [("/well", "well", &mut site), ("/file.txt", "file", &mut file)] {
            let since = Instant::now();
            let reply = httpd.get(path);
            assert_eq!((reply.status, &reply.text()[..]), (200, answer));
            times.push(since.elapsed());
        }
    }
    let [site, file] = [site, file].map(|mut times| {
        times.sort_unstable();
        times[times.len() * of_100 / 100]
    });
    Waited { site, file }
}

/// The same while the sites make noise.
fn at_most_beside(httpd: &Httpd, sites: &[&[&str]], of_100: usize, length: Duration) -> Waited {
    let is_over = AtomicBool::new(false);
    let paths = |short: bool| {
        let all = sites.iter().enumerate().flat_map(|(number, noises)| {
            let three = noises.iter().cycle().take(noises.len().max(3));
            three.map(move |noise| (*noise, format!("/{number}/{noise}")))
        });
        all.filter(move |(noise, _)| SHORT.contains(noise) == short)
            .map(|(_, path)| path)
    };
    std::thread::scope(|scope| {
        for path in paths(true) {
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let status = httpd.get(&path).status;
                    assert!(status >= 500, "{path}: {status}");
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let held: Vec<_> = paths(false).map(|path| httpd.raw_get(&path)).collect();
        let loud = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| at_most(httpd, of_100, length)));
        is_over.store(true, Ordering::Relaxed);
        drop(held);
        loud.unwrap_or_else(|why| std::panic::resume_unwind(why))
    })
}

/// Each of the sites makes these noises, with limits; the server is as it is after that. A neighbour may always wait for `least`.
fn are_not_noticed(case: &Case, sites: &[&[&str]], limits: &str, least: Duration) -> Httpd {
    case.needs_root();
    case.needs_ours("it has no limits on an application");
    let mut server = case
        .httpd()
        .bare()
        .file("scripts/noise.wsgi", NOISE)
        .file("scripts/crash.wsgi", CRASH)
        .file("scripts/well.wsgi", WELL)
        .file("www/file.txt", "file")
        .conf("WSGIDaemonProcess well user=daemon group=daemon threads=2")
        .conf("WSGIScriptAlias /well @SCRIPTS@/well.wsgi process-group=well application-group=a");
    for (number, user) in (0..sites.len()).zip(USERS.iter().cycle()) {
        let group = format!("process-group=noisy{number}");
        server = server
            .conf(&format!(
                "WSGIDaemonProcess noisy{number} user={user} group={user} home=/ threads=3 {LIMITS} {limits}"
            ))
            .conf(&format!(
                "WSGIScriptAlias /{number}/import @SCRIPTS@/crash.wsgi {group} application-group=b\n\
                 WSGIScriptAlias /{number} @SCRIPTS@/noise.wsgi {group} application-group=a"
            ));
    }
    let httpd = server.start();
    httpd.provoked(&[
        codes::LIMIT,
        codes::DEATH,
        codes::BACK_OFF,
        codes::LATE,
        codes::FORCE,
        codes::APPLICATION,
        codes::DROPPED,
        codes::REQUEST_LIMIT,
        // Who has no descriptor left.
        &["RW0625"],
    ]);
    httpd.announce_traceback();
    // Each request that is kept waiting has a thread for itself, or a child of prefork: event, worker, prefork say that there are no more.
    for all_taken in ["AH00484", "AH00286", "AH00161"] {
        httpd.announce(all_taken);
    }
    if !httpd.log_with("RW0501").is_empty() {
        httpd.announce("RW0501");
        case.skip("no control groups with all controllers can be made here");
    }
    let length = Duration::from_millis(case.rounds(700, 5_000) as u64);
    // Beside other tests the slowest ten are those that these have kept waiting.
    let of_100 = case.rounds(90, 99);
    let mut seen = Vec::new();
    // The machine may be busy with something else at one time, but the noise is there each time.
    for _ in 0..5 {
        let quiet = at_most(&httpd, of_100, length);
        let loud = at_most_beside(&httpd, sites, of_100, case.rounds(1, 3) as u32 * length);
        println!("{of_100} of 100 requests: {quiet:?} in quiet, {loud:?} beside {sites:?}");
        if loud.site < least.max(2 * quiet.site).max(2 * loud.file) {
            return httpd;
        }
        seen.push((quiet, loud));
    }
    panic!("{of_100} of 100 requests, in quiet and beside {sites:?}: {seen:?}");
}

const PROCESSOR: &str = "application-cpu-limit=40";

/// One site that makes these noises.
fn is_not_noticed(case: &Case, noises: &[&str]) -> Httpd {
    // In the ordinary suite, other tests are at work as well.
    let others = NOTHING * case.rounds(1, 0) as u32;
    are_not_noticed(case, &[noises], PROCESSOR, others)
}

/// F18, N3
fn r64_a_fork_bomb_is_not_noticed_by_a_neighbour(case: &Case) {
    is_not_noticed(case, &["bomb"]);
}

/// F4, N3
fn r64_a_memory_hog_is_not_noticed_by_a_neighbour(case: &Case) {
    is_not_noticed(case, &["hog"]);
}

fn r64_a_processor_hog_is_not_noticed_by_a_neighbour(case: &Case) {
    is_not_noticed(case, &["compute"]);
}

/// F16
fn r64_a_descriptor_hog_is_not_noticed_by_a_neighbour(case: &Case) {
    is_not_noticed(case, &["descriptors"]);
}

/// F17, R74, N3
fn r64_a_log_flood_is_not_noticed_by_a_neighbour(case: &Case) {
    let since = Instant::now();
    let httpd = is_not_noticed(case, &["errors", "output", "messages"]);
    let passed = since.elapsed().as_secs() as usize + 1;
    // By each child for requests, and by the manager for the process.
    for (words, ways) in [
        ("many of a request", httpd.children().len()),
        ("many of the process", 1),
    ] {
        let lines = httpd.log_with(words).len();
        assert!(lines > 0, "{words:?}: nothing");
        assert!(
            lines <= ways * (5_000 + 1_000 * passed),
            "{words:?}: {lines} lines in {passed} s"
        );
    }
    let lines = httpd.wait_log("RW0320").text;
    assert!(lines.contains("process group 'noisy0'"), "{lines}");
    httpd.wait_log("RW0409");
}

/// F9, N3
fn r64_who_keeps_pythons_lock_is_not_noticed_by_a_neighbour(case: &Case) {
    let others = NOTHING * case.rounds(1, 0) as u32;
    let sites: [&[&str]; 3] = [&["lock"], &["search"], &["add"]];
    are_not_noticed(case, &sites, "application-cpu-limit=20", others);
}

/// F6, R63, N3
fn r64_a_crash_loop_is_not_noticed_by_a_neighbour(case: &Case) {
    is_not_noticed(case, &["crash", "import"]);
}

/// N3
fn r64_all_hogs_at_once_are_not_noticed_by_a_neighbour(case: &Case) {
    let sites: [&[&str]; 8] = [
        &["bomb"],
        &["hog"],
        &["compute"],
        &["descriptors"],
        &["errors", "output", "messages"],
        &["lock"],
        &["add", "search"],
        &["crash", "import"],
    ];
    // Together less than a processor and fewer than httpd's threads, as is the administrator's to see to. With eight of them somebody is computing on
    // both processors half of the time, and N3 allows for that.
    are_not_noticed(case, &sites, "application-cpu-limit=10 request-limit=1", NOTHING);
}
