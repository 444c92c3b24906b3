//! Who gets to the sockets of manager and workers.

use super::{USER, hosted};
use rwsgi_testkit::test;
use rwsgi_testkit::{Case, Httpd, Topic, until};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![
        r35_no_user_reaches_the_sockets,
        r36_a_stranger_that_reaches_a_socket_is_turned_away,
        r61_connections_that_ask_for_nothing_start_nothing,
    ]);
}

/// Tries the directory and each socket in it; prints what became of each try.
const KNOCK: &str = r#"
import os, socket, sys
def said(attempt):
    try:
        return attempt()
    except OSError as error:
        return error.errno
def connect(path):
    kind = socket.SOCK_SEQPACKET if path.endswith(("manager.sock", "ctl.sock")) else socket.SOCK_STREAM
    with socket.socket(socket.AF_UNIX, kind) as stranger:
        stranger.settimeout(10)
        stranger.connect(path)
        try:
            stranger.send(b"\x02\x00\x00\x00")
            return "answered" if stranger.recv(1) else "closed"
        except (BrokenPipeError, ConnectionResetError):
            return "closed"
directory, *sockets = sys.argv[1:]
print(said(lambda: len(os.listdir(directory)) > 0), said(lambda: bool(os.stat(sockets[0]))), said(lambda: os.unlink(sockets[0])),
    *[said(lambda: connect(path)) for path in sockets])
"#;

fn knock(httpd: &Httpd, user: &str) -> Vec<String> {
    let mut sockets = httpd.socket_files();
    sockets.sort();
    let output = Command::new("setpriv")
        .args([
            "--reuid",
            user,
            "--regid",
            user,
            "--clear-groups",
            "python3",
            "-c",
            KNOCK,
        ])
        .arg(sockets[0].parent().expect("a directory"))
        .args(&sockets)
        .output()
        .expect("setpriv");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text.split_whitespace().map(str::to_owned).collect()
}

/// R31, R35
fn r35_no_user_reaches_the_sockets(case: &Case) {
    case.needs_ours("its sockets lie in the open, with the mode 0600");
    let httpd = hosted(case, "threads=1").app("hello.wsgi").start();
    assert_eq!(httpd.get("/").status, 200);
    // The workers' own user, and another.
    for user in [USER, "daemon"] {
        assert_eq!(knock(&httpd, user), ["13"; 6], "{user}");
    }
    let unix = std::fs::read_to_string("/proc/net/unix").expect("/proc/net/unix");
    assert!(
        !unix
            .lines()
            .any(|line| line.contains("@") && line.contains("rwsgi")),
        "an abstract socket"
    );
}

/// R36, C4
fn r36_a_stranger_that_reaches_a_socket_is_turned_away(case: &Case) {
    case.needs_ours("its daemons do not ask who connects");
    let httpd = hosted(case, "threads=1").app("hello.wsgi").start();
    assert_eq!(httpd.get("/").status, 200);
    let sockets = httpd.socket_files();
    let directory = sockets[0].parent().expect("a directory");
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    open(directory, 0o755);
    for socket in &sockets {
        open(socket, 0o666);
    }
    for user in [USER, "daemon"] {
        let became = knock(&httpd, user);
        assert_eq!(
            became[2..],
            ["13", "closed", "closed", "closed"],
            "{user}: {became:?}"
        );
    }
    for code in ["RW0404", "RW0550", "RW0613"] {
        httpd.wait_log(code);
    }
    open(directory, 0o710);
    until("an answer", Duration::from_secs(10), || {
        httpd.get("/").status == 200
    });
}

/// R61
fn r61_connections_that_ask_for_nothing_start_nothing(case: &Case) {
    case.needs_ours("its processes start with httpd");
    let httpd = hosted(case, "threads=1")
        .app("hello.wsgi")
        .load("reqtimeout")
        .conf("RequestReadTimeout header=1")
        .start();
    // httpd itself is at its limit for a while.
    httpd.announce("server reached MaxRequestWorkers setting");
    let mut held = Vec::new();
    for round in 0..case.rounds(60, 500) {
        let mut raw = httpd.raw();
        raw.send(["", "GET", "GET / HTTP/1.1\r\nHost: a\r\n", "\x16\x03\x01"][round % 4]);
        held.push(raw);
    }
    assert_eq!(httpd.log_with(" starts for ").len(), 0);
    assert!(httpd.workers().is_empty());
    until("an answer", Duration::from_secs(100), || {
        httpd.get("/").status == 200
    });
}
