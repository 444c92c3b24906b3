//! What an application is told, and what nobody can make it believe: R43 to R49 (R45 is `forged.rs`, R47 `proxies.rs`).

use crate::environ::{environ_of, same};
use rwsgi_testkit::{Builder, Case, Httpd, Topic, Value, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        r43_headers_of_the_connection_stay_with_it,
        r43_connection_cannot_take_headers_of_proxies_away,
        r44_two_headers_never_become_one_variable,
        r44_fields_that_are_single_cannot_be_doubled,
        r44_repeated_headers_are_joined_over_http_2,
        r46_no_request_hides_in_another,
        r46_the_body_ends_where_httpd_says,
        r48_trailers_never_become_headers,
        r49_the_path_is_the_one_that_httpd_routed_on,
        r49_redirected_requests_have_the_new_path,
    ]);
}

fn environ_app(case: &Case) -> Builder {
    case.httpd().app("environ.wsgi").conf("WSGIChunkedRequest On")
}

/// The environ for a request of exact bytes.
fn raw_environ(httpd: &Httpd, request: &str) -> Value {
    let mut raw = httpd.raw();
    raw.send(request);
    let reply = raw.reply();
    assert_eq!(reply.head.status, 200, "{request}");
    rwsgi_testkit::from_slice(&reply.body)
}

fn r43_headers_of_the_connection_stay_with_it(case: &Case) {
    let httpd = environ_app(case).start();
    let environ = raw_environ(
        &httpd,
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Named , TE\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n\
         Trailer: X-Late\r\nUpgrade: websocket\r\nProxy: http://evil/\r\nProxy-Connection: keep-alive\r\nProxy-Own: 1\r\n\
         Authorization: Basic abc\r\nProxy-Authorization: Basic abc\r\nX-Named: 1\r\nX-Other: 2\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    assert_eq!(environ["HTTP_X_OTHER"], "2");
    for name in ["PROXY", "PROXY_AUTHORIZATION"] {
        assert!(environ[format!("HTTP_{name}")].is_null(), "{name}");
    }
    assert!(environ["CONTENT_LENGTH"].is_null() && environ["HTTP_CONTENT_LENGTH"].is_null());
    // The original passes most of them on.
    for name in [
        "CONNECTION",
        "KEEP_ALIVE",
        "TE",
        "TRAILER",
        "UPGRADE",
        "PROXY_CONNECTION",
        "PROXY_OWN",
        "TRANSFER_ENCODING",
        "X_NAMED",
    ] {
        let seen = !environ[format!("HTTP_{name}")].is_null();
        assert_eq!(seen, case.theirs(), "{name}");
    }
    let environ = httpd
        .request("POST", "/")
        .header("Expect", "100-continue")
        .body("abc")
        .send()
        .json();
    assert_eq!(!environ["HTTP_EXPECT"].is_null(), case.theirs());
}

fn r43_connection_cannot_take_headers_of_proxies_away(case: &Case) {
    let httpd = environ_app(case)
        .conf("WSGITrustedProxyHeaders X-Forwarded-For")
        .start();
    let environ = raw_environ(
        &httpd,
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Forwarded-For, Host, Cookie, X-Real-IP\r\n\
         X-Forwarded-For: 1.1.1.1\r\nCookie: a=1\r\n\r\n",
    );
    same(
        &environ,
        &[
            ("REMOTE_ADDR", "1.1.1.1"),
            ("HTTP_X_FORWARDED_FOR", "1.1.1.1"),
            ("HTTP_HOST", "h"),
            ("HTTP_COOKIE", "a=1"),
        ],
    );
}

fn r44_two_headers_never_become_one_variable(case: &Case) {
    let httpd = environ_app(case).start();
    // Each of them would be HTTP_X_ONE if any sign could become an underscore.
    let mut request = String::from("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-One: right\r\n");
    for sign in "!#$%&'*+.^_`|~".chars() {
        request.push_str(&format!("X{sign}One: wrong {sign}\r\n"));
    }
    request.push_str("HTTP_X_ONE: wrong\r\nContent_Length: 9\r\nContent_Type: wrong\r\nHost_: wrong\r\n\r\n");
    let environ = raw_environ(&httpd, &request);
    same(&environ, &[("HTTP_X_ONE", "right"), ("HTTP_HOST", "h")]);
    let headers = environ.as_object().expect("an object");
    let wrong: Vec<_> = headers
        .iter()
        .filter(|(_, value)| value.as_str().is_some_and(|text| text.starts_with("wrong")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(environ["CONTENT_LENGTH"].is_null() && environ["CONTENT_TYPE"].is_null());
}

fn r44_fields_that_are_single_cannot_be_doubled(case: &Case) {
    let httpd = environ_app(case).start();
    let status = |headers: &str| {
        let mut raw = httpd.raw();
        raw.send(format!(
            "POST / HTTP/1.1\r\n{headers}Connection: close\r\n\r\nabc"
        ));
        raw.head().status
    };
    assert_eq!(
        status("Host: h\r\nContent-Length: 3\r\nContent-Type: a/b\r\n"),
        200
    );
    assert_eq!(status("Host: h\r\nHost: other\r\nContent-Length: 3\r\n"), 400);
    assert_eq!(
        status("Host: h\r\nContent-Length: 3\r\nContent-Length: 2\r\n"),
        400
    );
    assert_eq!(status("Content-Length: 3\r\n"), 400, "without Host");
    let doubled = status("Host: h\r\nContent-Length: 3\r\nContent-Type: a/b\r\nContent-Type: c/d; e=f\r\n");
    // The original passes "a/b, c/d; e=f" on.
    assert_eq!(doubled, if case.theirs() { 200 } else { 400 });
    httpd.announce("AH");
    httpd.announce("RW0085");
}

fn r44_repeated_headers_are_joined_over_http_2(case: &Case) {
    case.needs_http2();
    let httpd = environ_app(case).http2().start();
    let reply = httpd
        .curl("/")
        .http2()
        .with(&[
            "-H",
            "X-One: 1",
            "-H",
            "X-One: 2",
            "-H",
            "Cookie: a=1",
            "-H",
            "Cookie: b=2",
            "-H",
            "X_One: wrong",
        ])
        .run();
    let environ: Value = rwsgi_testkit::from_slice(&reply.body);
    same(&environ, &[("HTTP_X_ONE", "1, 2"), ("HTTP_COOKIE", "a=1; b=2")]);
}

/// Counts the requests that the application sees.
const COUNTING: &str = "import os\n\
    DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')\n\
    def application(environ, start_response):\n    \
    body = environ['wsgi.input'].read()\n    \
    with open(os.path.join(DATA, 'seen'), 'a') as note:\n        \
    note.write('%s %s\\n' % (environ['REQUEST_METHOD'], environ['PATH_INFO']))\n    \
    start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
    return [b'%d' % len(body)]\n";

fn r46_no_request_hides_in_another(case: &Case) {
    let httpd = case
        .httpd()
        .source("/", "counting.wsgi", COUNTING)
        .conf("WSGIChunkedRequest On")
        .start();
    let hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    let length = hidden.len();
    let chunks = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
    let attempts = [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n{chunks}"),
        format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n{chunks}"),
        format!("Transfer-Encoding: chunked, chunked\r\n\r\n{chunks}"),
        format!("Transfer-Encoding: gzip, chunked\r\n\r\n{chunks}"),
        format!("Transfer-Encoding: xchunked\r\nContent-Length: {length}\r\n\r\n{hidden}"),
        format!("Transfer-Encoding : chunked\r\nContent-Length: {length}\r\n\r\n{hidden}"),
        format!("Transfer_Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{hidden}"),
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n\r\n{hidden}"),
        format!("Content-Length: +{length}\r\n\r\n{hidden}"),
        format!("Content-Length: 0x{length:x}\r\n\r\n{hidden}"),
        format!("X-Folded: a\r\n Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\n{hidden}\n0\n\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n-1\r\n{hidden}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{hidden}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n{length:x};a=b\r\n{hidden}\r\n0\r\n\r\n"),
    ];
    for (number, attempt) in attempts.iter().enumerate() {
        let mut raw = httpd.raw();
        raw.send(format!("POST /outer{number} HTTP/1.1\r\nHost: h\r\n{attempt}"));
        raw.finish_sending();
        while !raw.some().is_empty() {}
        let seen = std::fs::read_to_string(httpd.data().join("seen")).unwrap_or_default();
        // The first attempt is two honest requests once httpd has read "0" as the end of the chunks.
        let hidden = seen.matches("/hidden").count();
        assert!(hidden <= 1, "attempt {number}: {seen}");
        let answered = httpd.access_log();
        assert_eq!(
            answered.matches("GET /hidden").count(),
            hidden,
            "attempt {number}: the application sees the requests that httpd sees"
        );
    }
    assert_eq!(httpd.post("/", "abc").text(), "3", "it serves on");
    httpd.announce("AH");
    httpd.announce("RW0");
    httpd.announce("WSGI0");
    httpd.announce_traceback();
}

fn r46_the_body_ends_where_httpd_says(case: &Case) {
    let httpd = case
        .httpd()
        .source("/", "counting.wsgi", COUNTING)
        .conf("WSGIChunkedRequest On")
        .start();
    let mut raw = httpd.raw();
    // Three requests at once: each body is its own, however the framing says so.
    raw.send(
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
         POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n\
         POST /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    );
    for length in ["3", "4", "0"] {
        assert_eq!(raw.reply().body, length.as_bytes());
    }
    assert!(raw.is_closed());
}

fn r48_trailers_never_become_headers(case: &Case) {
    // MergeTrailers is the administrator's way to ask for it; the default is off.
    let httpd = environ_app(case).start();
    let environ = raw_environ(
        &httpd,
        "POST /?read HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\nX-Early: 1\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Late: 1\r\nX-Early: 2\r\nHost: evil\r\nAuthorization: Basic x\r\n\r\n",
    );
    same(&environ, &[("HTTP_X_EARLY", "1"), ("HTTP_HOST", "h")]);
    assert!(environ["HTTP_X_LATE"].is_null() && environ["HTTP_AUTHORIZATION"].is_null());
    // The next request of the connection has none of them either.
    let mut raw = httpd.raw();
    raw.send(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Late: 1\r\n\r\n\
         GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    );
    for _ in 0..2 {
        let environ: Value = rwsgi_testkit::from_slice(&raw.reply().body);
        assert!(environ["HTTP_X_LATE"].is_null());
    }
}

fn r49_the_path_is_the_one_that_httpd_routed_on(case: &Case) {
    let httpd = case.httpd().alias("/app", "environ.wsgi").start();
    for (sent, script, path) in [
        ("/app", "/app", ""),
        ("/app/", "/app", "/"),
        ("/app//x", "/app", "/x"),
        ("//app/x", "/app", "/x"),
        ("/app/a;b=c", "/app", "/a;b=c"),
        ("/app/%FF%fe", "/app", "/\u{ff}\u{fe}"),
        ("/app/a%20b%3Fc", "/app", "/a b?c"),
        ("/app/x/../y", "/app", "/y"),
        ("/app/%2e%2e/app/z", "/app", "/z"),
        ("/other/../app/x", "/app", "/x"),
        ("/app/.../x", "/app", "/.../x"),
        ("/app/%25%32%46", "/app", "/%2F"),
    ] {
        let request = format!("GET {sent}?q HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let environ = raw_environ(&httpd, &request);
        same(
            &environ,
            &[
                ("SCRIPT_NAME", script),
                ("PATH_INFO", path),
                ("REQUEST_URI", &format!("{sent}?q")),
                ("QUERY_STRING", "q"),
            ],
        );
        assert!(environ["PATH_TRANSLATED"].is_null());
    }
    for (sent, status) in [
        ("/app/%00", 404),
        ("/app/%2F", 404),
        ("/app/%zz", 400),
        ("/app/%", 400),
        ("/APP/x", 404),
        ("/app/../../etc/passwd", 400),
        ("/app/../secret", 404),
    ] {
        let mut raw = httpd.raw();
        raw.send(format!(
            "GET {sent} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        ));
        assert_eq!(raw.head().status, status, "{sent}");
    }
    httpd.announce("AH");
}

fn r49_redirected_requests_have_the_new_path(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/app", "environ.wsgi")
        .conf(
            "RewriteEngine On\nRewriteRule ^/old/(.*)$ /app/new/$1 [PT]\nErrorDocument 404 /app/missing?why",
        )
        .start();
    let environ = environ_of(&httpd, "/old/a%20b?q=1");
    same(
        &environ,
        &[
            ("SCRIPT_NAME", "/app"),
            ("PATH_INFO", "/new/a b"),
            ("QUERY_STRING", "q=1"),
            ("REQUEST_URI", "/old/a%20b?q=1"),
        ],
    );
    let environ = environ_of(&httpd, "/nowhere/x?q=2");
    same(
        &environ,
        &[
            ("PATH_INFO", "/missing"),
            ("QUERY_STRING", "why"),
            ("REDIRECT_URL", "/nowhere/x"),
            ("REQUEST_URI", "/nowhere/x?q=2"),
        ],
    );
}
