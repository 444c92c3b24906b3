//! `WSGIPythonOptimize`: `assert` and docstrings are left out.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, Value, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        python_optimize_takes_a_number,
        python_optimize_is_for_the_whole_server
    ]);
    topic.both(test![python_optimize_leaves_asserts_and_docstrings_out]);
}

fn python_optimize_takes_a_number(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIPythonOptimize", &["one argument"]),
            ("WSGIPythonOptimize 1 2", &["one argument"]),
        ],
    );
    if !case.theirs() {
        // The original makes 0 of it.
        refuses(
            case,
            &[
                ("WSGIPythonOptimize x", &["x", "whole number"]),
                ("WSGIPythonOptimize -1", &["-1"]),
            ],
        );
    }
}

fn python_optimize_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIPythonOptimize 1\n</VirtualHost>"],
    );
}

fn python_optimize_leaves_asserts_and_docstrings_out(case: &Case) {
    for (level, asserts, doc) in [
        (0, "AssertionError: asserts are on", Some("documented")),
        (1, "'off'", Some("documented")),
        (2, "'off'", None),
    ] {
        let httpd = case
            .httpd()
            .app("runtime.wsgi")
            .conf(&format!("WSGIPythonOptimize {level}"))
            .start();
        let seen = httpd.get("/").json();
        assert_eq!(seen["optimize"], level);
        assert_eq!(seen["asserts"], asserts);
        assert_eq!(seen["doc"], doc.map_or(Value::Null, Value::from));
    }
}
