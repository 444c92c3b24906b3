//! `WSGIPassAuthorization`; what it does is tested in `environ.rs`.

use super::{accepts, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![pass_authorization_is_on_or_off]);
}

fn pass_authorization_is_on_or_off(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIPassAuthorization", &["one argument"]),
            ("WSGIPassAuthorization yes", &["yes", "Off | On"]),
            ("WSGIPassAuthorization 1", &["1", "Off | On"]),
            ("WSGIPassAuthorization On Off", &["one argument"]),
        ],
    );
    accepts(
        case,
        &[
            "WSGIPassAuthorization on",
            "<Location /x>\nWSGIPassAuthorization OFF\n</Location>",
        ],
    );
}
