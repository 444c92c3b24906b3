//! Bodies so large that they do not go through the socket between httpd and a worker, but lie in memory that both have: the bytes and their order are the same,
//! whatever is between httpd and its client, and the memory is given back.

use super::neighbours::certificate;
use rwsgi_testkit::{Builder, Case, Curl, Httpd, Process, Topic, test, until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        large_bodies_go_both_ways,
        large_bodies_go_both_ways_over_tls,
        large_bodies_go_both_ways_over_http_2,
        large_bodies_go_both_ways_behind_compression,
        large_bodies_that_were_received_before_go_both_ways,
        an_answer_may_be_written_while_the_body_is_read,
        a_client_that_takes_its_answer_slowly_gets_all_of_it,
    ]);
    topic.daemon(test![
        memory_for_large_bodies_is_given_back,
        a_worker_without_room_for_more_memory_reads_its_body,
    ]);
}

/// One thread on each side, so that all requests have one connection to the worker.
fn builder(case: &Case) -> Builder {
    case.httpd().app("bulk.wsgi").daemon("threads=1").children(1)
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Around the sizes at which something else begins.
const SIZES: [usize; 10] = [
    0,
    3,
    64 * KIB - 1,
    64 * KIB,
    64 * KIB + 1,
    128 * KIB + 5,
    MIB - 1,
    MIB,
    MIB + 1,
    5 * MIB + 7,
];
/// What the application reads and yields at a time.
const STEPS: [&str; 4] = [
    "",
    "read=65536",
    "read=300000&block=200000",
    "read=1000000&block=1048576",
];

/// Bytes that are nowhere like those of another seed.
fn noise(length: usize, seed: usize) -> Vec<u8> {
    let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33).to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Sends each size in each way, one after the other; `send` gives what came back.
fn all_sizes(send: impl Fn(&str, &[u8]) -> Vec<u8>) {
    for (turn, step) in STEPS.iter().enumerate() {
        for (place, size) in SIZES.into_iter().enumerate() {
            let body = noise(size, turn * 100 + place + 1);
            let back = send(&format!("/echo?{step}"), &body);
            assert_same(&back, &body, &format!("{size} by {step}"));
        }
    }
}

#[track_caller]
fn assert_same(back: &[u8], body: &[u8], what: &str) {
    let differs = back.iter().zip(body).position(|(one, other)| one != other);
    assert_eq!((back.len(), differs), (body.len(), None), "{what}");
}

/// By curl, which is told how.
fn by_curl(httpd: &Httpd, how: impl Fn(Curl) -> Curl) {
    all_sizes(|path, body| {
        let file = httpd.data().join("upload");
        std::fs::write(&file, body).expect("upload");
        let data = format!("@{}", file.display());
        let reply = how(httpd.curl(path)).with(&["--data-binary", &data]).run();
        assert_eq!((reply.exit, reply.status), (0, 200), "{reply:?}");
        reply.body
    });
}

fn large_bodies_go_both_ways(case: &Case) {
    let httpd = builder(case).start();
    all_sizes(|path, body| {
        let reply = httpd.post(path, body);
        assert_eq!(reply.status, 200);
        reply.body
    });
}

fn large_bodies_go_both_ways_over_tls(case: &Case) {
    let builder = builder(case).load("socache_shmcb").load("ssl");
    if !certificate(&builder) {
        case.skip("no openssl program");
    }
    let httpd = builder
        .conf("SSLEngine On\nSSLSessionCache none\nSSLCertificateFile @ROOT@/certificate.pem\nSSLCertificateKeyFile @ROOT@/key.pem")
        .start();
    by_curl(&httpd, Curl::tls);
    // A self-signed certificate, no session cache: mod_ssl says so.
    httpd.announce("[ssl:warn]");
}

fn large_bodies_go_both_ways_over_http_2(case: &Case) {
    case.needs_http2();
    let httpd = builder(case).http2().conf("WSGIChunkedRequest On").start();
    by_curl(&httpd, Curl::http2);
}

fn large_bodies_go_both_ways_behind_compression(case: &Case) {
    let builder = builder(case).load("filter").load("deflate");
    let httpd = builder
        .conf("<Location />\nSetOutputFilter DEFLATE\n</Location>")
        .start();
    by_curl(&httpd, |curl| curl.with(&["--compressed"]));
}

fn large_bodies_that_were_received_before_go_both_ways(case: &Case) {
    case.needs_ours("the original has no WSGIRequestBuffering");
    let httpd = builder(case).conf("WSGIRequestBuffering 20000000").start();
    by_curl(&httpd, |curl| curl);
}

/// Sends a request while its answer is being received, after a pause; the body that came. (HTTP/1.0: it comes as it is.)
fn at_once(httpd: &Httpd, path: &str, body: &[u8], pause: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", httpd.port())).expect("a connection");
    let mut sender = stream.try_clone().expect("its other side");
    let head = format!("POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut answer = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            sender.write_all(head.as_bytes()).expect("send");
            sender.write_all(body).expect("send");
        });
        std::thread::sleep(pause);
        stream
            .set_read_timeout(Some(Duration::from_secs(40)))
            .expect("a limit");
        stream.read_to_end(&mut answer).expect("an answer");
    });
    let end = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .expect("a head");
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    answer.split_off(end + 4)
}

fn an_answer_may_be_written_while_the_body_is_read(case: &Case) {
    if !case.embedded() {
        case.needs_ours("its daemons break off an answer that is written while its client still sends");
    }
    let httpd = builder(case).start();
    for (turn, read) in [1000, 65_536, 65_537, 200_000, MIB].into_iter().enumerate() {
        let body = noise(3 * MIB + 11, turn + 1);
        let back = at_once(
            &httpd,
            &format!("/echo_at_once?read={read}"),
            &body,
            Duration::ZERO,
        );
        assert_same(&back, &body, &format!("by {read}"));
    }
}

fn a_client_that_takes_its_answer_slowly_gets_all_of_it(case: &Case) {
    let httpd = builder(case).start();
    for turn in 0..3 {
        let body = noise(9 * MIB + 1, turn + 1);
        let back = at_once(&httpd, "/echo?block=500000", &body, Duration::from_millis(500));
        assert_same(&back, &body, "after a pause");
    }
}

/// KiB of the memory for large bodies that a process has mapped and that is filled.
fn shared_kib(process: &Process) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{}/smaps", process.pid)).unwrap_or_default();
    let mut sum = 0;
    let mut is_shared = false;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("Rss:"), Some(number)) if is_shared => sum += number.parse::<u64>().expect("KiB"),
            (Some(first), _) if first.contains('-') => is_shared = line.contains("memfd:rwsgi-"),
            _ => {}
        }
    }
    sum
}

fn memory_for_large_bodies_is_given_back(case: &Case) {
    case.needs_ours("it is about memory that the original has not");
    let httpd = builder(case).start();
    let echo = |seed| {
        let body = noise(2 * MIB, seed);
        assert_same(&httpd.post("/echo", body.clone()).body, &body, "echo");
    };
    (1..4).for_each(echo);
    let both = || [&httpd.workers()[..], &httpd.children()].concat();
    let filled: u64 = both().iter().map(shared_kib).sum();
    assert!(filled > 1024, "{filled} KiB: it is used");
    until("its memory to be given back", Duration::from_secs(30), || {
        both().iter().map(shared_kib).sum::<u64>() <= 8
    });
    (4..6).for_each(echo);
}

fn a_worker_without_room_for_more_memory_reads_its_body(case: &Case) {
    case.needs_ours("it is about memory that the original has not");
    let httpd = builder(case).start();
    assert_eq!(httpd.get("/tighten").status, 200);
    let worker = httpd.workers()[0].pid;
    for turn in 0..3 {
        let body = noise(300 * KIB, turn + 1);
        assert_same(
            &httpd.post("/echo?read=50000&block=50000", body.clone()).body,
            &body,
            "echo",
        );
    }
    let maps = std::fs::read_to_string(format!("/proc/{worker}/maps")).expect("the same worker");
    assert!(!maps.contains("memfd:rwsgi"), "there was room");
}
