//! `WSGIDispatchScript`: a script chooses who answers.

use super::{misplaced, refuses};
use crate::codes;
use crate::gate::place;
use rwsgi_testkit::{Builder, Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        dispatch_script_refuses_wrong_options,
        dispatch_script_stands_not_in_htaccess,
        a_dispatch_script_is_told_what_the_application_will_be
    ]);
    topic.both(test![
        a_dispatch_script_chooses_groups_and_callable,
        what_is_chosen_is_expanded,
        nothing_is_chosen_by_none_or_without_a_function,
        what_a_dispatch_script_does_wrong_is_a_500,
        a_dispatch_script_that_cannot_be_loaded_is_left_out,
        restrict_process_bounds_what_is_chosen
    ]);
}

fn dispatch_script_refuses_wrong_options(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIDispatchScript", &["has no script"]),
            ("WSGIDispatchScript /a.py callable-object=x", &["callable-object"]),
        ],
    );
    if !case.theirs() {
        refuses(
            case,
            &[
                (
                    "WSGIDispatchScript /a.py process-group=none",
                    &["none", "not configured"],
                ),
                ("WSGIDispatchScript /a.py cache=5", &["cache", "whole request"]),
            ],
        );
    }
    misplaced(case, &["<Files x>\nWSGIScriptAlias / /x\n</Files>"]);
}

fn dispatch_script_stands_not_in_htaccess(case: &Case) {
    let httpd = case
        .httpd()
        .file("www/.htaccess", "WSGIDispatchScript /b.py\n")
        .file("www/a.txt", "a")
        .conf("<Directory @ROOT@/www>\nAllowOverride All\n</Directory>")
        .start();
    assert_eq!(httpd.get("/a.txt").status, 500);
    httpd.wait_log("WSGIDispatchScript not allowed here");
}

/// Tells who answers.
const APPLICATION: &str = "import mod_wsgi\n\
    def tell(environ, start_response, name):\n    \
        start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
        text = '|'.join([mod_wsgi.process_group, mod_wsgi.application_group, name, environ['mod_wsgi.callable_object']])\n    \
        return [text.encode()]\n\
    def application(environ, start_response):\n    return tell(environ, start_response, 'application')\n\
    def other(environ, start_response):\n    return tell(environ, start_response, 'other')\n";

fn dispatched(case: &Case, script: &str) -> Builder {
    case.httpd()
        .file("scripts/dispatch.py", script)
        .source("/", "app.wsgi", APPLICATION)
        .conf("WSGIApplicationGroup plain")
        .conf(&format!(
            "WSGIDispatchScript @SCRIPTS@/dispatch.py{}",
            place(case)
        ))
}

fn home(case: &Case) -> &'static str {
    if case.embedded() { "" } else { "site" }
}

fn a_dispatch_script_chooses_groups_and_callable(case: &Case) {
    let script = "def application_group(environ):\n    return b'chosen'\n\
        def callable_object(environ):\n    return environ['QUERY_STRING'] or None\n\
        def process_group(environ):\n    return 'elsewhere' if environ['PATH_INFO'] == '/elsewhere' else None\n";
    let httpd = dispatched(case, script)
        .conf("WSGIDaemonProcess elsewhere threads=2")
        .start();
    let home = home(case);
    assert_eq!(
        httpd.get("/").text(),
        format!("{home}|chosen|application|application")
    );
    assert_eq!(httpd.get("/?other").text(), format!("{home}|chosen|other|other"));
    assert_eq!(
        httpd.get("/elsewhere").text(),
        "elsewhere|chosen|application|application"
    );
}

fn what_is_chosen_is_expanded(case: &Case) {
    let script = "def application_group(environ):\n    return '%{ENV:where}'\n\
        def callable_object(environ):\n    return '%{ENV:what}'\n";
    let httpd = dispatched(case, script)
        .conf("SetEnv where there\nSetEnv what other")
        .start();
    assert_eq!(httpd.get("/").text(), format!("{}|there|other|other", home(case)));
}

fn nothing_is_chosen_by_none_or_without_a_function(case: &Case) {
    let script = "def application_group(environ):\n    return None\n";
    let httpd = dispatched(case, script).start();
    assert_eq!(
        httpd.get("/").text(),
        format!("{}|plain|application|application", home(case))
    );
}

fn what_a_dispatch_script_does_wrong_is_a_500(case: &Case) {
    let script = "def application_group(environ):\n    \
        return {'number': 7, 'wide': '\\u20ac'}[environ['QUERY_STRING']]\n";
    let httpd = dispatched(case, script).start();
    for query in ["number", "wide", "raises"] {
        assert_eq!(httpd.get(&format!("/?{query}")).status, 500, "{query}");
    }
    httpd.announce_traceback();
    httpd.provoked(&[codes::CALLS]);
    httpd.wait_log(case.said("RW0055", "WSGI0"));
}

fn a_dispatch_script_that_cannot_be_loaded_is_left_out(case: &Case) {
    let httpd = dispatched(case, "import nothing_of_that_name\n").start();
    assert_eq!(
        httpd.get("/").text(),
        format!("{}|plain|application|application", home(case))
    );
    httpd.announce_traceback();
    httpd.provoked(&[codes::CALLS, codes::APPLICATION]);
    httpd.wait_log("nothing_of_that_name");
}

fn restrict_process_bounds_what_is_chosen(case: &Case) {
    let script = "def process_group(environ):\n    return 'elsewhere' if environ['QUERY_STRING'] else None\n";
    let home = if case.embedded() { "%{GLOBAL}" } else { "site" };
    let httpd = dispatched(case, script)
        .conf("WSGIDaemonProcess elsewhere")
        .conf(&format!("WSGIRestrictProcess {home}"))
        .start();
    assert_eq!(httpd.get("/").status, 200);
    assert_eq!(httpd.get("/?x").status, 500);
    httpd.wait_log(case.said("RW0050", "WSGI0149"));
}

fn a_dispatch_script_is_told_what_the_application_will_be(case: &Case) {
    let script = "def application_group(environ):\n    \
        assert environ['mod_wsgi.application_group'] == '' and 'mod_wsgi.callable_object' not in environ\n    \
        assert 'wsgi.input' not in environ and 'wsgi.version' not in environ\n    \
        return environ['MINE'] + environ['SCRIPT_FILENAME'].rpartition('/')[2]\n";
    let httpd = dispatched(case, script).conf("SetEnv MINE my-").start();
    assert!(httpd.get("/").text().contains("|my-app.wsgi|"));
}
