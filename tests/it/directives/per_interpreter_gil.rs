//! `WSGIPerInterpreterGIL`: sub-interpreters that compute at the same time.

use super::{misplaced, refuses};
use rwsgi_testkit::{Builder, Case, Topic, python, test, venv_of};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        per_interpreter_gil_is_on_or_off,
        per_interpreter_gil_is_for_the_whole_server
    ]);
    topic.embedded(test![
        an_older_python_is_told_so_once,
        interpreters_have_a_gil_and_an_interval_each,
        a_section_chooses_who_has_a_gil,
        children_end_while_threads_of_own_gils_run,
    ]);
    topic.daemon(test![workers_have_a_gil_each_in_any_case]);
}

fn per_interpreter_gil_is_on_or_off(case: &Case) {
    refuses(case, &[("WSGIPerInterpreterGIL own", &["'own'", "Off | On"])]);
}

fn per_interpreter_gil_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIPerInterpreterGIL On\n</VirtualHost>"],
    );
}

const GROUPS: &str = "WSGIScriptAlias /main @SCRIPTS@/runtime.wsgi application-group=%{GLOBAL}\n\
    WSGIScriptAlias /a @SCRIPTS@/runtime.wsgi application-group=a\n\
    WSGIScriptAlias /b @SCRIPTS@/runtime.wsgi application-group=b\n";

/// One child with a Python of that version.
fn of_version(case: &Case, version: &str) -> Builder {
    case.needs_ours("it is built for one Python");
    let python = python(case, version);
    let builder = case.httpd();
    let venv = venv_of(&python, builder.root(), "mine");
    builder
        .python_home(Some(&venv))
        .script("runtime.wsgi")
        .children(1)
}

fn an_older_python_is_told_so_once(case: &Case) {
    let httpd = if case.theirs() {
        // It knows its Python when it reads the configuration, and says so then.
        case.httpd()
            .script("runtime.wsgi")
            .conf(GROUPS)
            .conf("WSGIPerInterpreterGIL On")
            .start()
    } else {
        of_version(case, "3.11")
            .conf(GROUPS)
            .conf("WSGIPerInterpreterGIL On")
            .start()
    };
    for path in ["/a", "/b", "/main"] {
        assert_eq!(httpd.get(path).status, 200);
    }
    httpd.wait_log(case.said("RW0630", "WSGI0198"));
    if !case.theirs() {
        assert_eq!(httpd.log_with("RW0630").len(), 1);
    }
}

fn interpreters_have_a_gil_and_an_interval_each(case: &Case) {
    for version in ["3.12", "3.13"] {
        let httpd = of_version(case, version)
            .conf(GROUPS)
            .conf("WSGIPerInterpreterGIL On\nWSGISwitchInterval 0.02")
            .conf("<WSGIInterpreterOptions application-group=a>\nWSGISwitchInterval 0.03\n</WSGIInterpreterOptions>")
            .start();
        // An interval belongs to a GIL.
        for (path, interval) in [("/a", 0.03), ("/b", 0.02), ("/main", 0.02), ("/a", 0.03)] {
            assert_eq!(httpd.get(path).json()["interval"], interval, "{version} {path}");
        }
        std::thread::scope(|scope| {
            for path in ["/a", "/b", "/main"] {
                let httpd = &httpd;
                scope.spawn(move || {
                    for _ in 0..30 {
                        assert_eq!(httpd.get(path).status, 200);
                    }
                });
            }
        });
        httpd.graceful();
        assert_eq!(httpd.get("/a").status, 200);
    }
}

fn a_section_chooses_who_has_a_gil(case: &Case) {
    let httpd = of_version(case, "3.13")
        .conf(GROUPS)
        .conf("<WSGIInterpreterOptions application-group=a>\nWSGIPerInterpreterGIL On\nWSGISwitchInterval 0.03\n</WSGIInterpreterOptions>")
        .conf("<WSGIInterpreterOptions application-group=b>\nWSGISwitchInterval 0.04\n</WSGIInterpreterOptions>")
        .start();
    assert_eq!(httpd.get("/a").json()["interval"], 0.03);
    assert_eq!(httpd.get("/b").json()["interval"], 0.005);
    httpd.wait_log("RW0631");
}

fn children_end_while_threads_of_own_gils_run(case: &Case) {
    let source = "import threading, subprocess\ncount = 0\ndef work():\n    global count\n    while True:\n        count += 1\n\
                  threading.Thread(target=work, daemon=True).start()\ndef application(environ, start_response):\n    \
                  said = subprocess.run(['echo', 'hello'], capture_output=True).stdout\n    \
                  start_response('200 OK', [])\n    return [said]\n";
    for version in ["3.12", "3.13"] {
        let httpd = of_version(case, version)
            .file("scripts/busy.wsgi", source)
            .conf("WSGIScriptAlias /a @SCRIPTS@/busy.wsgi application-group=a")
            .conf("WSGIScriptAlias /b @SCRIPTS@/busy.wsgi application-group=b")
            .conf("WSGIPerInterpreterGIL On")
            .start();
        assert_eq!(httpd.get("/a").text(), "hello\n");
        assert_eq!(httpd.get("/b").text(), "hello\n");
        // A child that crashed or had to be killed would be in the log, which fails the test.
        httpd.stop();
    }
}

fn workers_have_a_gil_each_in_any_case(case: &Case) {
    let httpd = case
        .httpd()
        .app("runtime.wsgi")
        .conf("WSGIPerInterpreterGIL On")
        .start();
    if case.theirs() {
        httpd.announce("WSGI0198");
    }
    assert_eq!(httpd.get("/").status, 200);
}
