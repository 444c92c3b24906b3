//! `WSGIPythonWarnings`: filters as after `-W`.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, json, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        python_warnings_takes_one_filter,
        python_warnings_is_for_the_whole_server
    ]);
    topic.both(test![filters_add_up_and_are_in_force]);
}

fn python_warnings_takes_one_filter(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIPythonWarnings", &["one argument"]),
            ("WSGIPythonWarnings error ignore", &["one argument"]),
        ],
    );
}

fn python_warnings_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIPythonWarnings error\n</VirtualHost>"],
    );
}

fn filters_add_up_and_are_in_force(case: &Case) {
    let httpd = case
        .httpd()
        .app("runtime.wsgi")
        .conf("WSGIPythonWarnings ignore::SyntaxWarning\nWSGIPythonWarnings error::UserWarning")
        .start();
    let seen = httpd.get("/").json();
    assert_eq!(
        seen["warnoptions"],
        json!(["ignore::SyntaxWarning", "error::UserWarning"])
    );
    assert_eq!(seen["warned"], "UserWarning: a warning");
}
