//! `WSGIPassAuthorization`; what it does is tested in `environ_sources.rs`.

use super::{accepts, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![pass_authorization_is_on_off_or_auto]);
}

fn pass_authorization_is_on_off_or_auto(case: &Case) {
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
    let auto = "WSGIPassAuthorization auto\nWSGIScriptAlias /x /x.wsgi pass-authorization=Auto";
    if case.theirs() {
        // Auto is ours.
        case.httpd().bare().conf(auto).refused();
    } else {
        accepts(case, &[auto]);
    }
}
