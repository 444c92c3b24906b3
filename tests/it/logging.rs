//! What applications write goes to the right error log, with the request it belongs to.

use rwsgi_testkit::{Case, Httpd, Line, Topic, test, until_some};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        everything_an_application_writes_is_logged,
        a_line_written_in_parts_is_one_entry,
        errors_of_a_request_carry_its_client,
        text_is_kept_and_control_characters_are_not,
        each_virtual_host_has_its_own_log,
        a_rotated_log_is_followed_after_a_graceful_restart,
        a_piped_log_gets_everything_and_ends_with_httpd,
    ]);
}

fn ask(httpd: &Httpd, path: &str) {
    let reply = httpd.get(path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
}

fn everything_an_application_writes_is_logged(case: &Case) {
    let httpd = case.httpd().app("talks.wsgi").start();
    for (path, words) in [
        ("/printed", "printed with print()"),
        ("/to_errors", "written to wsgi.errors"),
        ("/to_stderr", "written to sys.stderr"),
        ("/by_logging", "logged with logging"),
        ("/by_thread", "said by a thread"),
        ("/to_descriptor", "written to descriptor 2"),
        ("/by_child", "said by a child process"),
        ("/warned", "a warning of the application"),
    ] {
        ask(&httpd, path);
        let line = httpd.wait_log(words);
        // The original leaves descriptors 1 and 2 as they are: such lines have not httpd's form.
        let raw = matches!(path, "/to_descriptor" | "/by_child") && (case.theirs() || case.embedded());
        assert!(
            raw || !line.level.is_empty(),
            "not in httpd's form: {}",
            line.text
        );
        // Python quotes the source line below a warning, which has the same words.
        let times = if path == "/warned" { 2 } else { 1 };
        assert_eq!(httpd.log_with(words).len(), times, "{words:?}");
    }
    httpd.announce("warnings.warn(");
}

fn a_line_written_in_parts_is_one_entry(case: &Case) {
    let httpd = case.httpd().app("talks.wsgi").start();
    ask(&httpd, "/to_errors_in_parts");
    assert!(httpd.wait_log("one two three").text.ends_with("one two three"));
    // A write with a line end in its middle flushes, so that the rest may be an entry of its own.
    httpd.wait_log("and a ");
    httpd.wait_log("second line");
}

fn errors_of_a_request_carry_its_client(case: &Case) {
    let httpd = case.httpd().app("talks.wsgi").start();
    ask(&httpd, "/to_errors");
    let line = httpd.wait_log("written to wsgi.errors");
    let tag = if case.theirs() && !case.embedded() {
        "[remote 127.0.0.1"
    } else {
        "[client 127.0.0.1"
    };
    assert!(line.text.contains(tag), "{}", line.text);
    assert_eq!(line.level, "error", "{}", line.text);
}

fn text_is_kept_and_control_characters_are_not(case: &Case) {
    let httpd = case.httpd().app("talks.wsgi").start();
    ask(&httpd, "/control");
    let line = httpd.wait_log("bell ");
    assert!(
        !line.text.contains('\u{7}') && !line.text.contains('\u{1b}'),
        "{:?}",
        line.text
    );
    ask(&httpd, "/unicode");
    // httpd writes bytes above 127 as \xNN.
    httpd.wait_log("caf\\xc3\\xa9");
    ask(&httpd, "/long");
    httpd.wait_log("long xxx");
    if !case.theirs() {
        httpd.announce("xxxx");
    }
}

fn line_in(httpd: &Httpd, file: &str, words: &str) -> Line {
    until_some(&format!("{words:?} in {file}"), Duration::from_secs(10), || {
        httpd
            .log_file(file)
            .into_iter()
            .find(|line| line.text.contains(words))
    })
}

fn each_virtual_host_has_its_own_log(case: &Case) {
    let host = |name: &str, group: &str| {
        format!(
            "<VirtualHost *:@PORT@>\nServerName {name}\nErrorLog @ROOT@/{name}.log\n{group}\
             WSGIScriptAlias / @SCRIPTS@/talks.wsgi\n</VirtualHost>"
        )
    };
    let group = |name: &str| {
        if case.embedded() {
            String::new()
        } else {
            format!("WSGIDaemonProcess {name}\nWSGIProcessGroup {name}\n")
        }
    };
    let httpd = case
        .httpd()
        .bare()
        .script("talks.wsgi")
        .conf(&host("shop", &group("shop")))
        .conf(&host("wiki", &group("wiki")))
        .start();
    let ask_host = |name: &str, path: &str| {
        assert_eq!(httpd.request("GET", path).header("Host", name).send().status, 200);
    };
    ask_host("shop", "/to_errors");
    ask_host("shop", "/to_stderr");
    ask_host("wiki", "/printed");
    line_in(&httpd, "shop.log", "written to wsgi.errors");
    line_in(&httpd, "shop.log", "written to sys.stderr");
    line_in(&httpd, "wiki.log", "printed with print()");
    if !case.embedded() {
        // Threads of one's own belong to no request, but to the group, and the group to its virtual host.
        ask_host("shop", "/by_thread");
        line_in(&httpd, "shop.log", "said by a thread");
        if !case.theirs() {
            ask_host("wiki", "/to_descriptor");
            line_in(&httpd, "wiki.log", "written to descriptor 2");
        }
    }
    for words in ["written to", "printed with", "said by"] {
        assert!(
            httpd.log_with(words).is_empty(),
            "{words:?} is in the main server's log"
        );
    }
}

fn a_rotated_log_is_followed_after_a_graceful_restart(case: &Case) {
    let httpd = case.httpd().app("talks.wsgi").start();
    ask(&httpd, "/to_stderr");
    httpd.wait_log("written to sys.stderr");
    let log = httpd.root().join("error.log");
    std::fs::rename(&log, httpd.root().join("error.log.1")).expect("rotate");
    httpd.graceful();
    for (path, words) in [
        ("/printed", "printed with"),
        ("/by_thread", "said by a thread"),
        ("/to_errors", "written to"),
    ] {
        // An old child may answer for a moment; its lines go to the old file.
        until_some(
            &format!("{words:?} in the new file"),
            Duration::from_secs(15),
            || {
                ask(&httpd, path);
                (!httpd.log_with(words).is_empty()).then_some(())
            },
        );
        httpd.announce(words);
    }
}

fn a_piped_log_gets_everything_and_ends_with_httpd(case: &Case) {
    let httpd = case
        .httpd()
        .app("talks.wsgi")
        .conf("ErrorLog \"|/bin/sh -c 'exec cat >>@ROOT@/error.log'\"")
        .start();
    ask(&httpd, "/to_errors");
    httpd.wait_log("written to wsgi.errors");
    httpd.graceful();
    ask(&httpd, "/by_thread");
    httpd.wait_log("said by a thread");
    httpd.stop(); // a pipe that somebody keeps open would keep the logger alive
}
