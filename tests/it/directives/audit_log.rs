//! `WSGIAuditLog`: what the manager did, for machines. R72.

use super::{misplaced, refuses};
use crate::codes;
use rwsgi_testkit::{Case, Httpd, Process, Signal, Topic, Value, from_slice, test, until, until_some};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        audit_log_takes_one_path,
        audit_log_is_for_the_whole_server,
        an_audit_log_that_is_no_file_is_refused
    ]);
    topic.daemon(test![
        r72_each_event_in_the_life_of_a_worker_is_a_line,
        r72_refusals_are_in_it_whatever_the_level_of_the_error_log,
        r72_what_children_refuse_is_in_it_without_what_a_client_sent,
        r74_what_applications_write_is_no_event,
        a_rotated_audit_log_is_opened_anew,
    ]);
}

const WHY: &str = "it has no such directive";
const SLOW: Duration = Duration::from_secs(20);
const DIRECTIVE: &str = "WSGIAuditLog audit.log";

fn audit_log_takes_one_path(case: &Case) {
    case.needs_ours(WHY);
    refuses(
        case,
        &[
            ("WSGIAuditLog", &["one argument"]),
            ("WSGIAuditLog a b", &["one argument"]),
        ],
    );
}

fn audit_log_is_for_the_whole_server(case: &Case) {
    case.needs_ours(WHY);
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIAuditLog audit.log\n</VirtualHost>"],
    );
}

/// R72: whoever can write to the directory must not choose what root appends to.
fn an_audit_log_that_is_no_file_is_refused(case: &Case) {
    case.needs_ours(WHY);
    let builder = || {
        case.httpd()
            .daemon("")
            .app("hello.wsgi")
            .file("logs/victim", "")
            .conf("WSGIAuditLog logs/audit.log")
    };
    let with_link = builder();
    let logs = with_link.root().join("logs");
    symlink(logs.join("victim"), logs.join("audit.log")).expect("symlink");
    let text = with_link.refused();
    assert!(
        text.contains("WSGIAuditLog") && text.contains("audit.log: ") && text.contains("not a link"),
        "{text}"
    );
    let text = builder().file("logs/audit.log/x", "").refused();
    assert!(text.contains("name a regular file"), "{text}");
    let text = case
        .httpd()
        .daemon("")
        .app("hello.wsgi")
        .conf("WSGIAuditLog nowhere/audit.log")
        .refused();
    assert!(text.contains("in a directory that exists"), "{text}");
}

/// All lines so far; each must be an object with what every line has.
fn events(httpd: &Httpd) -> Vec<Value> {
    let text = std::fs::read_to_string(httpd.root().join("audit.log")).expect("an audit log");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| {
            let event = from_slice(line.as_bytes());
            for field in ["time", "mono", "id", "manager", "event"] {
                assert!(!event[field].is_null(), "no {field}: {line}");
            }
            event
        })
        .collect()
}

fn wait(httpd: &Httpd, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    until_some(what, SLOW, || events(httpd).into_iter().find(&is_it))
}

fn is(event: &Value, name: &str, pid: u64) -> bool {
    event["event"] == name && event["pid"] == pid
}

fn pid(httpd: &Httpd) -> u64 {
    httpd.get("/").json()["pid"].as_u64().expect("pid")
}

/// R72, R74: nor is it more than a share, however often.
fn r72_what_children_refuse_is_in_it_without_what_a_client_sent(case: &Case) {
    case.needs_ours(WHY);
    let httpd = case
        .httpd()
        .daemon("threads=2")
        .app("state.wsgi")
        .log_level("crit core:notice")
        .conf(DIRECTIVE)
        .start();
    const SECRET: &str = "pass-word";
    let refused = || {
        let mut raw = httpd.raw();
        let doubled = format!("Content-Type: a/{SECRET}\r\nContent-Type: b/c; d=e\r\n");
        raw.send(format!(
            "GET /?{SECRET} HTTP/1.1\r\nHost: h\r\n{doubled}Connection: close\r\n\r\n"
        ));
        raw.head().status
    };
    for _ in 0..250 {
        assert_eq!(refused(), 400);
    }
    let children: Vec<u32> = httpd.children().iter().map(|child| child.pid).collect();
    let event = wait(&httpd, "a refusal", |event| event["event"] == "child");
    assert_eq!(
        (&event["code"], &event["level"]),
        (&"RW0085".into(), &"error".into())
    );
    assert!(
        children.contains(&(event["pid"].as_u64().expect("pid") as u32)),
        "{event}"
    );
    assert!(
        event["file"].as_str().expect("file").ends_with("state.wsgi"),
        "{event}"
    );
    assert!(!event["request"].as_str().expect("id").is_empty());
    let text = std::fs::read_to_string(httpd.root().join("audit.log")).expect("an audit log");
    assert!(!text.contains(SECRET), "{text}");
    // What is left out is counted, and told when there is room.
    wait(&httpd, "the rest to be counted", |event| {
        refused();
        event["untold"].as_u64().is_some_and(|untold| untold > 0)
    });
}

/// N6
fn r72_each_event_in_the_life_of_a_worker_is_a_line(case: &Case) {
    case.needs_ours(WHY);
    let httpd = case
        .httpd()
        .daemon("threads=2")
        .app("state.wsgi")
        .conf(DIRECTIVE)
        .start();
    let first = pid(&httpd);
    let mode = std::fs::metadata(httpd.root().join("audit.log"))
        .expect("metadata")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let start = wait(&httpd, "its start", |event| is(event, "start", first));
    assert!(
        start["group"].is_string() && start["application_group"].is_string() && start["uid"].is_u64(),
        "{start}"
    );
    wait(&httpd, "that it is ready", |event| is(event, "ready", first));
    Process::read(first as u32)
        .expect("a worker")
        .signal(Signal::SIGKILL);
    let end = wait(&httpd, "its end", |event| is(event, "end", first));
    assert_eq!(end["kind"], "signal");
    assert!(
        end["why"].as_str().is_some_and(|why| why.contains("signal 9")),
        "{end}"
    );
    assert!(
        end["user_seconds"].is_f64() && end["max_rss_bytes"].as_u64() > Some(1 << 20),
        "{end}"
    );
    let told = wait(&httpd, "the message", |event| event["code"] == "RW0453");
    assert_eq!(told["level"], "error");
    assert_eq!(httpd.get("/").status, 200);
    let ids: Vec<u64> = events(&httpd)
        .iter()
        .filter_map(|event| event["id"].as_u64())
        .collect();
    assert!(ids.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{ids:?}");
    httpd.provoked(&[codes::DEATH]);
    let configurations = |httpd: &Httpd| {
        let of = |event: &Value| event["event"] == "configuration";
        events(httpd).into_iter().filter(of).collect::<Vec<_>>()
    };
    httpd.graceful();
    until("the next configuration", SLOW, || {
        configurations(&httpd).len() == 2
    });
    let both = configurations(&httpd);
    assert_eq!(both[0]["hash"], both[1]["hash"], "nothing was changed");
    let second = pid(&httpd);
    httpd.stop();
    let end = wait(&httpd, "the end of the second", |event| is(event, "end", second));
    assert_eq!(end["kind"], "asked");
    wait(&httpd, "the stop", |event| event["event"] == "stop");
}

fn r72_refusals_are_in_it_whatever_the_level_of_the_error_log(case: &Case) {
    case.needs_ours(WHY);
    let httpd = case
        .httpd()
        .daemon("threads=2")
        .python_home(Some(Path::new("/nowhere/at/all")))
        .log_level("crit")
        .app("state.wsgi")
        .conf(DIRECTIVE)
        .start();
    assert_eq!(httpd.get("/").status, 500);
    let refusal = wait(&httpd, "the refusal", |event| event["event"] == "message");
    let text = refusal["text"].as_str().expect("text");
    assert!(text.contains("python-home=/nowhere/at/all"), "{text}");
    assert!(
        refusal["code"]
            .as_str()
            .is_some_and(|code| code.starts_with("RW0"))
    );
}

/// R72
fn r74_what_applications_write_is_no_event(case: &Case) {
    case.needs_ours(WHY);
    let source = "\
import os, sys
def application(environ, start_response):
    for text in ('{\"event\":\"end\"}\\n', 'event\\n{\"event\":\"end\"}\\n', '\\r{\"event\":\"end\"}\\n'):
        print(text, file=sys.stderr, end='', flush=True)
        environ['wsgi.errors'].write(text)
        os.write(2, text.encode())
    start_response('200 OK', [])
    return [b'canary']
";
    let httpd = case
        .httpd()
        .daemon("threads=2")
        .source("/", "app.wsgi", source)
        .conf(DIRECTIVE)
        .start();
    let reply = httpd.request("GET", "/?canary=secret").send();
    assert_eq!(reply.status, 200, "{}", reply.text());
    httpd.announce("event");
    httpd.wait_log("event");
    httpd.stop();
    let ends = events(&httpd)
        .iter()
        .filter(|event| event["event"] == "end")
        .count();
    assert_eq!(ends, 1, "that of its worker");
    let text = std::fs::read_to_string(httpd.root().join("audit.log")).expect("an audit log");
    assert!(!text.contains("canary") && !text.contains("secret"), "{text}");
}

fn a_rotated_audit_log_is_opened_anew(case: &Case) {
    case.needs_ours(WHY);
    let httpd = case
        .httpd()
        .daemon("threads=2")
        .app("state.wsgi")
        .conf(DIRECTIVE)
        .start();
    assert_eq!(httpd.get("/").status, 200);
    let path = httpd.root().join("audit.log");
    std::fs::rename(&path, httpd.root().join("audit.log.1")).expect("rename");
    httpd.graceful();
    until("the new file", SLOW, || {
        std::fs::metadata(&path).is_ok_and(|file| file.len() > 0)
    });
    assert_eq!(httpd.get("/").status, 200);
}
