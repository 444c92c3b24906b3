//! `WSGIUserProcess`: how it is written. What it does is in `userdirs`.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        user_process_takes_a_pattern_and_options,
        user_process_is_for_the_main_server,
        names_of_users_are_not_for_groups,
    ]);
}

const WHY: &str = "it has no such directive";

fn user_process_takes_a_pattern_and_options(case: &Case) {
    case.needs_ours(WHY);
    case.needs_root();
    refuses(
        case,
        &[
            ("WSGIUserProcess", &["has no pattern"]),
            ("WSGIUserProcess home/*/w", &["home/*/w", "absolute"]),
            ("WSGIUserProcess /home/ann", &["/home/ann", "'*'"]),
            ("WSGIUserProcess /home/u*", &["/home/u*", "'*'"]),
            ("WSGIUserProcess /home/* user=ann", &["'user'", "the options are"]),
            ("WSGIUserProcess /home/* threads=0", &["threads=0", "services"]),
            ("WSGIUserProcess /home/* umask=0000", &["umask=0000"]),
            (
                "WSGIUserProcess /home/* min-uid=70000",
                &["min-uid=70000", "max-uid"],
            ),
            ("WSGIUserProcess /home/* min-uid=-5", &["'-5'", "digits only"]),
            (
                "WSGIUserProcess /home/* user-log=/var/log/x",
                &["/var/log/x", "home directory"],
            ),
            ("WSGIUserProcess /home/* deny-users=a/b", &["'a/b'", "login name"]),
            (
                "WSGIUserProcess /home/* suspended-shells=nologin",
                &["nologin", "absolute"],
            ),
            (
                "WSGIUserProcess /home/* python-versions=here",
                &["here", "absolute"],
            ),
            (
                "WSGIUserProcess /home/*\nWSGIUserProcess /home/*/ threads=2",
                &["twice"],
            ),
            (
                "WSGIMaxWorkers 1\nWSGIUserProcess /home/* min-processes=2",
                &["2 workers", "WSGIUserProcess /home/*"],
            ),
        ],
    );
}

fn user_process_is_for_the_main_server(case: &Case) {
    case.needs_ours(WHY);
    misplaced(
        case,
        &[
            "<VirtualHost *:@PORT@>\nWSGIUserProcess /home/*/w\n</VirtualHost>",
            "<Directory />\nWSGIUserProcess /home/*/w\n</Directory>",
        ],
    );
}

fn names_of_users_are_not_for_groups(case: &Case) {
    case.needs_ours("it has no users");
    refuses(
        case,
        &[("WSGIDaemonProcess ~ann threads=5", &["~ann", "WSGIUserProcess"])],
    );
}
