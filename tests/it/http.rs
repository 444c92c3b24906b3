//! HTTP as clients and httpd's other modules speak it: versions, codings, conditions, filters.

use crate::environ::{environ_of, same};
use rwsgi_testkit::{Case, Httpd, Topic, Value, json, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        http_1_0_is_served_with_and_without_keep_alive,
        chunks_go_both_ways_at_once,
        a_compressed_upload_arrives_decompressed,
        a_body_that_a_filter_changes_has_no_length,
        conditions_are_the_applications_to_judge,
        ranges_of_computed_answers_are_the_applications,
        events_arrive_as_they_are_yielded,
        events_arrive_as_they_are_yielded_past_a_compressor,
        headers_may_be_added_and_edited_by_httpd,
        the_client_is_the_one_that_mod_remoteip_says,
        variables_of_mod_ssl_are_passed_when_asked_for,
    ]);
    topic.daemon(test![
        uploads_without_a_length_arrive_over_http_2,
        events_arrive_as_they_are_yielded_over_http_2
    ]);
}

fn http_1_0_is_served_with_and_without_keep_alive(case: &Case) {
    let httpd = case.httpd().app("response.wsgi").start();
    let mut raw = httpd.raw();
    // Without a length the end of the answer is the end of the connection, and nothing is chunked.
    raw.send("GET /generator HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let reply = raw.reply();
    assert_eq!(reply.body, b"from a generator");
    assert_eq!(reply.head.header("transfer-encoding"), None);
    let mut raw = httpd.raw();
    for _ in 0..2 {
        raw.send("GET /length_right HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let reply = raw.reply();
        assert_eq!((reply.body.len(), reply.complete), (10, true));
    }
    raw.send("GET /length_right HTTP/1.0\r\n\r\n");
    assert_eq!(raw.reply().body.len(), 10);
    assert!(raw.is_closed());
}

fn chunks_go_both_ways_at_once(case: &Case) {
    if case.theirs() && !case.embedded() {
        case.skip("not for the original: it forwards the whole body before it looks at the answer");
    }
    let httpd = case
        .httpd()
        .app("streams.wsgi")
        .conf("WSGIChunkedRequest On")
        .start();
    let mut raw = httpd.raw();
    raw.send("POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    let piece = "p".repeat(10_000);
    for _ in 0..3 {
        raw.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
        raw.until(b"ppppp");
    }
    raw.send("0\r\n\r\n");
    assert!(raw.is_closed() || !raw.some().is_empty());
}

/// gzip of ten times "a".
const TEN_AS: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03KL\x84\x01\x00\xf0\xcd\x11L\n\x00\x00\x00";

fn a_compressed_upload_arrives_decompressed(case: &Case) {
    let httpd = case
        .httpd()
        .load("filter")
        .load("deflate")
        .app("input.wsgi")
        .conf("<Location />\nSetInputFilter DEFLATE\n</Location>\nWSGIChunkedRequest On")
        .start();
    let ask = |chunked: bool| {
        let request = httpd
            .request("POST", "/length")
            .header("Content-Encoding", "gzip");
        let request = if chunked {
            request.chunked(TEN_AS.to_vec())
        } else {
            request.body(TEN_AS.to_vec())
        };
        request.send().text()
    };
    assert_eq!((ask(false).as_str(), ask(true).as_str()), ("10", "10"));
    assert_eq!(httpd.post("/length", "plain").text(), "5");
}

/// What the environ says of the body, and how long the body is.
const FILTERED: &str = "import json\n\
    def application(environ, start_response):\n    \
    names = ['CONTENT_LENGTH', 'HTTP_CONTENT_ENCODING', 'HTTP_CONTENT_MD5']\n    \
    seen = [environ.get(name) for name in names]\n    \
    start_response('200 OK', [('X-Path', environ['PATH_INFO'])])\n    \
    return [json.dumps(seen + [environ['wsgi.input_terminated'], len(environ['wsgi.input'].read())]).encode()]\n";

/// R46: no length is told that is not that of the bytes which the application gets.
fn a_body_that_a_filter_changes_has_no_length(case: &Case) {
    let httpd = case
        .httpd()
        .load("filter")
        .load("deflate")
        .load("sed")
        .source("/", "filtered.wsgi", FILTERED)
        .conf(
            "<Location /redirected>\nRewriteEngine On\nRewriteRule .* /deflate/more\n</Location>\n\
             <Location /deflate>\nSetInputFilter DEFLATE\n</Location>\n\
             <Location /sed>\nSetInputFilter Sed\nInputSed \"s/a/bbb/g\"\n</Location>\nWSGIChunkedRequest On",
        )
        .start();
    let ask = |path: &str, headers: &[(&str, &str)], body: &[u8], chunked: bool| {
        let mut request = httpd.request("POST", path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let body = body.to_vec();
        let request = if chunked {
            request.chunked(body)
        } else {
            request.body(body)
        };
        let reply = request.send();
        let seen = path.replace("/redirected", "/deflate/more");
        assert_eq!(reply.header("x-path"), Some(seen.as_str()));
        reply.json()
    };
    let said = |length: Option<usize>, coding: Option<&str>, md5: Option<&str>, bytes: usize| {
        let length = length.map(|length| length.to_string());
        json!([length, coding, md5, true, bytes])
    };
    let (length, coding) = (TEN_AS.len(), Some("gzip"));
    let gzip = [("Content-Encoding", "gzip"), ("Content-MD5", "x")];
    let decompressed = ask("/deflate", &gzip, TEN_AS, false);
    // mod_sed adds a line end.
    let edited = ask("/sed", &[], b"a=a", false);
    let chunked = ask("/deflate", &gzip, TEN_AS, true);
    if case.theirs() {
        // It says what was true before the filters.
        assert_eq!(decompressed, said(Some(length), coding, Some("x"), 10));
        assert_eq!(edited, said(Some(3), None, None, 8));
        assert_eq!(chunked, said(None, coding, Some("x"), 10));
    } else {
        assert_eq!(decompressed, said(None, None, None, 10));
        assert_eq!(edited, said(None, None, None, 8));
        assert_eq!(chunked, said(None, None, None, 10));
    }
    // What a filter leaves alone keeps its length.
    assert_eq!(
        ask("/deflate", &[], b"plain", false),
        said(Some(5), None, None, 5)
    );
    let partial = [("Content-Encoding", "gzip"), ("Content-Range", "bytes 0-29/30")];
    let expected = said(Some(length), coding, None, length);
    assert_eq!(ask("/deflate", &partial, TEN_AS, false), expected);
    assert_eq!(ask("/redirected", &gzip[..1], TEN_AS, false), expected);
}

/// Answers with validators, and with what the request's conditions were.
const VALIDATED: &str = "def application(environ, start_response):\n    \
    names = ['HTTP_IF_NONE_MATCH', 'HTTP_IF_MODIFIED_SINCE', 'HTTP_RANGE', 'HTTP_IF_RANGE']\n    \
    body = repr([environ.get(name) for name in names]).encode()\n    \
    if environ['QUERY_STRING'] == 'judge' and environ.get('HTTP_IF_NONE_MATCH') == '\"one\"':\n        \
    start_response('304 Not Modified', [('ETag', '\"one\"')])\n        return []\n    \
    start_response('200 OK', [('Content-Type', 'text/plain'), ('ETag', '\"one\"'), ('Content-Length', str(len(body))),\n        \
    ('Last-Modified', 'Thu, 01 Jan 2015 00:00:00 GMT')])\n    return [body]\n";

/// F53
fn conditions_are_the_applications_to_judge(case: &Case) {
    let httpd = case.httpd().source("/", "validated.wsgi", VALIDATED).start();
    for (name, value) in [
        ("If-None-Match", "\"one\""),
        ("If-None-Match", "\"two\""),
        ("If-Modified-Since", "Fri, 01 Jan 2016 00:00:00 GMT"),
        ("If-Match", "\"two\""),
        ("If-Unmodified-Since", "Wed, 01 Jan 2014 00:00:00 GMT"),
    ] {
        let reply = httpd.request("GET", "/").header(name, value).send();
        assert_eq!(reply.status, 200, "{name}: {value}");
        assert_eq!(reply.header("etag"), Some("\"one\""), "{name}");
    }
    let reply = httpd
        .request("GET", "/?judge")
        .header("If-None-Match", "\"one\"")
        .send();
    assert_eq!((reply.status, reply.body.len()), (304, 0));
    assert_eq!(reply.header("etag"), Some("\"one\""));
}

/// F53
fn ranges_of_computed_answers_are_the_applications(case: &Case) {
    let httpd = case.httpd().source("/", "validated.wsgi", VALIDATED).start();
    let whole = httpd.request("GET", "/").header("Range", "bytes=0-3").send();
    assert_eq!((whole.status, whole.header("content-range")), (200, None));
    assert!(whole.body.ends_with(b"]"), "{:?}", whole.text());
    for range in ["bytes=5000-", "bytes=0-1,3-4", "bytes=-1"] {
        let reply = httpd.request("GET", "/").header("Range", range).send();
        assert_eq!(
            (reply.status, reply.header("content-range")),
            (200, None),
            "{range}"
        );
    }
}

/// Sends an event, waits until the test has seen it, and sends another.
const EVENTS: &str = "import os, time\n\
    DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')\n\
    def application(environ, start_response):\n    \
    start_response('200 OK', [('Content-Type', 'text/event-stream')])\n    \
    yield b'data: first\\n\\n'\n    \
    for _ in range(3000):\n        \
    if os.path.exists(os.path.join(DATA, 'go')):\n            break\n        \
    time.sleep(0.01)\n    \
    yield b'data: second\\n\\n'\n";

fn events(httpd: &Httpd) {
    let mut raw = httpd.raw();
    raw.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip\r\n\r\n");
    raw.until(b"data: first\n\n");
    std::fs::write(httpd.data().join("go"), "").expect("go");
    raw.until(b"data: second\n\n");
}

fn events_arrive_as_they_are_yielded(case: &Case) {
    events(&case.httpd().source("/", "events.wsgi", EVENTS).start());
}

fn events_arrive_as_they_are_yielded_past_a_compressor(case: &Case) {
    let httpd = case
        .httpd()
        .load("filter")
        .load("deflate")
        .source("/", "events.wsgi", EVENTS)
        .conf("AddOutputFilterByType DEFLATE text/html text/plain application/json")
        .start();
    events(&httpd);
}

fn events_arrive_as_they_are_yielded_over_http_2(case: &Case) {
    case.needs_http2();
    let httpd = case
        .httpd()
        .http2()
        .source("/", "events.wsgi", EVENTS)
        .children(1)
        .start();
    // curl writes what has come by the time it gives up: the application waits for the file, so the first event was not held back.
    let reply = httpd
        .curl("/")
        .http2()
        .with(&["--no-buffer", "--max-time", "3"])
        .run();
    assert_eq!(
        String::from_utf8_lossy(&reply.body),
        "data: first\n\n",
        "{reply:?}"
    );
    assert_eq!(reply.exit, 28, "{reply:?}");
    std::fs::write(httpd.data().join("go"), "").expect("go");
    let reply = httpd.curl("/").http2().run();
    assert_eq!(reply.body, b"data: first\n\ndata: second\n\n");
    httpd.announce("AH10");
}

fn uploads_without_a_length_arrive_over_http_2(case: &Case) {
    case.needs_http2();
    let httpd = case
        .httpd()
        .http2()
        .app("environ.wsgi")
        .conf("WSGIChunkedRequest On\n<Location /off>\nWSGIChunkedRequest Off\n</Location>")
        .start();
    let file = httpd.data().join("upload");
    std::fs::write(&file, "abc").expect("upload");
    let send = |path: &str| {
        let arguments = ["-X", "POST", "-T", "-", "-H", "Expect:"];
        let name = file.display().to_string();
        httpd.curl(path).http2().with(&arguments).stdin(&name).run()
    };
    let reply = send("/");
    let environ: Value = rwsgi_testkit::from_slice(&reply.body);
    assert_eq!((reply.status, environ["CONTENT_LENGTH"].is_null()), (200, true));
    assert_eq!(environ["wsgi.input_terminated"][1], "True");
    // httpd may reset the stream of an unread upload before curl has its answer, whoever gives it; so it is asked again.
    until(
        "the answer to an upload without a length",
        Duration::from_secs(20),
        || {
            let refused = send("/off");
            assert!(refused.status == 411 || refused.exit == 92, "{refused:?}");
            refused.status == 411
        },
    );
    httpd.announce(case.said("RW0205", "WSGI0139"));
}

fn headers_may_be_added_and_edited_by_httpd(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/app", "directs.wsgi")
        .conf("RequestHeader set X-From-Httpd yes\nRequestHeader unset X-Test\nHeader set X-Added yes\nHeader unset X-Mark\nHeader edit Set-Cookie ^(.*)$ $1;Secure\nHeader always set X-Always yes")
        .alias("/environ", "environ.wsgi")
        .start();
    let environ = environ_of(&httpd, "/environ");
    assert_eq!(environ["HTTP_X_FROM_HTTPD"], "yes");
    assert!(environ["HTTP_X_TEST"].is_null());
    let reply = httpd.get("/app/go?to=http://example.org/");
    assert_eq!(
        (
            reply.header("x-added"),
            reply.header("x-mark"),
            reply.header("x-always")
        ),
        (Some("yes"), None, Some("yes"))
    );
    assert!(
        reply
            .header_values("set-cookie")
            .iter()
            .all(|cookie| cookie.ends_with(";Secure"))
    );
    assert_eq!(httpd.get("/missing").header("x-always"), Some("yes"));
}

fn the_client_is_the_one_that_mod_remoteip_says(case: &Case) {
    let httpd = case
        .httpd()
        .load("remoteip")
        .app("environ.wsgi")
        .conf("RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1")
        .start();
    let ask = |value: &str| {
        httpd
            .request("GET", "/")
            .header("X-Forwarded-For", value)
            .send()
            .json()
    };
    same(&ask("192.0.2.7"), &[("REMOTE_ADDR", "192.0.2.7")]);
    same(&ask("6.6.6.6, 192.0.2.7"), &[("REMOTE_ADDR", "192.0.2.7")]);
    same(&environ_of(&httpd, "/"), &[("REMOTE_ADDR", "127.0.0.1")]);
}

fn variables_of_mod_ssl_are_passed_when_asked_for(case: &Case) {
    let builder = case.httpd().load("socache_shmcb").load("ssl").app("environ.wsgi");
    if !crate::neighbours::certificate(&builder) {
        case.skip("no openssl program");
    }
    let httpd = builder
        .conf("SSLEngine On\nSSLSessionCache none\nSSLCertificateFile @ROOT@/certificate.pem\nSSLCertificateKeyFile @ROOT@/key.pem")
        .conf("WSGITrustedProxyHeaders X-Forwarded-Proto\n<Location /all>\nSSLOptions +StdEnvVars +ExportCertData\n</Location>")
        .start();
    let ask = |path: &str, header: &str| {
        let url = format!("https://127.0.0.1:{}{path}", httpd.port());
        let output = std::process::Command::new("curl")
            .args(["-sSk", "--max-time", "30", "-H", header, &url])
            .output()
            .expect("curl");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        let environ: Value = rwsgi_testkit::from_slice(&output.stdout);
        environ
    };
    let all = ask("/all", "X-None: 1");
    same(&all, &[("wsgi.url_scheme", "https"), ("REQUEST_SCHEME", "https")]);
    same(
        &all,
        &[("SSL_SERVER_S_DN_CN", "localhost"), ("SSL_CLIENT_VERIFY", "NONE")],
    );
    let certificate = all["SSL_SERVER_CERT"].as_str().unwrap_or_default();
    assert!(
        certificate.starts_with("-----BEGIN CERTIFICATE-----\n"),
        "{certificate}"
    );
    assert!(all["HTTPS"].is_null());
    let plain = ask("/", "X-None: 1");
    same(&plain, &[("wsgi.url_scheme", "https")]);
    assert!(plain["SSL_SERVER_S_DN_CN"].is_null());
    // A trusted proxy knows better than the connection to httpd.
    same(
        &ask("/all", "X-Forwarded-Proto: http"),
        &[("wsgi.url_scheme", "http")],
    );
    httpd.announce("[ssl:warn]");
}
