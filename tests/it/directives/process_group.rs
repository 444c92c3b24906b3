//! `WSGIProcessGroup`; what it does is tested in `groups.rs` and `hello.rs`.

use super::{accepts, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        process_group_takes_one_name,
        process_group_stands_in_servers_and_directories
    ]);
}

fn process_group_takes_one_name(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIProcessGroup", &["one argument"]),
            ("WSGIProcessGroup a b", &["one argument"]),
        ],
    );
}

fn process_group_stands_in_servers_and_directories(case: &Case) {
    accepts(
        case,
        &[
            "WSGIDaemonProcess x\nWSGIDaemonProcess z",
            "WSGIProcessGroup x",
            "<Location /x>\nWSGIProcessGroup y\n</Location>",
            "<VirtualHost *:@PORT@>\nWSGIProcessGroup z\n</VirtualHost>",
        ],
    );
}
