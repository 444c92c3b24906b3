//! `WSGIRestrictStdin`: whoever reads from `sys.stdin` is told.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        restrict_stdin_is_on_or_off,
        restrict_stdin_is_for_the_whole_server
    ]);
    topic.both(test![restricted_stdin_cannot_be_used]);
}

fn restrict_stdin_is_on_or_off(case: &Case) {
    refuses(case, &[("WSGIRestrictStdin 1", &["'1'", "Off | On"])]);
}

fn restrict_stdin_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIRestrictStdin On\n</VirtualHost>"],
    );
}

fn restricted_stdin_cannot_be_used(case: &Case) {
    let seen = |conf: &str| {
        let httpd = case.httpd().app("runtime.wsgi").conf(conf).start();
        httpd.get("/").json()["stdin"].to_string()
    };
    assert_eq!(
        seen("WSGIRestrictStdin On"),
        "\"OSError: sys.stdin access restricted by mod_wsgi\""
    );
    // Not restricted by default.
    assert!(seen("").contains("built-in method read"));
}
