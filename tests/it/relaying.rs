//! How answers are passed on from workers to clients, and whose scripts a process group runs.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Topic, httpd_user, test, until};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        response_socket_timeout_gives_a_client_up_that_takes_nothing,
        response_flush_delay_waits_for_more,
        response_buffer_size_changes_no_answer,
        buffer_sizes_are_those_of_the_connection,
        header_buffer_size_limits_a_header,
        socket_user_owns_the_socket,
        script_user_must_own_script_and_directory,
        script_group_must_be_that_of_script_and_directory,
    ]);
}

const SLOW: Duration = Duration::from_secs(20);

fn response_socket_timeout_gives_a_client_up_that_takes_nothing(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("processes=1 threads=1 response-socket-timeout=1")
        .app("streams.wsgi")
        .start();
    // Far more than sockets hold. Timeout is 30 s.
    let _raw = httpd.raw_get("/down?bytes=400000000");
    let start = Instant::now();
    assert_eq!(httpd.get("/pid").status, 200);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    if case.theirs() {
        httpd.announce_traceback();
        httpd.announce("WSGI0");
    }
}

/// Yields a piece, and the other one when `go` is there.
const TWO_PIECES: &str = "import os, time\n\
    def application(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
    yield b'first'\n    \
    while not os.path.exists(__file__.replace('scripts/app.wsgi', 'data/go')):\n        time.sleep(0.01)\n    \
    yield b'second'\n";

fn response_flush_delay_waits_for_more(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=2 response-flush-delay=1500")
        .source("/", "app.wsgi", TWO_PIECES)
        .start();
    let start = Instant::now();
    let mut raw = httpd.raw_get("/");
    raw.until(b"first");
    assert!(
        start.elapsed() >= Duration::from_millis(1450),
        "{:?}",
        start.elapsed()
    );
    std::fs::write(httpd.data().join("go"), "").expect("go");
    raw.until(b"second");
}

fn response_buffer_size_changes_no_answer(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=2 response-buffer-size=65536")
        .app("streams.wsgi")
        .start();
    let reply = httpd.get("/down?bytes=5000000");
    assert_eq!((reply.status, reply.body.len()), (200, 5_000_000));
}

/// Answers with the buffer sizes of all connected unix sockets, after so many bytes in both directions.
const BUFFERS: &str = "import os, socket\n\
    def sizes():\n    \
        for name in os.listdir('/proc/self/fd'):\n        \
            try:\n            \
                s = socket.socket(fileno=os.dup(int(name)))\n            \
                s.getpeername()\n            \
                yield '%d' % (s.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2)\n        \
            except OSError:\n            \
                pass\n\
    def application(environ, start_response):\n    \
        length = len(environ['wsgi.input'].read())\n    \
        start_response('200 OK', [('X-Sizes', ' '.join(sizes())), ('X-Read', str(length))])\n    \
        return [b'x' * length]\n";

fn buffer_sizes_are_those_of_the_connection(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=2 send-buffer-size=40000 receive-buffer-size=4096")
        .source("/", "app.wsgi", BUFFERS)
        .start();
    let body = vec![b'y'; 1_000_000];
    let reply = httpd.post("/", body.clone());
    assert_eq!((reply.status, reply.header("x-read")), (200, Some("1000000")));
    assert_eq!(reply.body.len(), body.len());
    let sizes = reply.header("x-sizes").unwrap_or_default();
    // The original sets it on the socket that listens, whose connections have the system's sizes.
    assert_eq!(
        sizes.split(' ').any(|size| size == "40000"),
        !case.theirs(),
        "{sizes}"
    );
}

fn long_header(case: &Case, option: &str, length: usize) -> (Httpd, u16) {
    let source = format!(
        "def application(environ, start_response):\n    start_response('200 OK', [('X-Long', 'x' * {length})])\n    return [b'ok']\n"
    );
    let httpd = case
        .httpd()
        .daemon(&format!("threads=2 {option}"))
        .source("/", "app.wsgi", &source)
        .start();
    let status = httpd.raw_get("/").head().status;
    (httpd, status)
}

fn header_buffer_size_limits_a_header(case: &Case) {
    assert_eq!(long_header(case, "header-buffer-size=16384", 10000).1, 200);
    let (httpd, status) = long_header(case, "header-buffer-size=8192", 10000);
    assert_eq!(status, 500);
    httpd.wait_log(case.said("header-buffer-size=8192", "WSGI01"));
    httpd.provoked(&[codes::BAD_ANSWER]);
    assert_eq!(long_header(case, "header-buffer-size=65536", 40000).1, 200);
}

/// A user and a group that every Debian and Fedora has, and that is nobody's login.
fn id(name: &str, file: &str) -> u32 {
    let text = std::fs::read_to_string(file).expect("a database");
    let line = text.lines().find(|line| line.starts_with(&format!("{name}:")));
    let field = line.and_then(|line| line.split(':').nth(2));
    field.and_then(|id| id.parse().ok()).expect("an id")
}

fn socket_user_owns_the_socket(case: &Case) {
    case.needs_root();
    let httpd = case
        .httpd()
        .daemon("threads=2 socket-user=games")
        .app("hello.wsgi")
        .start();
    if case.theirs() {
        // Its owner alone may connect, and that is not the user of httpd's children any more.
        let socket = httpd.socket_files().into_iter().next().expect("a socket");
        assert_eq!(
            socket.metadata().expect("metadata").uid(),
            id("games", "/etc/passwd")
        );
        return;
    }
    assert_eq!(httpd.get("/").status, 200);
    let owners = httpd.pool_sockets().into_iter();
    let owners: Vec<u32> = owners
        .map(|path| path.metadata().expect("metadata").uid())
        .collect();
    assert_eq!(owners, [id("games", "/etc/passwd")]);
}

/// Owner, group and mode of script and directory, and the status that follows.
fn owned(httpd: &Httpd, uid: u32, gid: u32, modes: [u32; 2], status: u16) {
    let directory = httpd.root().join("scripts");
    let script = directory.join("hello.wsgi");
    let set = |path: &Path, mode: u32| {
        chown(path, Some(uid), Some(gid)).expect("chown");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    set(&script, modes[0]);
    set(&directory, modes[1]);
    let got = httpd.get("/").status;
    assert_eq!(got, status, "{uid}:{gid} {modes:?}");
}

/// R15
fn script_user_must_own_script_and_directory(case: &Case) {
    case.needs_root();
    let httpd = case
        .httpd()
        .daemon("threads=2 script-user=games")
        .app("hello.wsgi")
        .start();
    let (games, other) = (id("games", "/etc/passwd"), id(httpd_user(), "/etc/passwd"));
    owned(&httpd, games, 0, [0o644, 0o755], 200);
    owned(&httpd, other, 0, [0o644, 0o755], 403);
    owned(&httpd, games, 0, [0o664, 0o755], 403);
    owned(&httpd, games, 0, [0o646, 0o755], 403);
    owned(&httpd, games, 0, [0o644, 0o775], 403);
    owned(&httpd, games, 0, [0o644, 0o757], 403);
    owned(&httpd, games, 0, [0o644, 0o755], 200);
    httpd.wait_log(case.said("RW0111", "WSGI01"));
}

fn script_group_must_be_that_of_script_and_directory(case: &Case) {
    case.needs_root();
    let httpd = case
        .httpd()
        .daemon("threads=2 script-group=games")
        .app("hello.wsgi")
        .start();
    let (games, other) = (id("games", "/etc/group"), id("daemon", "/etc/group"));
    owned(&httpd, 0, games, [0o664, 0o775], 200);
    owned(&httpd, 0, other, [0o644, 0o755], 403);
    owned(&httpd, 0, games, [0o646, 0o755], 403);
    owned(&httpd, 0, games, [0o644, 0o757], 403);
    httpd.wait_log(case.said("RW0111", "WSGI01"));
    until("the access log", SLOW, || httpd.access_log().contains(" 403 "));
}
