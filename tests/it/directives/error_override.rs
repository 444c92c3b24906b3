//! `WSGIErrorOverride`: httpd's error pages in place of the application's.

use super::{accepts, refuses};
use rwsgi_testkit::{Case, Httpd, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![error_override_is_on_or_off]);
    topic.both(test![
        errors_get_httpds_page,
        error_documents_replace_the_applications_page,
        what_is_no_error_is_left_alone,
        an_overridden_answer_that_does_not_end_is_given_up,
    ]);
}

fn error_override_is_on_or_off(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIErrorOverride", &["one argument"]),
            ("WSGIErrorOverride yes", &["yes", "Off | On"]),
            ("WSGIErrorOverride On Off", &["one argument"]),
        ],
    );
    accepts(
        case,
        &[
            "WSGIErrorOverride on",
            "<Location /x>\nWSGIErrorOverride OFF\n</Location>",
        ],
    );
}

fn httpd(case: &Case, more: &str) -> Httpd {
    case.httpd()
        .alias("/app", "directs.wsgi")
        .conf("WSGIErrorOverride On")
        .conf(more)
        .start()
}

/// The original overrides in daemon mode only.
fn overrides(case: &Case) -> bool {
    !(case.theirs() && case.embedded())
}

fn errors_get_httpds_page(case: &Case) {
    let httpd = httpd(case, "<Location /app/own>\nWSGIErrorOverride Off\n</Location>");
    for (status, title) in [
        ("404 Not Found", "404 Not Found"),
        ("401 Unauthorized", "401 Unauthorized"),
        ("503 Later", "503 Service Unavailable"),
    ] {
        let reply = httpd.get(&format!("/app/error?status={}", status.replace(' ', "+")));
        assert_eq!(reply.status.to_string(), status[..3]);
        if !overrides(case) {
            assert_eq!(reply.text(), "the app's word");
            continue;
        }
        assert!(
            reply.text().contains(&format!("<title>{title}</title>")),
            "{}",
            reply.text()
        );
        assert_eq!(reply.header("x-mark"), None, "{status}");
        assert_eq!(reply.header("set-cookie"), None, "{status}");
        assert_eq!(
            reply.header("www-authenticate"),
            Some("Basic realm=\"here\""),
            "{status}"
        );
    }
    let reply = httpd.request("HEAD", "/app/error?status=404+Not+Found").send();
    assert_eq!((reply.status, reply.body.len()), (404, 0));
}

fn error_documents_replace_the_applications_page(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/app", "directs.wsgi")
        .alias("/errors", "environ.wsgi")
        .conf("WSGIErrorOverride On\nErrorDocument 404 \"httpd's words\"\nErrorDocument 410 /errors/gone")
        .start();
    let reply = httpd.get("/app/error?status=404+Not+Found");
    assert_eq!(reply.status, 404);
    let expected = if overrides(case) {
        "httpd's words"
    } else {
        "the app's word"
    };
    assert_eq!(reply.text(), expected);
    if overrides(case) {
        let environ = httpd.get("/app/error?status=410+Gone").json();
        assert_eq!(
            (&environ["PATH_INFO"], &environ["REDIRECT_STATUS"]),
            (&"/gone".into(), &"410".into())
        );
    }
}

fn what_is_no_error_is_left_alone(case: &Case) {
    let httpd = httpd(case, "ErrorDocument 302 \"httpd's words\"");
    for status in ["200 OK", "302 Found", "399 Odd", "600 Odd"] {
        let reply = httpd.get(&format!("/app/error?status={}", status.replace(' ', "+")));
        assert_eq!(reply.status.to_string(), status[..3]);
        assert_eq!(reply.text(), "the app's word", "{status}");
        assert_eq!(reply.header("x-mark"), Some("of the application"), "{status}");
    }
}

fn an_overridden_answer_that_does_not_end_is_given_up(case: &Case) {
    case.needs_ours("it reads the answer to its end, for ever");
    let httpd = httpd(case, "");
    let reply = httpd.get("/app/error_streaming");
    assert_eq!(reply.status, 404);
    assert!(reply.text().contains("404 Not Found"), "{}", reply.text());
}
