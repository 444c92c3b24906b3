//! `WSGIEmbeddedRequestLimit`: most requests of an application in embedded mode.

use super::{accepts, misplaced, refuses};
use crate::codes;
use rwsgi_testkit::{Case, Raw, Topic, test, until};
use std::time::Duration;

pub fn tests(topic: &mut Topic) {
    topic.once(test![embedded_request_limit_is_a_number_or_a_share]);
    topic.embedded(test![
        r59_an_embedded_application_that_hangs_is_cut_off_and_others_are_not
    ]);
}

const WHY: &str = "it has no such directive";
const LONG: Duration = Duration::from_secs(20);

fn embedded_request_limit_is_a_number_or_a_share(case: &Case) {
    case.needs_ours(WHY);
    refuses(
        case,
        &[
            ("WSGIEmbeddedRequestLimit", &["one argument"]),
            ("WSGIEmbeddedRequestLimit many", &["'many'", "digits only"]),
            ("WSGIEmbeddedRequestLimit 0%", &["'0%'", "1% to 100%"]),
        ],
    );
    accepts(case, &["WSGIEmbeddedRequestLimit 5"]);
    accepts(case, &["WSGIEmbeddedRequestLimit 25%"]);
    misplaced(case, &["<Location /x>\nWSGIEmbeddedRequestLimit 5\n</Location>"]);
}

/// R59
fn r59_an_embedded_application_that_hangs_is_cut_off_and_others_are_not(case: &Case) {
    case.needs_ours(WHY);
    case.needs_threads();
    let httpd = case
        .httpd()
        .alias("/other", "hello.wsgi")
        .app("streams.wsgi")
        .conf("WSGIEmbeddedRequestLimit 3")
        .start();
    assert_eq!(httpd.get("/pid").status, 200);
    let held: Vec<Raw> = (0..3).map(|_| httpd.raw_get("/slow_compute")).collect();
    until("the application to hang", LONG, || {
        std::fs::read(httpd.data().join("started")).is_ok_and(|notes| notes.len() == 3)
    });
    for _ in 0..20 {
        let refused = httpd.get("/pid");
        assert_eq!(refused.status, 503);
        let seconds = refused.header("retry-after").and_then(|text| text.parse().ok());
        assert!(seconds.is_some_and(|seconds: u32| (1..=5).contains(&seconds)));
        assert_eq!(httpd.get("/other").status, 200, "another application");
    }
    let said = httpd.log_with("RW0075");
    assert_eq!(said.len(), 1, "once");
    assert!(
        said[0].text.contains("in embedded mode has 3 requests"),
        "{}",
        said[0].text
    );
    std::fs::write(httpd.data().join("go"), "").expect("go");
    for mut raw in held {
        assert_eq!(raw.reply().head.status, 200);
    }
    until("a request to be let in", LONG, || httpd.get("/pid").status == 200);
    httpd.provoked(&[codes::REQUEST_LIMIT]);
}
