//! `WSGICallableObject`; what it does is tested in `groups.rs` and `hello.rs`.

use super::{accepts, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        callable_object_takes_one_name,
        callable_object_stands_in_servers_and_directories
    ]);
}

fn callable_object_takes_one_name(case: &Case) {
    refuses(
        case,
        &[
            ("WSGICallableObject", &["one argument"]),
            ("WSGICallableObject a b", &["one argument"]),
        ],
    );
}

fn callable_object_stands_in_servers_and_directories(case: &Case) {
    accepts(
        case,
        &[
            "WSGICallableObject x",
            "<Location /x>\nWSGICallableObject y\n</Location>",
            "<VirtualHost *:@PORT@>\nWSGICallableObject z\n</VirtualHost>",
        ],
    );
}
