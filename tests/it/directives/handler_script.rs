//! `WSGIHandlerScript`: a script in place of the mapped file.

use super::refuses;
use crate::codes;
use rwsgi_testkit::{Builder, Case, Httpd, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        handler_script_needs_a_name_and_a_path,
        handler_script_refuses_wrong_options,
        handler_script_stands_not_in_htaccess,
        relative_handler_scripts_are_refused
    ]);
    topic.both(test![
        a_handler_script_answers_for_the_mapped_file,
        a_handler_needs_neither_file_nor_exec_cgi,
        the_callable_is_handle_request,
        handlers_of_server_and_directory_count_together,
        a_changed_handler_script_is_loaded_anew,
        its_own_options_choose_the_groups,
        a_missing_handler_script_is_an_error
    ]);
    topic.once(test![without_options_it_runs_where_the_configuration_says]);
}

fn handler_script_needs_a_name_and_a_path(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIHandlerScript", &["handler name"]),
            ("WSGIHandlerScript bob", &["bob", "script"]),
            ("WSGIHandlerScript bob ''", &["bob", "empty"]),
        ],
    );
}

fn handler_script_refuses_wrong_options(case: &Case) {
    refuses(
        case,
        &[
            (
                "WSGIHandlerScript bob /b.py callable-object=x",
                &["bob", "callable-object", "pass-authorization"],
            ),
            (
                "WSGIHandlerScript bob /b.py process-group=",
                &["process-group", "empty"],
            ),
            (
                "WSGIHandlerScript bob /b.py pass-authorization=1",
                &["pass-authorization=1"],
            ),
            ("WSGIHandlerScript bob /b.py stray", &["stray"]),
        ],
    );
}

fn relative_handler_scripts_are_refused(case: &Case) {
    case.needs_ours("it takes them, and looks for them below the directory that httpd was started in");
    refuses(
        case,
        &[("WSGIHandlerScript bob b.py", &["bob", "b.py", "absolute path"])],
    );
}

fn handler_script_stands_not_in_htaccess(case: &Case) {
    let httpd = case
        .httpd()
        .file("www/.htaccess", "WSGIHandlerScript bob /b.py\n")
        .file("www/a.txt", "a")
        .conf("<Directory @ROOT@/www>\nAllowOverride All\n</Directory>")
        .start();
    assert_eq!(httpd.get("/a.txt").status, 500);
    httpd.wait_log("WSGIHandlerScript not allowed here");
}

/// Answers with what it was told, as JSON.
const TELLS: &str = "import json\n\
    def handle_request(environ, start_response):\n    \
        start_response('200 OK', [('Content-Type', 'application/json')])\n    \
        return [json.dumps({k: v for k, v in environ.items() if isinstance(v, str)}).encode()]\n\
    def application(environ, start_response):\n    \
        raise RuntimeError('not me')\n";

fn group(case: &Case) -> &'static str {
    if case.embedded() { "%{GLOBAL}" } else { "site" }
}

fn handled(case: &Case) -> Builder {
    case.httpd()
        .file("scripts/bob.py", TELLS)
        .file("www/page.bob", "the file")
        .conf(&format!(
            "WSGIHandlerScript bob-script @SCRIPTS@/bob.py process-group={} application-group=%{{GLOBAL}}",
            group(case)
        ))
        .conf("AddHandler bob-script .bob")
}

fn a_handler_script_answers_for_the_mapped_file(case: &Case) {
    let httpd = handled(case).start();
    let answer = httpd.get("/page.bob/more?x=1").json();
    let root = httpd.root().display();
    for (name, value) in [
        ("SCRIPT_FILENAME", format!("{root}/www/page.bob")),
        ("SCRIPT_NAME", "/page.bob".into()),
        ("PATH_INFO", "/more".into()),
        ("mod_wsgi.handler_script", format!("{root}/scripts/bob.py")),
        ("mod_wsgi.request_handler", "bob-script".into()),
        ("mod_wsgi.callable_object", "handle_request".into()),
        ("mod_wsgi.application_group", String::new()),
    ] {
        assert_eq!(answer[name], value.as_str(), "{name}");
    }
}

fn a_handler_needs_neither_file_nor_exec_cgi(case: &Case) {
    let httpd = handled(case)
        .conf("<Location /virtual>\nSetHandler bob-script\n</Location>")
        .start();
    let answer = httpd.get("/virtual/thing").json();
    assert_eq!(answer["SCRIPT_NAME"], "/virtual");
    assert_eq!(answer["PATH_INFO"], "/thing");
}

fn the_callable_is_handle_request(case: &Case) {
    let httpd = handled(case).conf("WSGICallableObject application").start();
    assert_eq!(httpd.get("/page.bob").status, 200);
}

fn handlers_of_server_and_directory_count_together(case: &Case) {
    let other = |name: &str| {
        format!(
            "WSGIHandlerScript {name} @SCRIPTS@/other.py process-group={} application-group=%{{GLOBAL}}",
            group(case)
        )
    };
    let other_script = "def handle_request(environ, start_response):\n    \
        start_response('200 OK', [])\n    return [b'other']\n";
    let httpd = handled(case)
        .file("scripts/other.py", other_script)
        .file("www/sub/page.bob", "")
        .file("www/sub/page.eve", "")
        .file("www/page.eve", "plain")
        .file("www/own/page.bob", "")
        .conf(&format!(
            "<Directory @ROOT@/www/sub>\n{}\n</Directory>",
            other("eve-script")
        ))
        .conf(&format!(
            "<Directory @ROOT@/www/own>\n{}\n</Directory>",
            other("bob-script")
        ))
        .conf("AddHandler eve-script .eve")
        .start();
    assert_eq!(httpd.get("/sub/page.eve").text(), "other", "of the directory");
    assert_eq!(
        httpd.get("/sub/page.bob").json()["mod_wsgi.request_handler"],
        "bob-script",
        "of the server"
    );
    assert_eq!(httpd.get("/own/page.bob").text(), "other", "the nearer of two");
    assert_eq!(
        httpd.get("/page.eve").text(),
        "plain",
        "unknown outside of its directory"
    );
}

fn a_changed_handler_script_is_loaded_anew(case: &Case) {
    let script = |text: &str| {
        format!(
            "def handle_request(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{text}']\n"
        )
    };
    let httpd = handled(case)
        .children(1)
        .file("scripts/bob.py", script("old"))
        .start();
    assert_eq!(httpd.get("/page.bob").text(), "old");
    httpd.rewrite_script("bob.py", &script("new"));
    assert_eq!(httpd.get("/page.bob").text(), "new");
}

fn process_group(httpd: &Httpd, path: &str) -> String {
    let answer = httpd.get(path).json();
    answer["mod_wsgi.process_group"]
        .as_str()
        .expect("a string")
        .to_owned()
}

fn its_own_options_choose_the_groups(case: &Case) {
    let httpd = handled(case)
        .file("www/page.eve", "")
        .conf(&format!(
            "WSGIHandlerScript eve-script @SCRIPTS@/bob.py process-group=%{{ENV:who}} application-group=%{{ENV:what}}\n\
             SetEnv who {}\nSetEnv what lair\nAddHandler eve-script .eve",
            group(case)
        ))
        .start();
    let wanted = if case.embedded() { "" } else { "site" };
    assert_eq!(process_group(&httpd, "/page.eve"), wanted);
    assert_eq!(
        httpd.get("/page.eve").json()["mod_wsgi.application_group"],
        "lair"
    );
}

fn without_options_it_runs_where_the_configuration_says(case: &Case) {
    let httpd = case
        .httpd()
        .file("scripts/bob.py", TELLS)
        .file("www/page.bob", "")
        .conf("WSGIDaemonProcess site\nWSGIProcessGroup site\nWSGIApplicationGroup %{GLOBAL}")
        .conf("WSGIHandlerScript bob-script @SCRIPTS@/bob.py\nAddHandler bob-script .bob")
        .bare()
        .start();
    let answer = httpd.get("/page.bob").json();
    assert_eq!(answer["mod_wsgi.process_group"], "site");
    assert_eq!(answer["mod_wsgi.application_group"], "");
}

fn a_missing_handler_script_is_an_error(case: &Case) {
    let httpd = handled(case).start();
    std::fs::remove_file(httpd.root().join("scripts/bob.py")).expect("the script");
    assert_eq!(httpd.get("/page.bob").status, 500);
    httpd.announce_traceback();
    httpd.provoked(&[codes::APPLICATION]);
    httpd.wait_log(case.said("RW0602", "WSGI0105"));
}
