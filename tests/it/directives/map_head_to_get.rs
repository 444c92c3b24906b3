//! `WSGIMapHEADToGET`: what a HEAD request looks like to the application.

use super::{accepts, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![map_head_to_get_is_on_off_or_auto]);
    topic.both(test![a_head_request_looks_as_it_is_told_to]);
}

fn map_head_to_get_is_on_off_or_auto(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIMapHEADToGET", &["one argument"]),
            ("WSGIMapHEADToGET yes", &["yes", "Off | On | Auto"]),
            ("WSGIMapHEADToGET On Off", &["one argument"]),
        ],
    );
    accepts(
        case,
        &[
            "WSGIMapHEADToGET on",
            "<Location /x>\nWSGIMapHEADToGET OFF\n</Location>",
            "<Location /y>\nWSGIMapHEADToGET auto\n</Location>",
        ],
    );
}

fn a_head_request_looks_as_it_is_told_to(case: &Case) {
    let httpd = case
        .httpd()
        .load("filter")
        .load("deflate")
        .alias("/app", "response.wsgi")
        .alias("/on", "response.wsgi")
        .alias("/off", "response.wsgi")
        .alias("/deflated", "response.wsgi")
        .alias("/deflated_off", "response.wsgi")
        .conf("<Location /on>\nWSGIMapHEADToGET On\n</Location>\n<Location /off>\nWSGIMapHEADToGET Off\n</Location>")
        .conf("<LocationMatch ^/deflated>\nSetOutputFilter DEFLATE\n</LocationMatch>")
        .conf("<Location /deflated_off>\nWSGIMapHEADToGET Off\n</Location>")
        .start();
    for (path, seen) in [
        ("/app", "HEAD"),
        ("/on", "GET"),
        ("/off", "HEAD"),
        ("/deflated", "GET"),
        ("/deflated_off", "HEAD"),
    ] {
        let reply = httpd.request("HEAD", &format!("{path}/method")).send();
        assert_eq!(
            (reply.status, reply.header("x-method")),
            (200, Some(seen)),
            "{path}"
        );
        assert!(reply.body.is_empty(), "{path}");
        if path == "/on" {
            assert_eq!(reply.header("content-length"), Some("3"), "the length of GET");
        }
        let reply = httpd.request("POST", &format!("{path}/method")).body("").send();
        assert_eq!(reply.text(), "POST", "{path}");
    }
}
