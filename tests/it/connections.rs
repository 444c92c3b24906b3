//! What a connection carries besides one answer: the next request, a body nobody read, headers that are about the connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Topic, mpm, test, until};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        keep_alive_connections_carry_several_answers,
        http_1_0_gets_no_chunks,
        pipelined_requests_are_answered_in_order,
        an_unread_body_does_not_disturb_the_next_request,
        hop_by_hop_headers_of_an_application_do_no_harm,
        a_client_that_asks_again_at_once_keeps_its_thread,
        clients_that_ask_on_and_on_keep_nobody_waiting,
    ]);
}

fn httpd(case: &Case) -> Httpd {
    case.httpd().app("response.wsgi").start()
}

fn keep_alive_connections_carry_several_answers(case: &Case) {
    let httpd = httpd(case);
    let mut raw = httpd.raw();
    for path in ["/one", "/several", "/status_204", "/generator", "/length_right"] {
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let reply = raw.reply();
        assert!(reply.complete && matches!(reply.head.status, 200 | 204), "{path}");
    }
}

fn http_1_0_gets_no_chunks(case: &Case) {
    let httpd = httpd(case);
    let mut raw = httpd.raw();
    raw.send("GET /generator HTTP/1.0\r\n\r\n");
    let reply = raw.reply();
    assert_eq!(reply.head.header("transfer-encoding"), None);
    assert_eq!(reply.body, b"from a generator");
}

fn pipelined_requests_are_answered_in_order(case: &Case) {
    let httpd = httpd(case);
    let mut raw = httpd.raw();
    let paths = ["/one", "/several", "/generator", "/written"];
    let all: String = paths
        .iter()
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
        .collect();
    raw.send(all);
    for body in [
        "one piece",
        "one two three",
        "from a generator",
        "written and returned",
    ] {
        let reply = raw.reply();
        assert_eq!(String::from_utf8_lossy(&reply.body), body);
    }
}

/// R46, F53.
fn an_unread_body_does_not_disturb_the_next_request(case: &Case) {
    let httpd = case
        .httpd()
        .app("response.wsgi")
        .conf("WSGIChunkedRequest On")
        .start();
    let mut raw = httpd.raw();
    for length in [1, 1000, 100_000, 300_000] {
        raw.send(format!(
            "POST /one HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"
        ));
        raw.send(vec![b'G'; length]);
        let reply = raw.reply();
        assert_eq!(
            (reply.head.status, reply.body.as_slice()),
            (200, &b"one piece"[..]),
            "{length}"
        );
    }
    raw.send("POST /one HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n");
    assert_eq!(raw.reply().body, b"one piece");
    raw.send("GET /several HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(raw.reply().body, b"one two three");
}

/// R51; `sent.rs` has more of it.
fn hop_by_hop_headers_of_an_application_do_no_harm(case: &Case) {
    let source = "def application(environ, start_response):\n    \
        name, value = environ['QUERY_STRING'].split('=')\n    \
        start_response('200 OK', [('Content-Type', 'text/plain'), (name, value)])\n    return [b'body']\n";
    let httpd = case.httpd().source("/", "hop.wsgi", source).start();
    // The original sends an application's "Transfer-Encoding: chunked" with a body that is not: nobody can read that.
    let first = usize::from(case.theirs());
    for header in &[
        "Transfer-Encoding=chunked",
        "Connection=keep-alive",
        "Keep-Alive=timeout",
        "Upgrade=x",
        "Trailer=X",
    ][first..]
    {
        let reply = httpd.raw_get(&format!("/?{header}")).reply();
        // PEP 3333 forbids them: refused, or without effect, but never an answer that cannot be read.
        match reply.head.status {
            200 => assert_eq!(
                (reply.body.as_slice(), reply.complete),
                (&b"body"[..], true),
                "{header}"
            ),
            status => assert_eq!(status, 500, "{header}"),
        }
    }
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

/// With MPM event a connection goes to the listener between two requests, and comes back to another thread.
fn a_client_that_asks_again_at_once_keeps_its_thread(case: &Case) {
    case.needs_ours("the original leaves each connection to the listener");
    if mpm() != "event" {
        case.skip("a thread keeps its connection with any other MPM");
    }
    let httpd = case
        .httpd()
        .app("response.wsgi")
        .conf("CustomLog @ROOT@/threads.log %{tid}P")
        .start();
    // The pause is the client's: what is shown is what it makes of a request that comes so long after an answer.
    let threads_of = |pause: Duration| {
        let log = httpd.root().join("threads.log");
        let lines = || std::fs::read_to_string(&log).unwrap_or_default();
        let before = lines().lines().count();
        let mut raw = httpd.raw();
        for _ in 0..20 {
            raw.send("GET /one HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(raw.reply().body, b"one piece");
            thread::sleep(pause);
        }
        drop(raw);
        until("20 lines in the log", Duration::from_secs(10), || {
            lines().lines().count() >= before + 20
        });
        let threads: Vec<String> = lines().lines().skip(before).map(str::to_owned).collect();
        threads.windows(2).filter(|two| two[0] == two[1]).count()
    };
    // On a machine with much else to do a client may be late, again and again.
    until("a thread that waits", Duration::from_secs(20), || {
        threads_of(Duration::from_micros(200)) >= 15
    });
    assert!(threads_of(Duration::from_millis(20)) < 15);
}

fn clients_that_ask_on_and_on_keep_nobody_waiting(case: &Case) {
    if mpm() != "event" {
        case.skip("a thread keeps its connection with any other MPM");
    }
    let httpd = case
        .httpd()
        .app("response.wsgi")
        .children(1)
        .conf("MaxKeepAliveRequests 0")
        .start();
    httpd.announce("AH00484");
    let (answers, enough) = (AtomicUsize::new(0), 2000);
    let question = "GET /one HTTP/1.1\r\nHost: h\r\n\r\n";
    thread::scope(|scope| {
        // More than httpd has threads, so that it closes connections between two requests.
        for _ in 0..12 {
            scope.spawn(|| {
                let start = Instant::now();
                let mut raw = httpd.raw();
                while answers.load(Ordering::Relaxed) < enough && start.elapsed() < Duration::from_secs(30) {
                    let head = if raw.try_send(question) {
                        raw.try_head()
                    } else {
                        None
                    };
                    match head {
                        Some(head) => {
                            assert_eq!(raw.body(head).body, b"one piece");
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                        None => raw = httpd.raw(),
                    }
                }
            });
        }
        let (start, mut longest) = (Instant::now(), Duration::ZERO);
        while answers.load(Ordering::Relaxed) < enough && start.elapsed() < Duration::from_secs(30) {
            let asked = Instant::now();
            assert_eq!(httpd.get("/one").text(), "one piece");
            longest = longest.max(asked.elapsed());
        }
        assert!(longest < Duration::from_secs(5), "{longest:?}");
    });
    assert!(answers.into_inner() >= enough);
}
