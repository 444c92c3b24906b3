//! The time of day jumps. A library before all others, in every process of a private mount namespace, adds to it what a file says: the machine's
//! own clock stays as it is.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Load, Process, Reply, Signal, Topic, test, until, with_file_added};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![f46_a_clock_that_jumps_ends_nothing_and_holds_nothing_up]);
}

const SLOW: Duration = Duration::from_secs(40);

/// `FILE` is where it says by how many seconds the clock is wrong.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long wrong(void) {
    char text[32] = "";
    int before = errno, file = syscall(SYS_openat, AT_FDCWD, FILE, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        syscall(SYS_read, file, text, sizeof text - 1);
        syscall(SYS_close, file);
    }
    errno = before;
    return atoll(text);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += wrong();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}
"#;

const APP: &str = "import os, time\ndef application(environ, start_response):\n    \
    time.sleep(float(environ['QUERY_STRING'] or 0))\n    start_response('200 OK', [('X-Pid', str(os.getpid()))])\n    \
    return [b'%d' % time.gmtime().tm_year]\n";

/// The library, and the file that it reads, for everybody to read.
fn library(place: &Path) -> (PathBuf, PathBuf) {
    let (source, library, file) = (place.join("clock.c"), place.join("clock.so"), place.join("wrong"));
    std::fs::write(&source, SOURCE).expect("write");
    std::fs::write(&file, "0").expect("write");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source);
    cc.arg(format!("-DFILE=\"{}\"", file.display()));
    assert!(cc.status().expect("cc").success());
    (library, file)
}

fn ask(httpd: &Httpd, path: &str) -> (String, String) {
    let reply = httpd.get(path);
    assert_eq!(reply.status, 200, "{}", reply.text());
    (reply.header("x-pid").expect("a pid").to_owned(), reply.text())
}

/// F46
fn f46_a_clock_that_jumps_ends_nothing_and_holds_nothing_up(case: &Case) {
    case.needs_ours("some of its limits are of the time of day");
    case.needs_root();
    const YEAR: i64 = 31_556_952;
    let place = std::env::temp_dir().join(format!(
        "rwsgi-clock-{}-{}",
        std::process::id(),
        rwsgi_testkit::mpm()
    ));
    std::fs::create_dir_all(&place).expect("mkdir");
    let (library, file) = library(&place);
    with_file_added(
        Path::new("/etc/ld.so.preload"),
        format!("{}\n", library.display()),
        || {
            let options = "processes=1 threads=4 min-processes=0 idle-timeout=3000 restart-interval=3000 inactivity-timeout=3000 \
                       request-timeout=60 queue-timeout=30 deadlock-timeout=30";
            let httpd = case.httpd().daemon(options).source("/", "app.wsgi", APP).start();
            httpd.provoked(&[codes::DEATH, codes::BACK_OFF]);
            let (mut worker, now) = ask(&httpd, "/");
            let year: i64 = now.parse().expect("a year");
            for jump in [3600, 10 * YEAR, -10 * YEAR, -3600, 0] {
                let mut under_way = httpd.raw_get("/?1");
                // httpd notes the time of a request with its first line, and reads that while others are served.
                let mut arriving = httpd.raw();
                arriving.send("GET / HTTP/1.1\r\nHost: localhost\r\n");
                let load = Load::start(&httpd, "/", 2, |reply: &Reply| reply.status == 200);
                load.more(50);
                // At once, as a clock that is set: a file that is being written says nothing.
                std::fs::write(place.join("new"), jump.to_string()).expect("write");
                std::fs::rename(place.join("new"), &file).expect("rename");
                arriving.send("Connection: close\r\n\r\n");
                assert_eq!(arriving.reply().head.status, 200);
                load.more(30);
                assert_eq!(under_way.reply().head.status, 200);
                assert_eq!(load.stop(), Vec::<String>::new());
                // Nobody has ended for it, and they do see it.
                let seen = ask(&httpd, "/");
                assert_eq!(seen.0, worker, "{jump} s");
                let expected = year + jump / (YEAR - 100);
                assert!(
                    seen.1
                        .parse::<i64>()
                        .is_ok_and(|seen| (seen - expected).abs() <= 1),
                    "{seen:?}"
                );
                // A changed script is noticed, and who dies is replaced, without a pause that is any longer.
                httpd.rewrite_script("app.wsgi", &format!("{APP}# {jump}\n"));
                until("the next worker", SLOW, || ask(&httpd, "/").0 != worker);
                worker = ask(&httpd, "/").0;
                if jump.abs() < YEAR {
                    // Workers that die more often would be waited with.
                    continue;
                }
                let died = Process::read(worker.parse().expect("a pid")).expect("a worker");
                died.signal(Signal::SIGKILL);
                until("another worker", SLOW, || {
                    let reply = httpd.get("/");
                    reply.status == 200 && reply.header("x-pid") != Some(&worker)
                });
                worker = ask(&httpd, "/").0;
            }
            // The manager has written its lines by the same clock.
            for year in [year + 10, year - 10] {
                let of_then = |line: &rwsgi_testkit::Line| {
                    line.text.contains(&format!(" {year}] ")) && line.text.contains("is ready")
                };
                assert!(httpd.log().iter().any(of_then), "{year}");
            }
            httpd.stop();
        },
    );
    let _ = std::fs::remove_dir_all(&place);
}
