//! `WSGITelemetryService`, `WSGISlowRequests` and `WSGITelemetryOptions`: checked; one warning that there are no metrics yet.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        telemetry_service_is_a_socket_and_an_interval,
        slow_requests_takes_seconds,
        telemetry_options_takes_flags,
        telemetry_is_for_the_whole_server,
        telemetry_is_taken_with_one_warning,
    ]);
}

fn telemetry_service_is_a_socket_and_an_interval(case: &Case) {
    refuses(
        case,
        &[
            ("WSGITelemetryService", &["argument"]),
            (
                "WSGITelemetryService udp:localhost:1",
                &["udp:localhost:1", "no longer"],
            ),
            ("WSGITelemetryService /run/x", &["/run/x", "unix:"]),
            ("WSGITelemetryService unix:/run/x interval=0.4", &["0.4", "0.5"]),
            ("WSGITelemetryService unix:/run/x every=1", &["every=1"]),
            ("WSGITelemetryService unix:/run/x interval=1 x", &["argument"]),
        ],
    );
}

fn slow_requests_takes_seconds(case: &Case) {
    refuses(
        case,
        &[
            ("WSGISlowRequests", &["one argument"]),
            ("WSGISlowRequests -1", &["'-1'"]),
        ],
    );
    if !case.theirs() {
        // The original makes 0 of it.
        refuses(case, &[("WSGISlowRequests often", &["often"])]);
    }
}

fn telemetry_options_takes_flags(case: &Case) {
    refuses(
        case,
        &[
            ("WSGITelemetryOptions", &["at least one"]),
            ("WSGITelemetryOptions CaptureAll", &["CaptureAll"]),
            ("WSGITelemetryOptions +", &["bare"]),
            ("WSGITelemetryOptions +All", &["+All"]),
            ("WSGITelemetryOptions -None", &["-None"]),
            ("WSGITelemetryOptions All +CaptureUserAgent", &["mixes"]),
        ],
    );
}

fn telemetry_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &[
            "<VirtualHost *:@PORT@>\nWSGITelemetryService unix:/run/x\n</VirtualHost>",
            "<VirtualHost *:@PORT@>\nWSGISlowRequests 1\n</VirtualHost>",
            "<VirtualHost *:@PORT@>\nWSGITelemetryOptions All\n</VirtualHost>",
        ],
    );
}

fn telemetry_is_taken_with_one_warning(case: &Case) {
    let httpd = case
        .httpd()
        .app("hello.wsgi")
        .conf("WSGITelemetryService unix:@ROOT@/run/metrics interval=2")
        .conf("WSGISlowRequests 2.5")
        .conf("WSGITelemetryOptions +CaptureUserAgent\nWSGITelemetryOptions None")
        .start();
    assert_eq!(httpd.get("/").status, 200);
    if case.theirs() {
        // Nobody listens at that socket, which it does not mind.
        return;
    }
    let line = httpd.wait_log("RW0041");
    for name in ["WSGITelemetryService", "WSGISlowRequests", "WSGITelemetryOptions"] {
        assert!(line.text.contains(name), "{}", line.text);
    }
    assert_eq!(httpd.log_with("RW0041").len(), 1);
}
