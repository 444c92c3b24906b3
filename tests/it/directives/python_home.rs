//! `WSGIPythonHome` as a directive; the Pythons it names are tested in `python_home.rs` and `pythons.rs`.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        python_home_takes_one_directory,
        python_home_is_for_the_whole_server
    ]);
}

fn python_home_takes_one_directory(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIPythonHome", &["one argument"]),
            ("WSGIPythonHome /usr /opt", &["one argument"]),
        ],
    );
    if !case.theirs() {
        // The original only warns, at the first child.
        refuses(case, &[("WSGIPythonHome venv", &["venv", "absolute"])]);
    }
}

fn python_home_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &[
            "<VirtualHost *:@PORT@>\nWSGIPythonHome /usr\n</VirtualHost>",
            "<Directory @ROOT@>\nWSGIPythonHome /usr\n</Directory>",
        ],
    );
}
