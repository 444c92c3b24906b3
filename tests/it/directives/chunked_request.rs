//! `WSGIChunkedRequest`; what it does is tested in `input.rs`.

use super::{accepts, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![chunked_request_is_on_or_off]);
}

fn chunked_request_is_on_or_off(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIChunkedRequest", &["one argument"]),
            ("WSGIChunkedRequest yes", &["yes", "Off | On"]),
            ("WSGIChunkedRequest 1", &["1", "Off | On"]),
            ("WSGIChunkedRequest On Off", &["one argument"]),
        ],
    );
    accepts(
        case,
        &[
            "WSGIChunkedRequest on",
            "<Location /x>\nWSGIChunkedRequest OFF\n</Location>",
        ],
    );
}
