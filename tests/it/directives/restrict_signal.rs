//! `WSGIRestrictSignal`: signals belong to the server.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        restrict_signal_is_on_or_off,
        restrict_signal_is_for_the_whole_server
    ]);
    topic.both(test![
        signal_returns_the_handler_and_the_log_has_the_stack,
        forked_processes_may_handle_signals,
        without_the_restriction_python_decides,
    ]);
}

const SOURCE: &str = "import os, signal\ndef handler(*_):\n    pass\ndef calling():\n    \
    return signal.signal(signal.SIGUSR2, handler)\ndef direct():\n    return 'handler' if calling() is handler else 'another'\n\
    def forked():\n    pid = os.fork()\n    if pid == 0:\n        try:\n            \
    os._exit(7 if calling() is not handler and signal.getsignal(signal.SIGUSR2) is handler else 8)\n        \
    finally:\n            os._exit(9)\n    \
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\ndef application(environ, start_response):\n    \
    try:\n        said = forked() if environ['PATH_INFO'] == '/forked' else direct()\n    \
    except Exception as error:\n        said = type(error).__name__\n    start_response('200 OK', [])\n    return [said.encode()]\n";

fn restrict_signal_is_on_or_off(case: &Case) {
    refuses(case, &[("WSGIRestrictSignal no", &["'no'", "Off | On"])]);
}

fn restrict_signal_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIRestrictSignal On\n</VirtualHost>"],
    );
}

fn signal_returns_the_handler_and_the_log_has_the_stack(case: &Case) {
    let httpd = case.httpd().source("/", "app.wsgi", SOURCE).start();
    assert_eq!(httpd.get("/").text(), "handler");
    let line = httpd.wait_log(case.said("RW0619", "signal handler registration"));
    assert!(
        line.text.contains("12"),
        "the number of the signal: {}",
        line.text
    );
    let stack = httpd.wait_log("in calling");
    assert!(stack.text.contains("app.wsgi"), "{}", stack.text);
    assert!(
        line.text.contains(":info]") && stack.text.contains(":info]"),
        "{} {}",
        line.text,
        stack.text
    );
}

fn forked_processes_may_handle_signals(case: &Case) {
    let httpd = case
        .httpd()
        .source("/", "app.wsgi", SOURCE)
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .start();
    // In the copy, the thread that forked is the main thread.
    assert_eq!(httpd.get("/forked").text(), "7");
}

fn without_the_restriction_python_decides(case: &Case) {
    let httpd = case
        .httpd()
        .source("/", "app.wsgi", SOURCE)
        .conf("WSGIRestrictSignal Off")
        .start();
    // Requests run on other threads than the main one, where Python sets no handlers.
    assert_eq!(httpd.get("/").text(), "ValueError");
}
