//! `wsgi.input`: the same calls on an `io.BytesIO` of the body are the oracle.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Topic, Value, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        reads_like_a_bytes_io,
        reads_chunked_bodies_like_a_bytes_io,
        chunked_bodies_need_the_directive,
        wrong_arguments_raise_type_errors,
        input_of_a_finished_request_is_dead,
        a_body_arrives_piece_by_piece,
        expect_100_continue_is_answered_when_the_application_reads,
        an_interrupted_body_is_an_error_for_the_application,
        content_length_over_the_limit_is_refused,
        an_application_that_reads_only_the_beginning_can_answer_at_length,
        http2_uploads_arrive,
        a_chunked_body_over_the_limit_is_refused,
        a_client_that_stops_sending_is_given_up,
        what_comes_before_a_broken_piece_is_read,
    ]);
}

const BODIES: [&str; 8] = [
    "",
    "a",
    "\n",
    "ab\ncd\nef",
    "ab\ncd\nef\n",
    "\n\n\n",
    "no line end at all",
    "x\r\ny\r\n",
];

const SCRIPTS: [&str; 16] = [
    "read:",
    "read:-1",
    "read:0,read:,read:",
    "read:3,read:3,read:100,read:1,read:",
    "readline:,readline:,readline:,readline:,readline:",
    "readline:2,readline:1,readline:10,readline:10,readline:",
    "readline:0,readline:-1,readline:-1",
    "readlines:",
    "readlines:0",
    "readlines:1,readlines:",
    "readlines:4,readline:,read:",
    "iter:,read:,readline:,readlines:,iter:",
    "next:,next:,read:",
    "readline:,read:2,next:,readlines:",
    "read:1,iter:",
    "readline:1,readline:1,readline:1,readline:1,read:1",
];

fn check(httpd: &Httpd, body: &[u8], script: &str, chunked: bool) {
    let oracle = if body.len() > 1000 {
        std::fs::write(httpd.data().join("body"), body).expect("body");
        "@file".to_owned()
    } else {
        base64(body)
    };
    let request = httpd
        .request("POST", &format!("/steps?{script}"))
        .header("X-Body", &oracle);
    let reply = if chunked {
        request.chunked(body).send()
    } else {
        request.body(body).send()
    };
    assert_eq!(reply.status, 200, "{script}: {}", reply.text());
    let answer = reply.json();
    assert_eq!(
        answer["seen"],
        answer["oracle"],
        "{script} on {:?}",
        String::from_utf8_lossy(&body[..body.len().min(80)])
    );
}

fn big_body() -> Vec<u8> {
    let mut body = Vec::new();
    for number in 0..6000 {
        body.extend_from_slice(format!("line {number} {}\n", "x".repeat(number % 97)).as_bytes());
    }
    body.extend(vec![b'y'; 100_000]);
    body
}

fn reads_like_a_bytes_io(case: &Case) {
    let httpd = case.httpd().app("input.wsgi").start();
    for script in SCRIPTS {
        for body in BODIES {
            check(&httpd, body.as_bytes(), script, false);
        }
    }
}

fn reads_chunked_bodies_like_a_bytes_io(case: &Case) {
    let httpd = case
        .httpd()
        .app("input.wsgi")
        .conf("WSGIChunkedRequest On")
        .start();
    for script in SCRIPTS {
        for body in ["", "ab\ncd\nef"] {
            check(&httpd, body.as_bytes(), script, true);
        }
    }
    let body = big_body();
    for script in [
        "read:",
        "readlines:",
        "read:65536,read:65537,readline:,read:",
        "iter:",
    ] {
        check(&httpd, &body, script, true);
        check(&httpd, &body, script, false);
    }
}

fn chunked_bodies_need_the_directive(case: &Case) {
    let httpd = case.httpd().app("input.wsgi").start();
    assert_eq!(httpd.request("POST", "/length").chunked("abc").send().status, 411);
    httpd.wait_log(case.said("RW0205", "WSGI0139"));
}

fn wrong_arguments_raise_type_errors(case: &Case) {
    let httpd = case.httpd().app("input.wsgi").start();
    let answer = httpd.post("/refused_arguments", "abc").json();
    assert_eq!(answer["read('x')"], "TypeError");
    assert_eq!(answer["readline('x')"], "TypeError");
    // The original refuses None; io.BytesIO takes it for "everything", and so may we.
    if case.theirs() {
        assert_eq!(answer["read(None)"], "TypeError");
    }
}

fn input_of_a_finished_request_is_dead(case: &Case) {
    let httpd = case
        .httpd()
        .app("input.wsgi")
        .children(1)
        .daemon("threads=1")
        .start();
    httpd.post("/keep", "abc");
    // The client may have its answer before the request is over; the access log is written after it.
    until("the first request's end", Duration::from_secs(5), || {
        httpd.access_log().contains("/keep")
    });
    assert_eq!(
        httpd.post("/read_kept", "def").json(),
        Value::from("RuntimeError")
    );
}

fn a_body_arrives_piece_by_piece(case: &Case) {
    let httpd = case.httpd().app("input.wsgi").start();
    let mut raw = httpd.raw();
    raw.send("POST /length HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 10\r\n\r\n");
    for piece in ["0", "123", "", "45678", "9"] {
        raw.send(piece);
    }
    assert_eq!(raw.reply().body, b"10");
}

/// F53
fn expect_100_continue_is_answered_when_the_application_reads(case: &Case) {
    let httpd = case.httpd().app("input.wsgi").start();
    let ask = |path: &str| {
        let mut raw = httpd.raw();
        raw.send(format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        ));
        raw
    };
    let mut raw = ask("/length");
    assert_eq!(raw.head().status, 100);
    raw.send("abc");
    assert_eq!(raw.reply().body, b"3");
    // An application that does not read gets no body sent: the final status comes at once.
    // The original's daemon mode always forwards the body before it looks at the answer.
    if !case.theirs() || case.embedded() {
        assert_eq!(ask("/ignored").head().status, 200);
    }
}

/// F49
fn an_interrupted_body_is_an_error_for_the_application(case: &Case) {
    let httpd = case.httpd().app("input.wsgi").start();
    let mut raw = httpd.raw();
    raw.send("POST /interrupted HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc");
    raw.finish_sending();
    drop(raw);
    if case.theirs() && !case.embedded() {
        // The child fails before the application starts.
        httpd.announce("WSGI");
        until(
            "the failed request in the access log",
            Duration::from_secs(10),
            || httpd.access_log().contains("/interrupted"),
        );
        httpd.announce_traceback();
        return;
    }
    let note = httpd.data().join("interrupted");
    until("the application's OSError", Duration::from_secs(10), || {
        std::fs::read_to_string(&note).is_ok_and(|text| text.starts_with("OSError"))
    });
    httpd.wait_log("OSError");
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

/// F52
fn content_length_over_the_limit_is_refused(case: &Case) {
    let httpd = case.httpd().app("input.wsgi").conf("LimitRequestBody 10").start();
    assert_eq!(httpd.post("/length", "0123456789").text(), "10");
    assert_eq!(httpd.post("/length", "0123456789a").status, 413);
    httpd.announce("AH01588"); // httpd's words: larger than the configured limit
    httpd.announce("LimitRequestBody");
}

/// What has arrived of the body beyond what it wanted keeps nobody waiting, although nobody reads it before the answer has been sent.
fn an_application_that_reads_only_the_beginning_can_answer_at_length(case: &Case) {
    if case.theirs() && !case.embedded() {
        case.skip("the original's daemon mode sends the whole body before it looks at the answer");
    }
    let httpd = case.httpd().app("input.wsgi").start();
    let file = httpd.data().join("upload");
    std::fs::write(&file, vec![b'z'; 8 << 20]).expect("upload file");
    let argument = format!("@{}", file.display());
    let answer = httpd
        .curl("/beginning")
        .with(&["--data-binary", &argument, "-H", "Expect:"])
        .run();
    assert_eq!(answer.exit, 0, "{answer:?}");
    assert_eq!(answer.body.len(), 2 + 1000 + (8 << 20));
    assert!(answer.body[1..].starts_with(&[b'z'; 1000]) && answer.body.ends_with(b"...\""));
}

fn http2_uploads_arrive(case: &Case) {
    case.needs_http2();
    let httpd = case
        .httpd()
        .http2()
        .app("input.wsgi")
        .conf("WSGIChunkedRequest On")
        .start();
    let file = httpd.data().join("upload");
    std::fs::write(&file, vec![b'z'; 300_000]).expect("upload file");
    let argument = format!("@{}", file.display());
    let with_length = httpd
        .curl("/length")
        .http2()
        .with(&["--data-binary", &argument])
        .run();
    assert_eq!(
        (with_length.exit, with_length.version.as_str()),
        (0, "2"),
        "{with_length:?}"
    );
    assert_eq!(with_length.body, b"300000");
    let name = file.display().to_string();
    let without_length = httpd
        .curl("/length")
        .http2()
        .with(&["-X", "POST", "-T", "-", "-H", "Expect:"])
        .stdin(&name)
        .run();
    assert_eq!(without_length.exit, 0, "{without_length:?}");
    // In the original's daemon mode such uploads arrive empty (its child frames an empty bucket as the end).
    let expected: &[u8] = if case.theirs() && !case.embedded() {
        b"0"
    } else {
        b"300000"
    };
    assert_eq!(without_length.body, expected);
}

/// F52
fn a_chunked_body_over_the_limit_is_refused(case: &Case) {
    let httpd = case
        .httpd()
        .app("input.wsgi")
        .conf("WSGIChunkedRequest On\nLimitRequestBody 1000")
        .start();
    let reply = httpd
        .request("POST", "/length")
        .chunked("x".repeat(5000))
        .try_send();
    assert!(reply.is_err() || reply.is_ok_and(|reply| matches!(reply.status, 413 | 500)));
    assert_eq!(
        httpd
            .request("POST", "/length")
            .chunked("x".repeat(500))
            .send()
            .text(),
        "500"
    );
    httpd.announce("AH"); // httpd's words about the limit
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

/// F51
fn a_client_that_stops_sending_is_given_up(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=1")
        .app("input.wsgi")
        .conf("Timeout 1")
        .start();
    let mut raw = httpd.raw();
    raw.send("POST /length HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1000\r\n\r\nabc");
    let status = raw.try_head().map(|head| head.status);
    assert!(matches!(status, None | Some(408 | 500)), "{status:?}");
    assert_eq!(
        httpd.post("/length", "abc").text(),
        "3",
        "the thread is free again"
    );
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .flat_map(|group| {
            let word = group
                .iter()
                .chain([0, 0].iter())
                .take(3)
                .fold(0usize, |word, byte| word << 8 | usize::from(*byte));
            (0..4).map(move |digit| {
                if digit <= group.len() {
                    char::from(DIGITS[word >> (18 - 6 * digit) & 63])
                } else {
                    '='
                }
            })
        })
        .collect()
}

const PIECE_BY_PIECE: &str = r#"
def application(environ, start_response):
    seen = []
    try:
        while len(seen) < 4:
            seen.append(environ['wsgi.input'].read(5).decode())
    except OSError:
        seen.append('error')
    open(@SEEN@, 'w').write(' '.join(seen))
    start_response('200 OK', [])
    return []
"#;

/// RFC 9112, 7.1: a size of a piece that is no number. All arrives at once.
fn what_comes_before_a_broken_piece_is_read(case: &Case) {
    let builder = case.httpd();
    let seen = builder.root().join("data/seen");
    let script = PIECE_BY_PIECE.replace("@SEEN@", &format!("'{}'", seen.display()));
    let httpd = builder
        .conf("WSGIChunkedRequest On")
        .source("/", "pieces.wsgi", &script)
        .start();
    let mut raw = httpd.raw();
    raw.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n6\r\nsecond\r\nZZ\r\n",
    );
    let _ = raw.reply();
    until("the application to have seen it", Duration::from_secs(20), || {
        std::fs::read_to_string(&seen).is_ok_and(|text| !text.is_empty())
    });
    assert_eq!(std::fs::read_to_string(&seen).expect("seen"), "first secon error");
    if case.theirs() {
        httpd.announce("WSGI0126");
    }
}
