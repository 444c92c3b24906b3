//! `WSGIResponseBuffering`: what a client is slow to take does not keep a worker waiting.

use super::{accepts, refuses, with_spool};
use crate::codes;
use rwsgi_testkit::{Builder, Case, Head, Httpd, Raw, RawReply, Topic, counting, test, until};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.once(test![response_buffering_is_a_number_of_bytes]);
    topic.daemon(test![
        r58_slow_readers_hold_no_worker,
        r58_slow_readers_hold_no_worker_over_tls,
        r58_slow_readers_hold_no_worker_over_http_2,
        r58_what_waits_for_its_client_arrives_exactly,
        r58_an_answer_that_breaks_off_looks_cut_after_all_that_came,
        r58_nothing_is_left_of_a_client_that_goes_away,
        r58_beyond_the_limit_the_worker_waits,
        f41_no_room_for_an_answer_loses_none_of_it,
    ]);
}

const WHY: &str = "it has no such directive";
const LONG: Duration = Duration::from_secs(20);
const MIB: usize = 1 << 20;

/// The kernel keeps little of an answer, and nobody is so slow that httpd gives him up, also on a busy machine.
fn site(case: &Case, threads: u32, directive: &str) -> Builder {
    case.needs_ours(WHY);
    case.httpd()
        .app("streams.wsgi")
        .daemon(&format!("processes=1 threads={threads}"))
        .conf(&format!(
            "Timeout 600\nSendBufferSize 65536\nWSGISpoolDirectory @DATA@/spool\n{directive}"
        ))
}

/// A client that reads no more than the head, for now.
struct Slow(Raw, Head);

impl Slow {
    fn start(httpd: &Httpd, path: &str) -> Self {
        let mut raw = httpd.raw_get(path);
        let head = raw.head();
        assert_eq!(head.status, 200);
        Self(raw, head)
    }

    /// Reads the rest as fast as it comes.
    fn rest(self) -> RawReply {
        let Self(mut raw, head) = self;
        raw.body(head)
    }
}

/// What `/down` answers.
fn down(count: usize) -> Vec<u8> {
    counting(256, count)
}

fn is_whole(reply: &RawReply, count: usize) -> bool {
    reply.complete && reply.body == down(count)
}

/// How many unnamed files in the spool directory httpd's children have open.
fn waiting(httpd: &Httpd) -> usize {
    let beginning = httpd.data().join("spool").display().to_string();
    let all = httpd
        .children()
        .into_iter()
        .flat_map(|child| child.descriptor_targets());
    all.filter(|(_, target)| target.starts_with(&beginning)).count()
}

/// curl, reading at this many bytes per second, while it lasts.
struct SlowCurl(Child);

impl SlowCurl {
    fn start(url: &str, arguments: &[&str]) -> Self {
        let child = Command::new("curl")
            .args([
                "-sSk",
                "--max-time",
                "120",
                "--noproxy",
                "*",
                "--limit-rate",
                "20k",
                "--output",
            ])
            .arg("/dev/null")
            .args(arguments)
            .arg(url)
            .stdin(Stdio::null())
            .spawn()
            .expect("curl");
        Self(child)
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().expect("curl").is_none()
    }
}

impl Drop for SlowCurl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn response_buffering_is_a_number_of_bytes(case: &Case) {
    case.needs_ours(WHY);
    refuses(
        case,
        &[
            ("WSGIResponseBuffering", &["one argument"]),
            ("WSGIResponseBuffering 0 1", &["one argument"]),
            ("WSGIResponseBuffering On", &["'On'", "digits only"]),
        ],
    );
    accepts(
        case,
        &[
            "WSGIResponseBuffering 0",
            "<Location /x>\nWSGIResponseBuffering 1000000\n</Location>",
        ],
    );
}

/// R58, F51
fn r58_slow_readers_hold_no_worker(case: &Case) {
    case.needs_threads();
    let children = case.rounds(2, 8);
    let httpd = with_spool(site(case, 2, "").conf(&format!(
        "ThreadLimit 160\nThreadsPerChild 160\nServerLimit {children}\nMaxRequestWorkers {}\nStartServers {children}",
        children * 160
    )));
    assert_eq!(httpd.get("/pid").status, 200);
    let count = 2 * MIB;
    let readers: Vec<Slow> = (0..case.rounds(60, 500))
        .map(|n| {
            let length = if n % 2 == 0 { "&length" } else { "" };
            Slow::start(&httpd, &format!("/down?bytes={count}{length}"))
        })
        .collect();
    let _loris: Vec<Raw> = (0..case.rounds(0, 500))
        .map(|_| {
            let mut raw = httpd.raw();
            raw.send("GET /pid HTTP/1.1\r\nHos");
            raw
        })
        .collect();
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(httpd.get("/pid").status, 200);
            start.elapsed()
        })
        .collect();
    times.sort();
    // One that waited for a thread would do so until the readers go on.
    assert!(times[98] < Duration::from_secs(5), "{:?}", &times[90..]);
    for (reader, n) in readers.into_iter().zip(0..) {
        let reply = reader.rest();
        assert!(is_whole(&reply, count), "reader {n}: {reply:?}");
    }
}

/// The only thread of the only worker answers curl while clients read slowly, who would take minutes.
fn answers_others(httpd: &Httpd, origin: &str, arguments: &[&str]) {
    let count = 6 * MIB;
    let url = format!("{origin}/down?bytes={count}");
    let mut clients: Vec<SlowCurl> = (0..3).map(|_| SlowCurl::start(&url, arguments)).collect();
    until("their answers to wait", LONG, || waiting(httpd) == clients.len());
    let ask = |path: &str, limits: &[&str]| {
        let output = Command::new("curl")
            .args(["-sSk", "--noproxy", "*"])
            .args(arguments)
            .args(limits)
            .arg(format!("{origin}{path}"))
            .output()
            .expect("curl");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    ask("/pid", &["--max-time", "20"]);
    assert!(clients.iter_mut().all(SlowCurl::runs), "they were slow");
    drop(clients);
    until("nothing to wait any more", LONG, || waiting(httpd) == 0);
    let whole = ask(
        &format!("/down?bytes={count}"),
        &["--max-time", "60", "--limit-rate", "4M"],
    );
    assert!(whole == down(count));
}

/// R58
fn r58_slow_readers_hold_no_worker_over_tls(case: &Case) {
    let builder = site(case, 1, "").children(1).load("socache_shmcb").load("ssl");
    if !crate::neighbours::certificate(&builder) {
        case.skip("no openssl program");
    }
    let httpd = with_spool(builder.conf(
        "SSLEngine On\nSSLSessionCache none\nSSLCertificateFile @ROOT@/certificate.pem\n\
         SSLCertificateKeyFile @ROOT@/key.pem",
    ));
    httpd.announce("[ssl:warn]");
    answers_others(&httpd, &format!("https://127.0.0.1:{}", httpd.port()), &[]);
}

/// R58
fn r58_slow_readers_hold_no_worker_over_http_2(case: &Case) {
    case.needs_http2();
    let httpd = with_spool(site(case, 1, "").children(1).http2());
    let origin = format!("http://127.0.0.1:{}", httpd.port());
    answers_others(&httpd, &origin, &["--http2-prior-knowledge"]);
    httpd.announce("AH10");
}

/// R58
fn r58_what_waits_for_its_client_arrives_exactly(case: &Case) {
    // Within the limit, and in several times as much as may wait.
    for limit in [8 * MIB, MIB] {
        let httpd = with_spool(site(case, 4, &format!("WSGIResponseBuffering {limit}")));
        for length in ["", "&length"] {
            for count in [200_000, MIB, 3 * MIB + 1, 7 * MIB + 12_345] {
                let readers: Vec<Slow> = (0..3)
                    .map(|_| Slow::start(&httpd, &format!("/down?bytes={count}{length}")))
                    .collect();
                for mut reader in readers {
                    // Some in a trickle, then the rest at once.
                    let mut beginning = Vec::new();
                    if length == "&length" {
                        for _ in 0..10 {
                            beginning.extend(reader.0.some());
                            std::thread::sleep(Duration::from_millis(5));
                        }
                        while beginning.len() < count {
                            beginning.extend(reader.0.some());
                        }
                        assert!(beginning == down(count), "{count}{length}");
                    } else {
                        assert!(is_whole(&reader.rest(), count), "{count}{length}");
                    }
                }
            }
        }
        until("nothing to wait any more", LONG, || waiting(&httpd) == 0);
    }
}

/// R58, R53
fn r58_an_answer_that_breaks_off_looks_cut_after_all_that_came(case: &Case) {
    let httpd = with_spool(site(case, 1, ""));
    let count = 3 * MIB;
    for (how, length) in [
        ("kill", ""),
        ("kill", "&length"),
        ("raise", ""),
        ("raise", "&length"),
    ] {
        let pid = httpd.get("/pid").text();
        let reader = Slow::start(&httpd, &format!("/die?bytes={count}&how={how}{length}"));
        // The worker is free, or dead and replaced, before its client has read anything.
        let after = httpd.get("/pid").text();
        assert_eq!(after == pid, how == "raise");
        let reply = reader.rest();
        assert!(
            !reply.complete && reply.body == down(count),
            "{how}{length}: {reply:?}"
        );
    }
    httpd.announce_traceback();
    httpd.provoked(&[codes::DEATH, codes::APPLICATION]);
}

/// R58, R32, F50
fn r58_nothing_is_left_of_a_client_that_goes_away(case: &Case) {
    let httpd = with_spool(site(case, 1, ""));
    assert_eq!(httpd.get("/pid").status, 200);
    let spool = httpd.data().join("spool");
    for _ in 0..3 {
        let readers: Vec<Slow> = (0..4)
            .map(|_| Slow::start(&httpd, &format!("/down?bytes={}", 6 * MIB)))
            .collect();
        until("their answers to wait", LONG, || waiting(&httpd) == readers.len());
        assert_eq!(
            std::fs::read_dir(&spool).expect("spool").count(),
            0,
            "no name (R32)"
        );
        drop(readers);
        until("nothing to wait any more", LONG, || waiting(&httpd) == 0);
    }
    assert_eq!(httpd.get("/pid").status, 200);
}

/// R58
fn r58_beyond_the_limit_the_worker_waits(case: &Case) {
    for limit in [0, 2 * MIB] {
        let httpd = with_spool(site(case, 2, &format!("WSGIResponseBuffering {limit}")));
        let reader = Slow::start(&httpd, "/count_pieces");
        let pieces = || {
            let text = std::fs::read_to_string(httpd.data().join("sent")).unwrap_or_default();
            text.parse::<usize>().unwrap_or(0)
        };
        let (mut last, mut still) = (0, 0);
        until("the application to be held back", LONG, || {
            let now = pieces();
            still = if now == last && now > 0 { still + 1 } else { 0 };
            last = now;
            still > 50
        });
        // Beside it there are the buffers of two sockets.
        let bytes = last * 64 * 1024;
        assert!(
            bytes < limit + 2 * MIB && bytes >= limit,
            "{limit}: {last} pieces"
        );
        drop(reader);
        until("the application to be ended", LONG, || {
            httpd.data().join("ended").exists()
        });
    }
}

/// R58, F41
fn f41_no_room_for_an_answer_loses_none_of_it(case: &Case) {
    // No file of httpd and its children can be larger than this.
    let httpd = with_spool(site(case, 1, "").launched_by(&["prlimit", "--fsize=500000:"]));
    let (spool, aside) = (httpd.data().join("spool"), httpd.data().join("aside"));
    let count = 5 * MIB;
    for is_missing in [false, true] {
        if is_missing {
            std::fs::rename(&spool, &aside).expect("away");
        }
        for length in ["", "&length"] {
            let said = httpd.log_with("RW0314").len();
            let mut reader = Slow::start(&httpd, &format!("/down?bytes={count}{length}"));
            // What went wrong while a part was sent is told when that has gone.
            until("the child to have no room", LONG, || {
                std::thread::sleep(Duration::from_millis(50));
                reader.0.read_ahead();
                httpd.log_with("RW0314").len() > said
            });
            assert!(is_whole(&reader.rest(), count), "{is_missing} {length}");
            assert_eq!(httpd.log_with("RW0314").len(), said + 1);
        }
    }
    std::fs::rename(&aside, &spool).expect("back");
    httpd.provoked(&[codes::NOT_KEPT]);
}
