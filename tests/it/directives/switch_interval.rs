//! `WSGISwitchInterval` and the option `switch-interval`.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        switch_interval_is_more_than_nothing,
        switch_interval_is_for_the_whole_server
    ]);
    topic.both(test![switch_interval_is_set]);
    topic.daemon(test![the_option_goes_before_the_directive]);
    topic.embedded(test![interpreters_that_share_a_gil_share_its_interval]);
}

fn switch_interval_is_more_than_nothing(case: &Case) {
    refuses(
        case,
        &[
            ("WSGISwitchInterval", &["one argument"]),
            ("WSGISwitchInterval 0", &["'0'", "more than 0"]),
            ("WSGISwitchInterval -1", &["'-1'"]),
            ("WSGISwitchInterval 0.1s", &["'0.1s'"]),
            ("WSGISwitchInterval fast", &["'fast'"]),
            (
                "WSGIDaemonProcess g switch-interval=0",
                &["switch-interval=0", "more than 0"],
            ),
            ("WSGIDaemonProcess g switch-interval=1s", &["switch-interval=1s"]),
            (
                "WSGIDaemonProcess g switch-interval=",
                &["switch-interval", "empty"],
            ),
        ],
    );
}

fn switch_interval_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGISwitchInterval 0.1\n</VirtualHost>"],
    );
}

fn switch_interval_is_set(case: &Case) {
    let httpd = case
        .httpd()
        .app("runtime.wsgi")
        .conf("WSGISwitchInterval 0.02")
        .start();
    assert_eq!(httpd.get("/").json()["interval"], 0.02);
}

fn the_option_goes_before_the_directive(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=1 switch-interval=0.05")
        .conf("WSGIScriptAlias /main @SCRIPTS@/runtime.wsgi application-group=%{GLOBAL}")
        .app("runtime.wsgi")
        .conf("WSGISwitchInterval 0.02")
        .start();
    assert_eq!(httpd.get("/main").json()["interval"], 0.05);
    // The original's directive is applied whenever a sub-interpreter is made, and to all.
    let other = if case.theirs() { 0.02 } else { 0.05 };
    assert_eq!(httpd.get("/").json()["interval"], other);
    assert_eq!(httpd.get("/main").json()["interval"], other);
}

fn interpreters_that_share_a_gil_share_its_interval(case: &Case) {
    let httpd = case
        .httpd()
        .script("runtime.wsgi")
        .conf("WSGIScriptAlias /a @SCRIPTS@/runtime.wsgi application-group=a")
        .conf("WSGISwitchInterval 0.02")
        .conf("<WSGIInterpreterOptions application-group=a>\nWSGISwitchInterval 0.05\n</WSGIInterpreterOptions>")
        .children(1)
        .start();
    assert_eq!(httpd.get("/a").json()["interval"], 0.02);
    httpd.wait_log(case.said("RW0631", "WSGI0199"));
}
