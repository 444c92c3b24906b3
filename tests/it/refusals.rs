//! What the client gets when its request cannot be served at all; failures of applications are in `errors.rs`, of workers in `truncation.rs`,
//! `timeouts.rs` and `crash.rs`.

use crate::codes;
use rwsgi_testkit::{Case, Topic, test, until};
use std::fs;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        bodies_that_http_forbids_are_refused,
        long_headers_of_an_answer_arrive,
    ]);
    topic.daemon(test![
        a_group_is_unknown_also_where_there_are_none,
        a_socket_that_is_gone_costs_the_group_or_is_made_anew
    ]);
    topic.embedded(test![a_python_that_cannot_start_is_a_500]);
}

fn bodies_that_http_forbids_are_refused(case: &Case) {
    let httpd = case
        .httpd()
        .source(
            "/",
            "ran.wsgi",
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'ran']\n",
        )
        .conf("WSGIChunkedRequest On")
        .start();
    for (header, statuses) in [
        ("Transfer-Encoding: gzip", [400, 501]),
        ("Transfer-Encoding: chunked, gzip", [400, 501]),
        ("Content-Length: x", [400, 400]),
        ("Content-Length: -1", [400, 400]),
        ("Content-Length: 1\r\nContent-Length: 2", [400, 400]),
        ("Content-Length: 99999999999999999999999", [400, 413]),
    ] {
        let mut raw = httpd.raw();
        raw.send(format!(
            "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{header}\r\n\r\n"
        ));
        let reply = raw.reply();
        assert!(
            statuses.contains(&reply.head.status),
            "{header}: {}",
            reply.head.status
        );
    }
    httpd.announce("AH");
}

fn long_headers_of_an_answer_arrive(case: &Case) {
    let source = "def application(environ, start_response):\n    \
        size = int(environ['QUERY_STRING'])\n    \
        start_response('200 OK', [('X-Large', 'v' * size)])\n    \
        return [b'body']\n";
    let httpd = case.httpd().source("/", "headers.wsgi", source).start();
    let ask = |size: usize| {
        let mut raw = httpd.raw_get(&format!("/?{size}"));
        let reply = raw.reply();
        (
            reply.head.status,
            reply.head.header("x-large").map_or(0, str::len),
        )
    };
    assert_eq!(ask(32_000), (200, 32_000));
    // The original passes answers from a daemon in lines of 32 KiB, unless `header-buffer-size` says otherwise.
    if case.theirs() && !case.embedded() {
        assert_eq!(ask(100_000).0, 500);
        httpd.wait_log("WSGI0144");
    } else {
        assert_eq!(ask(100_000), (200, 100_000));
    }
}

fn a_group_is_unknown_also_where_there_are_none(case: &Case) {
    let httpd = case
        .httpd()
        .bare()
        .script("hello.wsgi")
        .conf("WSGIProcessGroup nowhere\nWSGIScriptAlias / @SCRIPTS@/hello.wsgi")
        .start();
    assert_eq!(httpd.get("/").status, 500);
    httpd.wait_log("nowhere");
    httpd.wait_log(case.said("RW0207", "WSGI0150"));
    httpd.announce("RW0014"); // ours says so at the start, too
}

fn a_socket_that_is_gone_costs_the_group_or_is_made_anew(case: &Case) {
    let httpd = case.httpd().app("hello.wsgi").children(1).start();
    assert_eq!(httpd.get("/").status, 200);
    for socket in httpd.socket_files() {
        if !socket.ends_with("manager.sock") {
            fs::remove_file(socket).expect("removed");
        }
    }
    if case.theirs() {
        // Until httpd is restarted.
        for _ in 0..3 {
            assert_eq!(httpd.get("/").status, 503);
        }
        httpd.wait_log("WSGI0117");
        return;
    }
    // The child may use the connection that it has; a new one has none.
    httpd.graceful();
    until("the group serves again", Duration::from_secs(20), || {
        httpd.get("/").status == 200
    });
    httpd.wait_log("RW0458");
    httpd.provoked(&[codes::LATE]);
}

fn a_python_that_cannot_start_is_a_500(case: &Case) {
    let builder = case.httpd();
    let home = builder.root().join("no-such-venv");
    let httpd = builder.python_home(Some(&home)).app("hello.wsgi").start();
    assert_eq!(httpd.get("/").status, 500);
    httpd.wait_log(case.said("RW0210", "WSGI0210"));
    if case.theirs() {
        // Python itself writes its search path into the log, line by line.
        httpd.announce("");
    }
    httpd.provoked(&[codes::PYTHON_HOME]);
}
