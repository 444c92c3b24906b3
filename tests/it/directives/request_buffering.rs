//! `WSGIRequestBuffering` and `WSGISpoolDirectory`: a request body is received before a worker gets the request.

use super::{accepts, misplaced, refuses, with_spool};
use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Raw, Topic, counting, test, until};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.once(test![request_buffering_is_a_number_of_bytes]);
    topic.daemon(test![
        r58_slow_uploads_hold_no_worker,
        r58_what_is_buffered_arrives_exactly,
        r32_a_buffered_body_has_no_name,
        f49_a_body_that_breaks_off_is_never_seen,
        f41_no_room_for_a_body_is_a_503,
        the_time_of_an_upload_is_no_time_in_the_queue,
    ]);
}

const WHY: &str = "it has no such directive";
const LONG: Duration = Duration::from_secs(20);

/// Says how long the body is and what its bytes add up to; notes each run.
const APPLICATION: &str = "import os, zlib\n\
    DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')\n\
    def application(environ, start_response):\n    \
    if environ['REQUEST_METHOD'] == 'POST':\n        \
    with open(os.path.join(DATA, 'ran'), 'a') as note:\n            note.write('x')\n    \
    body = environ['wsgi.input'].read()\n    \
    start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
    return [b'%d %d' % (len(body), zlib.crc32(body))]\n";

fn site(case: &Case, bytes: u64, options: &str) -> Builder {
    case.needs_ours(WHY);
    case.httpd()
        .daemon(options)
        .source("/", "app.wsgi", APPLICATION)
        .conf(&format!(
            "WSGIRequestBuffering {bytes}\nWSGISpoolDirectory @DATA@/spool\nWSGIChunkedRequest On"
        ))
}

fn ran(httpd: &Httpd) -> usize {
    std::fs::read(httpd.data().join("ran")).map_or(0, |text| text.len())
}

fn bytes(count: usize) -> Vec<u8> {
    counting(253, count)
}

/// An upload of `count` bytes of which so many have been sent.
fn begin(httpd: &Httpd, count: usize, sent: usize) -> Raw {
    let mut raw = httpd.raw();
    raw.send(format!(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {count}\r\n\r\n"
    ));
    raw.send(&bytes(count)[..sent]);
    raw
}

fn request_buffering_is_a_number_of_bytes(case: &Case) {
    case.needs_ours(WHY);
    refuses(
        case,
        &[
            ("WSGIRequestBuffering", &["one argument"]),
            ("WSGIRequestBuffering On", &["'On'", "digits only"]),
            ("WSGISpoolDirectory var/tmp", &["absolute"]),
        ],
    );
    accepts(
        case,
        &[
            "WSGIRequestBuffering 0",
            "<Location /x>\nWSGIRequestBuffering 1000000\n</Location>",
            "WSGISpoolDirectory /var/tmp",
        ],
    );
    misplaced(case, &["<Location /x>\nWSGISpoolDirectory /var/tmp\n</Location>"]);
}

/// R58, F51
fn r58_slow_uploads_hold_no_worker(case: &Case) {
    case.needs_threads();
    let httpd =
        with_spool(site(case, 1_000_000, "processes=1 threads=2").conf(
            "ThreadLimit 160\nThreadsPerChild 160\nServerLimit 4\nMaxRequestWorkers 640\nStartServers 4",
        ));
    assert_eq!(httpd.get("/").status, 200);
    let slow: Vec<Raw> = (0..case.rounds(60, 500))
        .map(|_| begin(&httpd, 1000, 500))
        .collect();
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(httpd.get("/").status, 200);
            start.elapsed()
        })
        .collect();
    times.sort();
    // One that waited for a thread would do so until the uploads go on.
    assert!(times[98] < Duration::from_secs(5), "{:?}", &times[90..]);
    assert_eq!(ran(&httpd), 0, "none of them has reached the application");
    let count = slow.len();
    for mut raw in slow {
        raw.send(&bytes(1000)[500..]);
        assert!(raw.reply().body.starts_with(b"1000 "));
    }
    assert_eq!(ran(&httpd), count);
}

/// R58
fn r58_what_is_buffered_arrives_exactly(case: &Case) {
    let httpd = with_spool(site(case, 200_000, "threads=2"));
    // Nothing, in memory, in a file, and beyond what is buffered.
    for count in [0, 1, 65_536, 65_537, 200_000, 200_001, 3_000_000] {
        let plain = httpd.post("/", bytes(count)).text();
        assert!(plain.starts_with(&format!("{count} ")), "{count}: {plain}");
        let chunked = httpd.request("POST", "/").chunked(bytes(count)).send().text();
        assert_eq!(chunked, plain, "{count}");
    }
    // The same bytes, received by the application itself.
    let direct = case.httpd().source("/", "app.wsgi", APPLICATION).start();
    for count in [65_537, 3_000_000] {
        assert_eq!(
            direct.post("/", bytes(count)).text(),
            httpd.post("/", bytes(count)).text()
        );
    }
}

/// R32
fn r32_a_buffered_body_has_no_name(case: &Case) {
    let httpd = with_spool(site(case, 1_000_000, "threads=2"));
    let spool = httpd.data().join("spool");
    let mut raw = begin(&httpd, 300_000, 200_000);
    let beginning = spool.display().to_string();
    let is_open = || {
        let mut all = httpd
            .children()
            .into_iter()
            .flat_map(|child| child.descriptor_targets());
        all.any(|(_, target)| target.starts_with(&beginning) && target.ends_with("(deleted)"))
    };
    until("the body to be in a file", LONG, is_open);
    assert_eq!(std::fs::read_dir(&spool).expect("spool").count(), 0);
    raw.send(&bytes(300_000)[200_000..]);
    assert!(raw.reply().body.starts_with(b"300000 "));
    until("the file to be gone", LONG, || !is_open());
}

/// R58, F49
fn f49_a_body_that_breaks_off_is_never_seen(case: &Case) {
    let httpd = with_spool(site(case, 4_000_000, "threads=2"));
    let whole = 2_000_000;
    for part in 1..20 {
        drop(begin(&httpd, whole, whole / 20 * part));
        let mut raw = httpd.raw();
        raw.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        let sent = bytes(whole / 20 * part);
        raw.send(format!("{:x}\r\n", sent.len() + part % 2));
        raw.send(sent);
        drop(raw);
    }
    let mut half_closed = begin(&httpd, 1000, 999);
    half_closed.finish_sending();
    assert_eq!(half_closed.head().status, 400);
    assert_eq!(httpd.get("/").status, 200);
    assert_eq!(ran(&httpd), 0);
}

/// R58, F41
fn f41_no_room_for_a_body_is_a_503(case: &Case) {
    // No file of httpd and its children can be larger than this.
    let httpd = with_spool(site(case, 4_000_000, "threads=2").launched_by(&["prlimit", "--fsize=500000:"]));
    for _ in 0..3 {
        let refused = httpd.post("/", bytes(1_000_000));
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    }
    assert_eq!(ran(&httpd), 0);
    assert_eq!(httpd.post("/", bytes(400_000)).status, 200);
    let (spool, aside) = (httpd.data().join("spool"), httpd.data().join("aside"));
    std::fs::rename(&spool, &aside).expect("away");
    assert_eq!(httpd.post("/", bytes(400_000)).status, 503);
    std::fs::rename(&aside, &spool).expect("back");
    assert_eq!(httpd.post("/", bytes(400_000)).status, 200);
    assert_eq!(ran(&httpd), 2);
    httpd.provoked(&[codes::NO_ROOM]);
}

fn the_time_of_an_upload_is_no_time_in_the_queue(case: &Case) {
    let httpd = with_spool(site(case, 4_000_000, "threads=1 queue-timeout=1"));
    assert_eq!(httpd.get("/").status, 200);
    let mut raw = begin(&httpd, 1000, 500);
    let start = Instant::now();
    until("more than the limit", LONG, || {
        start.elapsed() > Duration::from_millis(1500)
    });
    raw.send(&bytes(1000)[500..]);
    assert_eq!(raw.reply().head.status, 200);
}
