//! `WSGIRestrictEmbedded On`: nothing runs in httpd's children.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        restrict_embedded_is_on_or_off,
        restrict_embedded_is_for_the_whole_server
    ]);
    topic.embedded(test![restricted_requests_are_refused]);
    topic.daemon(test![daemon_mode_goes_on_when_embedded_mode_is_restricted]);
}

fn restrict_embedded_is_on_or_off(case: &Case) {
    refuses(case, &[("WSGIRestrictEmbedded true", &["true", "Off | On"])]);
}

/// R19
fn restrict_embedded_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIRestrictEmbedded On\n</VirtualHost>"],
    );
}

/// R8
fn restricted_requests_are_refused(case: &Case) {
    let httpd = case
        .httpd()
        .app("hello.wsgi")
        .conf("WSGIRestrictEmbedded On")
        .start();
    assert_eq!(httpd.get("/").status, 500);
    httpd.wait_log(case.said("RW0209", "WSGI0143"));
    for child in httpd.children() {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.pid)).unwrap_or_default();
        // The original is linked with libpython and has it mapped in any case.
        assert!(
            case.theirs() || !maps.contains("libpython"),
            "a child has loaded Python"
        );
    }
}

fn daemon_mode_goes_on_when_embedded_mode_is_restricted(case: &Case) {
    let httpd = case
        .httpd()
        .app("hello.wsgi")
        .conf("WSGIRestrictEmbedded On")
        .start();
    assert_eq!(httpd.get("/").status, 200);
}
