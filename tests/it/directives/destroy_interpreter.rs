//! `WSGIDestroyInterpreter`: whether Python is ended with its process.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        destroy_interpreter_is_on_or_off,
        destroy_interpreter_is_for_the_whole_server
    ]);
    topic.both(test![
        exit_functions_run_unless_interpreters_are_left,
        a_thread_does_not_hold_up_the_end_of_what_is_left,
    ]);
}

fn destroy_interpreter_is_on_or_off(case: &Case) {
    refuses(
        case,
        &[("WSGIDestroyInterpreter never", &["'never'", "Off | On"])],
    );
}

fn destroy_interpreter_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIDestroyInterpreter Off\n</VirtualHost>"],
    );
}

const SOURCE: &str = "import atexit, os\nDATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')\n\
    def application(environ, start_response):\n    name = 'ended-' + (environ['mod_wsgi.application_group'] or 'main')\n    \
    atexit.register(lambda: open(os.path.join(DATA, name), 'w').close())\n    print('an unfinished', end=' ')\n    \
    start_response('200 OK', [])\n    return [b'ok']\n";

fn exit_functions_run_unless_interpreters_are_left(case: &Case) {
    for flag in ["On", "Off"] {
        let httpd = case
            .httpd()
            .file("scripts/app.wsgi", SOURCE)
            .conf("WSGIScriptAlias /main @SCRIPTS@/app.wsgi application-group=%{GLOBAL}")
            .conf("WSGIScriptAlias /a @SCRIPTS@/app.wsgi application-group=a")
            .conf(&format!("WSGIDestroyInterpreter {flag}"))
            .children(1)
            .start();
        for path in ["/main", "/a"] {
            assert_eq!(httpd.get(path).text(), "ok");
        }
        httpd.announce("an unfinished");
        let data = httpd.data();
        httpd.stop();
        for name in ["ended-main", "ended-a"] {
            assert_eq!(data.join(name).exists(), flag == "On", "{flag} {name}");
        }
    }
}

fn a_thread_does_not_hold_up_the_end_of_what_is_left(case: &Case) {
    // Not a daemon thread: Python would wait for it.
    let source = "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,)).start()\n\
                  def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'ok']\n";
    let httpd = case
        .httpd()
        .source("/", "app.wsgi", source)
        .conf("WSGIDestroyInterpreter Off")
        .start();
    assert_eq!(httpd.get("/").text(), "ok");
    // A worker or child that had to be killed would be in the log, which fails the test.
    httpd.stop();
}
