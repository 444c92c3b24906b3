//! `wsgi.file_wrapper`: what is sent as a file, from where to where, with which headers; and the class itself.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Topic, Value, json, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        the_class_behaves_as_documented,
        every_kind_of_file_object_is_sent_or_read,
        subclasses_are_asked_for_their_blocks,
        what_was_taken_before_is_not_sent_again,
        an_answer_that_has_begun_is_read,
        the_applications_length_is_kept,
        a_length_beyond_the_end_looks_truncated,
        a_position_beyond_the_end_is_an_empty_answer,
        ranges_are_answered,
        if_range_compares_the_applications_validators,
        the_applications_own_ranges_are_left_alone,
        answers_without_a_body_have_none,
        the_position_is_left_where_it_was,
        close_is_called_once_and_after_the_last_byte,
        files_beyond_4_gib,
        nothing_is_kept,
    ]);
}

/// Serves `files.wsgi`, with a file of 100,000 bytes.
pub fn httpd(case: &Case) -> Httpd {
    start(case.httpd())
}

pub fn start(builder: rwsgi_testkit::Builder) -> Httpd {
    let httpd = builder.app("files.wsgi").start();
    write_file(&httpd, &content());
    httpd
}

pub fn content() -> Vec<u8> {
    b"0123456789".repeat(10_000)
}

/// The file that the application opens; it may write to it, too.
pub fn write_file(httpd: &Httpd, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = httpd.data().join("file");
    std::fs::write(&path, bytes).expect("the file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("chmod");
}

fn the_class_behaves_as_documented(case: &Case) {
    let found = httpd(case).get("/class").json();
    // The original leaves an exception behind without saying so.
    let close_of_no_file = if case.theirs() { "\"SystemError\"" } else { "null" };
    let expected = CLASS.replace("CLOSE_OF_NO_FILE", close_of_no_file);
    let mut asked = 0;
    for line in expected.lines() {
        let (name, value) = line.trim().split_once(": ").expect("a name and a value");
        let value: Value = rwsgi_testkit::from_slice(value.as_bytes());
        assert_eq!(found[name], value, "{name}");
        asked += 1;
    }
    assert_eq!(found.as_object().map(|all| all.len()), Some(asked));
}

/// What each question about the class is answered with.
const CLASS: &str = r#"is the module's: true
    is a type: true
    name: "FileWrapper"
    module: "mod_wsgi"
    nothing: "TypeError"
    three: "TypeError"
    keywords: 7
    unknown keyword: "TypeError"
    default: 8192
    zero: 0
    negative: "ValueError"
    a string as size: "TypeError"
    a float as size: "TypeError"
    None as size: "TypeError"
    a bool as size: 1
    huge: "OverflowError"
    large: 1099511627776
    no file: "None"
    an int as file: 5
    the file: true
    set filelike: "AttributeError"
    set blksize: "AttributeError"
    set anything: "AttributeError"
    own iterator: true
    blocks: "[b'abc', b'def', b'g']"
    exhausted: "StopIteration"
    next of an int: "AttributeError"
    text blocks: "TypeError"
    bytearray blocks: "TypeError"
    sizes: true
    indexing: "TypeError"
    close: null
    close closes: true
    close of no file: CLOSE_OF_NO_FILE
    close raises: null
    close twice: null
    filelike after close: "ValueError"
    blksize after close: 8192
    next after close: "ValueError"
    iter after close: true
    list after close: "ValueError"
    subclass: true
    subclass's blocks: "[b'a', b'b']"
    before init: null"#;

fn every_kind_of_file_object_is_sent_or_read(case: &Case) {
    let httpd = httpd(case);
    let (file, temporary) = (content(), b"temporary ".repeat(1000));
    let upper = b"PACKED ".repeat(2000);
    let sent: [(&str, &[u8]); 10] = [
        ("buffered", &file),
        ("raw", &file),
        ("update", &file),
        ("named", &file),
        ("text", &file),
        ("temporary", &temporary),
        ("named_temporary", &temporary),
        ("written", b"still IN the buffer"),
        ("device", b""),
        ("proc", b""),
    ];
    for (kind, body) in sent {
        let reply = httpd.get(&format!("/serve?kind={kind}"));
        assert_eq!(reply.status, 200, "{kind}: {}", reply.text());
        if kind == "proc" && !case.theirs() {
            continue;
        }
        assert!(reply.body == body, "{kind}: {} bytes", reply.body.len());
        if kind != "device" {
            let length = body.len().to_string();
            assert_eq!(reply.header("content-length"), Some(length.as_str()), "{kind}");
        }
    }
    // What has no file, or may read something else than its file: the original sends the file for the last four.
    let read: [(&str, &[u8]); 12] = [
        ("memory", b"in memory"),
        ("pipe", b"through a pipe"),
        ("socket", b"through a socket"),
        ("directory", b"read"),
        ("path_only", b"read"),
        ("write_only", b"read"),
        ("spooled", &temporary),
        ("gzip", &upper),
        ("buffered_gzip", &upper),
        ("foreign", b"what read() gives"),
        ("reading", &b"ABCDEFGHIJ".repeat(1000)),
        ("overridden", &b"ABCDEFGHIJ".repeat(1000)),
    ];
    write_file(&httpd, &b"abcdefghij".repeat(1000));
    for (kind, body) in read {
        let reply = httpd.request("GET", &format!("/serve?kind={kind}")).try_send();
        if case.theirs()
            && [
                "write_only",
                "gzip",
                "buffered_gzip",
                "foreign",
                "reading",
                "overridden",
            ]
            .contains(&kind)
        {
            assert!(
                reply.is_err() || reply.is_ok_and(|reply| reply.body != body),
                "{kind}"
            );
            continue;
        }
        let reply = reply.unwrap_or_else(|why| panic!("{kind}: {why}"));
        assert_eq!(reply.status, 200, "{kind}");
        assert!(reply.body == body, "{kind}: {:?}", reply.text().get(..100));
    }
    assert_eq!(httpd.get("/serve?kind=closed").status, 500);
    httpd.wait_log("ValueError: read of closed file");
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

fn subclasses_are_asked_for_their_blocks(case: &Case) {
    let httpd = httpd(case);
    write_file(&httpd, &b"abc".repeat(10_000));
    for wrapper in ["plain", "closing"] {
        let reply = httpd.get(&format!("/serve?wrapper={wrapper}"));
        assert!(reply.body == b"abc".repeat(10_000), "{wrapper}");
        assert_eq!(reply.header("content-length"), Some("30000"), "{wrapper}");
    }
    let reply = httpd.get("/serve?wrapper=loud");
    // The original sends the file although the class says something else.
    let body = if case.theirs() { b"abc" } else { b"ABC" }.repeat(10_000);
    assert!(reply.body == body);
    assert!(httpd.get("/serve?generator=1").body == b"abc".repeat(10_000));
    // It is closed after its last byte has gone.
    let notes = || std::fs::read_to_string(httpd.data().join("notes")).unwrap_or_default();
    until("the wrapper to be closed", Duration::from_secs(5), || {
        !notes().is_empty()
    });
    assert_eq!(notes(), "closed at 0;");
}

fn what_was_taken_before_is_not_sent_again(case: &Case) {
    let httpd = httpd(case);
    assert!(httpd.get("/serve?first=1&block=1000").body == content()[1000..]);
    let reply = httpd.get("/serve?seek=99995&peek=1");
    assert_eq!(
        (reply.text().as_str(), reply.header("content-length")),
        ("56789", Some("5"))
    );
}

fn an_answer_that_has_begun_is_read(case: &Case) {
    let httpd = httpd(case);
    let reply = httpd.get("/serve?write=before&block=4096");
    assert!(reply.body.starts_with(b"before0123") && reply.body.len() == 100_006);
    // Nothing of the body has been written yet.
    assert!(httpd.get("/serve?write=&block=4096").body == content());
}

fn the_applications_length_is_kept(case: &Case) {
    let httpd = httpd(case);
    for (length, seek) in [(5, 0), (70_000, 3), (99_999, 1), (0, 7)] {
        let mut raw = httpd.raw_get(&format!("/serve?Content-Length={length}&seek={seek}"));
        let reply = raw.reply();
        assert_eq!(
            reply.head.header("content-length"),
            Some(length.to_string().as_str())
        );
        assert!(
            reply.complete && reply.body == content()[seek..seek + length],
            "{length}"
        );
        assert!(raw.is_closed(), "bytes follow the body");
    }
}

fn a_length_beyond_the_end_looks_truncated(case: &Case) {
    let httpd = httpd(case);
    let mut raw = httpd.raw_get("/serve?Content-Length=300000");
    if case.theirs() {
        // It may notice before the head is out: no answer in embedded mode, 502 in daemon mode.
        if let Some(head) = raw.try_head() {
            assert!(head.status == 502 || !raw.body(head).complete);
        }
        httpd.wait_log("failed to write response data");
        httpd.announce_traceback();
    } else {
        let reply = raw.reply();
        assert_eq!(reply.head.header("content-length"), Some("300000"));
        assert!(!reply.complete && reply.body == content());
        httpd.wait_log("declared Content-Length 300000 and produced 100000 bytes");
    }
    httpd.provoked(&[codes::LENGTH]);
}

fn a_position_beyond_the_end_is_an_empty_answer(case: &Case) {
    // The original's length is negative then.
    case.needs_ours("it answers with an error");
    let reply = httpd(case).raw_get("/serve?seek=200000").reply();
    assert_eq!(
        (reply.head.status, reply.head.header("content-length")),
        (200, Some("0"))
    );
    assert!(reply.complete && reply.body.is_empty());
}

/// Status, `Content-Range` and body of an answer to a request with one more header.
fn ranged(httpd: &Httpd, query: &str, headers: &[(&str, &str)]) -> (u16, String, Vec<u8>) {
    let mut request = httpd.request("GET", &format!("/serve?{query}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let reply = request.send();
    let range = reply.header("content-range").unwrap_or_default().to_owned();
    (reply.status, range, reply.body)
}

fn ranges_are_answered(case: &Case) {
    let httpd = httpd(case);
    let range = |query: &str, wanted: &str| ranged(&httpd, query, &[("Range", &format!("bytes={wanted}"))]);
    if case.theirs() && !case.embedded() {
        // Its worker sends blocks, of which httpd cannot take ranges.
        assert_eq!(range("", "2-5").0, 200);
        return;
    }
    let all = content();
    for (wanted, from, to) in [
        ("2-5", 2, 6),
        ("0-0", 0, 1),
        ("99990-", 99_990, 100_000),
        ("-7", 99_993, 100_000),
        ("50000-999999", 50_000, 100_000),
        ("20-80000", 20, 80_001),
    ] {
        let (status, range, body) = range("", wanted);
        assert_eq!(
            (status, range),
            (206, format!("bytes {from}-{}/100000", to - 1)),
            "{wanted}"
        );
        assert!(body == all[from..to], "{wanted}");
    }
    let (status, described, body) = range("seek=100&Content-Length=50000", "1-2");
    assert_eq!(
        (status, described.as_str(), body.as_slice()),
        (206, "bytes 1-2/50000", &b"12"[..])
    );
    let (status, _, body) = range("", "0-9,40000-90000");
    assert_eq!(status, 206);
    assert!(body.len() > 50_011 && String::from_utf8_lossy(&body).contains("bytes 40000-90000/100000"));
    assert_eq!(range("", "100000-").0, 416);
    let (status, _, body) = range("", "5-2");
    assert_eq!((status, body.len()), (200, 100_000), "no valid range");
    if case.theirs() {
        // It takes the 416 for a failure.
        httpd.announce("failed to write response data");
        httpd.provoked(&[]);
    }
}

fn if_range_compares_the_applications_validators(case: &Case) {
    let httpd = httpd(case);
    if case.theirs() && !case.embedded() {
        case.skip("the original's daemon mode has no ranges");
    }
    let old = "Mon, 05 Jan 2026 10:00:00 GMT";
    for (query, if_range, status) in [
        ("ETag=%22a%22", "\"a\"", 206),
        ("ETag=%22a%22", "\"b\"", 200),
        ("ETag=W/%22a%22", "W/\"a\"", 200),
        ("", "\"a\"", 200),
        ("Last-Modified=Mon,+05+Jan+2026+10:00:00+GMT", old, 206),
        ("Last-Modified=Mon,+05+Jan+2026+10:00:01+GMT", old, 200),
        ("", old, 200),
    ] {
        let found = ranged(&httpd, query, &[("Range", "bytes=1-3"), ("If-Range", if_range)]);
        assert_eq!(found.0, status, "{query} {if_range}");
        assert_eq!(found.2.len(), if status == 206 { 3 } else { 100_000 });
    }
}

fn the_applications_own_ranges_are_left_alone(case: &Case) {
    let httpd = httpd(case);
    let query =
        "status=206+Partial&Content-Length=10&seek=5&Content-Range=bytes+5-14/100000&Accept-Ranges=bytes";
    let (status, range, body) = ranged(&httpd, query, &[("Range", "bytes=5-14")]);
    assert_eq!(
        (status, range.as_str(), body.as_slice()),
        (206, "bytes 5-14/100000", &b"5678901234"[..])
    );
    // Whatever it says of itself is the client's to read.
    let reply = httpd.get("/serve?Accept-Ranges=none&ETag=%22x%22");
    assert_eq!(
        (reply.header("accept-ranges"), reply.header("etag")),
        (Some("none"), Some("\"x\""))
    );
}

fn answers_without_a_body_have_none(case: &Case) {
    let httpd = httpd(case);
    for status in ["204+No", "304+Not"] {
        let mut raw = httpd.raw_get(&format!("/serve?status={status}"));
        assert_eq!(raw.head().status.to_string(), status[..3]);
        assert!(raw.is_closed(), "bytes follow the head");
    }
    let mut raw = httpd.raw();
    raw.send("HEAD /serve?seek=10 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let reply = raw.reply_to_head();
    assert_eq!(
        (
            reply.head.status,
            reply.head.header("content-length"),
            reply.body.len()
        ),
        (200, Some("99990"), 0)
    );
    // A connection that goes on shows whether anything came too much.
    let mut raw = httpd.raw();
    for _ in 0..3 {
        raw.send(
            "HEAD /serve HTTP/1.1\r\nHost: h\r\n\r\nGET /serve?Content-Length=3 HTTP/1.1\r\nHost: h\r\n\r\n",
        );
        assert_eq!(raw.head().header("content-length"), Some("100000"));
        assert_eq!(raw.reply().body, b"012");
    }
    httpd.announce("204");
}

fn the_position_is_left_where_it_was(case: &Case) {
    for setting in ["", "WSGIEnableSendfile On", "EnableMMAP Off"] {
        let httpd = start(case.httpd().children(1).conf(setting));
        // In embedded mode the original puts it back after the client has got everything.
        let is_left = || {
            until("the position", Duration::from_secs(5), || {
                httpd.get("/kept").json() == json!([true, false])
            });
        };
        assert!(httpd.get("/serve?keep=1&peek=1&seek=5").body == content()[5..]);
        is_left();
        let ranges = [("Range", "bytes=0-9,99-100,300-90000")];
        assert!(ranged(&httpd, "keep=1&seek=1", &ranges).2.len() > 10);
        // The original forgets it when httpd reads the parts of several ranges.
        if !(case.theirs() && case.embedded()) {
            is_left();
        }
    }
}

fn close_is_called_once_and_after_the_last_byte(case: &Case) {
    let httpd = httpd(case);
    let noted = |text: &str| {
        until(text, Duration::from_secs(5), || {
            std::fs::read_to_string(httpd.data().join("notes")).is_ok_and(|notes| notes == text)
        });
    };
    assert!(httpd.get("/serve?keep=1").body == content());
    noted("closed;");
    // What close() does to the file cannot hurt the answer: here it empties it.
    write_file(&httpd, &content());
    let reply = httpd.raw_get("/serve?kind=update&empties=1").reply();
    assert!(reply.complete && reply.body == content(), "{reply:?}");
    noted("closed;emptied;");
}

fn files_beyond_4_gib(case: &Case) {
    let httpd = httpd(case);
    let size = (5u64 << 30) + 3;
    write_file(&httpd, b"");
    let file = std::fs::File::options()
        .write(true)
        .open(httpd.data().join("file"))
        .expect("open");
    file.set_len(size).expect("a sparse file");
    std::os::unix::fs::FileExt::write_all_at(&file, b"the end", size - 7).expect("write");
    let mut raw = httpd.raw();
    raw.send("HEAD /serve HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(
        raw.reply_to_head().head.header("content-length"),
        Some("5368709123")
    );
    let reply = httpd.get(&format!("/serve?seek={}", size - 100_000));
    assert!(reply.body.len() == 100_000 && reply.body.ends_with(b"\0the end"));
    let mut whole = httpd.raw_get("/serve");
    assert_eq!(whole.head().header("content-length"), Some("5368709123"));
    assert!(whole.some().iter().all(|byte| *byte == 0));
    drop(whole);
    if !case.theirs() || case.embedded() {
        let (status, range, body) = ranged(&httpd, "", &[("Range", "bytes=5368709110-")]);
        assert_eq!(
            (status, range.as_str()),
            (206, "bytes 5368709110-5368709122/5368709123")
        );
        assert!(body.ends_with(b"\0the end") && body.len() == 13);
    }
    if case.theirs() {
        // Clients that go away.
        httpd.announce("failed to write response data");
        httpd.provoked(&[]);
    }
}

fn nothing_is_kept(case: &Case) {
    let httpd = start(case.httpd().children(1));
    for kind in ["buffered", "raw", "text", "named_temporary", "gzip"] {
        httpd.get(&format!("/serve?kind={kind}"));
    }
    // The client may have everything before the thread that sent it has let go.
    until("nothing is referred to", Duration::from_secs(10), || {
        httpd.get("/references").json() == json!([0, 0])
    });
}
