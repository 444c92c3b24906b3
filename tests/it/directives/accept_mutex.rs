//! `WSGIAcceptMutex`: checked, and without effect.

use super::{misplaced, refuses, replaced};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        accept_mutex_is_a_mechanism,
        accept_mutex_is_for_the_whole_server,
        accept_mutex_is_taken
    ]);
}

fn accept_mutex_is_a_mechanism(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIAcceptMutex futex", &["futex", "sysvsem"]),
            ("WSGIAcceptMutex", &["one argument"]),
        ],
    );
}

fn accept_mutex_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIAcceptMutex flock\n</VirtualHost>"],
    );
}

fn accept_mutex_is_taken(case: &Case) {
    replaced(case, "WSGIAcceptMutex SysVSem");
}
