//! What applications write goes to the right error log, with the request it belongs to.

use crate::codes;
use rwsgi_testkit::{Case, Httpd, Line, Load, Topic, test, until, until_some};
use std::time::{Duration, Instant};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        everything_an_application_writes_is_logged,
        a_line_written_in_parts_is_one_entry,
        errors_of_a_request_carry_its_client,
        text_is_kept_and_control_characters_are_not,
        each_virtual_host_has_its_own_log,
        a_rotated_log_is_followed_after_a_graceful_restart,
        a_piped_log_gets_everything_and_ends_with_httpd,
        what_is_unfinished_at_the_end_of_the_request_is_logged,
        a_line_is_shared_by_all_streams_of_a_request,
        a_long_line_is_logged,
        text_behind_a_nul_byte_harms_nothing,
        wsgi_errors_is_a_text_stream_without_a_file,
        wsgi_errors_after_the_request_refuses,
        an_exception_is_logged_with_its_causes,
        tracebacks_of_many_requests_are_not_mixed,
        what_belongs_to_no_request_goes_to_the_log_of_its_server,
        log_level_of_a_directory_counts,
        a_flood_of_a_request_is_cut_in_daemon_mode_and_the_loss_is_told,
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

/// R74
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

/// F48
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

fn what_is_unfinished_at_the_end_of_the_request_is_logged(case: &Case) {
    let httpd = case.httpd().app("talks.wsgi").start();
    ask(&httpd, "/unfinished");
    for words in ["no line end in errors", "nor in stdout"] {
        httpd.wait_log(words);
    }
}

fn a_line_is_shared_by_all_streams_of_a_request(case: &Case) {
    let httpd = case.httpd().app("talks.wsgi").start();
    ask(&httpd, "/all_streams");
    let line = httpd.wait_log("one by stdout, two by stderr, three by errors");
    assert!(line.text.contains("127.0.0.1"), "{}", line.text);
}

fn a_long_line_is_logged(case: &Case) {
    let httpd = case.httpd().app("talks.wsgi").start();
    ask(&httpd, "/long");
    let line = httpd.wait_log("long xxx");
    assert!(line.text.len() > 7000, "{}", line.text.len());
    if case.theirs() {
        // It cuts the line.
        assert!(httpd.log_with("x end").is_empty());
        return;
    }
    httpd.wait_log("x end");
    let whole: usize = httpd
        .log_with("xxxxxx")
        .iter()
        .map(|line| line.text.bytes().filter(|byte| *byte == b'x').count())
        .sum();
    assert!(whole >= 20_000, "{whole}");
    httpd.announce("xxxx");
    httpd.announce("yyyy");
    // Outside of requests as well.
    ask(&httpd, "/long_by_thread");
    httpd.wait_log("y end");
    let whole: usize = httpd
        .log_with("yyyyyy")
        .iter()
        .map(|line| line.text.bytes().filter(|byte| *byte == b'y').count())
        .sum();
    assert!(whole >= 20_000, "{whole}");
}

fn text_behind_a_nul_byte_harms_nothing(case: &Case) {
    let httpd = case.httpd().app("talks.wsgi").start();
    ask(&httpd, "/nul");
    httpd.wait_log("before the NUL");
    httpd.wait_log("the line after it");
    // The original ends the entry there.
    assert_eq!(httpd.log_with("behind the NUL").is_empty(), case.theirs());
    httpd.announce("behind the NUL");
}

fn wsgi_errors_is_a_text_stream_without_a_file(case: &Case) {
    let httpd = case.httpd().app("talks.wsgi").start();
    let reply = httpd.get("/describe");
    assert_eq!(
        reply.text(),
        "TextIOWrapper <wsgi.errors> utf-8 replace False OSError\n\
         TextIOWrapper <stderr> utf-8 replace False OSError\n\
         TextIOWrapper <stdout> utf-8 replace False OSError\n"
    );
    httpd.wait_log("bytes by the buffer");
    httpd.wait_log("a surrogate ?");
}

fn wsgi_errors_after_the_request_refuses(case: &Case) {
    let httpd = case
        .httpd()
        .app("talks.wsgi")
        .children(1)
        .daemon("threads=1")
        .start();
    ask(&httpd, "/keep");
    assert_eq!(httpd.get("/use_kept").text(), "RuntimeError");
    assert!(httpd.log_with("too late").is_empty());
}

fn an_exception_is_logged_with_its_causes(case: &Case) {
    let httpd = case.httpd().app("talks.wsgi").start();
    assert_eq!(httpd.get("/chained").status, 500);
    let lines = [
        "KeyError: 'the first'",
        "The above exception was the direct cause of the following exception",
        "ValueError: the second",
        "in chained",
    ];
    let seen = lines.map(|words| httpd.wait_log(words));
    for line in &seen {
        assert_eq!(line.level, "error", "{}", line.text);
        assert!(line.text.contains("127.0.0.1"), "{}", line.text);
    }
    assert_eq!(httpd.get("/exits").status, 500);
    httpd.wait_log("SystemExit");
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
}

fn tracebacks_of_many_requests_are_not_mixed(case: &Case) {
    let httpd = case.httpd().app("talks.wsgi").children(3).start();
    let load = Load::start(&httpd, "/deep", 6, |reply| reply.status == 500);
    load.more(if case.theirs() { 50 } else { 300 });
    assert_eq!(load.stop(), Vec::<String>::new());
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
    if case.theirs() {
        // It writes line by line, from any number of processes.
        return;
    }
    httpd.wait_log("ValueError: deep");
    let (mut open, mut whole) = (None, 0);
    for line in httpd.log() {
        let tag = line
            .text
            .split("[client ")
            .nth(1)
            .and_then(|rest| rest.split(']').next());
        let Some(tag) = tag else { continue };
        if let Some(owner) = &open {
            assert_eq!(owner, tag, "in the middle of another traceback: {}", line.text);
        }
        if line.text.contains("Traceback (most recent call last)") {
            open = Some(tag.to_owned());
        } else if line.text.contains("ValueError: deep ") {
            open = None;
            whole += 1;
        }
    }
    assert!(whole >= 300, "{whole}");
}

fn what_belongs_to_no_request_goes_to_the_log_of_its_server(case: &Case) {
    let group = if case.embedded() {
        ""
    } else {
        "WSGIDaemonProcess shop\nWSGIProcessGroup shop\n"
    };
    let httpd = case
        .httpd()
        .bare()
        .script("talks.wsgi")
        .conf(&format!(
            "<VirtualHost *:@PORT@>\nServerName shop\nErrorLog @ROOT@/shop.log\n{group}\
             WSGIScriptAlias / @SCRIPTS@/talks.wsgi\n</VirtualHost>"
        ))
        .start();
    ask(&httpd, "/by_thread");
    // An httpd child is nobody's; a process group is its virtual host's.
    if case.embedded() {
        httpd.wait_log("said by a thread");
        return;
    }
    let line = line_in(&httpd, "shop.log", "said by a thread");
    assert!(!line.text.contains("[client "), "{}", line.text);
    if !case.theirs() {
        ask(&httpd, "/lines_by_thread");
        let at = |words: &str| {
            line_in(&httpd, "shop.log", words);
            let log = httpd.log_file("shop.log");
            log.iter()
                .position(|line| line.text.contains(words))
                .expect("it is there")
        };
        assert_eq!(at("the second of two"), at("the first of two") + 1);
    }
}

fn log_level_of_a_directory_counts(case: &Case) {
    let module = if case.theirs() { "wsgi" } else { "rwsgi" };
    let httpd = case
        .httpd()
        .app("talks.wsgi")
        .conf(&format!(
            "<Location /to_errors>\nLogLevel {module}:crit\n</Location>\n<Location /printed>\nLogLevel {module}:debug\n</Location>"
        ))
        .start();
    ask(&httpd, "/to_errors");
    ask(&httpd, "/printed");
    httpd.wait_log("printed with print()");
    // The daemons of the original know the levels of servers only.
    let is_dropped = httpd.log_with("written to wsgi.errors").is_empty();
    assert_eq!(is_dropped, !case.theirs() || case.embedded());
    httpd.announce("written to wsgi.errors");
}

/// R64, R74
fn a_flood_of_a_request_is_cut_in_daemon_mode_and_the_loss_is_told(case: &Case) {
    const LINES: usize = 9_000;
    let flood = "def application(environ, start_response):\n    \
                     for number in range(9000):\n        \
                         environ['wsgi.errors'].write('flood %d\\n' % number)\n    \
                     start_response('200 OK', [])\n    \
                     return [b'done']\n";
    let httpd = case.httpd().source("/", "flood.wsgi", flood).start();
    let since = Instant::now();
    ask(&httpd, "/");
    let passed = since.elapsed().as_secs() as usize;
    httpd.announce("flood ");
    let lines = || httpd.log_with("] flood ").len();
    // The original has no bound, and in embedded mode the application is the administrator's own.
    if case.theirs() || case.embedded() {
        return until("every line", Duration::from_secs(10), || lines() == LINES);
    }
    httpd.provoked(&[codes::DROPPED]);
    let lost = || -> usize {
        let sentences = httpd.log_with("RW0320: ");
        let numbers = sentences.iter().filter_map(|line| {
            let words = line.text.split("RW0320: ").nth(1)?;
            words.split(' ').next()?.parse::<usize>().ok()
        });
        numbers.sum()
    };
    until("every line or its loss", Duration::from_secs(10), || {
        lines() + lost() == LINES
    });
    assert!(
        (5_000..=5_000 + 1_000 * (passed + 1)).contains(&lines()),
        "{} lines",
        lines()
    );
    let told = httpd.log_with("RW0320");
    assert!(told.len() <= passed + 1, "{} times", told.len());
    let told = &told.first().expect("a loss").text;
    assert!(
        told.contains("process group 'site'") && told.contains("[client 127.0.0.1"),
        "{told}"
    );
}
