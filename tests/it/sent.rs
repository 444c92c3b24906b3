//! What a client is sent, whatever the application does: R50 to R57. R53 is `truncation.rs`; what a worker that has been taken over can
//! send is tested at `src/request/response.rs` and `crates/wire/tests/hostile.rs`.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, RawReply, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        r50_no_byte_breaks_the_head_of_an_answer,
        r51_hop_by_hop_headers_are_refused,
        r51_hop_by_hop_headers_are_refused_over_http_2,
        r52_lengths_are_kept_with_a_request_behind,
        r52_wrong_lengths_are_500,
        r52_the_same_length_twice_is_one,
        r54_no_byte_reaches_another_client,
        r55_no_header_of_an_application_chooses_a_handler,
        r56_date_server_and_framing_are_httpds,
        r57_headers_of_temporary_strings_arrive_whole,
    ]);
}

fn httpd(case: &Case) -> Httpd {
    case.httpd().app("sent.wsgi").start()
}

fn finish(httpd: &Httpd) {
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION, codes::LENGTH]);
}

fn raw(httpd: &Httpd, path: &str) -> RawReply {
    httpd.raw_get(path).reply()
}

fn r50_no_byte_breaks_the_head_of_an_answer(case: &Case) {
    let httpd = httpd(case);
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    for place in ["in_name", "in_value", "in_reason", "in_type"] {
        for byte in (0..=u8::MAX).filter(|byte| *byte < 48 || *byte > 122 || !byte.is_ascii_alphanumeric()) {
            let reply = raw(&httpd, &format!("/{place}?byte={byte}"));
            let control = byte < 32 || byte == 127;
            let allowed = match place {
                "in_name" => token(byte),
                "in_reason" => !control,
                _ => !control || byte == b'\t',
            };
            assert_eq!(reply.head.header("x-evil"), None, "{place} {byte}");
            if case.theirs() {
                // The original lets some of them through, and httpd then breaks the answer off.
                continue;
            }
            assert!(reply.complete, "{place} {byte}");
            let status = reply.head.status;
            if byte == b'\t' && place != "in_name" && place != "in_reason" {
                assert!(matches!(status, 200 | 500), "{place} {byte}: {status}");
                continue;
            }
            assert_eq!(status, if allowed { 200 } else { 500 }, "{place} {byte}");
            if allowed {
                assert_eq!(reply.head.header("x-after"), Some("yes"), "{place} {byte}");
            }
        }
    }
    finish(&httpd);
    httpd.announce("AH02429"); // httpd's own check of names
    httpd.announce("AH02430");
}

const HOP_BY_HOP: [&str; 9] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

fn r51_hop_by_hop_headers_are_refused(case: &Case) {
    case.needs_ours("it sends them");
    let httpd = httpd(case);
    for name in HOP_BY_HOP {
        for name in [name.to_owned(), name.to_lowercase()] {
            let reply = raw(&httpd, &format!("/header?name={name}&value=chunked"));
            assert_eq!((reply.head.status, reply.complete), (500, true), "{name}");
        }
        httpd.wait_log(name);
    }
    finish(&httpd);
}

fn r51_hop_by_hop_headers_are_refused_over_http_2(case: &Case) {
    case.needs_ours("it sends them");
    case.needs_http2();
    let httpd = case.httpd().http2().app("sent.wsgi").start();
    for name in HOP_BY_HOP {
        let reply = httpd.curl(&format!("/header?name={name}&value=x")).http2().run();
        assert_eq!((reply.exit, reply.status), (0, 500), "{name} {reply:?}");
    }
    finish(&httpd);
}

fn r52_lengths_are_kept_with_a_request_behind(case: &Case) {
    let httpd = httpd(case);
    for (method, status, declared, sent, body) in [
        ("GET", "200+OK", "4", 4, 4),
        ("GET", "200+OK", "4", 9, 4),
        ("GET", "200+OK", "0", 9, 0),
        ("GET", "404+No", "4", 9, 4),
        ("HEAD", "200+OK", "4", 4, 0),
        ("HEAD", "200+OK", "4", 9, 0),
        ("HEAD", "200+OK", "4", 0, 0),
        ("GET", "204+No", "4", 4, 0),
        ("GET", "304+No", "4", 4, 0),
        ("POST", "200+OK", "3", 9, 3),
    ] {
        let path = format!("/length?status={status}&declared={declared}&sent={sent}");
        let mut raw = httpd.raw();
        raw.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\n\r\nGET /length?sent=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        ));
        let head = raw.head();
        assert_eq!(head.status.to_string(), status[..3], "{method} {path}");
        if method != "HEAD" {
            let reply = raw.body(head);
            assert_eq!(
                (reply.body.len(), reply.complete),
                (body, true),
                "{method} {path}"
            );
        }
        let next = raw.reply();
        assert_eq!(
            (next.head.status, next.body.as_slice()),
            (200, &b"x"[..]),
            "the answer behind {method} {path}"
        );
        assert!(raw.is_closed(), "{method} {path}");
    }
    finish(&httpd);
}

fn r52_wrong_lengths_are_500(case: &Case) {
    let httpd = httpd(case);
    let mut wrong = vec![
        "declared=-1",
        "declared=4x",
        "declared=x",
        "declared=0x4",
        "declared=99999999999999999999",
    ];
    if !case.theirs() {
        // The original sends both.
        wrong.push("declared=4&declared=5");
    }
    for declared in wrong {
        let reply = raw(&httpd, &format!("/length?{declared}&sent=4"));
        assert_eq!((reply.head.status, reply.complete), (500, true), "{declared}");
    }
    assert_eq!(raw(&httpd, "/length?declared=4&sent=4").body, b"xxxx");
    finish(&httpd);
}

/// RFC 9110, 8.6: equal ones count as one. An application and a middleware of it may both give it.
fn r52_the_same_length_twice_is_one(case: &Case) {
    let httpd = httpd(case);
    let mut raw = httpd.raw();
    raw.send("GET /length?declared=4&declared=4&sent=4 HTTP/1.1\r\nHost: h\r\n\r\n");
    let reply = raw.reply();
    assert_eq!((reply.head.status, reply.body.as_slice()), (200, &b"xxxx"[..]));
    let lengths = reply
        .head
        .headers
        .iter()
        .filter(|(name, _)| name == "content-length");
    assert_eq!(
        lengths.map(|(_, value)| value.as_str()).collect::<Vec<_>>(),
        ["4"]
    );
}

fn r54_no_byte_reaches_another_client(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("processes=2 threads=2")
        .app("sent.wsgi")
        .start();
    // Answers that are too long, too short, cut by the client or refused, between answers that must be their own.
    std::thread::scope(|scope| {
        for client in 0..4 {
            let httpd = &httpd;
            scope.spawn(move || {
                for round in 0..60 {
                    match round % 4 {
                        0 => drop(httpd.raw_get("/length?declared=4&sent=400000")),
                        1 => drop(raw(httpd, "/length?declared=2&sent=9000")),
                        2 => drop(raw(httpd, "/header?name=X&value=%0d%0a")),
                        _ => {}
                    }
                    let name = format!("c{client}r{round}");
                    let reply = raw(httpd, &format!("/temporary?name={name}"));
                    assert_eq!(String::from_utf8_lossy(&reply.body), format!("{name} 0"));
                    assert_eq!(reply.head.header("x-name"), Some(name.repeat(20).as_str()));
                }
            });
        }
    });
    // Connections that still linger count for httpd, too.
    httpd.announce("AH00484");
    finish(&httpd);
}

/// R34
fn r55_no_header_of_an_application_chooses_a_handler(case: &Case) {
    let httpd = case
        .httpd()
        .load("cgid")
        .load("status")
        .load("include")
        .load("proxy")
        .file("www/other", "another page")
        .app("sent.wsgi")
        .start();
    for kind in [
        "application/x-httpd-cgi",
        "application/x-httpd-wsgi",
        "cgi-script",
        "server-status",
        "server-parsed",
        "proxy:http://127.0.0.1:1/",
    ] {
        let reply = raw(&httpd, &format!("/header?name=Content-Type&value={kind}"));
        assert_eq!(
            (reply.head.status, reply.body.as_slice()),
            (200, &b"the body"[..]),
            "{kind}"
        );
    }
    for name in [
        "X-Sendfile",
        "X-Accel-Redirect",
        "X-Handler",
        "Action",
        "Script-Filename",
    ] {
        let reply = raw(&httpd, &format!("/header?name={name}&value=/other"));
        assert_eq!(reply.body, b"the body", "{name}");
        assert_eq!(reply.head.header(&name.to_lowercase()), Some("/other"), "{name}");
    }
    for status in ["302 Found", "500 Oh", "404 No"] {
        let path = format!(
            "/header?name=Location&value=/other&status={}",
            status.replace(' ', "+")
        );
        assert_eq!(raw(&httpd, &path).body, b"the body", "{status}");
    }
}

fn r56_date_server_and_framing_are_httpds(case: &Case) {
    let httpd = httpd(case);
    for (name, value) in [("Server", "forged/1"), ("Date", "Thu, 01 Jan 1970 00:00:00 GMT")] {
        let reply = raw(
            &httpd,
            &format!("/header?name={name}&value={}", value.replace(' ', "+")),
        );
        let all: Vec<_> = reply
            .head
            .headers
            .iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .collect();
        assert_eq!(all.len(), 1, "{name}: {all:?}");
        assert_ne!(all[0].1, value, "{name}");
    }
    let reply = raw(&httpd, "/length?sent=5");
    let framed = ["content-length", "transfer-encoding"].map(|name| reply.head.header(name).is_some());
    assert_ne!(framed[0], framed[1], "one framing: {:?}", reply.head);
    assert_eq!((reply.body.len(), reply.complete), (5, true));
}

fn r57_headers_of_temporary_strings_arrive_whole(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=8")
        .children(1)
        .app("sent.wsgi")
        .start();
    std::thread::scope(|scope| {
        for client in 0..4 {
            let httpd = &httpd;
            scope.spawn(move || {
                for round in 0..90 {
                    let name = format!("client{client}round{round}");
                    let reply = raw(httpd, &format!("/temporary?name={name}"));
                    let back: String = name.chars().rev().collect();
                    assert_eq!(reply.head.reason, back);
                    assert_eq!(
                        reply.head.header("content-type"),
                        Some(format!("text/x-{name}").as_str())
                    );
                    assert_eq!(reply.head.header("x-name"), Some(name.repeat(20).as_str()));
                }
            });
        }
    });
    // Connections that still linger count for httpd, too.
    httpd.announce("AH00484");
}
