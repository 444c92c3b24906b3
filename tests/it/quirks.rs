//! Differences on purpose that no other topic shows; `docs/quirks.md` has the reasons.

use crate::environ::environ_of;
use rwsgi_testkit::{Case, Topic, test, until};
use std::os::unix::process::CommandExt as _;
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        an_alias_with_a_slash_may_name_a_file,
        an_answer_that_is_complete_at_once_has_a_length,
        a_client_that_closed_its_side_gets_its_answer,
        log_lines_carry_the_request_not_the_script,
        httpds_own_environment_is_left_alone,
    ]);
    topic.daemon(test![
        workers_start_with_the_first_request,
        a_client_that_closed_its_side_frees_the_worker_after_a_second,
    ]);
    topic.embedded(test![input_belongs_to_the_thread_of_its_request]);
    topic.once(test![
        an_undefined_process_group_is_named_at_start,
        directives_are_utf_8,
        an_option_user_is_not_ignored_without_root,
    ]);
}

fn an_alias_with_a_slash_may_name_a_file(case: &Case) {
    let httpd = case
        .httpd()
        .script("environ.wsgi")
        .conf("WSGIScriptAlias /shop/ @SCRIPTS@/environ.wsgi")
        .start();
    if case.theirs() {
        // It looks for a file environ.wsgicart.
        assert_eq!(httpd.get("/shop/cart").status, 404);
        httpd.announce("WSGI0135");
        return;
    }
    let environ = environ_of(&httpd, "/shop/cart");
    assert_eq!(
        (&environ["SCRIPT_NAME"], &environ["PATH_INFO"]),
        (&"/shop".into(), &"/cart".into())
    );
}

fn an_answer_that_is_complete_at_once_has_a_length(case: &Case) {
    let source = "def application(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
        return [b'small']\n";
    let httpd = case.httpd().source("/", "small.wsgi", source).start();
    let reply = httpd.raw_get("/").reply();
    assert_eq!(reply.body, b"small");
    let (length, coding) = (
        reply.head.header("content-length"),
        reply.head.header("transfer-encoding"),
    );
    let expected = if case.theirs() {
        (None, Some("chunked"))
    } else {
        (Some("5"), None)
    };
    assert_eq!((length, coding), expected);
}

fn a_client_that_closed_its_side_gets_its_answer(case: &Case) {
    let httpd = case.httpd().app("hello.wsgi").start();
    let mut raw = httpd.raw();
    raw.send("GET / HTTP/1.0\r\n\r\n");
    raw.finish_sending();
    assert_eq!(raw.reply().body, b"Hello World!\n");
}

/// Its answer is not ready: the thread of httpd that waited for it does something else. In embedded mode it runs the application.
fn a_client_that_closed_its_side_frees_the_worker_after_a_second(case: &Case) {
    let source = "import os, time\nDATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')\n\
        def application(environ, start_response):\n    \
        open(os.path.join(DATA, 'begun'), 'w').close()\n    \
        while not os.path.exists(os.path.join(DATA, 'go')):\n        time.sleep(0.01)\n    \
        start_response('200 OK', [('Content-Length', '4')])\n    return [b'late']\n";
    let httpd = case.httpd().source("/", "late.wsgi", source).start();
    let mut raw = httpd.raw();
    raw.send("GET / HTTP/1.0\r\n\r\n");
    raw.finish_sending();
    let (begun, go) = (httpd.data().join("begun"), httpd.data().join("go"));
    until("the application runs", Duration::from_secs(20), || begun.exists());
    let let_go = || std::fs::write(&go, "").expect("go");
    if case.theirs() {
        let_go();
        assert_eq!(raw.reply().body, b"late");
    } else {
        // Only then may the application end.
        assert!(raw.is_closed(), "no answer");
        let_go();
    }
}

/// `%L` is the same in both logs.
fn log_lines_carry_the_request_not_the_script(case: &Case) {
    let source = "def application(environ, start_response):\n    print('a line', file=environ['wsgi.errors'])\n    \
        start_response('200 OK', [])\n    return [environ['mod_wsgi.request_id'].encode()]\n";
    let httpd = case
        .httpd()
        .source("/", "lines.wsgi", source)
        .conf("ErrorLogFormat \"[%t] [%-m:%l] [pid %P] [%L] %M\"\nLogFormat \"%L %U\" ids\nCustomLog @ROOT@/ids.log ids")
        .start();
    let id = httpd.get("/where").text();
    let line = httpd.wait_log("a line").text;
    assert!(line.contains(&format!("[{id}]")), "{line}");
    assert_eq!(line.contains("lines.wsgi"), case.theirs(), "{line}");
    let path = httpd.root().join("ids.log");
    until("the line of the access log", Duration::from_secs(10), || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.contains(&format!("{id} /where")))
    });
}

fn httpds_own_environment_is_left_alone(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/app", "hello.wsgi")
        .conf("SetEnv OWN set\nLogFormat \"%U %{OWN}e %{SCRIPT_NAME}e\" names\nCustomLog @ROOT@/names.log names")
        .start();
    assert_eq!(httpd.get("/app").status, 200);
    let expected = format!("/app set {}\n", case.said("-", "/app"));
    let path = httpd.root().join("names.log");
    until("the line of the access log", Duration::from_secs(10), || {
        std::fs::read_to_string(&path).is_ok_and(|text| text == expected)
    });
}

fn an_option_user_is_not_ignored_without_root(case: &Case) {
    case.needs_root();
    let httpd = case.httpd().app("hello.wsgi").start();
    let text = std::fs::read_to_string(httpd.root().join("httpd.conf")).expect("httpd.conf");
    let other = httpd.root().join("other.conf");
    std::fs::write(&other, text + "\nWSGIDaemonProcess other user=games\n").expect("other.conf");
    let program = httpd
        .parent()
        .map(|parent| format!("/proc/{}/exe", parent.pid))
        .expect("httpd runs");
    let check = std::process::Command::new(std::fs::read_link(program).expect("a program"))
        .arg("-t")
        .arg("-f")
        .arg(&other)
        .uid(65534)
        .gid(65534)
        .output()
        .expect("httpd -t");
    let said = String::from_utf8_lossy(&check.stderr);
    assert_eq!(check.status.success(), case.theirs(), "{said}");
    if !case.theirs() {
        assert!(
            said.contains("user=games") && said.contains("start httpd as root"),
            "{said}"
        );
    }
}

fn workers_start_with_the_first_request(case: &Case) {
    let httpd = case.httpd().app("hello.wsgi").start();
    if case.theirs() {
        assert_eq!(httpd.workers().len(), 1);
        return;
    }
    assert_eq!(httpd.workers().len(), 0);
    assert_eq!(httpd.get("/").status, 200);
    assert_eq!(httpd.workers().len(), 1);
}

fn input_belongs_to_the_thread_of_its_request(case: &Case) {
    let source = "import threading\n\ndef application(environ, start_response):\n    said = []\n    def read():\n        \
        try:\n            said.append(environ['wsgi.input'].read())\n        \
        except OSError as why:\n            said.append(b'OSError')\n    \
        thread = threading.Thread(target=read)\n    thread.start()\n    thread.join()\n    \
        start_response('200 OK', [])\n    return said\n";
    let httpd = case.httpd().source("/", "threads.wsgi", source).start();
    let expected = if case.theirs() { "a body" } else { "OSError" };
    assert_eq!(httpd.post("/", "a body").text(), expected);
}

fn an_undefined_process_group_is_named_at_start(case: &Case) {
    let httpd = case
        .httpd()
        .bare()
        .script("hello.wsgi")
        .conf("WSGIProcessGroup nowhere\nWSGIScriptAlias / @SCRIPTS@/hello.wsgi")
        .start();
    if !case.theirs() {
        httpd.wait_log("RW0014");
    }
    assert_eq!(httpd.log_with("nowhere").is_empty(), case.theirs());
}

fn directives_are_utf_8(case: &Case) {
    let builder = case
        .httpd()
        .bare()
        .file("more.conf", b"WSGICallableObject caf\xe9\n");
    let started = builder.conf("Include @ROOT@/more.conf").try_start();
    match started {
        Ok(_) => assert!(case.theirs(), "started with bytes that are no text"),
        Err(text) => assert!(!case.theirs() && text.contains("UTF-8"), "{text}"),
    }
}
