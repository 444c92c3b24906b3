//! `WSGIUserOptions`: how it is written. What it does is in `userdirs`.

use super::{accepts, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![user_options_are_numbers]);
}

fn user_options_are_numbers(case: &Case) {
    case.needs_ours("it has no such directive");
    refuses(
        case,
        &[
            ("WSGIUserOptions", &["no options", "threads=2"]),
            ("WSGIUserOptions threads", &["'threads'", "name=value"]),
            ("WSGIUserOptions threads=-1", &["'-1'", "digits only"]),
            ("WSGIUserOptions threads=", &["empty value"]),
            ("WSGIUserOptions threads=1.5", &["'1.5'"]),
            ("WSGIUserOptions user=root", &["'user'", "the options are"]),
        ],
    );
    // No matter how much: what is too much is lowered.
    accepts(
        case,
        &[
            "WSGIUserOptions threads=99999999999999999999 idle-timeout=0\nWSGIUserOptions processes=1 threads=2",
        ],
    );
}
