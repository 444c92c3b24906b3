//! `WSGIApplicationGroup`; what it does is tested in `groups.rs` and `hello.rs`.

use super::{accepts, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        application_group_takes_one_name,
        application_group_stands_in_servers_and_directories
    ]);
}

fn application_group_takes_one_name(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIApplicationGroup", &["one argument"]),
            ("WSGIApplicationGroup a b", &["one argument"]),
        ],
    );
}

fn application_group_stands_in_servers_and_directories(case: &Case) {
    accepts(
        case,
        &[
            "WSGIApplicationGroup x",
            "<Location /x>\nWSGIApplicationGroup y\n</Location>",
            "<VirtualHost *:@PORT@>\nWSGIApplicationGroup z\n</VirtualHost>",
        ],
    );
}
