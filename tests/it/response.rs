//! `start_response`, `write`, iterables, lengths and statuses, as PEP 3333 has them.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, RawReply, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        bodies_of_every_kind_arrive_whole,
        generators_stream_as_they_yield,
        write_streams_as_it_is_called,
        an_empty_piece_does_not_send_the_head,
        close_is_called_once,
        close_is_called_when_the_client_goes_away,
        an_error_in_close_is_logged_and_harmless,
        right_content_length_is_kept,
        bytes_beyond_content_length_are_not_sent,
        a_body_shorter_than_content_length_looks_truncated,
        statuses_without_a_body_have_none,
        head_requests_get_the_head_alone,
        status_and_headers_arrive_as_given,
        application_errors_keep_their_own_page,
        start_response_may_be_replaced_until_the_head_is_sent,
        start_response_after_the_head_is_refused,
        file_wrapper_sends_from_the_current_position,
    ]);
}

fn httpd(case: &Case) -> Httpd {
    case.httpd().app("response.wsgi").start()
}

fn raw(httpd: &Httpd, path: &str) -> RawReply {
    httpd.raw_get(path).reply()
}

fn notes(httpd: &Httpd, name: &str) -> usize {
    std::fs::read(httpd.data().join(name)).map_or(0, |text| text.len())
}

fn bodies_of_every_kind_arrive_whole(case: &Case) {
    let httpd = httpd(case);
    for (path, body) in [
        ("/one", "one piece"),
        ("/several", "one two three"),
        ("/as_tuple", "a tuple"),
        ("/generator", "from a generator"),
        ("/late_start", "started late"),
        ("/empty", ""),
        ("/empty_generator", ""),
        ("/written", "written and returned"),
        ("/no_type", "no type"),
        ("/keyword_exc_info", "fine"),
    ] {
        let reply = raw(&httpd, path);
        assert_eq!(reply.head.status, 200, "{path}");
        assert_eq!(String::from_utf8_lossy(&reply.body), body, "{path}");
        assert!(reply.complete, "{path}");
    }
}

fn generators_stream_as_they_yield(case: &Case) {
    let httpd = httpd(case);
    let mut raw = httpd.raw_get("/streamed");
    raw.until(b"first;");
    std::fs::write(httpd.data().join("go"), "").expect("go");
    raw.until(b"second;");
}

fn write_streams_as_it_is_called(case: &Case) {
    let httpd = httpd(case);
    let mut raw = httpd.raw_get("/write_streamed");
    raw.until(b"first;");
    std::fs::write(httpd.data().join("go"), "").expect("go");
    raw.until(b"second;");
}

fn an_empty_piece_does_not_send_the_head(case: &Case) {
    let httpd = httpd(case);
    let reply = raw(&httpd, "/head_streamed");
    assert_eq!(
        (reply.head.status, reply.body.as_slice()),
        (503, &b"replaced"[..])
    );
}

fn close_is_called_once(case: &Case) {
    let httpd = httpd(case);
    assert_eq!(raw(&httpd, "/closing").body, b"closed once");
    until("close()", Duration::from_secs(5), || notes(&httpd, "closed") == 1);
    assert_eq!(raw(&httpd, "/closing_before_output").head.status, 500);
    until(
        "close() after an error before output",
        Duration::from_secs(5),
        || notes(&httpd, "closed") == 2,
    );
    assert_eq!(raw(&httpd, "/closing_after_error").body, b"begun");
    until(
        "close() after an error after output",
        Duration::from_secs(5),
        || notes(&httpd, "closed") == 3,
    );
    httpd.get("/one");
    assert_eq!(notes(&httpd, "closed"), 3, "never twice");
    httpd.wait_log("ValueError: at the beginning");
    httpd.wait_log("ValueError: in the middle");
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

/// F50
fn close_is_called_when_the_client_goes_away(case: &Case) {
    let httpd = httpd(case);
    let mut raw = httpd.raw_get("/closing_endless");
    raw.until(b"xxxx");
    drop(raw);
    until("close()", Duration::from_secs(10), || {
        notes(&httpd, "closed") == 1
    });
}

fn an_error_in_close_is_logged_and_harmless(case: &Case) {
    let httpd = httpd(case);
    let reply = raw(&httpd, "/close_raises");
    assert_eq!((reply.body.as_slice(), reply.complete), (&b"whole"[..], true));
    httpd.wait_log("ValueError: close failed");
    assert_eq!(notes(&httpd, "closed"), 1);
    httpd.announce_traceback();
    httpd.provoked(&[codes::CLOSE]);
}

fn right_content_length_is_kept(case: &Case) {
    let httpd = httpd(case);
    let reply = raw(&httpd, "/length_right");
    assert_eq!(reply.head.header("content-length"), Some("10"));
    assert_eq!(
        (reply.body.as_slice(), reply.complete),
        (&b"0123456789"[..], true)
    );
}

/// R52.
fn bytes_beyond_content_length_are_not_sent(case: &Case) {
    let httpd = httpd(case);
    let mut raw = httpd.raw_get("/too_long");
    let reply = raw.reply();
    assert_eq!((reply.body.as_slice(), reply.complete), (&b"01234"[..], true));
    assert!(raw.is_closed(), "bytes follow the body");
    if !case.theirs() {
        httpd.wait_log("Content-Length");
    }
}

fn a_body_shorter_than_content_length_looks_truncated(case: &Case) {
    let httpd = httpd(case);
    for path in ["/too_short", "/nothing_of_length"] {
        // The original's embedded mode replaces the length of an empty answer by 0.
        if case.theirs() && case.embedded() && path == "/nothing_of_length" {
            continue;
        }
        let whole = httpd.raw_get(path).try_head().map(|head| head.status);
        let curl = httpd.curl(path).run();
        // Without a byte of body the head may still have been held back: then it is an error page.
        assert!(curl.exit != 0 || curl.status >= 500, "{path}: {whole:?} {curl:?}");
    }
    if !case.theirs() {
        httpd.wait_log("Content-Length");
    }
}

fn statuses_without_a_body_have_none(case: &Case) {
    let httpd = httpd(case);
    for (path, status) in [
        ("/status_204", 204),
        ("/status_304", 304),
        ("/status_204_with_body", 204),
    ] {
        let mut raw = httpd.raw_get(path);
        assert_eq!(raw.head().status, status, "{path}");
        assert!(raw.is_closed(), "{path}: bytes follow the head");
    }
    httpd.announce("204");
}

/// F53
fn head_requests_get_the_head_alone(case: &Case) {
    let httpd = httpd(case);
    for (path, length) in [
        ("/method", Some("4")),
        ("/length_right", Some("10")),
        ("/generator", None),
    ] {
        let mut raw = httpd.raw();
        raw.send(format!(
            "HEAD {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        ));
        let reply = raw.reply_to_head();
        assert_eq!(reply.head.status, 200);
        assert!(reply.body.is_empty(), "{path}: {:?}", reply.body);
        if length.is_some() {
            assert_eq!(reply.head.header("content-length"), length, "{path}");
        }
    }
    let reply = httpd.request("HEAD", "/method").send();
    assert_eq!(
        reply.header("x-method"),
        Some("HEAD"),
        "without content filters the application sees HEAD"
    );
}

fn status_and_headers_arrive_as_given(case: &Case) {
    let httpd = httpd(case);
    let reply = raw(&httpd, "/status_own_words");
    assert_eq!(
        (reply.head.status, reply.head.reason.as_str()),
        (299, "My Very Own Words")
    );
    let reply = raw(&httpd, "/cookies");
    let cookies: Vec<_> = reply
        .head
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .map(|(_, v)| v.as_str())
        .collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(reply.head.header("x-latin"), Some("caf\u{e9}"));
    let reply = raw(&httpd, "/redirect");
    assert_eq!(
        (reply.head.status, reply.head.header("location")),
        (302, Some("http://example.org/there?a=b"))
    );
    assert_eq!(reply.body, b"go there");
    let reply = raw(&httpd, "/authenticate");
    assert_eq!(
        (reply.head.status, reply.head.header("www-authenticate")),
        (401, Some("Basic realm=\"here\""))
    );
    assert_eq!(raw(&httpd, "/no_type").head.header("content-type"), None);
}

fn application_errors_keep_their_own_page(case: &Case) {
    let httpd = case
        .httpd()
        .app("response.wsgi")
        .conf("ErrorDocument 404 \"httpd's page\"")
        .start();
    let reply = httpd.get("/status_404");
    assert_eq!((reply.status, reply.text().as_str()), (404, "my own page"));
}

fn start_response_may_be_replaced_until_the_head_is_sent(case: &Case) {
    let httpd = httpd(case);
    let reply = raw(&httpd, "/replaced_by_exc_info");
    assert_eq!(
        (reply.head.status, reply.body.as_slice()),
        (503, &b"replaced"[..])
    );
    assert_eq!(reply.head.header("x-first"), None);
    // PEP 3333: "it is a fatal error to call start_response without the exc_info argument if start_response has already
    // been called"; here as there it counts until the head is sent.
    let reply = raw(&httpd, "/twice_without_exc_info");
    assert_eq!((reply.head.status, reply.body.as_slice()), (202, &b"second"[..]));
}

fn start_response_after_the_head_is_refused(case: &Case) {
    let httpd = httpd(case);
    let reply = raw(&httpd, "/exc_info_too_late");
    assert_eq!((reply.head.status, reply.body.as_slice()), (200, &b"begun"[..]));
    until("the exception raised again", Duration::from_secs(5), || {
        notes(&httpd, "reraised") == 1
    });
    let again = raw(&httpd, "/again_after_output");
    assert_eq!(again.body, b"begun");
    httpd.wait_log("ValueError: found out too late");
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
    // The original's daemon mode ends such answers as if they were whole.
    if !case.theirs() || case.embedded() {
        assert!(
            !reply.complete && !again.complete,
            "a broken answer must look broken"
        );
    }
}

fn file_wrapper_sends_from_the_current_position(case: &Case) {
    let httpd = httpd(case);
    let reply = httpd.get("/file");
    assert_eq!(reply.body.len(), 999_995);
    assert!(reply.body.starts_with(b"5678901234") && reply.body.ends_with(b"0123456789"));
    assert_eq!(httpd.get("/file_like").body, b"0123456789".repeat(1000));
}
