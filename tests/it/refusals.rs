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
        a_socket_that_is_gone_costs_the_group_or_is_made_anew,
        a_directory_of_sockets_that_is_gone_costs_the_group_or_is_made_anew,
        sockets_below_a_closed_directory_are_a_503,
        a_socket_without_permission_is_a_503,
        a_script_that_is_outdated_again_and_again_is_a_503_or_served,
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

/// F52
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

/// F32
fn a_socket_that_is_gone_costs_the_group_or_is_made_anew(case: &Case) {
    let httpd = case.httpd().app("hello.wsgi").children(1).start();
    assert_eq!(httpd.get("/").status, 200);
    for socket in httpd.pool_sockets() {
        fs::remove_file(socket).expect("removed");
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

/// F32
fn a_directory_of_sockets_that_is_gone_costs_the_group_or_is_made_anew(case: &Case) {
    let httpd = case.httpd().app("hello.wsgi").start();
    assert_eq!(httpd.get("/").status, 200);
    for socket in httpd.socket_files() {
        let directory = socket.parent().expect("directory").to_path_buf();
        if directory.exists() {
            // The original's sockets lie beside other files.
            match case.theirs() {
                true => fs::remove_file(&socket).expect("removed"),
                false => fs::remove_dir_all(&directory).expect("removed"),
            }
        }
    }
    if case.theirs() {
        assert_eq!(httpd.get("/").status, 503);
        httpd.wait_log("WSGI0117");
        return;
    }
    // The children use the connections that they have, and new children the socket that is made anew within seconds.
    httpd.wait_log("RW0461");
    httpd.graceful();
    until("the group serves again", Duration::from_secs(20), || {
        httpd.get("/").status == 200
    });
    httpd.provoked(&[codes::LATE, codes::MANAGER]);
}

/// What no httpd child may connect to.
fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

fn sockets_below_a_closed_directory_are_a_503(case: &Case) {
    case.needs_root();
    let builder = case.httpd().app("hello.wsgi").file("closed/nothing", "");
    let closed = builder.root().join("closed");
    set_mode(&closed, 0o700);
    let httpd = builder.conf("WSGISocketPrefix @ROOT@/closed/wsgi").start();
    // At once: who waits for a pool does so for four seconds, also on an idle machine.
    let times = [(); 3].map(|()| {
        let since = std::time::Instant::now();
        assert_eq!(httpd.get("/").status, 503);
        since.elapsed()
    });
    assert!(times.iter().min() < Some(&Duration::from_secs(3)), "{times:?}");
    let line = httpd.wait_log(case.said("RW0301", "WSGI0117")).text;
    assert!(line.contains("Permission denied"), "{line}");
    if !case.theirs() {
        assert!(line.contains("; let httpd's user pass"), "{line}");
        let line = httpd.wait_log("RW0470").text;
        assert!(
            line.contains(&*closed.to_string_lossy()) && line.contains("WSGISocketPrefix"),
            "{line}"
        );
    }
    set_mode(&closed, 0o711);
    assert_eq!(httpd.get("/").status, 200, "as soon as it is open");
}

fn a_socket_without_permission_is_a_503(case: &Case) {
    case.needs_root();
    let httpd = case
        .httpd()
        .script("hello.wsgi")
        .conf("WSGIScriptAlias / @SCRIPTS@/hello.wsgi process-group=site application-group=%{GLOBAL}")
        .start();
    let sockets = || httpd.pool_sockets();
    until("the socket of the group", Duration::from_secs(10), || {
        !sockets().is_empty()
    });
    let modes: Vec<_> = sockets()
        .into_iter()
        .map(|path| (fs::metadata(&path).expect("socket").permissions(), path))
        .collect();
    for (_, path) in &modes {
        set_mode(path, 0);
    }
    assert_eq!(httpd.get("/").status, 503);
    let line = httpd.wait_log(case.said("RW0302", "WSGI0117")).text;
    assert!(line.contains("Permission denied"), "{line}");
    for (mode, path) in modes {
        fs::set_permissions(path, mode).expect("chmod");
    }
    assert_eq!(httpd.get("/").status, 200);
}

fn a_script_that_is_outdated_again_and_again_is_a_503_or_served(case: &Case) {
    let always = "def reload_required(path):\n    return True\n\
        def application(environ, start_response):\n    \
            start_response('200 OK', [])\n    \
            return [b'served']\n";
    let httpd = case
        .httpd()
        .file("scripts/always.wsgi", always)
        .conf("WSGIScriptAlias / @SCRIPTS@/always.wsgi process-group=site application-group=%{GLOBAL}")
        .start();
    for _ in 0..2 {
        let reply = httpd.get("/");
        if case.theirs() {
            // A process that has loaded it at its start refuses its first request: the child gives up after a few.
            assert_eq!(reply.status, 503);
            httpd.wait_log("WSGI0124");
        } else {
            assert_eq!((reply.status, &*reply.text()), (200, "served"));
        }
    }
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
