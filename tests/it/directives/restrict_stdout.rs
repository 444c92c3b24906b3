//! `WSGIRestrictStdout`: whoever prints is told.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        restrict_stdout_is_on_or_off,
        restrict_stdout_is_for_the_whole_server
    ]);
    topic.both(test![restricted_stdout_cannot_be_used]);
}

fn restrict_stdout_is_on_or_off(case: &Case) {
    refuses(case, &[("WSGIRestrictStdout true", &["'true'", "Off | On"])]);
}

fn restrict_stdout_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIRestrictStdout On\n</VirtualHost>"],
    );
}

fn restricted_stdout_cannot_be_used(case: &Case) {
    let source = "def application(environ, start_response):\n    try:\n        print('from the application')\n        \
                  said = 'printed'\n    except OSError as error:\n        said = str(error)\n    \
                  start_response('200 OK', [])\n    return [said.encode()]\n";
    let httpd = case
        .httpd()
        .conf("WSGIScriptAlias /main @SCRIPTS@/app.wsgi application-group=%{GLOBAL}")
        .source("/", "app.wsgi", source)
        .conf("WSGIRestrictStdout On")
        .start();
    for path in ["/", "/main"] {
        assert_eq!(
            httpd.get(path).text(),
            "sys.stdout access restricted by mod_wsgi",
            "{path}"
        );
    }
    // Python flushes the stream when it ends; nothing of that may be in our log.
    super::announce_restricted_end(case, &httpd);
    httpd.stop();
    let httpd = case.httpd().source("/", "app.wsgi", source).start();
    assert_eq!(httpd.get("/").text(), "printed");
    httpd.wait_log("from the application");
}
