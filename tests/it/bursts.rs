//! Blocks that follow each other quickly: they travel together, none waits for the application, and none is lost, doubled or out of order.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Topic, test, until};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        blocks_travel_together,
        the_last_block_before_a_pause_waits_for_nothing,
        many_clients_get_their_blocks_whole_and_in_order,
        clients_that_take_nothing_delay_no_other,
        what_was_yielded_is_there_when_the_body_is_read,
        what_was_yielded_comes_before_an_answer_breaks_off,
        a_client_that_goes_away_in_a_burst_frees_its_thread,
        a_fork_in_a_burst_changes_nothing,
        answers_are_whole_over_http_2,
        answers_are_whole_over_tls,
        answers_are_whole_and_prompt_when_compressed,
    ]);
}

const SOURCE: &str = r#"
import os, time
DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")
sent = 0
def note(name, text, mode="a"):
    with open(os.path.join(DATA, name), mode) as file:
        file.write(text)
def thousand(environ):
    for number in range(1000):
        yield b"%d\n" % number
def paced(environ):
    for _ in range(40):
        for _ in range(25):
            yield b"at %017.6f\n" % time.time()
        time.sleep(0.03)
def numbers(environ):
    seed = int(environ["QUERY_STRING"])
    for number in range(3000):
        yield (b"%d\n" % number) * (number * seed % 61 + 1)
        if number % 97 == seed % 97:
            time.sleep(number * seed % 5 / 2500)
def stuck(environ):
    global sent
    while True:
        for _ in range(20):
            yield b"s" * 1000
        sent += 1
        note("sent", str(sent), "w")
        time.sleep(0.001)
def reads(environ):
    for number in range(10):
        yield b"before;"
    yield environ["wsgi.input"].read(4)
def breaks(environ):
    for number in range(20):
        yield b"%d;" % number
    raise ValueError("on purpose")
class bursts:
    def __init__(self, environ):
        pass
    def __iter__(self):
        while True:
            for _ in range(50):
                yield b"piece;"
            time.sleep(0.002)
    def close(self):
        note("ended", "x")
def forks(environ):
    for number in range(1000):
        yield b"%d\n" % number
        if number == 500:
            copy = os.fork()
            if copy:
                os.waitpid(copy, 0)
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return globals()[environ["PATH_INFO"].strip("/")](environ)
"#;

fn httpd(case: &Case) -> Httpd {
    case.httpd()
        .source("/", "bursts.wsgi", SOURCE)
        .daemon("threads=8")
        .children(1)
        .start()
}

fn thousand() -> String {
    (0..1000).map(|number| format!("{number}\n")).collect()
}

fn blocks_travel_together(case: &Case) {
    case.needs_ours("it sends each block by itself");
    if case.embedded() {
        // Its children have one thread, and send each block.
        case.needs_threads();
    }
    let httpd = httpd(case);
    // On a busy machine the application is away between blocks for longer than they wait.
    let few = (0..20).any(|_| {
        let mut raw = httpd.raw_get("/thousand");
        if raw.head().header("content-length").is_some() {
            // httpd has seen the whole of it at once.
            return true;
        }
        let body = raw.until(b"\r\n0\r\n");
        // Two for each chunk.
        let lines = body.windows(2).filter(|two| two == b"\r\n").count();
        lines < 200
    });
    assert!(few, "blocks do not travel together");
}

/// Reads from the paced application; how late its blocks came, in seconds, the quickest first.
fn lateness(httpd: &Httpd) -> Vec<f64> {
    let mut raw = httpd.raw_get("/paced");
    raw.head();
    let (mut late, mut text) = (Vec::new(), String::new());
    loop {
        let piece = raw.some();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        if piece.is_empty() {
            break;
        }
        text.push_str(&String::from_utf8_lossy(&piece));
        while let Some(at) = text.find("at ").filter(|at| text.len() >= at + 20) {
            let yielded: f64 = text[at + 3..at + 20].parse().expect("a time");
            late.push(now.as_secs_f64() - yielded);
            text.drain(..at + 20);
        }
    }
    assert_eq!(late.len(), 1000);
    late.sort_by(f64::total_cmp);
    late
}

/// Held back until the application goes on they would be 30 ms late. A machine that is busy makes some late, not the quickest ones.
fn must_be_prompt(case: &Case, late: &[f64]) {
    let quick = if case.theirs() { 0.02 } else { 0.005 };
    assert!(late[250] < quick && late[500] < 0.015, "{late:?}");
}

fn the_last_block_before_a_pause_waits_for_nothing(case: &Case) {
    must_be_prompt(case, &lateness(&httpd(case)));
}

fn many_clients_get_their_blocks_whole_and_in_order(case: &Case) {
    let httpd = httpd(case);
    std::thread::scope(|scope| {
        for seed in 1..=8 {
            let httpd = &httpd;
            scope.spawn(move || {
                let expected: String = (0..3000)
                    .map(|number| format!("{number}\n").repeat(number * seed % 61 + 1))
                    .collect();
                let reply = httpd.raw_get(&format!("/numbers?{seed}")).reply();
                assert!(reply.complete && reply.body == expected.as_bytes(), "{seed}");
            });
        }
    });
}

fn clients_that_take_nothing_delay_no_other(case: &Case) {
    case.needs_threads();
    let httpd = httpd(case);
    let stuck: Vec<_> = (0..3).map(|_| httpd.raw_get("/stuck")).collect();
    let sent = || std::fs::read_to_string(httpd.data().join("sent")).unwrap_or_default();
    let (mut last, mut still) = (String::new(), 0);
    until(
        "the applications to be held back",
        Duration::from_secs(30),
        || {
            let now = sent();
            still = if now == last && !now.is_empty() {
                still + 1
            } else {
                0
            };
            last = now;
            still > 30
        },
    );
    must_be_prompt(case, &lateness(&httpd));
    drop(stuck);
}

/// PEP 3333: what was yielded is on its way, whatever the application waits for then.
fn what_was_yielded_is_there_when_the_body_is_read(case: &Case) {
    if case.theirs() && !case.embedded() {
        case.skip("not for the original: its child sends the daemon the whole body first");
    }
    let httpd = httpd(case);
    for _ in 0..5 {
        let mut raw = httpd.raw();
        raw.send("POST /reads HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n\r\n");
        raw.head();
        for _ in 0..10 {
            raw.until(b"before;");
        }
        raw.send("last");
        raw.until(b"last");
    }
}

fn what_was_yielded_comes_before_an_answer_breaks_off(case: &Case) {
    let httpd = httpd(case);
    let all: String = (0..20).map(|number| format!("{number};")).collect();
    for _ in 0..5 {
        let reply = httpd.raw_get("/breaks").reply();
        assert_eq!(String::from_utf8_lossy(&reply.body), all);
        // The original's daemons cannot show it.
        assert_eq!(reply.complete, case.theirs() && !case.embedded());
    }
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

/// F50
fn a_client_that_goes_away_in_a_burst_frees_its_thread(case: &Case) {
    let httpd = httpd(case);
    // More often than there are threads.
    for number in 1..=10 {
        let mut raw = httpd.raw_get("/bursts");
        raw.until(b"piece;");
        drop(raw);
        until("the application to be ended", Duration::from_secs(10), || {
            std::fs::read(httpd.data().join("ended")).is_ok_and(|text| text.len() == number)
        });
    }
    assert_eq!(httpd.get("/thousand").text(), thousand());
}

/// The copy goes on with the answer as well, and must not be heard.
fn a_fork_in_a_burst_changes_nothing(case: &Case) {
    case.needs_ours("both processes answer");
    // CPython forks in its main interpreter only.
    let httpd = case
        .httpd()
        .source("/", "bursts.wsgi", SOURCE)
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .start();
    for _ in 0..5 {
        let reply = httpd.raw_get("/forks").reply();
        assert!(reply.complete);
        assert_eq!(String::from_utf8_lossy(&reply.body), thousand());
    }
}

fn answers_are_whole_over_http_2(case: &Case) {
    case.needs_http2();
    let httpd = case.httpd().http2().source("/", "bursts.wsgi", SOURCE).start();
    let reply = httpd.curl("/thousand").http2().run();
    assert_eq!((reply.exit, reply.version.as_str()), (0, "2"), "{reply:?}");
    assert_eq!(reply.body, thousand().as_bytes());
}

fn answers_are_whole_over_tls(case: &Case) {
    let builder = case
        .httpd()
        .load("socache_shmcb")
        .load("ssl")
        .source("/", "bursts.wsgi", SOURCE);
    if !crate::neighbours::certificate(&builder) {
        case.skip("no openssl program");
    }
    let httpd = builder
        .conf("SSLEngine On\nSSLSessionCache none\nSSLCertificateFile @ROOT@/certificate.pem\nSSLCertificateKeyFile @ROOT@/key.pem")
        .start();
    let output = Command::new("curl")
        .args(["-sSk", "--max-time", "30"])
        .arg(format!("https://127.0.0.1:{}/thousand", httpd.port()))
        .output()
        .expect("curl");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, thousand().as_bytes());
    httpd.announce("[ssl:warn]");
}

fn answers_are_whole_and_prompt_when_compressed(case: &Case) {
    let httpd = case
        .httpd()
        .load("filter")
        .load("deflate")
        .source("/", "bursts.wsgi", SOURCE)
        .conf("<Location />\nSetOutputFilter DEFLATE\n</Location>")
        .start();
    let packed = httpd
        .request("GET", "/thousand")
        .header("Accept-Encoding", "gzip")
        .send();
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    // curl decodes.
    let reply = httpd.curl("/thousand").with(&["--compressed"]).run();
    assert_eq!(reply.exit, 0, "{reply:?}");
    assert_eq!(reply.body, thousand().as_bytes());
    // A client that accepts nothing of the kind has the filter in the chain, too, which passes all on.
    must_be_prompt(case, &lateness(&httpd));
}
