//! `WSGITrustedProxyHeaders`; what it does is tested in `proxies.rs`.

use super::{accepts, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        trusted_proxy_headers_takes_names,
        a_proxy_header_that_nobody_knows_is_named
    ]);
}

fn trusted_proxy_headers_takes_names(case: &Case) {
    if !case.theirs() {
        // The original takes it for nothing.
        refuses(case, &[("WSGITrustedProxyHeaders", &["at least one argument"])]);
    }
    accepts(
        case,
        &[
            "WSGITrustedProxyHeaders X-Forwarded-For x-real-ip \"X-Scheme\"",
            "WSGITrustedProxyHeaders X-Forwarded-Host",
            "<Location /x>\nWSGITrustedProxyHeaders X-Forwarded-Port\n</Location>",
        ],
    );
}

fn a_proxy_header_that_nobody_knows_is_named(case: &Case) {
    let httpd = case
        .httpd()
        .bare()
        .conf("WSGITrustedProxyHeaders X-Forwarded-Fro")
        .start();
    if !case.theirs() {
        // The original ignores it without a word.
        let line = httpd.wait_log("RW0014");
        assert!(line.text.contains("X-Forwarded-Fro"), "{}", line.text);
    }
}
