//! `WSGICGIHeaders`: `Status` and `Location` as directions to httpd. The original has no such directive: there they are directions in
//! daemon mode and data in embedded mode, which is our default as `wsgi_module`.

use super::{accepts, refuses};
use rwsgi_testkit::{Builder, Case, Httpd, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.once(test![cgi_headers_is_on_or_off]);
    topic.both(test![
        location_with_200_is_answered_by_httpd_itself,
        a_local_redirect_is_a_get_without_the_body,
        a_local_redirect_passes_the_access_checks,
        a_local_redirect_cannot_choose_a_handler,
        a_local_redirect_to_itself_ends,
        a_local_redirect_ends_an_endless_answer,
        other_locations_are_data,
        a_status_header_is_the_status,
        a_status_header_that_is_none_is_refused,
        without_cgi_headers_both_are_data,
    ]);
}

fn cgi_headers_is_on_or_off(case: &Case) {
    case.needs_ours("the directive is ours");
    refuses(
        case,
        &[
            ("WSGICGIHeaders", &["one argument"]),
            ("WSGICGIHeaders yes", &["yes", "Off | On"]),
            ("WSGICGIHeaders On Off", &["one argument"]),
        ],
    );
    accepts(
        case,
        &[
            "WSGICGIHeaders on",
            "<Location /x>\nWSGICGIHeaders OFF\n</Location>",
        ],
    );
}

/// A server on which the headers are directions, in the mode of the case.
fn directed(case: &Case) -> Builder {
    let builder = case
        .httpd()
        .alias("/app", "directs.wsgi")
        .file("www/page.txt", "a page")
        .daemon("threads=1");
    if case.theirs() && case.embedded() {
        case.skip("not for the original: in embedded mode these headers are data");
    }
    match (case.theirs(), case.embedded()) {
        (true, _) => builder,
        (false, false) => builder.identity("wsgi_module"),
        (false, true) => builder.conf("WSGICGIHeaders On"),
    }
}

fn location_with_200_is_answered_by_httpd_itself(case: &Case) {
    let httpd = directed(case).start();
    let reply = httpd.get("/app/go?to=/page.txt");
    assert_eq!((reply.status, reply.text().as_str()), (200, "a page"));
    assert_eq!((reply.header("x-mark"), reply.header("location")), (None, None));
    assert_eq!(reply.header("set-cookie"), None);
    // To the application itself, with its only thread.
    let reply = httpd.get("/app/go?to=/app/echo?x%3D1");
    let seen = reply.json();
    assert_eq!(
        (&seen["PATH_INFO"], &seen["QUERY_STRING"]),
        (&"/echo".into(), &"x=1".into())
    );
    assert_eq!(seen["REDIRECT_URL"], "/app/go");
    assert_eq!(reply.header("x-echo"), Some("yes"));
    assert_eq!(httpd.get("/app/go?to=/missing").status, 404);
    let reply = httpd.request("HEAD", "/app/go?to=/page.txt").send();
    assert_eq!(
        (reply.status, reply.body.len(), reply.header("content-length")),
        (200, 0, Some("6"))
    );
}

fn a_local_redirect_is_a_get_without_the_body(case: &Case) {
    let httpd = directed(case).conf("WSGIChunkedRequest On").start();
    let seen = httpd.post("/app/go?to=/app/echo", "a body").json();
    assert_eq!(
        (&seen["REQUEST_METHOD"], &seen["body"]),
        (&"GET".into(), &"".into())
    );
    assert!(seen["CONTENT_LENGTH"].is_null());
    // What the application did not read must not become the next request of the connection.
    let smuggled = "GET /app/status?status=299 HTTP/1.1\r\nHost: h\r\n\r\n";
    let length = smuggled.len();
    for framed in [
        format!("Content-Length: {length}\r\n\r\n{smuggled}"),
        format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{smuggled}\r\n0\r\n\r\n"),
    ] {
        let mut raw = httpd.raw();
        raw.send(format!(
            "POST /app/go?to=/page.txt HTTP/1.1\r\nHost: h\r\n{framed}"
        ));
        assert_eq!(raw.reply().body, b"a page");
        raw.send("GET /page.txt HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let next = raw.reply();
        assert_eq!((next.head.status, next.body.as_slice()), (200, &b"a page"[..]));
        assert!(raw.is_closed());
    }
    if !case.theirs() {
        // Nobody asked for the body: the client is not made to send it, and httpd does not wait for it.
        let mut raw = httpd.raw();
        raw.send("POST /app/go?to=/page.txt HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n");
        assert_eq!(raw.reply().body, b"a page");
        assert!(raw.is_closed());
    }
}

fn a_local_redirect_passes_the_access_checks(case: &Case) {
    let httpd = directed(case)
        .file("www/private/page.txt", "secret")
        .conf("<Location /private>\nRequire all denied\n</Location>")
        .start();
    let reply = httpd.get("/app/go?to=/private/page.txt");
    assert_eq!(reply.status, 403);
    assert!(!reply.text().contains("secret"));
    httpd.wait_log("AH01630");
}

/// R55: whatever type the first answer claims, the page is served as what it is.
fn a_local_redirect_cannot_choose_a_handler(case: &Case) {
    let httpd = directed(case)
        .file("www/script.txt", "#!/bin/sh\necho; echo it ran\n")
        .file("www/script", "#!/bin/sh\necho; echo it ran\n")
        .load("cgid")
        .load("status")
        .conf("AddType text/plain .txt\n<Directory @ROOT@/www>\nOptions +ExecCGI\n</Directory>")
        .start();
    for claimed in [
        "application/x-httpd-cgi",
        "cgi-script",
        "server-status",
        "application/x-httpd-wsgi",
        "proxy:http://127.0.0.1:1/",
    ] {
        for (path, own) in [("/script.txt", Some("text/plain")), ("/script", None)] {
            let reply = httpd.get(&format!("/app/go?to={path}&type={claimed}"));
            assert_eq!(
                (reply.status, reply.text().as_str()),
                (200, "#!/bin/sh\necho; echo it ran\n"),
                "{claimed}"
            );
            // In the original a page without a type gets that of the first answer.
            let own = own.or(case.theirs().then_some(claimed));
            assert_eq!(reply.header("content-type"), own, "{claimed}");
        }
        if case.theirs() {
            httpd.announce("AH01599"); // what it gave the page is no type
        }
    }
}

fn a_local_redirect_to_itself_ends(case: &Case) {
    let httpd = directed(case)
        .source(
            "/loop",
            "loop.wsgi",
            "def application(environ, start_response):\n    start_response('200 OK', [('Location', '/loop')])\n    return []\n",
        )
        .conf("LimitInternalRecursion 5")
        .start();
    assert_eq!(httpd.get("/loop").status, 500);
    httpd.wait_log("AH00124");
    assert_eq!(httpd.get("/page.txt").status, 200);
}

fn a_local_redirect_ends_an_endless_answer(case: &Case) {
    case.needs_ours("it reads the first answer to its end, for ever");
    let httpd = directed(case).start();
    let reply = httpd.get("/app/go_streaming?to=/page.txt");
    assert_eq!((reply.status, reply.text().as_str()), (200, "a page"));
    until("the application to be ended", Duration::from_secs(10), || {
        httpd.data().join("ended").exists()
    });
    assert_eq!(
        httpd.get("/app/echo").status,
        200,
        "its only thread is free again"
    );
}

fn other_locations_are_data(case: &Case) {
    let httpd = directed(case).start();
    for (query, status, location) in [
        ("to=http://example.org/", 200, "http://example.org/"),
        ("to=page.txt", 200, "page.txt"),
        ("to=/page.txt&status=201+Created", 201, "/page.txt"),
        ("to=/page.txt&status=302+Found", 302, "/page.txt"),
        ("to=/page.txt&status=404+Not+Found", 404, "/page.txt"),
        ("to=/page.txt&status=500+Oh", 500, "/page.txt"),
    ] {
        let reply = httpd.get(&format!("/app/go?{query}"));
        assert_eq!(
            (reply.status, reply.header("location")),
            (status, Some(location)),
            "{query}"
        );
        assert_eq!(reply.text(), "the body of the first answer", "{query}");
    }
    if !case.theirs() {
        // Two slashes begin a host name; the original takes them for a path of its own.
        let reply = httpd.get("/app/go?to=//page.txt");
        assert_eq!(reply.header("location"), Some("//page.txt"));
    }
}

fn a_status_header_is_the_status(case: &Case) {
    let httpd = directed(case).start();
    for (value, status) in [("404+Gone+Fishing", 404), ("203", 203), ("302+Found", 302)] {
        let reply = httpd.get(&format!("/app/status?status={value}"));
        assert_eq!((reply.status, reply.header("status")), (status, None), "{value}");
        assert_eq!(reply.text(), "a body");
    }
    let reply = httpd.raw_get("/app/status?status=299+My+Words").reply();
    assert_eq!((reply.head.status, reply.head.reason.as_str()), (299, "My Words"));
}

fn a_status_header_that_is_none_is_refused(case: &Case) {
    case.needs_ours("there it becomes a status of 0 or less, and what that does varies");
    let httpd = directed(case).start();
    for value in ["many", "20", "2000", "100", "099", "-1"] {
        assert_eq!(
            httpd.get(&format!("/app/status?status={value}")).status,
            500,
            "{value}"
        );
    }
    httpd.wait_log("RW0306");
    httpd.wait_log("WSGICGIHeaders");
}

/// R55, our default.
fn without_cgi_headers_both_are_data(case: &Case) {
    if case.theirs() && !case.embedded() {
        case.skip("not for the original: in daemon mode these headers are directions");
    }
    let builder = case
        .httpd()
        .alias("/app", "directs.wsgi")
        .alias("/off", "directs.wsgi");
    let httpd = if case.theirs() {
        builder.start()
    } else {
        builder
            .conf("WSGICGIHeaders On\n<Location /app>\nWSGICGIHeaders Off\n</Location>")
            .start()
    };
    let as_data = |httpd: &Httpd| {
        let reply = httpd.get("/app/go?to=/page.txt");
        assert_eq!((reply.status, reply.header("location")), (200, Some("/page.txt")));
        assert_eq!(reply.text(), "the body of the first answer");
        let reply = httpd.get("/app/status?status=404");
        assert_eq!((reply.status, reply.header("status")), (200, Some("404")));
    };
    as_data(&httpd);
    drop(httpd);
    if !case.theirs() {
        as_data(&case.httpd().alias("/app", "directs.wsgi").start());
        if case.embedded() {
            let httpd = case.httpd().identity("wsgi_module");
            as_data(&httpd.alias("/app", "directs.wsgi").start());
        }
    }
}
